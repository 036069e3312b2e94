"""What the pool and a worker process say to each other, and how."""

from __future__ import annotations

import contextlib
import enum
import mmap
import os
import pickle
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from classifier.compile import Program
from classifier.durable import SyncError
from classifier.header import Format
from daemon.jobs import Answer, Verdict
from daemon.row import word

HEADER = struct.Struct("!Q")  # the length of the message that follows
CHUNK_BYTES = 1 << 18
NO_MEMORY = 12  # a worker's exit code: an image took all that it may have
MAX_BYTES = 64 << 20  # of a message to a worker; a batch of 1024 takes some

LIKE_NONE = "it looks like none of the classes"


class Plan(NamedTuple):
    """What a worker has to know."""

    program: Program
    results: Path  # where thumbnails go
    scratch: Path  # where libraries may keep what they like
    thumbnails: str  # all, uncertain or none
    min_confidence: float
    unknown: bool  # whether what looks like none of the classes is uncertain
    max_bytes: int
    max_pixels: int
    image_seconds: float  # of computing, for one image
    formats: frozenset[Format]

    @property
    def model(self) -> str:
        """The digits that name the model in rows."""
        return word(self.program.digest, 12)

    def verdict(self, answer: Answer) -> Verdict:
        """What to make of an answer."""
        strange = self.unknown and answer.unknown
        uncertain = strange or answer.ranking[0][1] < self.min_confidence
        is_drawn = self.thumbnails == "all" or (self.thumbnails == "uncertain" and uncertain)
        return Verdict(uncertain, LIKE_NONE if strange else "", is_drawn)


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


class Channel:
    """Whole messages over a socket.

    The pool's end must not block, whatever a worker does: `send` keeps what does not fit, `flush`
    sends more of it, and `received` gives the messages that are there, as bytes: see `answers`. A
    worker just waits, in `receive`.

    max_bytes: a message that claims to be longer counts as the end of whoever sends it.
    """

    def __init__(self, end: socket.socket, encode: Callable[[Any], bytes] = pickle.dumps) -> None:
        """encode: what makes bytes of what is sent. The pool is trusted, so it may send pickles."""
        self._socket = end
        self._encode = encode
        self.max_bytes = MAX_BYTES
        self._unsent = bytearray()
        self._received = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: object) -> None:
        data = self._encode(message)
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

    def received(self) -> Iterator[bytes]:
        """The messages of a worker that are there in full. Raises `EOFError` when it ended."""
        try:
            while True:
                while (data := self._next()) is not None:
                    yield data
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
        if length > self.max_bytes:
            raise EOFError
        if len(self._received) < start + length:
            return None
        data = bytes(self._received[start : start + length])
        del self._received[: start + length]
        return data


class Phase(enum.IntEnum):
    """What a worker is at, and so what it waits for."""

    WORKING = 0  # an image is decoded, predicted or drawn; or there is nothing to do
    READING = 1  # for the disk that the image lies on
    STORING = 2  # for the disk that thumbnails are written to


class Progress:
    """Steps that the worker counts and the phase that it is in, watched by the pool in memory that
    both share."""

    SIZE = 8
    _PHASES = 4  # in one number with the steps, so that none is seen with the steps of another

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, self.SIZE)
        # The one number, read and written as a whole.
        self._number = memoryview(self._memory).cast("Q")
        self._steps = 0  # of this end

    def step(self, phase: Phase = Phase.WORKING) -> None:
        """One more is done. phase: of what comes now."""
        self._steps += self._PHASES
        self._number[0] = self._steps + phase

    @property
    def seen(self) -> tuple[int, int]:
        """Steps and phase. A worker that was taken over may have set any number as its phase."""
        return divmod(self._number[0], self._PHASES)

    def close(self) -> None:
        self._number.release()
        self._memory.close()
