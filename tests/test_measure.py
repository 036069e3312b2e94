"""The figures of an evaluation against hand-computed numbers and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from classifier.contract import Contract
from trainer import measure

answers = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        # Few values, so that many are equal.
        arrays.arrays(np.float32, n, elements=st.sampled_from(np.linspace(0, 1, 21, dtype="f4"))),
        arrays.arrays(np.bool_, n),
    )
)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0, 0.2775), (10, 10, 0.7225, 1), (81, 263, 0.2553, 0.3662), (6950, 10000, 0.6859,
     0.7039)],
)  # fmt: skip
def test_wilson(right: int, count: int, low: float, high: float) -> None:
    assert measure.wilson(right, count) == pytest.approx((low, high), abs=5e-5)


def test_a_bin_ends_with_its_upper_edge() -> None:
    confidences = np.array([0.0, 0.25, 0.26, 0.5, 1.0, 0.9])
    right = np.array([False, True, True, False, True, False])
    found = measure.reliability(confidences, right, bins=4)
    assert found.counts.tolist() == [2, 2, 0, 2]
    np.testing.assert_allclose(found.confidence, [0.125, 0.38, np.nan, 0.95])
    np.testing.assert_allclose(found.accuracy, [0.5, 0.5, np.nan, 0.5])
    assert found.calibration_error == pytest.approx((0.375 + 0.12 + 0.45) / 3)


def test_who_is_as_sure_as_right_has_no_calibration_error() -> None:
    confidences = np.repeat([0.25, 0.75], 8)
    right = np.array([True, False, False, False] * 2 + [True, True, True, False] * 2)
    assert measure.reliability(confidences, right).calibration_error == 0


@given(answers)
def test_calibration_error_as_a_loop(found: tuple[np.ndarray, np.ndarray]) -> None:
    confidences, right = found
    error = 0.0
    for number in range(15):
        held = [
            (c, r)
            for c, r in zip(confidences.tolist(), right.tolist(), strict=True)
            if number / 15 < c <= (number + 1) / 15 or (c == 0 and number == 0)
        ]
        error += abs(sum(c for c, _ in held) - sum(r for _, r in held)) / len(right)
    assert measure.reliability(confidences, right).calibration_error == pytest.approx(error)


def test_confusion_precision_and_recall() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    given_answers = np.array([0, 0, 1, 1, 0, 0])
    matrix = measure.confusion_matrix(labels, given_answers, 4)
    assert matrix.tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    precision, recall = measure.precision_and_recall(matrix)
    np.testing.assert_allclose(precision, [0.5, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(recall, [2 / 3, 0.5, 0, np.nan])


def test_accuracy_by_coverage() -> None:
    curve = measure.accuracy_by_coverage(
        np.array([0.5, 0.9, 0.7, 0.9], np.float64), np.array([False, True, True, False])
    )
    assert curve.thresholds.tolist() == [0.9, 0.7, 0.5]
    assert curve.coverage.tolist() == [0.5, 0.75, 1]
    assert curve.accuracy.tolist() == [0.5, 2 / 3, 0.5]


@given(answers, st.sampled_from([0.0, 0.5, 0.8, 0.99, 1.0]))
def test_threshold_for_precision_as_a_loop(
    found: tuple[np.ndarray, np.ndarray], target: float
) -> None:
    confidences, right = found
    reaching = {float(c) for c in confidences if right[confidences >= c].mean() >= target}
    point = measure.threshold_for_precision(confidences, right, target)
    if not reaching:
        assert point is None
        return
    assert point is not None
    answered = confidences >= min(reaching)
    # Whoever sets min_confidence to it gets just these: `worker` compares Python floats.
    assert [float(c) >= point.min_confidence for c in confidences] == answered.tolist()
    assert point.precision == pytest.approx(right[answered].mean())
    assert point.coverage == pytest.approx(answered.mean())
    assert (point.answered, point.withheld) == (answered.sum(), (~answered).sum())


def test_a_threshold_is_a_number_that_one_can_type() -> None:
    confidences = np.array([0.98765, 0.98123, 0.91], np.float32)
    right = np.array([True, True, False])
    point = measure.threshold_for_precision(confidences, right, 1.0)
    assert point is not None
    assert point.min_confidence == 0.98
    everything = measure.threshold_for_precision(confidences, right, 0.6)
    assert everything is not None
    assert (everything.min_confidence, everything.withheld) == (0.0, 0)


def test_a_threshold_from_elsewhere_answers_what_serving_answers() -> None:
    confidences = np.array([0.9, 0.95, 0.4], np.float32)
    assert float(confidences[0]) < 0.9  # as the worker sees it
    point = measure.at_threshold(confidences, np.array([False, True, True]), 0.9)
    assert point == measure.OperatingPoint(0.9, 1.0, 1 / 3, 1, 2)
    assert measure.at_threshold(confidences, np.array([True, True, True]), 0.96) is None


def test_fpr95() -> None:
    known = np.arange(20.0)
    assert measure.keeping_threshold(known) == 1.0
    assert measure.passing_share(known, 1.0) == 0.95
    assert measure.fpr95(known, np.array([0.0, 0.99, 1.0, 5.0])) == 0.5
    assert measure.fpr95(known, known - 100) == 0
    assert measure.fpr95(np.zeros(7), np.zeros(3)) == 1


@given(arrays.arrays(np.float64, st.integers(1, 300), elements=st.floats(-9, 9)))
def test_no_higher_threshold_keeps_as_many(known: np.ndarray) -> None:
    threshold = measure.keeping_threshold(known)
    assert np.mean(known >= threshold) >= 0.95 - 1e-12
    assert np.mean(known > threshold) < 0.95


def test_summary_by_hand() -> None:
    contract = Contract(("a", "b"), 8, 8, 3)
    outputs = np.array([[0.8, 0.2], [0.4, 0.6], [0.7, 0.3], [0.1, 0.9]], np.float32)
    found = measure.summary(outputs, np.array([0, 1, 1, 1]), contract)
    low, high = measure.wilson(3, 4)
    assert found == {
        "images": 4,
        "accuracy": 0.75,
        "accuracy_low": round(low, 5),
        "accuracy_high": round(high, 5),
        "loss": pytest.approx(-np.log([0.8, 0.6, 0.3, 0.9]).mean(), abs=1e-5),
        "calibration_error": pytest.approx((0.2 + 0.4 + 0.7 + 0.1) / 4, abs=1e-5),
    }


def test_summary_of_logits_takes_the_temperature() -> None:
    logits = np.random.default_rng(3).normal(0, 4, (50, 3)).astype(np.float32)
    labels = np.random.default_rng(4).integers(0, 3, 50)
    cool = Contract(("a", "b", "c"), 8, 8, 3, output="logits")
    warm = Contract(("a", "b", "c"), 8, 8, 3, output="logits", temperature=3.0)
    before, after = (measure.summary(logits, labels, one) for one in (cool, warm))
    assert before["accuracy"] == after["accuracy"]
    assert after["loss"] < before["loss"]
    assert measure.summary(logits, labels, measure.without_temperature(warm)) == before


def test_a_sure_mistake_does_not_make_the_loss_infinite() -> None:
    found = measure.summary(np.array([[1, 0]], "f4"), np.array([1]), Contract(("a", "b"), 8, 8, 3))
    assert found["loss"] == pytest.approx(16.118, abs=1e-3)
