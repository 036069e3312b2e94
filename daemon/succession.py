"""Workers of one plan after those of another, between two batches; from outside it is one pool."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from daemon.errors import PoolError
from daemon.jobs import Job, Outcome
from daemon.messages import Plan
from daemon.pool import Pool
from daemon.worker_process import Batch

log = logging.getLogger(__name__)


class Crew(NamedTuple):
    """What a pool is made of: see `Pool`."""

    plan: Plan
    workers: int
    image_seconds: float
    worker_images: int


class Succession:
    """New workers come up beside those that serve; once one is up, they get all new batches, and
    the old ones finish what they have.

    There are never more than two pools that serve: the next one has to wait for the old one's end.
    """

    def __init__(self, crew: Crew) -> None:
        self.crew = crew
        self._pool = Pool(*crew)
        self._old: Pool | None = None
        self._next: Pool | None = None
        self._next_crew = crew
        self._on_end: Callable[[str], None] = _nothing
        self._restarts = 0  # of pools that are gone

    def succeed(self, crew: Crew, on_end: Callable[[str], None]) -> None:
        """Start workers that are to take over. If others were about to, they are given up.

        on_end: called from `collect`, with '' when they have taken over, or with the reason why
        they never will, as they do not come up; the ones before them serve on then.
        """
        if self._next is not None:
            self._next.close()
            self._next = None
        try:
            self._next, self._next_crew, self._on_end = Pool(*crew), crew, on_end
        except PoolError as error:
            on_end(str(error))

    @property
    def is_changing(self) -> bool:
        """Whether two plans are at work, or about to be."""
        return self._next is not None or self._old is not None

    @property
    def model(self) -> str:
        """The digits that name the model of the batches that are submitted now."""
        return self.crew.plan.model

    # As one pool

    @property
    def events(self) -> list[tuple[int, int]]:
        return [event for pool in self._pools for event in pool.events]

    @property
    def in_hand(self) -> list[Job]:
        return [job for pool in self._pools for job in pool.in_hand]

    @property
    def idle_workers(self) -> int:
        return self._pool.idle_workers

    @property
    def room(self) -> bool:
        return self._pool.room

    @property
    def stall(self) -> str:
        return next((pool.stall for pool in self._pools if pool.stall), "")

    @property
    def restarts(self) -> int:
        return self._restarts + sum(pool.restarts for pool in self._pools)

    @property
    def is_up(self) -> bool:
        return self._pool.is_up

    def is_moving(self, now: float) -> bool:
        old_moves = self._old is not None and self._old.is_moving(now)
        return self._pool.is_moving(now) or old_moves

    def submit(self, batch: Batch) -> None:
        self._pool.submit(batch)

    def collect(self, now: float) -> Iterator[list[Outcome]]:
        """See `Pool.collect`. Between two calls, the one pool may have followed on the other."""
        yield from self._pool.collect(now)
        if self._old is not None:
            yield from self._old.collect(now)
            if not self._old.in_hand:
                self._restarts += self._old.restarts
                self._old.close()
                self._old = None
        if self._next is not None:
            self._look_at_the_next(self._next, now)

    def close(self) -> None:
        for pool in self._pools:
            pool.close()

    @property
    def _pools(self) -> list[Pool]:
        return [pool for pool in (self._pool, self._old, self._next) if pool is not None]

    def _look_at_the_next(self, pool: Pool, now: float) -> None:
        try:
            for _ in pool.collect(now):  # it has nothing to be done
                pass
        except (PoolError, OSError) as error:
            pool.close()
            self._next = None
            self._on_end(str(error))
            return
        if pool.is_up and self._old is None:
            self._old, self._pool, self._next = self._pool, pool, None
            self.crew = self._next_crew
            log.debug("new workers have taken over")
            self._on_end("")


def _nothing(reason: str) -> None:
    """Nobody asked."""
