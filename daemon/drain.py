"""The one loop's body that empties the queue: journal ▸ pool ▸ journal ▸ results.csv."""

from __future__ import annotations

import time
from typing import NamedTuple

from daemon.jobs import Job, Outcome, timestamp
from daemon.journal import Journal, Published
from daemon.results import ResultsFile
from daemon.row import line
from daemon.succession import Succession

# While more waits than the workers can take, what is finished is noted together, as a transaction
# and its sync cost as much for one batch as for ten. Nobody waits for just this row then.
NOTE_SECONDS, MOST_AT_ONCE = 0.25, 1000


class Pace(NamedTuple):
    """batch_size: images.
    wait_seconds: how long a batch that is not full is held back, for more to come.
    retry_seconds: after how long a file that was being written is tried again."""

    batch_size: int
    wait_seconds: float
    retry_seconds: float


class Drain:
    """`tick` takes what is done from the workers, makes it durable, and gives them more."""

    def __init__(
        self,
        journal: Journal,
        results: ResultsFile,
        pool: Succession,
        pace: Pace,
    ) -> None:
        """pace: may be replaced by another at any time."""
        self._journal = journal
        self._results = results
        self._pool = pool
        self.pace = pace
        self._deadline: float | None = None  # for the batch that is held back
        self._is_flooded = False  # more waits than the workers can take
        self._finished: list[Outcome] = []  # and not noted yet
        self._note_at = 0.0  # when they are to be, at the latest
        self._more_wait = False  # rows that were made elsewhere

    def tick(self, now: float, *, accept: bool = True) -> list[Outcome]:
        """What was finished and noted. accept: whether new work is taken on.

        Raises `OSError`, `sqlite3.Error` or `DaemonError` if it cannot go on.
        """
        self._results.turn(timestamp()[: len("2026-12")])
        for batch in self._pool.collect(now):
            if not self._finished:
                self._note_at = now + NOTE_SECONDS
            self._finished += batch
        waits = accept and self._is_flooded and now < self._note_at
        outcomes = [] if waits and len(self._finished) < MOST_AT_ONCE else self._note()
        outcomes += self._take_in()
        if accept:
            self._submit(now)
        return outcomes

    def _note(self) -> list[Outcome]:
        """Make durable what is finished."""
        outcomes, self._finished = self._finished, []
        if outcomes:
            retry_at = time.time() + self.pace.retry_seconds
            published = self._journal.finish(outcomes, retry_at, self._results.synced)
            self._results.append(published)
            if sum(outcome.row is not None for outcome in outcomes) > len(published):
                outcomes = _news(outcomes, published)
        return outcomes

    def _take_in(self) -> list[Outcome]:
        """Publish rows that were made elsewhere; those of them that are new."""
        outcomes, published = self._journal.take_in(
            MOST_AT_ONCE, self._in_hand, self._results.synced
        )
        self._results.append(published)
        self._more_wait = len(outcomes) == MOST_AT_ONCE
        return _news(outcomes, published)

    @property
    def busy(self) -> bool:
        """Whether anything is in hand."""
        return bool(self._in_hand)

    @property
    def done(self) -> bool:
        """Whether nothing is in hand and nothing waits."""
        return not (self.busy or self._journal.has_deliveries()) and self._journal.is_empty()

    @property
    def _in_hand(self) -> list[Job]:
        return self._pool.in_hand + [outcome.job for outcome in self._finished]

    def next_due(self) -> float | None:
        """When something is to be done even if nothing happens, by the monotonic clock."""
        dues = [] if self._deadline is None else [self._deadline]
        dues += [self._note_at] if self._finished else []
        dues += [0.0] if self._more_wait else []
        return min(dues, default=None)

    def _submit(self, now: float) -> None:
        self._is_flooded = True
        while self._pool.room:
            workers = max(1, self._pool.idle_workers)
            jobs = self._journal.claim(
                workers * self.pace.batch_size,
                self._in_hand,
                retry_seconds=self.pace.retry_seconds,
                model=self._pool.model,
            )
            self._is_flooded = len(jobs) >= self.pace.batch_size
            if not jobs or (not self._is_flooded and not self._may_be_small(now)):
                break
            for batch in shared_out(jobs, workers):
                self._pool.submit(batch)
            self._deadline = None

    def _may_be_small(self, now: float) -> bool:
        """A batch that is not full goes only to a worker that has nothing else to do: while all
        are busy, it grows."""
        if not self._pool.idle_workers:
            return False
        if self._deadline is None:
            self._deadline = now + self.pace.wait_seconds
        return now >= self._deadline


def shared_out(jobs: list[Job], workers: int) -> list[list[Job]]:
    """As even as can be: a few photos of many megapixels keep one processor busy for seconds."""
    size = -(-len(jobs) // workers)
    return [jobs[start : start + size] for start in range(0, len(jobs), size)]


def _news(outcomes: list[Outcome], published: list[Published]) -> list[Outcome]:
    """Without those whose row stands already, of a file that cannot be read as before, say."""
    lines = {row.line for row in published}
    return [o for o in outcomes if o.row is None or line(o.row) in lines]
