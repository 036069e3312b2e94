"""The compiled program answers as Keras does: for all models that come along, on every test image.

DATA names the folder of CIFAR-10 images; without it, and in the short form, pictures are drawn.
"""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from classifier.classify import Classifier
from classifier.compile import Program, compiled
from trainer.data import load_folder
from trainer.strange import KINDS, pictures
from trials.report import Report, Table
from trials.subject import ROOT

SHAPE = (32, 32, 3)
TOLERANCE = 1e-4  # of a probability
AT_A_TIME = 64
# Keras in a process of its own: TensorFlow takes long to load, and much memory.
KERAS = """
import sys, numpy as np
from pathlib import Path
from classifier import contract
from classifier.engine import KerasEngine
from classifier.scores import to_probabilities
model, images, answers, brighter = sys.argv[1:]
said = contract.read(Path(model))
pixels = np.load(images)
outputs = KerasEngine.open(Path(model), said).outputs(pixels + np.uint8(brighter) * (pixels < 255))
np.save(answers, to_probabilities(outputs, said))
"""


def run(work: Path, *, short: bool = False) -> Report:
    data = None if short else os.environ.get("DATA")
    images = _test_images(Path(data)) if data else _drawn(10 if short else 200)
    # Keras takes long to start: the short form has one model.
    models = sorted((ROOT / "models").glob("image*.keras" if short else "*.keras"))
    np.save(work / "images.npy", images)
    rows = []
    off = 0.0
    for model in models:
        program = compiled(model, work / "compiled")
        assert program.litert is not None, program.note
        compiled_answers = _by_litert(program, images)
        by_keras = _by_keras(program, work, brighter=0)
        difference = float(np.abs(compiled_answers - by_keras).max())
        other = int((compiled_answers.argmax(axis=1) != by_keras.argmax(axis=1)).sum())
        rows.append((model.stem, f"{difference:.1e}", other))
        assert difference <= TOLERANCE, rows
        assert other == 0, rows
        off = float(np.abs(compiled_answers - _by_keras(program, work, brighter=1)).max())
        assert off > TOLERANCE, "brighter pixels were not noticed"
    what = "test images of the JPEG copy of CIFAR-10" if data else "drawn pictures"
    return Report(
        title="The compiled program answers as Keras does",
        done=f"{len(images):,} {what} were given to the compiled program and to Keras, for each of "
        f"{len(models)} models.",
        result=f"The same label everywhere; no probability differs by more than {TOLERANCE:g}:",
        control=f"With Keras seeing all pixels one grey level brighter, one differs by {off:.2f}.",
        table=Table(("model", "largest difference", "other labels"), rows),
    )


def _test_images(folder: Path) -> NDArray[np.uint8]:
    test = load_folder(folder, SHAPE).test
    assert test is not None, f"{folder}: DATA must have a test/"
    return test.pixels(np.arange(len(test.labels)))


def _drawn(each: int) -> NDArray[np.uint8]:
    return np.stack(
        [picture for kind in KINDS for picture in islice(pictures(kind, each, *SHAPE), each)]
    )


def _by_litert(program: Program, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    classifier = Classifier.from_program(program)
    starts = range(0, len(images), AT_A_TIME)
    return np.concatenate(
        [classifier.probabilities(images[start : start + AT_A_TIME]) for start in starts]
    )


def _by_keras(program: Program, work: Path, brighter: int) -> NDArray[np.float32]:
    answers = work / "answers.npy"
    subprocess.run(
        [sys.executable, "-c", KERAS, program.model, work / "images.npy", answers, str(brighter)],
        check=True, cwd=ROOT, capture_output=True,
    )  # fmt: skip
    answered: NDArray[np.float32] = np.load(answers)
    return answered
