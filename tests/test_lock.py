"""One drainer at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import SECONDS, Project

from classifier.errors import ModelError
from daemon.errors import LockHeldError
from daemon.lock import StateLock, holder
from daemon.worker import _by_descriptor

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


def test_only_its_user_can_open_the_lock(tmp_path: Path) -> None:
    """Else anybody could hold it, and nothing would start."""
    with StateLock(tmp_path) as lock:
        lock.acquire("run")
        assert (tmp_path / "lock").stat().st_mode & 0o077 == 0


def test_a_lock_is_lost_with_its_name(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    with StateLock(folder) as lock:
        lock.acquire("run")
        assert not lock.is_lost
        (folder / "lock").rename(folder / "elsewhere")
        assert lock.is_lost
        (folder / "lock").touch()
        assert lock.is_lost
        (folder / "elsewhere").rename(folder / "lock")
        assert not lock.is_lost
        folder.rename(tmp_path / "moved")
        assert lock.is_lost


def test_a_worker_that_starts_makes_no_state_folder_anew(tmp_path: Path) -> None:
    """Its libraries make a folder in there, with all above it, at any moment of its start."""
    scratch, away = tmp_path / "state", tmp_path / "away"
    scratch.mkdir()
    name = Path(_by_descriptor(scratch), "matplotlib")
    scratch.rename(away)
    name.mkdir(parents=True)
    assert not scratch.exists()
    assert (away / "matplotlib").is_dir()
    with pytest.raises(ModelError, match="state: No such file"):
        _by_descriptor(scratch)


@pytest.mark.parametrize(
    ("what", "code", "said"),
    [
        ("state", 3, "{}: this folder, or the lock in it, was moved or deleted"),
        ("results", 3, "{}: this folder, or the lock in it, was moved or deleted"),
        ("state/lock", 3, "/state: this folder, or the lock in it, was moved or deleted"),
        ("state/journal.sqlite", 1, "{}: was moved or deleted while classifyd was at work"),
    ],
)
def test_a_daemon_whose_folders_are_taken_away_stops(
    tmp_path: Path, compiled_cache: Path, draw_image: DrawImage, what: str, code: int, said: str
) -> None:
    """Another one could begin in its place, and both would write."""
    project = Project(tmp_path, compiled_cache)
    with project.started("run") as daemon:
        draw_image(project.inbox / "a.jpg")
        project.wait_for_rows(1)
        rows = project.csv.read_bytes()
        path = project.folder / what
        path.rename(project.folder / "away")
        draw_image(project.inbox / "b.jpg", 1)
        assert daemon.process.wait(SECONDS) == code
        assert said.format(path) in daemon.log
        assert "Traceback" not in daemon.log
        assert not path.exists()
    (project.folder / "away").rename(path)
    assert project.csv.read_bytes().startswith(rows)
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(2)
