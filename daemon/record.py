"""What only the process at work knows, written down for `status` in another one: daemon.json.

Written over in place, and so it has its room on the disk even when that is full. It may be read by
whoever may read the state folder; the lock may not, as whoever can open that can hold it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import zlib
from pathlib import Path
from typing import Any, NamedTuple

log = logging.getLogger(__name__)

FILE_NAME = "daemon.json"
RECORD_BYTES = 16384
MAX_TEXT = 500  # characters of one trouble
ATTEMPTS, AGAIN_SECONDS = 5, 0.01  # to read it while it is being written


class Noted(NamedTuple):
    """A trouble. since: seconds since 1970."""

    kind: str
    since: float
    text: str


class Record(NamedTuple):
    """One process. Times are UTC, ISO 8601, or seconds since 1970 where they are numbers."""

    pid: int
    command: str
    since: str
    boot: str  # of the machine, as the kernel names it; '' if it does not
    is_working: bool = False  # False until everything is open, and again while the disk is full
    model: str = ""  # the SHA-256 of the model that runs, 64 hex digits
    watching: str = ""  # events, polling or, before it is known, ''
    watching_why: str = ""  # of polling
    worker_restarts: int = 0  # of workers that died or hung
    stirred: float = 0.0  # a turn of the loop, noted now and then while images are in hand
    troubles: tuple[Noted, ...] = ()
    ended: str = ""  # why, once it has
    ended_at: str = ""


class RecordFile:
    """Written by one process, which holds the lock."""

    def __init__(self, state: Path) -> None:
        self._path = state / FILE_NAME
        self._fd: int | None = None
        self._written = b""

    def write(self, record: Record) -> None:
        """Replace what stands there, if it is another. A disk that refuses is no reason to end."""
        data = _bytes(record)
        if data == self._written:
            return
        try:
            if self._fd is None:
                flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
                self._fd = os.open(self._path, flags, 0o644)
            if os.pwrite(self._fd, data, 0) == len(data):
                self._written = data
        except OSError as error:  # a full disk, the first time
            log.debug("%s cannot be written: %s", self._path, error.strerror)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def read(state: Path) -> Record | None:
    """The record of the process that is at work, or was last; None if there is none to be read.

    Raises `PermissionError`.
    """
    for _ in range(ATTEMPTS):
        try:
            document = json.loads((state / FILE_NAME).read_bytes())
            values = document["record"]
            if document["crc"] != _crc(values):
                raise ValueError("half of it is of another time")
            return Record(**values | {"troubles": tuple(Noted(*n) for n in values["troubles"])})
        except PermissionError:
            raise
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            time.sleep(AGAIN_SECONDS)
    return None


def boot() -> str:
    """What the kernel calls the time since the machine came up."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _bytes(record: Record) -> bytes:
    troubles = [Noted(n.kind, n.since, n.text[:MAX_TEXT]) for n in record.troubles]
    values = record._replace(ended=record.ended[:MAX_TEXT])._asdict() | {"troubles": troubles}
    text = json.dumps({"crc": _crc(values), "record": values})
    if len(text) > RECORD_BYTES:
        return _bytes(record._replace(troubles=record.troubles[:-1]))
    return text.encode().ljust(RECORD_BYTES - 1) + b"\n"


def _crc(values: Any) -> int:
    return zlib.crc32(json.dumps(values).encode())
