"""The same image twice, byte for byte: under two labels, or where it makes a figure too good."""

from __future__ import annotations

import logging

import numpy as np

from trainer.samples import FileSamples, Samples

log = logging.getLogger(__name__)


def warn_of_copies(samples: FileSamples) -> None:
    """Copies among the training images. Copies under two labels contradict each other."""
    assert samples.digests is not None
    # Stable, and the labels ascend: among copies, images of one class stand together.
    order = np.argsort(samples.digests, kind="stable")
    digests, labels = samples.digests[order], samples.labels[order]
    is_copy = digests[1:] == digests[:-1]
    contradicts = is_copy & (labels[1:] != labels[:-1])
    if contradicts.any():
        group = np.concatenate([[0], np.cumsum(~is_copy)])
        count = int(np.isin(group, group[1:][contradicts]).sum())
        first = int(np.flatnonzero(contradicts)[0])
        log.warning(
            "%s images are in several classes, byte for byte the same, so some of their labels are "
            "wrong: %r and %r, for one. Take away those that are in the wrong class",
            f"{count:,}", samples.path(order[first]), samples.path(order[first + 1]),
        )  # fmt: skip
    if within := int((is_copy & ~contradicts).sum()):
        log.warning(
            "%s training images are copies of others of their class, byte for byte. A picture "
            "counts as often as it is there",
            f"{within:,}",
        )


def warn_of_learnt(kept: Samples, held: Samples) -> None:
    """Held-out images that are learnt from, too: their class has little else."""
    if kept.digests is None or held.digests is None:
        return
    if learnt := int(np.isin(held.digests, kept.digests).sum()):
        log.warning(
            "%s held-out images are learnt from, too, byte for byte, as their class consists of "
            "copies; so the validation accuracy is too good",
            f"{learnt:,}",
        )


def warn_of_leaks(training: FileSamples, test: FileSamples) -> None:
    """Test images that are training images, too."""
    assert training.digests is not None
    assert test.digests is not None
    leaked = np.flatnonzero(np.isin(test.digests, training.digests))
    if len(leaked):
        twin = int(np.flatnonzero(training.digests == test.digests[leaked[0]])[0])
        log.warning(
            "%s test images are training images, too, byte for byte, so the test accuracy is too "
            "good: %r and %r, for one. Take them out of one of the two",
            f"{len(leaked):,}", test.path(leaked[0]), training.path(twin),
        )  # fmt: skip
