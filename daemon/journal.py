"""The journal: the queue of what is to be done and the receipt of what was done, in SQLite.

Whoever finds a file, by an event, a scan or a backfill, does one thing: put its arrival in here.
One loop drains it. What is done is done in one transaction together with the exact bytes of the
rows for results.csv, so that file can always be made to agree.

A path stands at most once among the arrivals. A newer sighting takes its place with a new number,
so the end of work on the older one does not wipe it out.
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from classifier.read import Signature
from daemon.census import Census, Priority
from daemon.errors import JournalDamagedError, JournalError
from daemon.jobs import Job, Outcome, Sighting, timestamp
from daemon.row import Row, line

AGAIN_AT_ONCE = 1000
MAX_KNOWN = 100  # contents that a job carries along; `finish` knows all

ARRIVE = (
    "INSERT OR {} INTO arrivals (path, root, size, mtime_ns, ctime_ns, priority, attempt, seen_at, "
    "not_before) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)"
)


class Published(NamedTuple):
    """What a transaction decided to publish: the row's number in results.csv, and its bytes."""

    seq: int
    line: bytes


def _counts(attempt: int) -> str:
    """Which rows of a content make another one superfluous: if it is tried again, no failed one."""
    return "status != 'failed'" if attempt else "TRUE"


def crc32(data: bytes) -> int:
    return zlib.crc32(data)


class Journal(Census):
    """An open journal. Several processes may have it open; one of them drains it."""

    # The queue

    def unseen(self, sightings: Sequence[Sighting]) -> list[Sighting]:
        """Those of them that were neither done nor put in the queue as they look now."""
        return [sighting for sighting in sightings if not self._stands(sighting)]

    def enqueue(self, sightings: Iterable[Sighting], priority: Priority) -> int:
        """Put them in the queue, unless they stand there or are done; how many were put in."""
        added = 0
        with self._transaction():
            for sighting in sightings:
                if self._stands(sighting):
                    continue
                added += 1
                waiting = self._db.execute(
                    "SELECT priority, attempt FROM arrivals WHERE path = ?", (sighting.path,)
                ).fetchone()
                # A backfilled file that is rewritten and seen live becomes a live one.
                before, attempt = (priority, 0) if waiting is None else waiting
                path, signature, root = sighting
                self._db.execute(
                    ARRIVE.format("REPLACE"),
                    (path, root, *signature, min(before, priority), attempt, timestamp()),
                )
        return added

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
                        (path, root, *signature, Priority.LIVE, rows, timestamp()),
                    ).rowcount
        return added

    def claim(
        self,
        limit: int,
        in_hand: Collection[bytes],
        now: float | None = None,
        retry_seconds: float = math.inf,
    ) -> list[Job]:
        """The next jobs, at most `limit`, none of a path that is in hand already.

        retry_seconds: nothing waits for longer. What would, as the clock was set back since, is
        taken at once.

        Nothing is noted: what is claimed and never finished is simply there again after a crash.
        """
        jobs: list[Job] = []
        now = time.time() if now is None else now
        rows = self._db.execute(
            "SELECT seq, path, root, size, mtime_ns, ctime_ns, attempt, seen_at FROM arrivals "
            "WHERE not_before <= ? OR not_before > ? ORDER BY priority, seq LIMIT ?",
            (now, now + retry_seconds, limit + len(in_hand)),
        ).fetchall()
        for seq, path, root, size, mtime_ns, ctime_ns, attempt, seen_at in rows:
            if path in in_hand or len(jobs) == limit:
                continue
            known = self._contents_of(path, attempt)
            signature = Signature(size, mtime_ns, ctime_ns)
            jobs.append(Job(seq, path, signature, attempt, seen_at, known, root))
        return jobs

    def finish(
        self, outcomes: Sequence[Outcome], retry_at: float, synced: int = 0
    ) -> list[Published]:
        """Note in one transaction what became of jobs; the rows to append to results.csv.

        retry_at: when an unsettled file is to be tried again, in seconds since 1970.
        synced: the number of the last row that is known to be on the disk in results.csv.
        """
        published: list[Published] = []
        with self._transaction():
            self._note_synced(synced)
            for outcome in outcomes:
                if outcome.unsettled:
                    self._db.execute(
                        "UPDATE arrivals SET not_before = ?, size = ?, mtime_ns = ?, ctime_ns = ? "
                        "WHERE seq = ?",
                        (retry_at, *(outcome.signature or outcome.job.signature), outcome.job.seq),
                    )
                    continue
                published += self._done(outcome)
                self._db.execute("DELETE FROM arrivals WHERE seq = ?", (outcome.job.seq,))
        return published

    def _done(self, outcome: Outcome) -> list[Published]:
        """Give the content its row, if it has none, and note which one it is."""
        published: list[Published] = []
        path, row = outcome.job.path, outcome.row
        result = self._row_of(outcome.job, row.sha256 if row else outcome.sha256)
        if row is not None and result is None:
            published = self._receipt(path, row)
            result = self.seq_of(row.id)
        if outcome.again:  # as if it had not been seen
            self._db.execute("UPDATE files SET result = ? WHERE path = ?", (result, path))
        else:
            signature = outcome.signature or outcome.job.signature
            self._db.execute(
                "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", (path, *signature, result)
            )
        return published

    def _row_of(self, job: Job, sha256: str | None) -> int | None:
        """The row of a content that makes another one superfluous."""
        if not sha256:
            return None
        query = "SELECT max(seq) FROM results WHERE path = ? AND sha256 = ? AND "
        (seq,) = self._db.execute(query + _counts(job.attempt), (job.path, sha256)).fetchone()
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
        return [Published(cursor.lastrowid, bytes_of_row)]

    # The receipt

    def lines(self, after: int = 0) -> Iterator[Published]:
        """The rows of results.csv, in order, from the one after number `after` on.

        Raises `JournalDamagedError` at one that is not as it was written.
        """
        query = "SELECT seq, line, crc FROM results WHERE seq > ? ORDER BY seq"
        for seq, bytes_of_row, crc in self._db.execute(query, (after,)):
            # One flipped bit makes a text of a BLOB.
            if not isinstance(bytes_of_row, bytes) or crc32(bytes_of_row) != crc:
                raise JournalDamagedError(self._file, f"row {seq} is not as it was written")
            yield Published(seq, bytes_of_row)

    def adopt(self, rows: Iterable[tuple[bytes, Row, bytes]]) -> int:
        """Take over rows of a results.csv whose journal is lost: path, row, line; how many.

        Raises `JournalError` for a row that stands there twice.
        """
        count = 0
        with self._transaction():
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

    def _stands(self, sighting: Sighting) -> bool:
        for table in ("arrivals", "files"):
            row = self._db.execute(
                f"SELECT size, mtime_ns, ctime_ns FROM {table} WHERE path = ?",  # noqa: S608
                (sighting.path,),
            ).fetchone()
            if row is not None:
                same: bool = Signature._make(row) == sighting.signature
                return same
        return False

    def _contents_of(self, path: bytes, attempt: int) -> frozenset[str]:
        found = self._db.execute(
            f"SELECT sha256 FROM results WHERE path = ? AND sha256 != '' AND {_counts(attempt)} "  # noqa: S608
            "ORDER BY seq DESC LIMIT ?",
            (path, MAX_KNOWN),
        )
        return frozenset(sha256 for (sha256,) in found)
