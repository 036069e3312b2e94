"""A model file and a folder of labelled images ▸ what the model says of them, and of strange ones.

Runs what serving runs. Images are read batch by batch; only the answers are kept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.classify import Classifier
from classifier.contract import Contract
from classifier.scores import Scores, to_probabilities
from trainer.data import FileSamples, Samples, load
from trainer.errors import DataError
from trainer.strange import EACH, KINDS, pictures

log = logging.getLogger(__name__)

WORST = 16  # mistakes that are kept to be looked at


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
    left_out: why each image that could not be answered was left out.
    worst: the mistakes made with most confidence, most confident first.
    strange: kind of picture ▸ float32 (m, outputs), what the network gave for pictures of no class.
    """

    data: str
    model: Path
    digest: str
    contract: Contract
    outputs: Scores
    labels: NDArray[np.int64]
    left_out: tuple[str, ...]
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
    found = load(data, (contract.height, contract.width, contract.channels))
    if set(found.names) != set(contract.labels):
        differing = sorted(set(found.names) ^ set(contract.labels))
        raise DataError(
            f"{data}: its classes are not the model's; these are in one alone: "
            f"{', '.join(differing)}"
        )
    samples = found.train if found.test is None else found.test
    # The folders are in alphabetical order, the model's outputs in an order of their own.
    to_output = np.array([contract.labels.index(label) for label in found.names])
    places, outputs, left_out = _answers(classifier, samples)
    if not len(places):
        raise DataError(f"{data}: none of its images can be read")
    labels = to_output[samples.labels[places]]
    return Evaluation(
        name or Path(data).resolve().name, model, classifier.digest, contract, outputs, labels,
        tuple(left_out),
        tuple(_worst(samples, places, labels, outputs, contract, Path(data))),
        _answers_to_strange(classifier, each),
    )  # fmt: skip


def _answers(
    classifier: Classifier, samples: Samples
) -> tuple[NDArray[np.int64], Scores, list[str]]:
    """Which samples were answered, int64 (m,), with what, (m, outputs), and why others were not."""
    left_out: list[str] = []
    places = [np.empty(0, np.int64)]
    answers = [np.empty((0, classifier.contract.outputs), np.float32)]
    total, size = len(samples.labels), classifier.batch_sizes[-1]
    # disable=None: a bar in a terminal, nothing in a log file.
    for start in tqdm(range(0, total, size), unit="batch", leave=False, disable=None):
        indices, pixels = _readable(samples, np.arange(start, min(start + size, total)), left_out)
        if pixels is None:
            continue
        outputs = classifier.outputs(pixels)
        # Serving fails such images too.
        is_number = np.isfinite(to_probabilities(outputs, classifier.contract)).all(axis=1)
        left_out += [
            f"{_name(samples, index)!r}: the model's answer to this image is not a number"
            for index in indices[~is_number]
        ]
        places.append(indices[is_number])
        answers.append(outputs[is_number])
    for reason in left_out:  # not in the midst of the bar
        log.warning("left out: %s", reason)
    return np.concatenate(places), np.concatenate(answers), left_out


def _readable(
    samples: Samples, indices: NDArray[np.int64], left_out: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
    """Those of a batch that can be decoded, with their pixels; the others are noted."""
    try:
        return indices, samples.pixels(indices)
    except DataError:
        pass  # one of them: which?
    found = {}
    for index in indices:
        try:
            found[index] = samples.pixels(np.array([index]))
        except DataError as error:
            left_out.append(str(error))
    pixels = np.concatenate([*found.values()]) if found else None
    return np.array([*found], np.int64), pixels


def _worst(
    samples: Samples,
    places: NDArray[np.int64],
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
            samples.pixels(places[[row]])[0],
            contract.labels[labels[row]],
            contract.labels[answers[row]],
            float(confidences[row]),
            _name(samples, places[row], folder),
        )
        for row in order
    ]


def _name(samples: Samples, index: np.int64, folder: Path | None = None) -> str:
    """The path of an image, beneath the folder if one is given."""
    if not isinstance(samples, FileSamples):
        return f"image {index}"
    path = samples.paths[index]
    return str(path if folder is None else path.relative_to(folder))


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
