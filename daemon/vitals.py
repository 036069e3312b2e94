"""How the process at work is: gathered in every turn, for `status`, the metrics and a monitor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from daemon import logs
from daemon.drain import Drain
from daemon.jobs import Outcome
from daemon.lock import StateLock
from daemon.reasons import kind_of
from daemon.record import Noted, Record, RecordFile, boot
from daemon.succession import Succession
from daemon.troubles import Troubles
from daemon.watch import Watcher

# How often the record may be written, but for a trouble that comes or goes.
WRITE_SECONDS = 2.0
# How often a turn is noted while images are in hand. With none, nothing is written at all.
STIR_SECONDS = 10.0


class Signs(NamedTuple):
    """What has come about since the process began; never changed, only replaced by another."""

    record: Record
    turned: float = 0.0  # when the loop began its last turn, seconds since 1970
    failed: Mapping[str, int] = {}  # images, by the kind of failure
    scans: int = 0  # completed ones, of the folder that is watched


class Vitals:
    """A duty of the loop. It outlives what the loop works with, which a full disk closes."""

    def __init__(
        self,
        file: RecordFile,
        lock: StateLock,
        troubles: Troubles,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """lock: held, and told which model runs."""
        self._file = file
        self._lock = lock
        self._troubles = troubles
        self._clock = clock
        self._pool: Succession | None = None
        self._drain: Drain | None = None
        self._watcher: Watcher | None = None
        self._failed = Counter[str]()
        self._restarts = 0  # of pools that are closed
        self._write_at = 0.0
        self._told = 0  # changes of the troubles that are written down
        me = lock.holder
        self.signs = Signs(Record(me.pid, me.command, me.since, boot()))
        self.note()

    def serve(self, pool: Succession, drain: Drain) -> None:
        """Everything is open."""
        self._pool, self._drain = pool, drain
        self._set(is_working=True)
        self.note()

    def watch(self, watcher: Watcher) -> None:
        """The eyes on the inbox."""
        self._watcher = watcher

    def rest(self) -> None:
        """Everything is closed again, and may be opened anew."""
        if self._pool is not None:
            self._restarts += self._pool.restarts
        self._pool = self._drain = self._watcher = None
        self._set(is_working=False)
        self.note()

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        clock = self._clock()
        for row in (outcome.row for outcome in outcomes if outcome.row):
            if row.status == "failed":
                self._failed[kind_of(row.reason)] += 1
                self.signs = self.signs._replace(failed=dict(self._failed))
        scans = self.signs.scans if self._watcher is None else self._watcher.scans
        self.signs = self.signs._replace(turned=clock, scans=scans)
        busy = self._drain is not None and self._drain.busy
        if busy and abs(clock - self.signs.record.stirred) >= STIR_SECONDS:
            self._set(stirred=round(clock, 1))
        if now >= self._write_at or self._troubles.changes != self._told:
            self._write_at = now + WRITE_SECONDS
            self.note()
            logs.fold()

    def next_due(self, now: float) -> float:
        return now + STIR_SECONDS

    def note(self) -> None:
        """Write down what has changed, if anything has."""
        self._told = self._troubles.changes
        watching = why = ""
        if self._watcher is not None:
            watching, why = self._watcher.watching
        restarts = self._restarts + (self._pool.restarts if self._pool is not None else 0)
        troubles = tuple(Noted(str(k), t.since, t.text) for k, t in self._troubles.all().items())
        self._set(
            model=self._lock.holder.model,
            watching=watching,
            watching_why=why,
            worker_restarts=restarts,
            troubles=troubles,
        )
        self._file.write(self.signs.record)

    def end(self, why: str) -> None:
        """The last word of the process."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(self._clock()))
        self._set(is_working=False, ended=why, ended_at=at)
        self._file.write(self.signs.record)

    def _set(self, **values: object) -> None:
        record = self.signs.record._replace(**values)  # type: ignore[arg-type]
        self.signs = self.signs._replace(record=record)
