"""Pictures of how a training went, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainer.report_plots import shown

TRAINING, VALIDATION = "#9aa5b1", "#1f6feb"
NAME_HEIGHT, POINTS_PER_INCH = 12, 72  # of a curve's name, in points
LONGEST_TITLE = 80  # characters that fit above


def curves(history: Mapping[str, Sequence[float]], title: str) -> bytes:
    """Accuracy and loss by epoch, for the training and the held-out images."""
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(shown(title, LONGEST_TITLE), fontsize=11, x=0.01, ha="left", fontweight="bold")
    charts = [*zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True)]
    for axes, key in charts:
        for values, colour in ((history[key], TRAINING), (history[f"val_{key}"], VALIDATION)):
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, linewidth=1.6)
        axes.set_title(key, fontsize=10, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(axis="y", color="#e4e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.draw_without_rendering()  # only now it is known how far apart the ends lie
    for axes, key in charts:
        _name_ends(axes, history[key][-1], history[f"val_{key}"][-1], len(history[key]))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _name_ends(axes: Axes, training: float, held_out: float, epoch: int) -> None:
    """Write at the last epoch which curve is which, one name above the other however close they
    end."""
    ends = (("training", training, TRAINING), ("held out", held_out, VALIDATION))
    (_, low), (_, high) = axes.transData.transform([(epoch, min(training, held_out)),
                                                    (epoch, max(training, held_out))])  # fmt: skip
    apart = (high - low) * POINTS_PER_INCH / axes.figure.dpi
    push = max(0.0, NAME_HEIGHT - apart) / 2
    upper = "training" if training > held_out else "held out"
    for name, value, colour in ends:
        axes.annotate(
            name, (epoch, value), xytext=(6, push if name == upper else -push),
            textcoords="offset points", color=colour, va="center", fontsize=9,
        )  # fmt: skip
