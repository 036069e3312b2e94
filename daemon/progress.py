"""How far long work has come: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)

LINE_SECONDS = 10.0


class Progress(Protocol):
    """done, total: how many images; the total may grow. now: by the monotonic clock."""

    def update(self, done: int, total: int, now: float) -> None: ...


class Bar:
    """tqdm's, with rate and time left."""

    def __init__(self, bar: tqdm[NoReturn]) -> None:
        self._bar = bar

    def update(self, done: int, total: int, now: float) -> None:  # noqa: ARG002
        self._bar.total = total
        self._bar.update(done - self._bar.n)


class Lines:
    """For a log."""

    def __init__(self) -> None:
        self._began: tuple[float, int] | None = None  # when, and how many were done then
        self._next = 0.0

    def update(self, done: int, total: int, now: float) -> None:
        if self._began is None:
            self._began = now, done
            self._next = now + LINE_SECONDS
        if now < self._next:
            return
        self._next = now + LINE_SECONDS
        since, before = self._began
        rate = (done - before) / (now - since)
        left = f"about {(total - done) / rate:,.0f} s left" if rate else "nothing was done yet"
        log.info("%s of %s images, %.0f a second, %s", f"{done:,}", f"{total:,}", rate, left)


@contextmanager
def progress() -> Iterator[Progress]:
    """Whichever suits standard error."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    columns, lines = os.get_terminal_size(sys.stderr.fileno())
    # A serial console and some containers do not tell their size; tqdm would show nothing there.
    shape = {"dynamic_ncols": True} if columns and lines else {"ncols": 80, "nrows": 24}
    with logging_redirect_tqdm(), tqdm(unit="img", mininterval=0.2, **shape) as bar:
        yield Bar(bar)
