"""What the pool and a worker process say to each other."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import NamedTuple

from classifier.compile import Program


class Plan(NamedTuple):
    """What a worker has to know."""

    program: Program
    results: Path  # where thumbnails go
    scratch: Path  # where libraries may keep what they like
    thumbnails: str  # all, uncertain or none
    min_confidence: float
    max_bytes: int
    max_pixels: int


class Ready(NamedTuple):
    """The first answer: the model is loaded."""


class Trouble(NamedTuple):
    """Instead of outcomes: the disk or the system failed, not an image."""

    message: str


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
