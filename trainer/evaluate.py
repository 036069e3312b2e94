"""A model file and a folder of labelled images ▸ how often it is right. Runs what serving runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tqdm import tqdm

from classifier.classify import Classifier
from trainer.data import Samples, load
from trainer.errors import DataError

BATCH_SIZE = 64


def evaluate(model: Path, data: str, cache: Path | None = None) -> tuple[dict[str, float], int]:
    """Loss and accuracy (0..1) of a model file on labelled images, and how many there were.

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
    samples = (found.train if found.test is None else found.test).readable()
    if not len(samples.labels):
        raise DataError(f"{data}: none of its images can be read")
    # The folders are in alphabetical order, the model's outputs in an order of their own.
    to_output = np.array([contract.labels.index(name) for name in found.names])
    return _measure(classifier, samples, to_output[samples.labels]), len(samples.labels)


def _measure(
    classifier: Classifier, samples: Samples, labels: np.typing.NDArray[np.int64]
) -> dict[str, float]:
    right, loss = 0, 0.0
    # disable=None: a bar in a terminal, nothing in a log file.
    for start in tqdm(range(0, len(labels), BATCH_SIZE), unit="batch", leave=False, disable=None):
        indices = np.arange(start, min(start + BATCH_SIZE, len(labels)))
        scores = classifier.probabilities(samples.pixels(indices))
        truth = labels[indices]
        right += int((scores.argmax(axis=1) == truth).sum())
        loss -= float(np.log(np.maximum(scores[np.arange(len(truth)), truth], 1e-7)).sum())
    return {"loss": loss / len(labels), "accuracy": right / len(labels)}
