"""The unit files, judged by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from daemon.errors import SettingsError

UNIT = ROOT / "systemd/classifyd@.service"
ANALYZE = shutil.which("systemd-analyze")
MAX_EXPOSURE = 1.0

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed")


def analyze(*words: str | Path) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *words], capture_output=True, text=True, check=False)


@needs_systemd
def test_it_is_shut_in() -> None:
    said = analyze("security", "--offline=true", UNIT).stdout
    found = re.search(r"Overall exposure level for .*: (\d+\.\d+)", said)
    assert found, said
    assert float(found[1]) <= MAX_EXPOSURE, said


@needs_systemd
def test_a_setting_that_opens_it_is_noticed(tmp_path: Path) -> None:
    """The control of the one above."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text().replace("CapabilityBoundingSet=\n", "").replace(
        "SystemCallFilter=", "#"
    )  # fmt: skip
    unit.write_text(text)
    said = analyze("security", "--offline=true", unit).stdout
    found = re.search(r"Overall exposure level for .*: (\d+\.\d+)", said)
    assert found
    assert float(found[1]) > MAX_EXPOSURE


@needs_systemd
def test_systemd_has_nothing_to_say_against_it(tmp_path: Path) -> None:
    # A program has to be there: it is only installed in the end.
    text = UNIT.read_text().replace("/opt/classifyd/current/bin/classifyd", sys.executable)
    for name in ("classifyd@.service", "classifyd.service"):
        (tmp_path / name).write_text(text.replace("%i", "classifyd"))
    for name in ("classifyd@camera1.service", "classifyd.service"):
        done = analyze("verify", "--man=no", tmp_path / name)
        assert (done.returncode, done.stdout + done.stderr) == (0, ""), name
    (tmp_path / "classifyd.service").write_text(text.replace("KillMode=mixed", "KillMode=fairly"))
    assert "kill mode" in analyze("verify", "--man=no", tmp_path / "classifyd.service").stderr


def test_a_wrong_configuration_is_not_started_again() -> None:
    assert f"\nRestartPreventExitStatus={SettingsError.exit_code}\n" in UNIT.read_text()
