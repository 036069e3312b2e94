"""Training images, shifted and mirrored, so that an epoch never shows the same picture twice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHIFT = 1 / 16  # of a side: two pixels of 32


def augmented(
    pixels: NDArray[np.uint8],
    indices: NDArray[np.int64],
    epoch: int,
    seed: int,
    *,
    mirror: bool,
) -> NDArray[np.uint8]:
    """uint8 (n, height, width, channels), each shifted at random, every second one mirrored.

    indices: of these images in the training set. An image is mirrored in every second epoch, not at
    random: two epochs show both sides of each (K. Jordan's "alternating flip", 2024).
    """
    random = np.random.default_rng((seed, epoch, int(indices[0])))
    if mirror:
        turned = (_scattered(indices, seed) + epoch) % 2 == 1
        pixels = np.where(turned[:, None, None, None], pixels[:, :, ::-1], pixels)
    count, height, width = pixels.shape[:3]
    down, right = max(1, round(height * SHIFT)), max(1, round(width * SHIFT))
    padded = np.pad(pixels, ((0, 0), (down, down), (right, right), (0, 0)), "reflect")
    rows = random.integers(0, 2 * down + 1, count)
    columns = random.integers(0, 2 * right + 1, count)
    shifted = np.empty_like(pixels)
    for image, row, column in zip(range(count), rows, columns, strict=True):
        shifted[image] = padded[image, row : row + height, column : column + width]
    return shifted


def _scattered(indices: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A number for each index that has no pattern (a multiplicative hash)."""
    mixed = (indices.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)).astype(np.int64)
