"""Training images ▸ those that are learnt from, and those that are held out to check on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError
from trainer.files import shown

Indices = NDArray[np.int64]


def hold_out(
    labels: NDArray[np.int64],
    names: Sequence[str],
    share: float,
    seed: int,
    digests: NDArray[np.uint64] | None = None,
) -> tuple[Indices, Indices]:
    """Indices (kept, held out), ascending: the same share of every class, at least one image of it.

    labels: int64 (n,), up to len(names). share: up to 0.5. digests: uint64 (n,), equal where images
    are; None if none are.

    Copies are held out together, or what is held out would be learnt from. Those that would take
    more than half of a class along stay; if all do, one image of the class is held out alone.

    Raises `DataError` for a class of fewer than two images.
    """
    random = np.random.default_rng(seed)
    sizes = np.bincount(labels, minlength=len(names))
    wanted = _counts(sizes, share)
    alike = np.arange(len(labels), dtype=np.uint64) if digests is None else digests
    by_content = np.argsort(alike, kind="stable")
    sorted_alike = alike[by_content]
    is_held = np.zeros(len(labels), np.bool_)
    held = np.zeros_like(sizes)  # of every class
    for label, name in enumerate(names):
        if sizes[label] < 2:
            raise DataError(
                f"class {shown(name)}: readable images in it: {sizes[label]}; at least two are "
                "needed, one to learn from and one to check on. Add some, or take its folder away"
            )
        drawn = random.permutation(np.flatnonzero(labels == label))
        for image in drawn:
            if held[label] >= wanted[label]:
                break
            first = np.searchsorted(sorted_alike, alike[image])
            end = np.searchsorted(sorted_alike, alike[image], side="right")
            copies = by_content[first:end]  # and itself
            more = np.bincount(labels[copies], minlength=len(names))
            if not is_held[image] and np.all(2 * (held + more) <= sizes, where=more > 0):
                is_held[copies] = True
                held += more
        if not held[label]:
            is_held[drawn[0]] = True
            held[label] = 1
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _counts(sizes: Indices, share: float) -> Indices:
    """int64 (classes,): so many of every class that they are this share of all images.

    What rounding down leaves over goes to the largest fractions. Each rounded for itself, many
    small classes would lose too much together.
    """
    wanted = sizes * share
    counts: Indices = np.floor(wanted).astype(np.int64)
    left_over = round(float(sizes.sum() * share)) - int(counts.sum())
    # Of halves, those first that rounding to even would round up.
    order = np.lexsort((counts - np.rint(wanted), counts - wanted))
    counts[order[:left_over]] += 1
    counts[counts == 0] = 1
    return counts
