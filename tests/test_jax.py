"""classifyd-train on JAX, which is in no lock: tried where it is installed."""

from __future__ import annotations

import json
import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_trainer import COMMAND, draw_discs

from classifier import contract as contracts
from classifier.classify import Classifier

pytestmark = pytest.mark.skipif(
    find_spec("jax") is None, reason="JAX is not installed, as it is in no lock"
)


@pytest.mark.slow
def test_a_model_is_trained_without_tensorflow(tmp_path: Path) -> None:
    """Calibration included. What compiles it for serving is TensorFlow, if that is there, too."""
    discs, model = tmp_path / "discs", tmp_path / "model.keras"
    draw_discs(discs, 84, seed=1)
    done = subprocess.run(
        [*COMMAND, "train", "--data", discs, "--network", "accurate", "--input-size", "16",
         "--epochs", "2", "--output", model],
        capture_output=True, text=True, check=False, env={**os.environ, "KERAS_BACKEND": "jax"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads(model.with_suffix(".metrics.json").read_text())
    assert metrics["keras"].endswith(" on jax")
    assert metrics["validation"]["accuracy"] > 0.6  # a guess is right in a third
    contract = contracts.read(model)
    assert contract is not None
    assert contract.temperature != 1
    assert contract.energy_threshold is not None
    if find_spec("tensorflow") is not None:
        paths = [discs / name / "0.png" for name in contract.labels]
        found = Classifier.open(model, tmp_path / "compiled").classify(paths)
        assert [prediction.error for prediction in found] == [None] * len(paths)
