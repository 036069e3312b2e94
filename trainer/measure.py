"""How good are a model's answers? Arrays ▸ numbers; nothing here reads files or runs networks.

confidences: float (n,), the probability of each answer. right: bool (n,), whether it was right.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.contract import Contract
from classifier.scores import to_probabilities

Reals = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Classes = NDArray[np.int64]
Doubles = NDArray[np.float64]

Z95 = 1.959963984540054  # a normal variable lies within so many deviations in 95% of cases
BINS = 15
KEPT = 0.95  # of known images, when it is asked how many strange ones pass for known
LEAST_PROBABILITY = 1e-7  # one mistake made with full confidence shall not make the loss infinite


@dataclass(frozen=True, slots=True)
class Reliability:
    """Answers in bins of equal width by their confidence; NaN for bins that hold none.

    counts: int64 (bins,). confidence, accuracy: float64 (bins,), the means of each bin.
    """

    counts: Classes
    confidence: Doubles
    accuracy: Doubles

    @property
    def calibration_error(self) -> float:
        """The expected calibration error: how far accuracy is from confidence, weighted by count;
        0 is best."""
        held = self.counts > 0
        gaps = np.abs(self.accuracy[held] - self.confidence[held])
        return float(np.average(gaps, weights=self.counts[held]))


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is answered, and how well, if answers below a confidence are withheld.

    thresholds: float64 (m,), every confidence that occurs, descending.
    coverage: float64 (m,), the share of images at or above it.
    accuracy: float64 (m,), the share of these that is right.
    """

    thresholds: Doubles
    coverage: Doubles
    accuracy: Doubles


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A `min_confidence`, and what it gives: precision and number of the answers at or above it."""

    min_confidence: float
    precision: float
    coverage: float
    answered: int
    withheld: int


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95% interval (Wilson's) of a share that was measured as right/count."""
    share, square = right / count, Z95**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = Z95 / (1 + square / count)
    half *= math.sqrt(share * (1 - share) / count + square / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def reliability(confidences: Reals, right: Flags, bins: int = BINS) -> Reliability:
    """Bins of confidence, each without its lower edge and with its upper one."""
    places = np.ceil(confidences.astype(np.float64) * bins).astype(np.int64) - 1
    places = np.clip(places, 0, bins - 1)
    counts = np.bincount(places, minlength=bins)
    with np.errstate(invalid="ignore"):  # an empty bin
        return Reliability(
            counts,
            np.bincount(places, confidences, bins) / counts,
            np.bincount(places, right, bins) / counts,
        )


def confusion_matrix(labels: Classes, answers: Classes, classes: int) -> Classes:
    """int64 (classes, classes): images by what they are (rows) and what was answered (columns)."""
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (labels, answers), 1)
    return matrix


def precision_and_recall(confusion: Classes) -> tuple[Doubles, Doubles]:
    """float64 (classes,) each: the share of a class's answers that is right, and the share of its
    images that is found. NaN for a class that was never answered, or has no image."""
    found = np.diagonal(confusion)
    with np.errstate(invalid="ignore"):
        return found / confusion.sum(axis=0), found / confusion.sum(axis=1)


def accuracy_by_coverage(confidences: Reals, right: Flags) -> Coverage:
    """Answers from the most confident on. Equal confidences come together: no threshold parts
    them."""
    order = np.argsort(-confidences, kind="stable")
    falling = confidences[order].astype(np.float64)
    last_of_equals = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    answered = last_of_equals + 1
    return Coverage(
        falling[last_of_equals],
        answered / len(falling),
        np.cumsum(right[order])[last_of_equals] / answered,
    )


def threshold_for_precision(
    confidences: Reals, right: Flags, target: float
) -> OperatingPoint | None:
    """The lowest `min_confidence` at which the answers have at least the target's precision.

    None if there is none. A threshold picked and measured on the same images is optimistic.
    """
    curve = accuracy_by_coverage(confidences, right)
    reached = np.flatnonzero(curve.accuracy >= target)
    if not len(reached):
        return None
    point = int(reached[-1])
    below = curve.thresholds[point + 1] if point + 1 < len(curve.thresholds) else -1.0
    total = len(confidences)
    answered = round(float(curve.coverage[point]) * total)
    return OperatingPoint(
        _shortest_between(float(below), float(curve.thresholds[point])),
        float(curve.accuracy[point]),
        float(curve.coverage[point]),
        answered,
        total - answered,
    )


def at_threshold(confidences: Reals, right: Flags, min_confidence: float) -> OperatingPoint | None:
    """What a `min_confidence` gives that was picked elsewhere; None if nothing is answered."""
    # In doubles, as serving compares: NumPy would round a decimal to the float32 of confidences.
    answered = confidences.astype(np.float64) >= min_confidence
    count = int(answered.sum())
    if not count:
        return None
    return OperatingPoint(
        min_confidence,
        float(right[answered].mean()),
        count / len(confidences),
        count,
        len(confidences) - count,
    )


def _shortest_between(low: float, high: float) -> float:
    """The decimal of fewest digits that is above `low` and not above `high`; both at most 1."""
    for digits in range(17):
        value = math.floor(high * 10.0**digits) / 10.0**digits
        if low < value <= high:
            return value
    return high


def keeping_threshold(known: Reals, share: float = KEPT) -> float:
    """The highest threshold at or above which this share of the known images' scores lies."""
    lost = math.floor(len(known) * (1 - share) + 1e-9)  # 0.05 is no binary fraction
    return float(np.sort(known)[lost])


def passing_share(scores: Reals, threshold: float) -> float:
    """The share of scores at or above a threshold."""
    return float((scores >= threshold).mean())


def fpr95(known: Reals, strange: Reals) -> float:
    """The share of strange images that pass for known where 95% of the known ones do; 0 is best.

    known, strange: scores, float (n,) and (m,), higher for what looks more like the classes.
    """
    return passing_share(strange, keeping_threshold(known))


def mean_loss(probabilities: Reals, labels: Classes) -> float:
    """The cross-entropy of probabilities (n, classes) and classes (n,), in nats."""
    of_truth = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_truth, LEAST_PROBABILITY)).mean())


def summary(outputs: NDArray[np.float32], labels: Classes, contract: Contract) -> dict[str, Any]:
    """The figures that go with a model.

    outputs: float32 (n, outputs), what the network gives. labels: int64 (n,), in output order.
    """
    probabilities = to_probabilities(outputs, contract)
    right = probabilities.argmax(axis=1) == labels
    low, high = wilson(int(right.sum()), len(labels))
    bins = reliability(probabilities.max(axis=1), right)
    return {
        "images": len(labels),
        "accuracy": round(float(right.mean()), 5),
        "accuracy_low": round(low, 5),
        "accuracy_high": round(high, 5),
        "loss": round(mean_loss(probabilities, labels), 5),
        "calibration_error": round(bins.calibration_error, 5),
    }


def without_temperature(contract: Contract) -> Contract:
    """The same model as it was before its confidence was corrected."""
    return replace(contract, temperature=1.0)
