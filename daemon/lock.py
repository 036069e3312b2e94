"""One drainer at a time: a lock on the state folder, which says who holds it."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from daemon.errors import LockHeldError

# `status` takes the lock for a moment to see whether somebody holds it; that must not look like
# a running daemon to one that starts just then.
PATIENCE_SECONDS = 1.0


class Holder(NamedTuple):
    """Who holds the lock."""

    pid: int
    command: str
    since: str  # UTC, ISO 8601

    def __str__(self) -> str:
        return f"`classifyd {self.command}`, process {self.pid}, since {self.since}"


class StateLock:
    """Held from `acquire` until `release`, or until the process ends in whatever way."""

    def __init__(self, folder: Path, name: str = "lock") -> None:
        self._path = folder / name
        self._fd: int | None = None

    def acquire(self, command: str) -> None:
        """Take the lock. Raises `LockHeldError` if another process has it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
        since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        os.ftruncate(fd, 0)
        os.write(fd, json.dumps(Holder(os.getpid(), command, since)._asdict()).encode())
        self._fd = fd

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


def holder(state: Path) -> Holder | None:
    """Who holds the lock now, or None if nobody does."""
    try:
        fd = os.open(state / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(state / "lock") or Holder(0, "unknown", "unknown")
    finally:
        os.close(fd)
    return None


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None  # between being locked and being written
