"""Training images ▸ the first filters of the accurate network. NumPy alone."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

FLATTEST = 0.008  # of a patch: directions that vary less, in values of -2..2, are not blown up


def whitening(
    parts: Iterable[NDArray[np.float32]], side: int, channels: int
) -> list[NDArray[np.float32]]:
    """Kernel and bias that make patches of images uncorrelated and of variance one.

    parts: float32 (n, height, width, channels), the images, some at a time. Only sums over them are
    kept: all patches of 2,000 large images take gigabytes. side: of a patch, in pixels.

    The kernel is float32 (side, side, channels, filters), the bias float32 (filters,). Every filter
    comes with its negative, so that what follows may cut off what is below zero.
    """
    size = side * side * channels
    count, total, products = 0, np.zeros(size), np.zeros((size, size))
    for images in parts:
        patches = _patches(images, side).astype(np.float64)
        count += len(patches)
        total += patches.sum(axis=0)
        products += patches.T @ patches
    mean = total / count
    covariance = (products - count * np.outer(mean, mean)) / (count - 1)
    variances, directions = np.linalg.eigh(covariance)
    filters = directions / np.sqrt(np.maximum(variances, 0) + FLATTEST)
    kernel = np.concatenate([filters, -filters], axis=1)
    bias = -(mean @ kernel)
    shape = (side, side, channels, kernel.shape[1])
    return [kernel.reshape(shape).astype(np.float32), bias.astype(np.float32)]


def _patches(images: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """float32 (patches, side * side * channels): all squares of the images, which overlap."""
    height, width, channels = images.shape[1:]
    shifted = [
        images[:, row : height - side + 1 + row, column : width - side + 1 + column]
        for row in range(side)
        for column in range(side)
    ]
    return np.stack(shifted, axis=3).reshape(-1, side * side * channels)
