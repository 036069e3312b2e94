"""What the network gave ▸ probabilities at a temperature, and whether an image looks strange."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.contract import Contract
from classifier.scores import energy, looks_unknown, ranked, to_probabilities

LOGITS = np.array([[4, 1, -2], [0.5, 0, 0.25], [-60, 60, 0]], np.float32)


def contract(**changes: object) -> Contract:
    return Contract(("a", "b", "c"), 8, 8, 3, **changes)  # type: ignore[arg-type]


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits.astype(np.float64))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_logits_are_divided_by_the_temperature(temperature: float) -> None:
    got = to_probabilities(LOGITS, contract(output="logits", temperature=temperature))
    np.testing.assert_allclose(got, softmax(LOGITS / temperature), atol=1e-6)


def test_probabilities_take_the_same_temperature_as_the_logits_behind_them() -> None:
    shares = softmax(LOGITS).astype(np.float32)
    got = to_probabilities(shares, contract(output="softmax", temperature=3.0))
    np.testing.assert_allclose(got[:2], softmax(LOGITS / 3)[:2], atol=1e-6)
    np.testing.assert_array_equal(to_probabilities(shares, contract(output="softmax")), shares)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_probabilities_are_never_outside(temperature: float) -> None:
    nearly = np.array([[1.0009, -0.0005, -0.0], [np.inf, 0, 0], [np.nan, 0, 1]], np.float32)
    got = to_probabilities(nearly, contract(output="softmax", temperature=temperature))
    np.testing.assert_array_equal(got[0], [1, 0, 0])
    assert not np.signbit(got[0]).any()
    assert not np.isfinite(got[1:]).all(axis=1).any()


def test_a_probability_of_nothing_stays_nothing() -> None:
    sure = np.array([[1, 0, 0]], np.float32)
    got = to_probabilities(sure, contract(output="softmax", temperature=2.0))
    np.testing.assert_array_equal(got, sure)


def test_a_sigmoid_takes_a_temperature_too() -> None:
    two = Contract(("no", "yes"), 8, 8, 3, output="sigmoid", temperature=2.0)
    logit = np.array([[3.0]])
    outputs = (1 / (1 + np.exp(-logit))).astype(np.float32)
    got = to_probabilities(outputs, two)
    assert got[0, 1] == pytest.approx(float(1 / (1 + np.exp(-logit[0, 0] / 2))), abs=1e-6)
    assert got.sum() == pytest.approx(1)


def test_what_is_no_number_stays_none() -> None:
    broken = np.array([[np.nan, 0, 0], [np.inf, 0, 0]], np.float32)
    assert np.isnan(to_probabilities(broken, contract(output="logits"))).any(axis=1).all()
    assert not np.isfinite(
        to_probabilities(broken[:1], contract(output="softmax", temperature=2.0))
    ).all()


def test_energy_does_not_overflow() -> None:
    found = energy(np.array([[1000, 1000], [0, 0], [-1000, -1000]], np.float32))
    np.testing.assert_allclose(found, np.array([1000, 0, -1000]) + np.log(2))


def test_what_lies_below_the_threshold_looks_unknown() -> None:
    strict = contract(output="logits", energy_threshold=2.0)
    assert looks_unknown(LOGITS, strict).tolist() == [False, True, False]
    assert not looks_unknown(LOGITS, contract(output="logits")).any()


def test_the_most_probable_come_first_and_of_equal_ones_the_first() -> None:
    shares = np.array([[0.1, 0.2, 0.2, 0.5], [0.25, 0.25, 0.25, 0.25]], np.float32)
    places, best = ranked(shares, 3)
    np.testing.assert_array_equal(places, [[3, 1, 2], [0, 1, 2]])
    np.testing.assert_array_equal(best, np.take_along_axis(shares, places, axis=1))
    assert ranked(shares, 9)[0].shape == (2, 4)
