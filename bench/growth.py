"""results.csv, watched while it grows: when was how much of it there?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bench.repeated import repeated

LOOK_SECONDS = 0.005
# In between is the steady state: no start any more, and no end yet.
STEADY_FROM, STEADY_TO = 0.2, 0.9


class Sample(NamedTuple):
    moment: float  # by time.perf_counter
    size: int  # bytes


class Growth:
    """Samples of the size of a results.csv, that need not be there yet."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._samples = [Sample(time.perf_counter(), 0)]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at it again and again as long as the block runs, and once more."""
        self._samples = [Sample(time.perf_counter(), 0)]
        try:
            with repeated(self._look, LOOK_SECONDS):
                yield
        finally:
            self._look()

    def _look(self) -> None:
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        if size > self._samples[-1].size:
            self._samples.append(Sample(time.perf_counter(), size))

    def first_row(self, header: int) -> float:
        """Seconds from the beginning until there was more than a header of so many bytes."""
        first = next(sample for sample in self._samples if sample.size > header)
        return first.moment - self._samples[0].moment

    def steady(self, rows: int) -> float:
        """Rows a second in the steady state; in all, they are `rows`, one about as long as another.

        Of a run too short to be seen growing, less than that: from its beginning on.
        """
        whole = self._samples[-1].size
        first, last = (
            next(sample for sample in self._samples if sample.size >= share * whole)
            for share in (STEADY_FROM, STEADY_TO)
        )
        if first == last:
            first = self._samples[0]
        return (last.size - first.size) / whole * rows / (last.moment - first.moment)
