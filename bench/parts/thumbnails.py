"""Annotated thumbnails: ours against a tutorial's figures, and against one figure that is kept."""

from __future__ import annotations

from bench import images, limit
from bench.processes import finished, module
from bench.report import Figures, Report
from bench.setup import MODEL, Setup, processors
from bench.subject import Subject

RATE = "thumbnails/s"
WHOLE, STEADY = "classifyd: whole process", "classifyd: steady state"
TUTORIAL, KEPT = "tutorial, without its start", "kept figure, one processor"


def run(setup: Setup) -> Report:
    count, few, some = (300, 3, 20) if setup.short else (10_000, 40, 500)
    folder = images.old(setup, count)
    count = len(list(folder.iterdir()))
    figures = Figures()
    for _ in range(setup.repeats):
        subject = Subject.started_before(setup, folder)
        done = subject.once(count)
        made = sum(1 for _ in (subject.results / "thumbnails").rglob("*.jpg"))
        assert made == count, f"{made:,} thumbnails of {count:,} images"
        subject.remove()
        figures.add(WHOLE, done.rate, RATE)
        figures.add(STEADY, done.steady, RATE)
        for name, command in (
            (TUTORIAL, ("bench.peers.tutorial", MODEL, folder, setup.folder(), few + 1)),
            (KEPT, ("bench.peers.kept_figure", folder, setup.folder(), some + 1)),
        ):
            figures.add(name, limit.rate_of(finished(module(*command)).said), RATE)
    figures.ratio("classifyd / tutorial", WHOLE, TUTORIAL)
    figures.ratio("classifyd / kept figure", WHOLE, KEPT)
    each = 1 / len(processors())
    figures.ratio("the same, for each processor of ours", WHOLE, KEPT, each)
    return Report(
        title="Thumbnails",
        done=f"{count:,} {'given' if setup.data else 'drawn'} small JPEGs, rows and thumbnails on "
        f"the disk. The tutorial does {few} of them. The kept figure does {some}, and nothing but "
        "decode, `set_data`, `set_text`, `canvas.draw` and writing: no model, no row, no fsync.",
        figures=figures,
    )
