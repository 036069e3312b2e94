"""`make install` and `make uninstall`, into a folder of the test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

VENV = Path(sys.prefix)


def make(what: str, destination: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", what, f"PYTHON={sys.executable}", f"DESTDIR={destination}", f"PACKAGES={VENV}",
         *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def destination(tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("installed")
    mask = os.umask(0o077)  # as careful people have it
    try:
        done = make("install", destination)
    finally:
        os.umask(mask)
    assert done.returncode == 0, done.stdout + done.stderr
    return destination


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_runs_from_there(destination: Path) -> None:
    home = destination / "opt/classifyd/current"
    done = subprocess.run(
        [home / "venv/bin/python", home / "bin/classifyd", "--version"],
        # The link points to where it will stand in the end.
        env={"PYTHONPATH": str(home)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("classifyd 0."), done.stderr
    assert (home / "models/image_classifier.keras").exists()
    assert list(home.glob("daemon/__pycache__/*.pyc"))
    assert (destination / "usr/local/bin/classifyd").readlink() == Path(
        "/opt/classifyd/current/bin/classifyd"
    )
    closed = [path for path in home.rglob("*") if not path.stat().st_mode & 0o004]
    assert not closed


def test_the_units_are_there(destination: Path) -> None:
    units = destination / "etc/systemd/system"
    template = (units / "classifyd@.service").read_text()
    assert template == (ROOT / "systemd/classifyd@.service").read_text()
    plain = (units / "classifyd.service").read_text()
    assert "--config /etc/classifyd/classifyd.yaml" in plain
    assert "%i" not in plain
    example = (destination / "etc/classifyd/example.yaml.txt").read_text()
    assert "model: /opt/classifyd/current/models/image_classifier.keras" in example


def test_upgraded_and_uninstalled(tmp_path: Path) -> None:
    """Three versions after one another; what is not of an installation stays as it was."""
    kept = {
        tmp_path / "etc/classifyd/camera1.yaml": "inbox: mine",
        tmp_path / "var/lib/classifyd/camera1/results/results.csv": "id,path",
        tmp_path / "usr/local/bin/other": "not ours",
        tmp_path / "app/c/others/venv/bin/python": "not ours",
        tmp_path / "app/c/download.part/film": "not ours",
    }
    for file, text in kept.items():
        file.parent.mkdir(parents=True)
        file.write_text(text)
    before = tree(tmp_path)
    versions = tmp_path / "app/c"
    seen: list[str] = []
    for _ in range(3):
        done = make("install", tmp_path, "PREFIX=/app/c")
        assert done.returncode == 0, done.stderr
        seen.append(str((versions / "current").readlink()))
    assert len({*seen}) == 3
    others = {"others", "download.part"}
    names = {path.name for path in versions.iterdir()}
    assert names == {*seen[1:], "current", *others}
    unit = (tmp_path / "etc/systemd/system/classifyd@.service").read_text()
    assert "ExecStart=/app/c/current/bin/classifyd " in unit
    assert "/opt/classifyd" not in unit

    done = make("uninstall", tmp_path, "PREFIX=/app/c")
    assert done.returncode == 0, done.stderr
    left = [path for path in tree(tmp_path) if (tmp_path / path).is_file()]
    assert left == [path for path in before if (tmp_path / path).is_file()]
    assert {file: file.read_text() for file in kept} == kept


def test_a_file_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    command = tmp_path / "usr/local/bin/classifyd"
    command.parent.mkdir(parents=True)
    command.write_text("theirs")
    done = make("install", tmp_path)
    assert done.returncode != 0
    assert f"{command} is there already and is not ours" in done.stderr
    assert command.read_text() == "theirs"
