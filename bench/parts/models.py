"""Larger networks: the accurate one, and one of MobileNet's size; each against Keras."""

from __future__ import annotations

from pathlib import Path

from bench import images, limit
from bench.processes import finished, module, on_every_processor
from bench.report import Figures, Report
from bench.setup import ACCURATE, Setup
from bench.subject import Subject, program_of

RATE = "images/s"


def run(setup: Setup) -> Report:
    mobile = setup.folder() / "mobilenet_224.keras"
    finished(module("bench.peers.mobile_network", mobile))
    counts = {ACCURATE: 2_000, mobile: 300}
    figures = Figures()
    for model, most in counts.items():
        folder = images.small(setup, 70 if setup.short else most)
        for _ in range(setup.repeats):
            _measure(setup, model, folder, figures)
        name = model.stem
        for batch in _batches(model):
            figures.ratio(
                f"{name}, batches of {batch}: compiled / Keras",
                f"{name}, batches of {batch}: compiled, one thread a processor",
                f"{name}, batches of {batch}: Keras, all processors",
            )
        ours = f"{name}: classifyd, whole process"
        figures.ratio(f"{name}: classifyd / Keras folder", ours, f"{name}: Keras folder")
        steady = f"{name}: classifyd, steady state"
        figures.share(f"{name}: steady state, share of the limit", steady, f"{name}: the limit")
    return Report(
        title="Larger networks",
        done=f"{', '.join(f'{model.stem} on {count:,} images' for model, count in counts.items())}"
        f"; small {'given' if setup.data else 'drawn'} JPEGs, thumbnails off. mobilenet_224: "
        "MobileNetV2 for 224x224 pixels and 1,000 classes, with random weights. The networks "
        "alone: pixels that lie there, in batches of 1 and of the size that classifyd gives them.",
        figures=figures,
    )


def _batches(model: Path) -> list[int]:
    return sorted({1, limit.largest_batch(model)})


def _measure(setup: Setup, model: Path, folder: Path, figures: Figures) -> None:
    name, count = model.stem, len(list(folder.iterdir()))
    seconds = 0.5 if setup.short else 5.0
    subject = Subject.started_before(setup, folder, model, thumbnails={"when": "none"})
    done = subject.once(count)
    subject.remove()
    figures.add(f"{name}: classifyd, whole process", done.rate, RATE)
    figures.add(f"{name}: classifyd, steady state", done.steady, RATE)
    whole = finished(module("bench.peers.keras_folder", model, folder, setup.folder()))
    figures.add(f"{name}: Keras folder", count / whole.seconds, RATE)
    figures.add(f"{name}: the limit", limit.measured(setup, folder, model).both, RATE)
    for batch in _batches(model):
        said = on_every_processor(
            "bench.peers.network_loop", program_of(setup, model), batch, seconds
        )
        compiled = f"{name}, batches of {batch}: compiled, one thread a processor"
        figures.add(compiled, sum(map(limit.rate_of, said)), RATE)
        keras = finished(module("bench.peers.keras_loop", model, batch, seconds)).said
        figures.add(
            f"{name}, batches of {batch}: Keras, all processors", limit.rate_of(keras), RATE
        )
