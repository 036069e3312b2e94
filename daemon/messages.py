"""What the pool and a worker process say to each other, and how."""

from __future__ import annotations

import contextlib
import io
import logging
import mmap
import os
import pickle
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from classifier.compile import Program
from classifier.durable import SyncError
from classifier.header import DEFAULT_FORMATS, Format
from classifier.read import Signature
from daemon.jobs import Job, Outcome
from daemon.row import Row

log = logging.getLogger(__name__)

HEADER = struct.Struct("!Q")  # the length of the message that follows
CHUNK_BYTES = 1 << 18
NO_MEMORY = 12  # a worker's exit code: an image took all that it may have
MAX_BYTES = 64 << 20  # of a message; a batch of 1024 takes some


class Plan(NamedTuple):
    """What a worker has to know."""

    program: Program
    results: Path  # where thumbnails go
    scratch: Path  # where libraries may keep what they like
    thumbnails: str  # all, uncertain or none
    min_confidence: float
    max_bytes: int
    max_pixels: int
    image_seconds: float = 10.0  # of computing, for one image
    formats: frozenset[Format] = DEFAULT_FORMATS


class Ready(NamedTuple):
    """The first answer: the model is loaded, and the worker has shut itself in."""

    forces: str = ""  # what keeps it in


class Trouble(NamedTuple):
    """Instead of outcomes: the disk or the system failed, not an image."""

    number: int
    text: str
    path: str
    failed_sync: bool

    @classmethod
    def of(cls, error: OSError) -> Trouble:
        path = error.filename or ""
        name = os.fsdecode(path) if isinstance(path, str | bytes) else str(path)
        return cls(error.errno or 0, error.strerror or str(error), name, type(error) is SyncError)

    @property
    def error(self) -> OSError:
        return (SyncError if self.failed_sync else OSError)(self.number, self.text, self.path)


ANSWERS = {
    (kind.__module__, kind.__name__): kind
    for kind in (Ready, Trouble, Outcome, Job, Row, Signature)
}


class _FromWorker(pickle.Unpickler):
    """An image may have taken over the worker. A pickle can call whatever it can name, so here it
    can name nothing but what a worker answers with: tuples of plain values."""

    def find_class(self, module: str, name: str) -> Any:
        if (kind := ANSWERS.get((module, name))) is None:
            raise pickle.UnpicklingError(f"{module}.{name} is no part of an answer")
        return kind


class Channel:
    """Whole messages over a socket.

    The pool's end must not block, whatever a worker does: `send` keeps what does not fit, `flush`
    sends more of it, and `received` gives the messages that are there; a message that no worker
    sends counts as its end. A worker just waits, in `receive`.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        self._unsent = bytearray()
        self._received = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: object) -> None:
        data = pickle.dumps(message)
        self._unsent += HEADER.pack(len(data)) + data
        self.flush()

    def flush(self) -> None:
        # It may be dead; whoever reads from this end notices.
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def received(self) -> Iterator[Any]:
        """The messages of a worker that are there in full. Raises `EOFError` when it ended."""
        try:
            while True:
                while (data := self._next()) is not None:
                    yield _understood(data)
                self._read()
        except BlockingIOError:
            return

    def receive(self) -> Any:
        """The pool's next message, waited for. Raises `EOFError` when the other end is closed."""
        while (data := self._next()) is None:
            self._read()
        return pickle.loads(data)  # noqa: S301 - it is ours

    def close(self) -> None:
        self._socket.close()

    def _read(self) -> None:
        try:
            chunk = self._socket.recv(CHUNK_BYTES)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            raise EOFError
        self._received += chunk

    def _next(self) -> bytes | None:
        start = HEADER.size
        if len(self._received) < start:
            return None
        (length,) = HEADER.unpack_from(self._received)
        if length > MAX_BYTES:
            raise EOFError
        if len(self._received) < start + length:
            return None
        data = bytes(self._received[start : start + length])
        del self._received[: start + length]
        return data


def _understood(data: bytes) -> Any:
    try:
        return _FromWorker(io.BytesIO(data)).load()
    except Exception:  # of whatever kind somebody has made it to be
        log.exception("a worker said what none of ours says; it is ended")
        raise EOFError from None


class Progress:
    """A counter that the worker raises and the pool watches, in memory that both share."""

    SIZE = 8

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, self.SIZE)

    def step(self) -> None:
        count = int.from_bytes(self._memory[:], "little") + 1
        self._memory[:] = count.to_bytes(self.SIZE, "little")

    @property
    def count(self) -> int:
        return int.from_bytes(self._memory[:], "little")

    def close(self) -> None:
        self._memory.close()
