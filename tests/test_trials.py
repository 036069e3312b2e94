"""The short form of every long trial, with its control."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest

from trials.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_short_trial(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(f"trials.{name}") is None:
        pytest.skip("this trial is not written yet")
    report = importlib.import_module(f"trials.{name}").run(tmp_path, short=True)
    assert report.title
    assert report.control
