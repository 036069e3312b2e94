"""Small images: ours against a tutorial, Keras's folder loader, Ray Data, and the limit."""

from __future__ import annotations

import importlib.util

from bench import images, limit
from bench.processes import finished, module
from bench.report import Figures, Report
from bench.setup import MODEL, Setup, processors
from bench.subject import Subject

RATE = "images/s"


def run(setup: Setup) -> Report:
    count, few = (300, 3) if setup.short else (10_000, 40)
    folder = images.old(setup, count)
    count = len(list(folder.iterdir()))
    has_ray = importlib.util.find_spec("ray") is not None
    figures = Figures()
    for _ in range(setup.repeats):
        for when in ("none", "all"):
            subject = Subject.started_before(setup, folder, thumbnails={"when": when})
            done = subject.once(count)
            subject.remove()
            figures.add(f"classifyd, thumbnails {when}: whole process", done.rate, RATE)
            figures.add(f"classifyd, thumbnails {when}: steady state", done.steady, RATE)
            figures.add(f"classifyd, thumbnails {when}: processor time", done.finished.cpu, "s")
        tutorial = finished(
            module("bench.peers.tutorial", MODEL, folder, setup.folder(), few + 1)
        ).said
        figures.add("tutorial, without its start", limit.rate_of(tutorial), RATE)
        keras = finished(module("bench.peers.keras_folder", MODEL, folder, setup.folder()))
        figures.add("Keras folder: whole process", count / keras.seconds, RATE)
        if has_ray:
            size = 32, 32, len(processors())
            ray = finished(module("bench.peers.ray_data", MODEL, folder, setup.folder(), *size))
            figures.add("Ray Data: whole process", count / ray.seconds, RATE)
        allowed = limit.measured(setup, folder)
        figures.add("read and decode alone, one processor", allowed.decode, RATE)
        figures.add("compiled network alone, one processor", allowed.network, RATE)
        figures.add("the limit, all processors", allowed.both, RATE)
    ours, annotated = (f"classifyd, thumbnails {when}: whole process" for when in ("none", "all"))
    figures.ratio("classifyd / Keras folder", ours, "Keras folder: whole process")
    if has_ray:
        figures.ratio("classifyd / Ray Data", ours, "Ray Data: whole process")
    figures.ratio("classifyd with thumbnails / tutorial", annotated, "tutorial, without its start")
    steady = "classifyd, thumbnails none: steady state"
    figures.share("steady state, share of the limit", steady, "the limit, all processors")
    return Report(
        title="Small images",
        done=f"{count:,} {'given' if setup.data else 'drawn'} JPEGs, each way as a whole process: "
        "start, classify, rows on the disk, exit. The tutorial does "
        f"{few} of them, and its start is not counted. Steady state: between 20% and 90% of the "
        "rows. The limit: 1/(1/decode + 1/network), times the processors.",
        figures=figures,
        notes=() if has_ray else ("Ray is not installed here: not measured.",),
    )
