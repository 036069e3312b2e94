"""The journal: the queue of what is to be done and the receipt of what was done, in SQLite.

Whoever finds a file, by an event, a scan or a backfill, does one thing: put its arrival in here.
One loop drains it. What is done is done in one transaction together with the exact bytes of the
rows for results.csv, so that file can always be made to agree.

A path stands at most once among the arrivals. A newer sighting takes its place with a new number,
so the end of work on the older one does not wipe it out.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from classifier.read import Signature
from daemon.census import Priority
from daemon.deliveries import Deliveries
from daemon.errors import JournalDamagedError, JournalError
from daemon.jobs import Job, Outcome, Sighting, timestamp
from daemon.moves import Moves, answered_by
from daemon.parts import Parts
from daemon.retired import Retired
from daemon.row import Row, line

AGAIN_AT_ONCE = 1000
MAX_KNOWN = 100  # contents that a job carries along; `finish` knows all
MAX_SEQ = (1 << 63) - 1
NONE: frozenset[str] = frozenset()

ARRIVE = (
    "INSERT OR {} INTO arrivals (path, root, size, mtime_ns, ctime_ns, priority, attempt, anew, "
    "wanted, seen_at, not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)"
)

CLAIM = (
    "SELECT seq, path, root, size, mtime_ns, ctime_ns, attempt, anew, seen_at, "
    "EXISTS (SELECT 1 FROM results WHERE path = arrivals.path) "
    "FROM arrivals WHERE (not_before <= ? OR not_before > ?) "
    "AND (wanted = '' OR wanted = ?) AND seq NOT IN (SELECT value FROM json_each(?)) "
    "ORDER BY priority, seq LIMIT ?"
)
# The present content of a file and some of those before it, in no order: nothing is sorted of what
# may be a million rows, of a camera that writes one name over and over. If the file is tried again,
# a failed row makes no other one superfluous.
KNOWN = f"""
SELECT sha256 FROM results WHERE sha256 > '' AND (status != 'failed' OR NOT :attempt)
AND (model = :model OR NOT :anew) AND seq = (SELECT result FROM files WHERE path = :path)
UNION
SELECT sha256 FROM (
    SELECT sha256 FROM results WHERE path = :path AND sha256 > ''
    AND (status != 'failed' OR NOT :attempt) AND (model = :model OR NOT :anew) LIMIT {MAX_KNOWN - 1}
)
"""  # noqa: S608


DONE_ELSEWHERE = (
    "DELETE FROM arrivals WHERE path = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ? "
    "AND attempt = 0 AND anew = 0"
)
TALLY = "INSERT INTO tally VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET rows = rows + excluded.rows"


class Published(NamedTuple):
    """What a transaction decided to publish: the row's number in results.csv, and its bytes."""

    seq: int
    line: bytes


def crc32(data: bytes) -> int:
    return zlib.crc32(data)


