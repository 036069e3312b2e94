"""From the start of a process to its first row, and how much memory all of it takes."""

from __future__ import annotations

from pathlib import Path

from bench import images
from bench.growth import Growth
from bench.processes import finished, module
from bench.report import Figures, Report
from bench.setup import MODEL, Setup
from bench.subject import Subject
from bench.usage import Peak

OURS, KERAS = "classifyd, thumbnails {}: to the first row", "Keras folder: to the first row"
MEMORY, KERAS_MEMORY = "classifyd: memory of all processes", "Keras folder: memory"


def run(setup: Setup) -> Report:
    count = 300 if setup.short else 5_000
    one, many = images.small(setup, 1), images.small(setup, count)
    count = len(list(many.iterdir()))
    figures = Figures()
    for _ in range(setup.repeats):
        for when in ("none", "all"):
            subject = Subject.started_before(setup, one, thumbnails={"when": when})
            figures.add(OURS.format(when), subject.once(1).first_row, "s")
            subject.remove()
        figures.add(KERAS, _first_row_of_keras(setup, one), "s")
        # In runs of their own: to look at memory takes time.
        subject = Subject.started_before(setup, many)
        figures.add(MEMORY, subject.once(count, memory_every=0.1).peak.together, "MB")
        subject.remove()
        peak = Peak()
        command = module("bench.peers.keras_folder", MODEL, many, setup.folder())
        finished(command, peak.watching)
        figures.add(KERAS_MEMORY, peak.together, "MB")
    figures.ratio("Keras folder / classifyd, time", KERAS, OURS.format("all"))
    figures.ratio("Keras folder / classifyd, memory", KERAS_MEMORY, MEMORY)
    return Report(
        title="Start and memory",
        done="One small image, the model compiled before; from the start of the process until a "
        f"row of it can be read. Memory: of {count:,} images with thumbnails, the most at any "
        "moment of main process and workers together, what they share counted once (PSS).",
        figures=figures,
    )


def _first_row_of_keras(setup: Setup, folder: Path) -> float:
    output = setup.folder()
    growth = Growth(output / "results.csv")
    command = module("bench.peers.keras_folder", MODEL, folder, output)
    finished(command, lambda _: growth.watching())
    return growth.first_row(0)
