"""Is there life in it? For the service manager, and a trouble if images wait and none gets done."""

from __future__ import annotations

import datetime
import logging
import time
from collections.abc import Sequence

from daemon.facts import OVERDUE_SECONDS
from daemon.jobs import Outcome, timestamp
from daemon.journal import Journal
from daemon.notify import notify, watchdog_seconds
from daemon.row import escape
from daemon.succession import Succession
from daemon.troubles import Kind, Troubles
from daemon.watch import Watcher

log = logging.getLogger(__name__)

# How often a manager without a watchdog is told how it goes.
TELL_SECONDS = 10.0
# A worker that hangs is replaced after `image_seconds`, one that does not come up after two
# minutes. If nothing has come of that for so much longer, it is not an image that hangs.
GRACE_SECONDS = 150.0
# How much longer a start may take that is told to be alive.
EXTEND_SECONDS = 120


class Alive:
    """What every part of the program, from its start on, can say to the service manager."""

    def __init__(self) -> None:
        self._every = min((watchdog_seconds() or TELL_SECONDS) / 4, TELL_SECONDS)
        self._next = 0.0
        self._status = ""
        self._is_ready = False

    def tick(self, now: float, status: str) -> None:
        """Alive, and doing what `status` says in a line. Told now and then."""
        if now < self._next:
            return
        self._next = now + self._every
        words = ["WATCHDOG=1"]
        if not self._is_ready:  # it may take long: a model is compiled, the disk is full
            words = [f"EXTEND_TIMEOUT_USEC={EXTEND_SECONDS * 1_000_000}"]
        if status != self._status:
            words.append(f"STATUS={status}")
            self._status = status
        notify(*words)

    def next_due(self) -> float:
        """By the monotonic clock."""
        return self._next

    def say(self, status: str) -> None:
        """What it does, told at once; nothing about whether it is alive."""
        if status != self._status:
            self._status = status
            notify(f"STATUS={status}")

    def ready(self) -> None:
        """All is up. Told once."""
        if not self._is_ready:
            self._is_ready = True
            self._next = 0.0
            notify("READY=1")

    def stopping(self) -> None:
        """It was asked to stop, and does."""
        notify("STOPPING=1", "STATUS=stopping: images in hand are finished first")


class Pulse:
    """A duty of the loop that watches an inbox."""

    def __init__(
        self,
        alive: Alive,
        journal: Journal,
        pool: Succession,
        troubles: Troubles,
    ) -> None:
        self._alive = alive
        self._journal = journal
        self._pool = pool
        self.watcher: Watcher | None = None  # the eyes on the inbox
        self._troubles = troubles
        self._moved = time.monotonic()  # when anything was done, or there was nothing to do
        self._next_look = 0.0
        self._images = 0
        self._last = ""  # when the last one was done
        self.is_stuck = False

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        if rows := sum(outcome.row is not None for outcome in outcomes):
            self._images += rows
            self._last = timestamp()[len("2026-01-01T") : len("2026-01-01T00:00:00")]
        if outcomes or self._pool.is_moving(now):
            self._moved = now
        self._judge(now)
        if self._has_scanned and self._pool.is_up:
            self._alive.ready()
        if self.is_stuck:  # the manager does what it is there for
            self._alive.say(self._status())
        else:
            self._alive.tick(now, self._status())

    def next_due(self, now: float) -> float:  # noqa: ARG002
        return self._alive.next_due()

    def _judge(self, now: float) -> None:
        """Images wait, workers are there, the disk answers: and still nothing gets done?"""
        if now - self._moved < self._pool.crew.image_seconds + GRACE_SECONDS:
            is_stuck = False
        elif now < self._next_look:
            return
        else:
            self._next_look = now + TELL_SECONDS
            before = time.time() - OVERDUE_SECONDS
            utc = datetime.datetime.fromtimestamp(before, datetime.UTC)
            waits = self._journal.overdue(before, utc.isoformat(timespec="milliseconds"))
            is_stuck = waits is not None
            if not is_stuck:
                self._moved = now
        text = ""
        if is_stuck:
            text = (
                f"images wait, and none was done for {now - self._moved:.0f} s: see the log for "
                "workers that end, and start it anew; nothing is lost"
            )
        if is_stuck != self.is_stuck:
            self.is_stuck = is_stuck
            self._troubles.note(Kind.STUCK, text)
            log.log(logging.ERROR if is_stuck else logging.INFO, text or "images get done again")

    @property
    def _has_scanned(self) -> bool:
        return self.watcher is not None and self.watcher.scans > 0

    def _status(self) -> str:
        """What it does, in plain words."""
        if found := next(iter(self._troubles.all().values()), None):
            return " ".join(found.text.split())
        if self.watcher is None or not self._has_scanned:
            return "looking through the inbox"
        done = f"{self._images:,} images since the start"
        if self._last:
            done += f", the last at {self._last} UTC"
        return f"watching {escape(self.watcher.folder)}: {done}"
