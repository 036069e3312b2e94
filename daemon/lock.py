"""One drainer at a time: a lock on the state folder, which says who holds it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from daemon.errors import LockHeldError, LockLostError

# `status` takes the lock for a moment to see whether somebody holds it; that must not look like
# a running daemon to one that starts just then.
PATIENCE_SECONDS = 1.0
# The record is written over in place, and so has its room on the disk even when that is full.
RECORD_BYTES = 2048


class Holder(NamedTuple):
    """Who holds the lock, and why it does not work just now, if so."""

    pid: int
    command: str
    since: str  # UTC, ISO 8601
    paused: str = ""
    model: str = ""  # the SHA-256, 64 hex digits, of the one that it runs; "" before it is loaded

    def __str__(self) -> str:
        return f"`classifyd {self.command}`, process {self.pid}, since {self.since}"


class StateLock:
    """Held from `acquire` until `release`, or until the process ends in whatever way."""

    def __init__(self, folder: Path, name: str = "lock") -> None:
        self.folder = folder
        self._path = folder / name
        self._fd: int | None = None

    def acquire(self, command: str) -> None:
        """Take the lock. Raises `LockHeldError` if another process has it."""
        # For this user alone: whoever can open it can hold the lock.
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                os.close(fd)
                holder = _read(self._path)
                raise LockHeldError(
                    self._path.parent, str(holder) if holder else "another process"
                ) from None
        self._fd = fd
        self._holder = Holder(os.getpid(), command, _now())
        self._write(self._holder)

    def pause(self, reason: str) -> None:
        """Let others know that nothing is done, and why; with no reason: that it goes on."""
        self._write(self._holder._replace(paused=f"since {_now()}: {reason}" if reason else ""))

    def note_model(self, digest: str) -> None:
        """Let others know which model runs: the file that it came from may be another by now."""
        self._holder = self._holder._replace(model=digest)
        self._write(self._holder)

    def _write(self, holder: Holder) -> None:
        assert self._fd is not None
        record = json.dumps(holder._asdict()).encode().ljust(RECORD_BYTES)
        with contextlib.suppress(OSError):  # on a full disk; the lock is held all the same
            os.pwrite(self._fd, record, 0)

    @property
    def holder(self) -> Holder:
        """What was said of this process so far."""
        return self._holder

    @property
    def is_lost(self) -> bool:
        """Whether its file was moved or deleted: then another process can get a lock, too."""
        assert self._fd is not None
        try:
            return not os.path.samestat(self._path.stat(), os.fstat(self._fd))
        except OSError:
            return True

    def release(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> StateLock:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


class Locks(NamedTuple):
    """What a process holds while it drains a queue."""

    state: StateLock
    results: StateLock

    def check(self) -> None:
        """Raises `LockLostError` if this process is not alone any more for sure."""
        for lock in self:
            if lock.is_lost:
                raise LockLostError(lock.folder)


def holder(state: Path) -> Holder | None:
    """Who holds the lock now, or None if nobody does. Raises `PermissionError` to whom may not even
    look into the folder."""
    try:
        fd = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:
        return _seen_from_outside((state / "lock").stat())
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(state / "lock") or Holder(0, "unknown", "unknown")
    finally:
        os.close(fd)
    return None


def _seen_from_outside(status: os.stat_result) -> Holder | None:
    """Who holds a lock, for somebody who may not open its file: from the kernel's list."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    inode = f":{status.st_ino}"
    found = None
    for entry in Path("/proc/locks").read_text().splitlines():
        # 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF
        _, kind, _, access, pid, place, *_ = entry.split()  # `->` for the kind: it only waits
        if (kind, access) == ("FLOCK", "WRITE") and place.endswith(inode):
            # Of some file systems, Btrfs for one, it tells another device than `stat` does.
            if place == device:
                return Holder(int(pid), "unknown", "unknown")
            found = Holder(int(pid), "unknown", "unknown")
    return found


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None  # between being locked and being written
