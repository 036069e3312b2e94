"""A model file and a folder of labelled images ▸ what the model says of them, and of strange ones.

Runs what serving runs. Images are read batch by batch; only the answers are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.classify import Classifier
from classifier.contract import Contract
from classifier.scores import Scores, to_probabilities
from trainer.errors import DataError
from trainer.files import shown
from trainer.labelled import in_output_order, labelled, outputs_of
from trainer.samples import FileSamples, Samples
from trainer.strange import EACH, KINDS, pictures

log = logging.getLogger(__name__)

WORST = 16  # mistakes that are kept to be looked at
NOT_A_NUMBER = "the model's answer to them is not a number"


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for another class.

    pixels: uint8 (height, width, channels), as the network saw it. name: of its file in the
    folder of images, if it is one.
    """

    pixels: NDArray[np.uint8]
    truth: str
    given: str
    confidence: float
    name: str


@dataclass(frozen=True)
class Evaluation:
    """All that was asked of a model, and its answers.

    outputs: float32 (n, outputs), what the network gave. labels: int64 (n,), in output order.
    left_out: (name, reason) of every image that could not be answered.
    worst: the mistakes made with most confidence, most confident first.
    strange: kind of picture ▸ float32 (m, outputs), what the network gave for pictures of no class.
    """

    data: str
    model: Path
    digest: str
    contract: Contract
    outputs: Scores
    labels: NDArray[np.int64]
    left_out: tuple[tuple[str, str], ...]
    worst: tuple[Mistake, ...]
    strange: dict[str, Scores]


def evaluate(
    model: Path, data: str, cache: Path | None = None, name: str | None = None, each: int = EACH
) -> Evaluation:
    """Ask a model about labelled images, and about `each` pictures of every strange kind.

    data: `cifar10`, or a folder. Its `test/` is taken if it has one, else all of it.
    """
    classifier = Classifier.open(model, cache)
    contract = classifier.contract
    names, samples = labelled(data, contract)
    folder = Path(data)
    outputs = outputs_of(classifier, samples)
    # Serving fails such images too.
    is_number = np.isfinite(to_probabilities(outputs, contract)).all(axis=1)
    left_out = (
        *_unreadable(samples, folder),
        *((_name(samples, index, folder), NOT_A_NUMBER) for index in np.flatnonzero(~is_number)),
    )
    if not is_number.all():
        log.warning("left out: %s images, because %s", f"{(~is_number).sum():,}", NOT_A_NUMBER)
        samples, outputs = samples.subset(np.flatnonzero(is_number)), outputs[is_number]
    if not len(outputs):
        raise DataError(f"{data}: none of its images can be answered, because {NOT_A_NUMBER}")
    labels = in_output_order(samples, names, contract)
    return Evaluation(
        shown(name or folder.resolve().name), model, classifier.digest, contract, outputs, labels,
        left_out,
        tuple(_worst(samples, labels, outputs, contract, folder)),
        _answers_to_strange(classifier, each),
    )  # fmt: skip


def _worst(
    samples: Samples,
    labels: NDArray[np.int64],
    outputs: Scores,
    contract: Contract,
    folder: Path,
) -> list[Mistake]:
    probabilities = to_probabilities(outputs, contract)
    answers, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != labels)
    order = wrong[np.argsort(-confidences[wrong], kind="stable")][:WORST]
    return [
        Mistake(
            samples.pixels([row])[0],
            contract.labels[labels[row]],
            contract.labels[answers[row]],
            float(confidences[row]),
            _name(samples, row, folder),
        )
        for row in order
    ]


def _unreadable(samples: Samples, folder: Path) -> Iterator[tuple[str, str]]:
    if isinstance(samples, FileSamples):
        for path, reason in samples.left_out:
            yield str(Path(path).relative_to(folder)), reason


def _name(samples: Samples, index: np.int64, folder: Path) -> str:
    """The path of an image, beneath the folder."""
    if not isinstance(samples, FileSamples):
        return f"image {index}"
    return str(Path(samples.path(int(index))).relative_to(folder))


def _answers_to_strange(classifier: Classifier, each: int) -> dict[str, Scores]:
    contract, size = classifier.contract, classifier.batch_sizes[-1]
    answers = {}
    for kind in tqdm(KINDS, unit="kind", leave=False, disable=None):
        drawn = pictures(kind, each, contract.height, contract.width, contract.channels)
        parts = []
        while batch := [*islice(drawn, size)]:
            parts.append(classifier.outputs(np.stack(batch)))
        answers[kind] = np.concatenate(parts)
    return answers
