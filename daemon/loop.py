"""The loop: sources ▸ journal ▸ workers ▸ results, turn after turn, and the order of its end."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from daemon.census import Priority
from daemon.drain import Drain
from daemon.errors import DaemonError
from daemon.jobs import Outcome
from daemon.journal import Journal
from daemon.lock import Locks
from daemon.pulse import Alive
from daemon.retention import Retention
from daemon.row import escape
from daemon.signals import Signals
from daemon.sorter import Sorter
from daemon.succession import Succession
from daemon.troubles import Kind, Troubles
from daemon.vitals import Vitals
from daemon.watch import Watcher

log = logging.getLogger(__name__)

# Without any event: how often the loop looks for work that another process put into the journal,
# and for a worker that hangs.
IDLE_SECONDS = 0.5
# After the first signal, for batches of very large images: a service manager's patience ends too.
FINISH_SECONDS = 4.0
REPORT_SECONDS = 10.0
MAX_FAILURES_LOGGED = 10  # of one report; results.csv has them all


class Source(NamedTuple):
    """Where arrivals come from, and how urgent they are."""

    watcher: Watcher
    priority: Priority


class Works(NamedTuple):
    """What drains the queue, opened and locked."""

    locks: Locks
    journal: Journal
    pool: Succession
    drain: Drain
    troubles: Troubles
    vitals: Vitals
    alive: Alive
    sorter: Sorter
    retention: Retention


class Duty(Protocol):
    """What is done in every turn beside the work itself; it never waits for anything."""

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        """outcomes: what was finished and made durable in this turn."""

    def next_due(self, now: float) -> float:
        """When it has something to do even if nothing happens, by the monotonic clock."""


class Report:
    """A line on what was done, at most one in REPORT_SECONDS, and one for every failure up to a
    limit."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()  # since the last line
        self._began: float | None = None  # when the first of them came
        self._spoke = -REPORT_SECONDS

    def tick(self, now: float, outcomes: Sequence[Outcome], *, busy: bool) -> None:
        for row in (outcome.row for outcome in outcomes if outcome.row):
            self._rows[row.status] += 1
            log.debug("%s: %s %s", row.path, row.label or row.status, row.confidence or row.reason)
            if row.status == "failed" and self._rows["failed"] <= MAX_FAILURES_LOGGED:
                log.warning("failed: %s: %s", row.path, row.reason)
        if self._rows and self._began is None:
            self._began = now
        if self._began is None or now - self._spoke < REPORT_SECONDS:
            return
        if not busy or now - self._began >= REPORT_SECONDS:
            self.say()
            self._spoke = now

    def say(self) -> None:
        hidden = self._rows["failed"] - MAX_FAILURES_LOGGED
        if hidden > 0:
            log.warning("failed: %d more, see results.csv", hidden)
        if self._rows:
            log.info("rows: %s", ", ".join(f"{n:,} {status}" for status, n in self._rows.items()))
        self._rows.clear()
        self._began = None


class Loop:
    """`tick` is all that has to be called."""

    def __init__(
        self, works: Works, sources: Sequence[Source], duties: Sequence[Duty] = ()
    ) -> None:
        self._works = works
        self.sources = sources
        self._duties = duties
        self._scans: dict[int, int] = {}  # of each watcher, that were noted
        self._report = Report()
        self._stall = ""  # as `status` was told

    def tick(self, now: float) -> list[Outcome]:
        """One turn; what was finished in it. Raises what `Drain.tick` and `Locks.check` do."""
        self._check()
        for source in self.sources:
            if found := source.watcher.tick(now):
                self._works.journal.enqueue(found, source.priority)
            self._note_scan(source)
        # Not `now`: the journal may have waited for the disk, and no worker is slow for that.
        outcomes = self._drain(time.monotonic(), accept=True)
        self._attend(outcomes)
        return outcomes

    def next_due(self, now: float) -> float:
        """When `tick` is to be called again even if nothing happens, by the monotonic clock."""
        held_back = self._works.drain.next_due()
        dues = [source.watcher.next_due(now) for source in self.sources]
        dues += [duty.next_due(now) for duty in self._duties]
        return min([now + IDLE_SECONDS, *dues, *([held_back] if held_back is not None else [])])

    @property
    def done(self) -> bool:
        """Whether all that the sources hold has its row."""
        return all(source.watcher.idle for source in self.sources) and self._works.drain.done

    def run(self, signals: Signals, *, until_done: bool) -> Iterator[list[Outcome]]:
        """Turn after turn, until a signal asks to stop or, if asked for, all is done."""
        while not signals.stops:
            now = time.monotonic()
            yield self.tick(now)
            if until_done and self.done:
                break
            signals.wait(self._works.pool.events, self.next_due(now) - now)
        if signals.stops:
            self._works.alive.stopping()
        if signals.stops == 1:
            yield self._finish()  # what is done already waits for nothing
        if signals.stops == 1 and self._works.drain.busy:
            log.info("stopping: images in hand are finished first; a second signal stops at once")
        deadline = time.monotonic() + FINISH_SECONDS
        while self._works.drain.busy and signals.stops == 1 and time.monotonic() < deadline:
            signals.wait(self._works.pool.events, IDLE_SECONDS)
            yield self._finish()
        self._report.say()

    def _finish(self) -> list[Outcome]:
        """Take what the workers are done with, and give them no more."""
        self._check()
        outcomes = self._drain(time.monotonic(), accept=False)
        self._attend(outcomes)
        return outcomes

    def _attend(self, outcomes: Sequence[Outcome]) -> None:
        now = time.monotonic()
        for duty in self._duties:
            duty.tick(now, outcomes)

    def _check(self) -> None:
        """Nothing is to be written once the folders are not ours any more."""
        self._works.locks.check()
        self._works.journal.check_in_place()

    def _drain(self, now: float, *, accept: bool) -> list[Outcome]:
        drain = self._works.drain
        outcomes = drain.tick(now, accept=accept)
        self._report.tick(now, outcomes, busy=drain.busy)
        self._note_stall()
        return outcomes

    def _note_stall(self) -> None:
        """Let `status` know that images wait for the disk, or no longer; the pool told the log."""
        stall = self._works.pool.stall
        if stall == self._stall:
            return
        self._works.locks.state.pause(stall)
        self._works.troubles.note(Kind.NOT_CONFIRMED, stall)
        if not stall:
            log.info("the disk confirms writes again")
        self._stall = stall

    def _note_scan(self, source: Source) -> None:
        """What a scan passed over, for `status` and the log, when it is not as before."""
        watcher = source.watcher
        if watcher.scans == self._scans.get(id(watcher), 0):
            return
        self._scans[id(watcher)] = watcher.scans
        if source.priority == Priority.LIVE and self._works.journal.note_ignored(watcher.ignored):
            for reason, (count, example) in sorted(watcher.ignored.items()):
                log.info("ignored: %d: %s, such as %s", count, reason, escape(example))


def raise_trouble(sources: Sequence[Source]) -> None:
    """For work that has an end: it never comes while a folder cannot be read.

    Raises `DaemonError`.
    """
    for source in sources:
        if source.watcher.trouble:
            raise DaemonError(
                f"{escape(source.watcher.folder)}: {source.watcher.trouble}. Mend that and run the "
                "same command again: what is done stays done"
            )
