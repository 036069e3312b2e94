"""What the pool and a worker process say to each other, and how."""

from __future__ import annotations

import contextlib
import mmap
import pickle
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from classifier.compile import Program

HEADER = struct.Struct("!Q")  # the length of the message that follows
CHUNK_BYTES = 1 << 18


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


class Ready(NamedTuple):
    """The first answer: the model is loaded, and the worker has shut itself in."""

    forces: str = ""  # what keeps it in


class Trouble(NamedTuple):
    """Instead of outcomes: the disk or the system failed, not an image."""

    error: OSError


class Channel:
    """Whole messages over a socket.

    The pool's end must not block, whatever a worker does: `send` keeps what does not fit, `flush`
    sends more of it, and `received` gives the messages that are there. A worker just waits, in
    `receive`.
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
        """The messages that are there in full. Raises `EOFError` when the other end is closed."""
        try:
            while True:
                while (message := self._next()) is not None:
                    yield message
                self._read()
        except BlockingIOError:
            return

    def receive(self) -> Any:
        """The next message, waited for. Raises `EOFError` when the other end is closed."""
        while (message := self._next()) is None:
            self._read()
        return message

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

    def _next(self) -> Any:
        start = HEADER.size
        if len(self._received) < start:
            return None
        (length,) = HEADER.unpack_from(self._received)
        if len(self._received) < start + length:
            return None
        message = pickle.loads(self._received[start : start + length])  # noqa: S301 - it is ours
        del self._received[: start + length]
        return message


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
