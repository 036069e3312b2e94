"""Pictures of how a training went, as PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from trainer.report_plots import shown

TRAINING, VALIDATION = "#9aa5b1", "#1f6feb"
LONGEST_TITLE = 80  # characters that fit above


def curves(history: Mapping[str, Sequence[float]], title: str) -> bytes:
    """Accuracy and loss by epoch, for the training and the held-out images."""
    figure = Figure(figsize=(9, 3.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(shown(title, LONGEST_TITLE), fontsize=11, x=0.01, ha="left", fontweight="bold")
    for axes, key in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for name, values, colour in (
            ("training", history[key], TRAINING),
            ("held out", history[f"val_{key}"], VALIDATION),
        ):
            epochs = range(1, len(values) + 1)
            axes.plot(epochs, values, color=colour, marker="o", markersize=3.5, linewidth=1.6)
            axes.annotate(
                name, (len(values), values[-1]), xytext=(6, 0), textcoords="offset points",
                color=colour, va="center", fontsize=9,
            )  # fmt: skip
        axes.set_title(key, fontsize=10, loc="left")
        axes.set_xlabel("epoch", fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color="#e4e7eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.12)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
