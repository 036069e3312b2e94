"""A file that is made so that an event tells of it: proof that events arrive."""

from __future__ import annotations

import os
import stat

# Hidden, so that no scan takes it for anything. Always the same, so that one that a killed process
# left behind goes with the next.
NAME = b".classifyd-canary"
# How long its event may take on a machine that is very busy.
PATIENCE_SECONDS = 10.0


class Canary:
    """One at a time."""

    def __init__(self) -> None:
        self._deadline: float | None = None

    def release(self, folder: bytes, now: float) -> bool:
        """Make it and take it away again. False where nothing can be made: nothing is proven then,
        neither that events arrive nor that they do not."""
        path = os.path.join(folder, NAME)
        try:
            try:
                _make(path)
            except FileExistsError:
                if not _is_left_over(path):  # a pipe, which nobody may ever read from, say
                    raise
                os.unlink(path)
                _make(path)
            os.unlink(path)
        except OSError:
            self._deadline = None
            return False
        self._deadline = now + PATIENCE_SECONDS
        return True

    def heard(self) -> None:
        """Its event, or any other, has come."""
        self._deadline = None

    def is_overdue(self, now: float) -> bool:
        """Whether it was waited for in vain."""
        return self._deadline is not None and now >= self._deadline

    @property
    def deadline(self) -> float | None:
        """When it is overdue, by the monotonic clock; None if none is out."""
        return self._deadline


def _make(path: bytes) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _is_left_over(path: bytes) -> bool:
    """Whether it is one of ours: an empty file."""
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and found.st_size == 0 and found.st_uid == os.geteuid()
