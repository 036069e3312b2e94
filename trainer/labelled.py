"""Labelled images to measure models with, and what a model gives for them."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.classify import Classifier
from classifier.contract import Contract
from classifier.scores import Scores
from trainer.data import difference, load_to_measure
from trainer.errors import DataError
from trainer.files import shown
from trainer.samples import Samples
from trainer.screening import tell_shrunk

log = logging.getLogger(__name__)


def labelled(
    data: str, contract: Contract, *, again: bool = False
) -> tuple[tuple[str, ...], Samples]:
    """The names of the classes, and the images in the size of a model.

    data: `cifar10`, or a folder. Its `test/` is taken if it has one, else all of it. again: the
    user was told already if it has none.
    """
    shape = (contract.height, contract.width, contract.channels)
    names, samples, are_apart = load_to_measure(data, shape)
    if set(names) != set(contract.labels):
        raise DataError(
            f"{data}: its classes are not the model's; "
            f"{difference(names, contract.labels, ('in the data', 'in the model'))}"
        )
    if not (are_apart or again):
        log.warning(
            "%s: it has no test/, so all its images are measured. If the model has learnt from "
            "them, it looks better than it is",
            data,
        )
    found, samples = samples.labels, samples.readable()
    tell_shrunk([*map(shown, names)], found, samples.labels)
    if not len(samples.labels):
        raise DataError(f"{data}: none of its images can be read")
    return names, samples


def in_output_order(
    samples: Samples, names: tuple[str, ...], contract: Contract
) -> NDArray[np.int64]:
    """int64 (n,): the labels of samples, whose classes have these names, as the model counts."""
    # Folders are in alphabetical order, a model's outputs in an order of their own.
    return np.array([contract.labels.index(name) for name in names])[samples.labels]


def outputs_of(classifier: Classifier, samples: Samples) -> Scores:
    """float32 (n, outputs): what the network gives for the samples."""
    total, size = len(samples.labels), classifier.batch_sizes[-1]
    outputs = np.empty((total, classifier.contract.outputs), np.float32)
    # disable=None: a bar in a terminal, nothing in a log file.
    for start in tqdm(range(0, total, size), unit="batch", leave=False, disable=None):
        indices = np.arange(start, min(start + size, total))
        outputs[indices] = classifier.outputs(samples.pixels(indices))
    return outputs
