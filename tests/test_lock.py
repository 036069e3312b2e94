"""One drainer at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from daemon.errors import LockHeldError
from daemon.lock import StateLock, holder

PROGRAM = (
    "import pathlib, sys, time\n"
    "from daemon.lock import StateLock\n"
    "lock = StateLock(pathlib.Path(sys.argv[1]))\n"
    "lock.acquire('backfill')\n"
    "print('held', flush=True)\n"
    "time.sleep(60)\n"
)


def test_a_second_one_is_told_who_holds_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(LockHeldError, match=f"`classifyd backfill`, process {other.pid}"):
            StateLock(tmp_path).acquire("run")
        at_work = holder(tmp_path)
        assert at_work is not None
        assert (at_work.pid, at_work.command) == (other.pid, "backfill")
        other.kill()
    assert holder(tmp_path) is None  # a process that died holds nothing
    with StateLock(tmp_path) as lock:
        lock.acquire("run")
        with pytest.raises(LockHeldError):
            StateLock(tmp_path).acquire("run")


def test_nobody_holds_what_was_never_locked(tmp_path: Path) -> None:
    assert holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
