"""Training images, changed at random, so that an epoch never shows the same picture twice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

GREY = 128  # what a square that is cut out is filled with: the middle of what the networks see


def augmented(
    pixels: NDArray[np.uint8],
    indices: NDArray[np.int64],
    epoch: int,
    seed: int,
    *,
    mirror: bool,
    shift: float,
    cutout: float = 0.0,
) -> NDArray[np.uint8]:
    """uint8 (n, height, width, channels), each shifted at random, every second one mirrored.

    indices: of these images in the training set. An image is mirrored in every second epoch, not at
    random: two epochs show both sides of each (K. Jordan's "alternating flip", 2024).
    shift: the furthest an image goes, in sides. What comes in is the image's own edge, mirrored.
    cutout: the side of the square that is made grey, in sides (T. DeVries, G. Taylor, "Improved
    regularization of convolutional neural networks with cutout", 2017); 0: none is.
    """
    random = np.random.default_rng((seed, epoch, int(indices[0])))
    if mirror:
        turned = (_scattered(indices, seed) + epoch) % 2 == 1
        pixels = np.where(turned[:, None, None, None], pixels[:, :, ::-1], pixels)
    height, width = pixels.shape[1:3]
    down, right = max(1, round(height * shift)), max(1, round(width * shift))
    padded = np.pad(pixels, ((0, 0), (down, down), (right, right), (0, 0)), "reflect")
    changed = np.empty_like(pixels)
    corners = _corners(random, len(pixels), 2 * down, 2 * right)
    for image, (row, column) in enumerate(corners):
        changed[image] = padded[image, row : row + height, column : column + width]
    tall, wide = round(height * cutout), round(width * cutout)
    if tall and wide:
        corners = _corners(random, len(pixels), height - tall, width - wide)
        for image, (row, column) in enumerate(corners):
            changed[image, row : row + tall, column : column + wide] = GREY
    return changed


def _corners(
    random: np.random.Generator, count: int, height: int, width: int
) -> Iterator[tuple[int, int]]:
    """Places (row, column), both ends included."""
    rows = random.integers(0, height + 1, count)
    columns = random.integers(0, width + 1, count)
    return zip(rows.tolist(), columns.tolist(), strict=True)


def _scattered(indices: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """A number for each index that has no pattern (a multiplicative hash)."""
    mixed = (indices.astype(np.uint64) + np.uint64(seed)) * np.uint64(0x9E3779B97F4A7C15)
    return (mixed >> np.uint64(40)).astype(np.int64)
