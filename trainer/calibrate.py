"""Held-out answers ▸ a temperature and a threshold, so that a confidence means what it says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifier.scores import energy

COVERAGE = 0.95  # of the known images, which stay known
MIN_IMAGES = 50  # fewer say too little
# Of the inverse temperature.
LOWEST, HIGHEST = 0.02, 50.0


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature at which the labels (n,) are likeliest under logits (n, classes).

    The log-likelihood is concave in the inverse temperature, so its slope has one zero at most.
    After C. Guo et al., "On Calibration of Modern Neural Networks" (2017). As in Platt's scaling,
    every label is believed but for one part in n + 2: a few images that are all right do not prove
    that no image ever will be wrong.
    """
    values = logits.astype(np.float64)
    values -= values.max(axis=1, keepdims=True)
    doubt = 1 / (len(labels) + 2)
    of_truth = values[np.arange(len(labels)), labels].mean()
    true = (1 - doubt) * of_truth + doubt * values.mean()

    def slope(inverse: float) -> float:
        weights = np.exp(inverse * values)
        expected = (weights * values).sum(axis=1) / weights.sum(axis=1)
        return float(true - expected.mean())

    low, high = LOWEST, HIGHEST
    for _ in range(60):
        middle = (low * high) ** 0.5
        if slope(middle) > 0:
            low = middle
        else:
            high = middle
    return float(1 / middle)


def fit_energy_threshold(logits: NDArray[np.float32]) -> float:
    """The energy that `COVERAGE` of these known images, logits (n, classes), lie above."""
    return float(np.quantile(energy(logits), 1 - COVERAGE))
