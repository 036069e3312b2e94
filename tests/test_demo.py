"""What `make demo` runs, in a copy of the checkout."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

NEEDED = ("classifier", "daemon", "inbox_example", "models", "tools/demo.py", "config.yaml")


def demo(checkout: Path) -> str:
    done = subprocess.run(
        [sys.executable, "tools/demo.py"],
        cwd=checkout,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_the_demo_shows_ten_rows_and_a_second_one_adds_none(
    tmp_path: Path, compiled_cache: Path
) -> None:
    for name in NEEDED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    (tmp_path / "state").mkdir()
    shutil.copytree(compiled_cache, tmp_path / "state" / "models")

    first = demo(tmp_path)
    assert len(re.findall(r"^\w+\.jpg +\w+ +[01]\.\d{4}", first, re.MULTILINE)) == 10
    assert f"{tmp_path / 'results' / 'results.csv'}\n" in first
    assert f"{tmp_path / 'results' / 'thumbnails'}\n" in first
    assert len([*(tmp_path / "results" / "thumbnails").rglob("*.jpg")]) == 10

    rows = (tmp_path / "results" / "results.csv").read_bytes()
    assert demo(tmp_path) == first
    assert (tmp_path / "results" / "results.csv").read_bytes() == rows
