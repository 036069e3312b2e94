"""The pictures that come along: ten, ours, one a class, and drawn by the script that is kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import ROOT

from classifier.classify import Classifier

EXAMPLES = sorted((ROOT / "inbox_example").iterdir())


def test_there_is_one_picture_for_each_class(shipped_model: Path, compiled_cache: Path) -> None:
    classifier = Classifier.open(shipped_model, compiled_cache)
    assert tuple(path.stem for path in EXAMPLES) == classifier.contract.labels


def test_the_shipped_model_knows_most_of_them(shipped_model: Path, compiled_cache: Path) -> None:
    predictions = Classifier.open(shipped_model, compiled_cache).classify(EXAMPLES)
    right = [Path(str(p.path)).stem == p.label for p in predictions]
    assert sum(right) >= 8


@pytest.mark.slow
def test_the_script_draws_them_again(tmp_path: Path) -> None:
    script = ROOT / "tools" / "draw_examples.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=200)
    for path in EXAMPLES:
        # Other processors round a little differently; here the files are the same to the byte.
        kept, drawn = (cv2.imread(str(p)).astype(int) for p in (path, tmp_path / path.name))
        assert np.abs(kept - drawn).mean() < 1, path.name
