"""The pictures of an evaluation, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font
from matplotlib.ticker import PercentFormatter

from trainer.evaluate import Mistake
from trainer.measure import Classes, Coverage, OperatingPoint, Reliability, wilson

INK, QUIET, GRID = "#1f2933", "#616e7c", "#e4e7eb"
ACCENT, MUTED, BEFORE, WRONG = "#1f6feb", "#9aa5b1", "#f5b433", "#c2410c"
LONGEST_NAME = 22  # characters of a class name that are shown
NUMBERED = 25  # with more classes, a confusion matrix shows colours alone
NAMED = 130  # and with more than these, no names
COLUMNS = 4  # of pictures
LEAST_SPAN = 0.05  # of rightness that is shown: less would make a matter of hairs
TELLING = 10  # images of a bin, below which its interval says nothing
MISSING_GLYPH = "\N{REPLACEMENT CHARACTER}"


def shown(name: str, longest: int = LONGEST_NAME) -> str:
    """A class name as matplotlib can draw it: not too long, no formula, nothing it has no sign for.

    Signs without a glyph would make it warn.
    """
    # matplotlib's own font, the same on any machine.
    glyph = get_font(
        str(Path(mpl.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"))
    ).get_char_index
    drawable = "".join(sign if glyph(ord(sign)) else MISSING_GLYPH for sign in name)
    if len(drawable) > longest:
        drawable = drawable[: longest - 1].rstrip(" _-") + "…"
    return drawable.replace("$", r"\$")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _dress(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set_title(title, fontsize=11, loc="left", fontweight="bold", color=INK)
    axes.set_xlabel(x, fontsize=9, color=QUIET)
    axes.set_ylabel(y, fontsize=9, color=QUIET)
    axes.tick_params(labelsize=8, colors=QUIET, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GRID)
    axes.set_axisbelow(True)


def confusion(matrix: Classes, labels: Sequence[str]) -> bytes:
    """matrix: int64 (classes, classes), images by what they are (rows) and what was answered."""
    count = len(labels)
    numbered = count <= NUMBERED
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = [shown(label) for label in labels]
    side = float(np.clip((0.44 if numbered else 0.13) * count, 2.6, 14))
    room = 0.8 + (0.08 if numbered else 0.05) * max(map(len, names))
    figure = _figure(side + room, side + room)
    axes = figure.subplots()
    # Of the root, so that a few percent of mistakes can be seen at all.
    axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    _dress(axes, "What was taken for what", "answered (percent of each row)", "what it is")
    axes.spines[:].set_visible(False)
    if not numbered:
        axes.set_xlabel("answered", fontsize=9)
    if count > NAMED:
        axes.set_xticks([])
        axes.set_yticks([])
    else:
        size = 9 if numbered else 5.5
        axes.set_yticks(range(count), names, fontsize=size)
        axes.set_xticks(
            range(count), names, fontsize=size, rotation=45 if numbered else 90,
            ha="right" if numbered else "center", rotation_mode="anchor" if numbered else "default",
        )  # fmt: skip
    if numbered:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            share = shares[row, column]
            axes.text(
                column, row, f"{100 * share:.0f}" if share > 0.005 else "·",
                ha="center", va="center", fontsize=8, color="white" if share > 0.4 else INK,
            )  # fmt: skip
    return _png(figure)


def reliability(found: Reliability, before: Reliability | None) -> bytes:
    """How often answers of each confidence are right.

    before: the same answers without the model's temperature, where it has one.
    """
    figure = _figure(6.4, 6)
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = len(found.counts)
    edges = np.arange(bins) / bins
    telling = found.counts >= TELLING
    for shown, alpha, label in (
        (telling, 0.85, f"this model: {_percent(found.calibration_error)} off on average"),
        (~telling & (found.counts > 0), 0.25, f"fewer than {TELLING} images"),
    ):
        if shown.any():
            axes.bar(edges[shown], found.accuracy[shown], 1 / bins, align="edge", color=ACCENT,
                     alpha=alpha, edgecolor="white", label=label)  # fmt: skip
    for place in np.flatnonzero(telling):
        count = int(found.counts[place])
        low, high = wilson(round(found.accuracy[place] * count), count)
        axes.vlines(edges[place] + 0.5 / bins, low, high, color=INK, linewidth=1, alpha=0.6)
    if before is not None:
        known = before.counts > 0
        axes.plot(
            before.confidence[known], before.accuracy[known], color=BEFORE, marker="o",
            markersize=4, linewidth=1.5,
            label=f"without its temperature: {_percent(before.calibration_error)} off",
        )  # fmt: skip
    axes.plot((0, 1), (0, 1), color=WRONG, linestyle="--", linewidth=1.2,
              label="as sure as it is right")  # fmt: skip
    _dress(axes, "Is it as right as it is sure?", "", "share that is right")
    axes.legend(fontsize=8.5, frameon=False, loc="upper left")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    below.bar(edges, found.counts / found.counts.sum(), 1 / bins, align="edge", color=MUTED,
              edgecolor="white")  # fmt: skip
    _dress(below, "", "confidence of the answer", "share of images")
    for each in (axes, below):
        each.grid(axis="y", color=GRID)
        each.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    below.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return _png(figure)


def coverage(
    curve: Coverage, point: OperatingPoint | None, suggested: OperatingPoint | None
) -> bytes:
    """How right the answers are if only the most confident ones are taken.

    point: the `min_confidence` picked on these images, suggested: the one picked in training;
    None: there is none.
    """
    figure = _figure(6.4, 4.8)
    axes = figure.subplots()
    axes.plot(curve.coverage, curve.accuracy, color=ACCENT, linewidth=1.8)
    right = float(curve.accuracy[-1])
    # Each fits into the one before it, so that all can be seen where they lie on each other.
    words = f"all are answered: {_percent(right)} are right"
    marks = [(1.0, right, "o", 12.0, "none", ACCENT, words)]
    for picked, sign, size, fill, colour, by in (
        (suggested, "s", 7.5, "none", INK, "as training suggests"),
        (point, "D", 4.5, WRONG, WRONG, "picked on these images"),
    ):
        if picked is not None:
            words = (
                f"min_confidence {picked.min_confidence}, {by}: {_percent(picked.coverage)} are "
                f"answered, {_percent(picked.precision)} of these right"
            )
            marks.append((picked.coverage, picked.precision, sign, size, fill, colour, words))
    for x, y, sign, size, fill, colour, label in marks:
        axes.plot(x, y, sign, color=colour, markersize=size, markerfacecolor=fill,
                  markeredgewidth=1.6, linestyle="none", clip_on=False, label=label)  # fmt: skip
    _dress(axes, "What leaving out the unsure answers gains", "share of images that is answered",
           "share of these answers that is right")  # fmt: skip
    # The first few images say little, and one mistake among them would flatten all the rest.
    settled = curve.accuracy[curve.coverage >= 0.02]
    lowest = min(float(settled.min(initial=1)), *(mark[1] for mark in marks))
    bottom = max(0.0, min(lowest - 0.1 * (1.02 - lowest), 1 - LEAST_SPAN))
    axes.set_ylim(bottom, 1 + 0.03 * (1 - bottom))
    axes.set_xlim(0, 1)
    # Below, where no curve can run into it.
    figure.legend(fontsize=8.5, frameon=False, loc="outside lower left")
    axes.grid(color=GRID)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    return _png(figure)


def worst(mistakes: Sequence[Mistake]) -> bytes:
    """The mistakes as pictures, with what they are, what they were taken for, and how surely."""
    if not mistakes:
        figure = _figure(6.4, 1)
        figure.text(0.03, 0.5, "Not one mistake.", va="center", fontsize=11, color=INK)
        return _png(figure)
    columns = min(COLUMNS, len(mistakes))
    rows = -(-len(mistakes) // columns)
    height, width = mistakes[0].pixels.shape[:2]
    tall = float(np.clip(1.6 * height / width, 0.5, 4))
    figure = _figure(max(2.1 * columns, 4.2), (tall + 0.6) * rows + 0.4)
    figure.suptitle("The surest mistakes", fontsize=11, x=0.02, ha="left", fontweight="bold",
                    color=INK)  # fmt: skip
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    for axes, mistake in zip(grid, mistakes, strict=False):
        pixels = mistake.pixels
        axes.imshow(pixels[..., 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0,
                    vmax=255, interpolation="nearest")  # fmt: skip
        # One line each, or a long name would run into its neighbour.
        axes.set_title(
            f"{shown(mistake.truth)}\n→ {shown(mistake.given, 17)} {_percent(mistake.confidence)}",
            fontsize=8, loc="left", color=INK,
        )  # fmt: skip
    return _png(figure)


def _percent(share: float) -> str:
    """One digit after the point, but no certainty that only rounding made."""
    return ">99.9%" if 0.9995 <= share < 1 else f"{100 * share:.1f}%"
