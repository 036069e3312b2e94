"""The short form of every long trial, with its control."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from trials.__main__ import NAMES


@pytest.mark.parametrize("name", NAMES)
def test_short_trial(name: str, tmp_path: Path) -> None:
    report = importlib.import_module(f"trials.{name}").run(tmp_path, short=True)
    assert report.title
    assert report.control
