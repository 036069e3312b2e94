"""Held-out answers ▸ the temperature they were made at, and the threshold that keeps 95%."""

from __future__ import annotations

import numpy as np
import pytest

from classifier.scores import energy
from trainer.calibrate import fit_energy_threshold, fit_temperature


def answers(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times as large as what the labels were drawn by."""
    random = np.random.default_rng(3)
    honest = random.normal(0, 2, (count, 5))
    shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    labels = (shares.cumsum(axis=1) > random.random((count, 1))).argmax(axis=1)
    return (honest * temperature).astype(np.float32), labels.astype(np.int64)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_the_temperature_is_found(temperature: float) -> None:
    assert fit_temperature(*answers(temperature)) == pytest.approx(temperature, rel=0.03)


def test_answers_that_are_all_right_are_not_sure_without_end() -> None:
    """Of n images that are all right, one in n + 2 is allowed to be wrong."""
    labels = np.arange(200) % 5
    right = 3 * np.eye(5, dtype=np.float32)[labels]
    tempered = np.exp(right[0] / fit_temperature(right, labels))
    assert tempered[0] / tempered.sum() == pytest.approx(1 - 0.8 / 202, abs=1e-4)


def test_answers_that_say_nothing_or_are_all_wrong_give_a_number() -> None:
    labels = np.arange(10) % 3
    assert 0.01 <= fit_temperature(np.zeros((10, 3), np.float32), labels) <= 100
    wrong = -np.eye(3, dtype=np.float32)[labels]
    assert 40 < fit_temperature(wrong, labels) <= 100


def test_the_threshold_keeps_nineteen_of_twenty() -> None:
    logits, _ = answers(1.0)
    kept = energy(logits) >= fit_energy_threshold(logits)
    assert kept.mean() == pytest.approx(0.95, abs=1e-3)