class Journal(Moves, Parts, Retired, Deliveries):
    """An open journal. Several processes may have it open; one of them drains it."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        super().__init__(connection, file)
        self._tally = Counter[tuple[str, str]]()  # rows by day and status, of this transaction

    # The queue

    def unseen(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of them that were neither done nor put in the queue as they look now."""
        paths = [sighting.path for sighting in sightings]
        stands = self._looks("files", paths) | self._looks("arrivals", paths)
        return [found for found in sightings if stands.get(found.path) != found.signature]

    def enqueue(self, sightings: Iterable[Sighting], priority: Priority) -> int:
        """Put them in the queue, unless they stand there or are done; how many were put in."""
        latest = {sighting.path: sighting for sighting in sightings}
        with self._transaction():
            news = self.unseen(list(latest.values()))
            # A backfilled file that is rewritten and seen live becomes a live one.
            waiting = self._waiting([sighting.path for sighting in news])
            seen_at = timestamp()
            arriving = []
            for path, signature, root in news:
                before, attempt, *anew = waiting.get(path, (priority, 0, 0, ""))
                goes = min(before, priority)
                arriving.append((path, root, *signature, goes, attempt, *anew, seen_at))
            self._db.executemany(ARRIVE.format("REPLACE"), arriving)
        return len(arriving)

    def enqueue_again(self, sightings: Sequence[Sighting]) -> int:
        """Put files in the queue that are to get one more row; how many did not wait already.

        The id of that row is another one, by the number of rows that the file has.
        """
        added = 0
        # A daemon at work must not wait for long.
        for start in range(0, len(sightings), AGAIN_AT_ONCE):
            with self._transaction():
                for path, signature, root in sightings[start : start + AGAIN_AT_ONCE]:
                    rows = self.rows_of(path)
                    added += self._db.execute(
                        ARRIVE.format("IGNORE"),
                        (path, root, *signature, Priority.LIVE, rows, 0, "", timestamp()),
                    ).rowcount
        return added

    def enqueue_anew(self, sightings: Sequence[Sighting], model: str) -> int:
        """Put files in the queue that are to get a row of a model, unless they have one; how many
        did not wait for that already. They come after all others.

        model: the digits that name it. Until it serves, they wait.
        """
        added = 0
        for start in range(0, len(sightings), AGAIN_AT_ONCE):
            part = sightings[start : start + AGAIN_AT_ONCE]
            with self._transaction():
                waiting = self._waiting([sighting.path for sighting in part])
                arriving = []
                for path, signature, root in part:
                    new = (Priority.RECLASSIFY, 0, 0, "")
                    priority, attempt, *anew = waiting.get(path, new)
                    if anew != [1, model]:
                        how = (priority, attempt, 1, model, timestamp())
                        arriving.append((path, root, *signature, *how))
                self._db.executemany(ARRIVE.format("REPLACE"), arriving)
            added += len(arriving)
        return added

    def want(self, model: str) -> None:
        """A model serves: what was to be classified anew is, by this one."""
        query = "SELECT 1 FROM arrivals WHERE wanted NOT IN ('', ?) LIMIT 1"
        if self._db.execute(query, (model,)).fetchone() is not None:  # else nothing is written
            with self._transaction():
                self._db.execute("UPDATE arrivals SET wanted = ? WHERE wanted != ''", (model,))

    def claim(
        self,
        limit: int,
        in_hand: Collection[Job],
        now: float | None = None,
        retry_seconds: float = math.inf,
        model: str = "",
    ) -> list[Job]:
        """The next jobs, at most `limit`, none of a file that is in hand already.

        model: the digits that name the present one.
        retry_seconds: nothing waits for longer. What would, as the clock was set back since, is
        taken at once.

        Nothing is noted: what is claimed and never finished is simply there again after a crash.
        """
        now = time.time() if now is None else now
        taken = json.dumps([job.seq for job in in_hand])
        values = (now, now + retry_seconds, model, taken, limit + len(in_hand))
        found = self._db.execute(CLAIM, values)
        paths = {job.path for job in in_hand}  # of one that came anew meanwhile, too
        free = islice((values for values in found if values[1] not in paths), limit)
        return [
            Job(
                seq,
                path,
                Signature(*signature),
                attempt,
                seen_at,
                self._known(path, attempt, anew, model) if has_rows else NONE,
                root,
                anew=bool(anew),
            )
            for seq, path, root, *signature, attempt, anew, seen_at, has_rows in free
        ]

    def finish(
        self, outcomes: Sequence[Outcome], retry_at: float, synced: int = 0
    ) -> list[Published]:
        """Note in one transaction what became of jobs; the rows to append to results.csv.

        retry_at: when an unsettled file is to be tried again, in seconds since 1970.
        synced: the number of the last row that is known to be on the disk in results.csv.
        """
        with self._publishing():
            self._note_synced(synced)
            return self._note(outcomes, retry_at)

    def take_in(
        self, limit: int, in_hand: Collection[Job], synced: int = 0
    ) -> tuple[list[Outcome], list[Published]]:
        """Note in one transaction rows that were made elsewhere, at most `limit`, none of a file
        that is in hand; what they are of, and those to append to results.csv."""
        if not self.has_deliveries():
            return [], []
        with self._publishing():
            self._note_synced(synced)
            taken = self._delivered(limit, frozenset(job.path for job in in_hand))
            outcomes = [outcome for _, outcome in taken]
            published = self._note(outcomes, 0)
            over = [(seq,) for seq, _ in taken]
            self._db.executemany("DELETE FROM deliveries WHERE seq = ?", over)
            # Of one that waits here as well, if it looks like that.
            same = [(job.path, *job.signature) for job, *_ in outcomes]
            self._db.executemany(DONE_ELSEWHERE, same)
        return outcomes, published

    def _note(self, outcomes: Sequence[Outcome], retry_at: float) -> list[Published]:
        """Within a transaction: see `finish`."""
        published: list[Published] = []
        over, looks, again = [], [], []
        for outcome in outcomes:
            job = outcome.job
            signature = outcome.signature or job.signature
            if outcome.unsettled:
                self._db.execute(
                    "UPDATE arrivals SET not_before = ?, size = ?, mtime_ns = ?, ctime_ns = ? "
                    "WHERE seq = ?",
                    (retry_at, *signature, job.seq),
                )
                continue
            result, new = self._result_of(outcome)
            published += new
            over.append((job.seq,))
            if self.sorting is not None and result is not None and not outcome.again:
                if new and outcome.row:
                    self._note_move(job, result, answered_by(outcome.row), signature)
                else:
                    self._note_known(job, result, signature)
            if outcome.again:  # as if it had not been seen
                again.append((result, job.path))
            else:
                looks.append((job.path, *signature, result))
        self._db.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", looks)
        self._db.executemany("UPDATE files SET result = ? WHERE path = ?", again)
        self._db.executemany("DELETE FROM arrivals WHERE seq = ?", over)
        return published

    def _result_of(self, outcome: Outcome) -> tuple[int | None, list[Published]]:
        """The number of the row for this content, and the row itself if it had none yet."""
        job, row = outcome.job, outcome.row
        result = self._row_of(job, row.sha256 if row else outcome.sha256, row.model if row else "")
        if row is None or result is not None:
            return result, []
        published = self._receipt(job.path, row)
        seq = published[0].seq if published else self.seq_of(job.path, row.sha256, row.id)
        return seq, published

    def _row_of(self, job: Job, sha256: str | None, model: str) -> int | None:
        """The row of a content that makes another one, of this model, superfluous."""
        if not sha256 or not job.known:  # of no content is there one, when it was claimed and since
            return None
        query = (
            "SELECT max(seq) FROM results WHERE path = ? AND sha256 = ? "
            "AND (status != 'failed' OR NOT ?) AND (model = ? OR NOT ?)"
        )
        values = (job.path, sha256, job.attempt, model, job.anew and bool(model))
        (seq,) = self._db.execute(query, values).fetchone()
        return None if seq is None else int(seq)

    def _receipt(self, path: bytes, row: Row, bytes_of_row: bytes | None = None) -> list[Published]:
        bytes_of_row = bytes_of_row or line(row)
        cursor = self._db.execute(
            "INSERT OR IGNORE INTO results (id, path, sha256, model, status, label, confidence, "
            "reason, thumbnail, classified_at, line, crc) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                row.id, path, row.sha256, row.model, row.status, row.label,
                float(row.confidence) if row.confidence else None,
                row.reason, row.thumbnail, row.classified_at, bytes_of_row, crc32(bytes_of_row),
            ),
        )  # fmt: skip
        if not cursor.rowcount or cursor.lastrowid is None:
            return []  # it has its row already
        self._tally[row.classified_at[: len("2026-01-01")], row.status] += 1
        return [Published(cursor.lastrowid, bytes_of_row)]

    # The receipt

    def lines(self, after: int = 0, upto: int | None = None) -> Iterator[Published]:
        """The rows, in order, from the one after number `after` on; to the one with number `upto`.

        Raises `JournalDamagedError` at one that is not as it was written.
        """
        query = "SELECT seq, line, crc FROM results WHERE seq > ? AND seq <= ? ORDER BY seq"
        last = MAX_SEQ if upto is None else upto
        for seq, bytes_of_row, crc in self._db.execute(query, (after, last)):
            # One flipped bit makes a text of a BLOB.
            if not isinstance(bytes_of_row, bytes) or crc32(bytes_of_row) != crc:
                raise JournalDamagedError(self._file, f"row {seq} is not as it was written")
            yield Published(seq, bytes_of_row)

    def adopt(self, rows: Iterable[tuple[bytes, Row, bytes]]) -> int:
        """Take over rows of a results.csv whose journal is lost: path, row, line; how many.

        Raises `JournalError` for a row that stands there twice.
        """
        count = 0
        with self._publishing():
            for path, row, bytes_of_row in rows:
                if not self._receipt(path, row, bytes_of_row):
                    raise JournalError(
                        f"the row {row.id} of {row.path} stands there twice: take the second one "
                        "out of results.csv and run `classifyd rebuild` again"
                    )
                count += 1
        return count

    def note_synced(self, seq: int) -> None:
        """Remember that results.csv is on the disk up to row `seq`."""
        if seq > self.synced():  # else nothing is written
            with self._transaction():
                self._note_synced(seq)

    def unsync(self, seq: int) -> None:
        """Forget that rows after number `seq` are on the disk: they are written anew."""
        if seq < self.synced():
            with self._transaction():
                self._db.execute("UPDATE outbox SET synced = ?", (seq,))

    def _note_synced(self, seq: int) -> None:
        self._db.execute("UPDATE outbox SET synced = ? WHERE synced < ?", (seq, seq))

    # Notes of scans

    def note_folder(self, path: bytes) -> None:
        """Remember a backfilled folder, for `verify`."""
        self._db.execute("INSERT OR IGNORE INTO folders VALUES (?, ?)", (path, timestamp()))

    def note_ignored(self, ignored: dict[str, tuple[int, bytes]]) -> bool:
        """What a completed scan passed over: reason ▸ how many, an example. Whether it is news."""
        rows = [(reason, count, example) for reason, (count, example) in sorted(ignored.items())]
        if rows == self.ignored():
            return False  # a daemon that idles writes nothing
        with self._transaction():
            self._db.execute("DELETE FROM ignored")
            self._db.executemany("INSERT INTO ignored VALUES (?, ?, ?)", rows)
        return True

    # Within

    @contextmanager
    def _publishing(self) -> Iterator[None]:
        """A transaction in which rows come, and are counted."""
        self._tally.clear()
        with self._transaction():
            yield
            counts = [(*day_and_status, rows) for day_and_status, rows in self._tally.items()]
            self._db.executemany(TALLY, counts)

    def _looks(self, table: str, paths: Sequence[bytes]) -> dict[bytes, Signature]:
        """What these files looked like when they were put there, of those that were."""
        query = f"SELECT path, size, mtime_ns, ctime_ns FROM {table} WHERE path IN "  # noqa: S608
        return {path: Signature(*looks) for path, *looks in self._of(query, paths)}

    def _waiting(self, paths: Sequence[bytes]) -> dict[bytes, tuple[int, int, int, str]]:
        """Priority, attempt, `anew` and `wanted` of those that are in the queue."""
        query = "SELECT path, priority, attempt, anew, wanted FROM arrivals WHERE path IN "
        return {path: (priority, *rest) for path, priority, *rest in self._of(query, paths)}

    def _known(self, path: bytes, attempt: int, anew: int, model: str) -> frozenset[str]:
        """Contents of a file that make another row superfluous; none only if there are none."""
        values = {"path": path, "attempt": attempt, "anew": anew, "model": model}
        found = self._db.execute(KNOWN, values)
        return frozenset(sha256 for (sha256,) in found)
