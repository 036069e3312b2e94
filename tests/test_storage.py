"""What the disk has to say, and what is made of it."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest
from daemon_process import Project, wait_for

from classifier.durable import SyncError, sync, sync_file, sync_folder
from classifier.room import has_room
from daemon.errors import (
    DaemonError,
    DiskFullError,
    JournalDamagedError,
    JournalError,
    NotDurableError,
    StorageError,
)
from daemon.journal import Journal
from daemon.storage import full, storing


def test_a_sync_that_fails_has_an_error_of_its_own(tmp_path: Path) -> None:
    sync_folder(tmp_path)
    (tmp_path / "a").touch()
    sync_file(tmp_path / "a")
    inner, outer = os.pipe()  # nothing that could be synced
    with pytest.raises(SyncError) as caught:
        sync(outer, tmp_path / "a")
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(tmp_path / "a"))
    os.close(inner)
    os.close(outer)


def test_there_is_room_here(tmp_path: Path) -> None:
    assert has_room(tmp_path)
    assert full([tmp_path]) is None
    assert list(tmp_path.iterdir()) == []


def caught(tmp_path: Path, error: Exception) -> DaemonError:
    with pytest.raises(DaemonError) as info, storing(tmp_path / "state", tmp_path / "results"):
        raise error
    return info.value


def test_errors_of_the_system(tmp_path: Path) -> None:
    for code in (errno.ENOSPC, errno.EDQUOT):
        assert type(caught(tmp_path, OSError(code, "", "/r/a.jpg"))) is DiskFullError
    read_only = caught(tmp_path, OSError(errno.EROFS, "Read-only file system", "/r/a.jpg"))
    assert type(read_only) is StorageError
    assert str(read_only).startswith("/r/a.jpg: Read-only file system. Nothing is lost")
    failed = caught(tmp_path, SyncError(errno.EIO, "Input/output error", "/r/results.csv"))
    assert type(failed) is NotDurableError
    assert failed.exit_code == 4
    assert str(failed).startswith("/r/results.csv: could not be made durable")
    for code in (errno.ENOSPC, errno.EDQUOT):  # as NFS tells it
        assert type(caught(tmp_path, SyncError(code, "", "/r/results.csv"))) is DiskFullError


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_FULL, DiskFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, NotDurableError),
        (sqlite3.SQLITE_CORRUPT, JournalDamagedError),
        (sqlite3.SQLITE_NOTADB, JournalDamagedError),
        (sqlite3.SQLITE_IOERR_WRITE, JournalError),
        (sqlite3.SQLITE_CANTOPEN, JournalError),
    ],
)
def test_errors_of_sqlite(tmp_path: Path, code: int, kind: type[DaemonError]) -> None:
    error = sqlite3.OperationalError("as SQLite says it")
    error.sqlite_errorcode = code
    assert type(caught(tmp_path, error)) is kind


def test_a_state_folder_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(JournalError, match=r"journal\.sqlite: unable to open database file"),
        storing(tmp_path / "gone", tmp_path),
    ):
        Journal.open(tmp_path / "gone")


FULL_DISK = """
set -e
mkdir disk
mount -t tmpfs -o size=2m tmpfs disk
mkdir disk/state
test $1 = 0 || dd if=/dev/zero of=disk/ballast bs=64k 2> /dev/null || true
shift
exec "$@"
"""


@contextmanager
def on_a_small_disk(
    project: Project, *arguments: str, ballast: bool, **settings: object
) -> Iterator[Path]:
    """A small disk of its own, which only the daemon and what it is told through files can see.

    Gives the disk, as seen from here. Its log is in the file `log`.
    """
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a mount namespace: root, or user namespaces")
    project.configure(state="disk/state", results="disk/results", **settings)
    (project.inbox / "text.jpg").write_text("no image: what is tried here needs no model")
    with (project.folder / "log").open("w") as log:
        daemon = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", str(int(ballast)), sys.executable,
             "-m", "daemon", *arguments, "--config", str(project.config)],
            cwd=project.folder, stderr=log, stdout=log, start_new_session=True,
        )  # fmt: skip
        try:
            yield Path(f"/proc/{daemon.pid}/root") / project.folder.relative_to("/") / "disk"
        finally:
            os.killpg(daemon.pid, 9)
            daemon.wait()


@pytest.mark.parametrize("command", ["run", "backfill"])
def test_started_on_a_full_disk_it_waits_for_room(
    tmp_path: Path, compiled_cache: Path, command: str
) -> None:
    project = Project(tmp_path, compiled_cache)
    arguments = ["run"] if command == "run" else ["backfill", str(project.inbox)]
    said = tmp_path / "log"
    with on_a_small_disk(project, *arguments, ballast=True) as disk:
        wait_for(lambda: "is full: make room" in said.read_text(), "it says that the disk is full")
        time.sleep(3)
        assert said.read_text().count("is full") == 1
        (disk / "ballast").unlink()
        wait_for(lambda: "there is room again" in said.read_text(), "it goes on")


def test_while_there_is_too_little_room_it_tries_more_and_more_seldom(
    tmp_path: Path, compiled_cache: Path
) -> None:
    """There is a megabyte free, but the model needs more."""
    project = Project(tmp_path, compiled_cache)
    model = tmp_path / "large.keras"
    model.write_bytes(bytes(4 << 20))  # it is copied before it is looked into
    said = tmp_path / "log"
    with on_a_small_disk(project, "run", ballast=False, model=str(model)):
        wait_for(lambda: said.read_text().count("is room again") == 3, "it tried three times")
    times = [
        datetime.fromisoformat(line.split()[0]).timestamp()
        for line in said.read_text().splitlines()
        # That it is full again so soon is not said anew.
        if ("is full" in line and "repeated" not in line) or "is room again" in line
    ]
    assert len(times) == 4
    waits = [there - gone for gone, there in pairwise(times)]
    assert 1 <= waits[0] < waits[1] < waits[2], waits
