"""What the network gave ▸ probabilities, and how much an image looks like any of the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from classifier.contract import Contract

Scores = NDArray[np.float32]


def to_probabilities(outputs: Scores, contract: Contract) -> Scores:
    """float32 (n, outputs) as probabilities, float32 (n, classes), each row summing to 1.

    The contract's temperature is applied: logits are divided by it, and of probabilities, whose
    logarithms are logits but for a constant, the root is taken.
    """
    if contract.output == "logits":
        return _softmax(outputs / np.float32(contract.temperature))
    shares = outputs
    if contract.output == "sigmoid":
        shares = np.concatenate([1 - outputs, outputs], axis=1)
    # A network's arithmetic may leave them a hair outside. What is no number stays none.
    within = np.clip(shares, 0, 1) + np.float32(0)  # nor is any of them -0
    shares = np.where(np.isfinite(shares), within, shares)
    if contract.temperature == 1:
        return shares
    with np.errstate(divide="ignore", invalid="ignore"):  # what is no number stays none
        logits: Scores = np.log(shares)
    return _softmax(logits / np.float32(contract.temperature))


def ranked(probabilities: Scores, count: int) -> tuple[NDArray[np.intp], Scores]:
    """The `count` most probable classes of each row, most probable first: (n, count) their places,
    and float32 (n, count) their probabilities. Of equal ones the first comes first."""
    places = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]
    return places, np.take_along_axis(probabilities, places, axis=1)


def energy(logits: Scores) -> NDArray[np.float64]:
    """The logarithm of the sum of exponentials of logits (n, classes): float64 (n,).

    High for what looks like one of the classes, low for what looks like none. It is the negative of
    what Liu et al., "Energy-based Out-of-distribution Detection" (2020), call energy.
    """
    values = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        highest = values.max(axis=1)
        result: NDArray[np.float64] = highest + np.log(
            np.exp(values - highest[:, np.newaxis]).sum(axis=1)
        )
    return result


def looks_unknown(outputs: Scores, contract: Contract) -> NDArray[np.bool_]:
    """bool (n,): whether an image looks like none of the classes; never so without a threshold."""
    if contract.energy_threshold is None:
        return np.zeros(len(outputs), np.bool_)
    return energy(outputs) < contract.energy_threshold


def _softmax(logits: Scores) -> Scores:
    with np.errstate(invalid="ignore"):  # an infinite logit: `classify` sees the NaN
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        result: Scores = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result
