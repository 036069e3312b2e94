"""The first filters of the accurate network: as of all patches at once, in little memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

import numpy as np

from trainer.whitening import FLATTEST, whitening

SIDE = 2


def pictures(seed: int, count: int = 8) -> np.ndarray:
    """float32 (count, 40, 30, 3) of -2..2, smooth, so that neighbours are alike."""
    noise = np.random.default_rng(seed).normal(size=(count, 40, 30, 3))
    smooth = noise.cumsum(axis=1).cumsum(axis=2)
    return (2 * smooth / np.abs(smooth).max()).astype(np.float32)


def test_parts_give_what_the_whole_gives() -> None:
    parts = [pictures(1), pictures(2, 1), pictures(3, 5)]
    kernel, bias = whitening(iter(parts), SIDE, 3)
    assert (kernel.shape, bias.shape) == ((SIDE, SIDE, 3, 24), (24,))
    assert kernel.dtype == bias.dtype == np.float32

    images = np.concatenate(parts)
    squares = [
        image[row : row + SIDE, column : column + SIDE].ravel()
        for image in images
        for row in range(40 - SIDE + 1)
        for column in range(30 - SIDE + 1)
    ]
    patches = np.array(squares, np.float64)
    variances, directions = np.linalg.eigh(np.cov(patches, rowvar=False))
    filters = directions / np.sqrt(variances + FLATTEST)
    found = kernel.reshape(-1, 24).astype(np.float64)
    np.testing.assert_allclose(found[:, :12], -found[:, 12:])
    # Which of a direction's two signs comes first is the solver's choice.
    np.testing.assert_allclose(np.abs(found[:, :12]), np.abs(filters), atol=1e-4)
    np.testing.assert_allclose(bias, -(patches.mean(axis=0) @ found), atol=1e-4)


def test_memory_does_not_grow_with_the_images() -> None:
    def peak(count: int) -> int:
        def parts() -> Iterator[np.ndarray]:
            for seed in range(count):
                yield pictures(seed)

        tracemalloc.start()
        whitening(parts(), SIDE, 3)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40) < 1.2 * peak(2)
