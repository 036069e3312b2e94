"""What can be asked of the journal. Nothing is changed by asking."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from classifier.read import Signature
from daemon.database import Database


class Priority(IntEnum):
    LIVE = 0
    BACKFILL = 1
    RECLASSIFY = 2


PENDING = "pending"
# Of the rows of a file, the one of its present content, which need not be the newest: a file may be
# written over and then be put back. After a rebuild the newest stands for it until it is seen.
PRESENT = (
    "seq = coalesce((SELECT result FROM files WHERE path = r.path), "
    "(SELECT max(seq) FROM results WHERE path = r.path))"
)


# Failures that are looked at one by one; they may be a million.
COUNTED, COUNTED_REASONS = 2000, 100
NEXT_REASON = (
    "SELECT reason, path FROM results WHERE status = 'failed' AND reason > ? "
    "ORDER BY reason LIMIT 1"
)
COUNT_REASON = (
    "SELECT count(*) FROM (SELECT 1 FROM results WHERE status = 'failed' AND reason = ? LIMIT ?)"
)
# Of so many arrivals, the oldest ones, it is asked whether they should have been taken by now.
OLDEST = 1000
PATHS_A_QUERY = 500  # a part of what SQLite allows


class Present(NamedTuple):
    """The row of a file's present content. signature: how the file looked, if that is known."""

    path: bytes
    label: str
    status: str
    signature: Signature | None


class Stood(NamedTuple):
    """A row, and the path that its image had."""

    seq: int
    id: str
    path: bytes
    status: str
    label: str
    classified_at: str


STOOD = "SELECT r.seq, id, path, status, label, classified_at FROM results AS r "


class Census(Database):
    """Questions to an open journal, which `Journal` inherits."""

    def pending(self, priority: Priority | None = None) -> int:
        """How many arrivals wait."""
        where, values = ("", ()) if priority is None else ("WHERE priority = ?", (priority,))
        return self._number(f"SELECT count(*) FROM arrivals {where}", *values)  # noqa: S608

    def last_arrival(self) -> int:
        """The number of the newest arrival that waits."""
        return self._number("SELECT coalesce(max(seq), 0) FROM arrivals")

    def waits_upto(self, seq: int) -> bool:
        """Whether an arrival with this number or a smaller one waits."""
        query = "SELECT 1 FROM arrivals WHERE seq <= ? LIMIT 1"
        return self._db.execute(query, (seq,)).fetchone() is not None

    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return self._db.execute("SELECT 1 FROM arrivals LIMIT 1").fetchone() is None

    def oldest_pending(self) -> str | None:
        """When the arrival that waits longest was seen."""
        query = "SELECT seen_at FROM arrivals ORDER BY seq LIMIT 1"
        row = self._db.execute(query).fetchone()
        return None if row is None else str(row[0])

    def overdue(self, before: float, seen_before: str) -> str | None:
        """When the arrival was seen that waits longest of those that came, and were to be tried
        again, before a time: in seconds since 1970, and as `timestamp` tells it. What waits for
        a model of its own may do so for long."""
        row = self._db.execute(
            "SELECT seen_at FROM (SELECT seq, seen_at, not_before FROM arrivals "
            "WHERE wanted = '' ORDER BY seq "
            "LIMIT ?) WHERE not_before < ? AND seen_at < ? ORDER BY seq LIMIT 1",
            (OLDEST, before, seen_before),
        ).fetchone()
        return None if row is None else str(row[0])

    def results_since(self, moment: str) -> int:
        """How many rows are newer than a time, as `timestamp` tells it: found by halving, as they
        stand in the order of their times, but for a clock that was set."""
        newest = above = self.results()
        below = 0  # not newer
        while above > below:
            middle = (below + above + 1) // 2
            query = "SELECT classified_at FROM results WHERE seq >= ? ORDER BY seq LIMIT 1"
            row = self._db.execute(query, (middle,)).fetchone()
            if row is not None and str(row[0]) <= moment:
                below = middle
            else:
                above = middle - 1
        return newest - below

    def results(self) -> int:
        """How many rows there are."""
        return self._number("SELECT coalesce(max(seq), 0) FROM results")

    def rows_of(self, path: bytes) -> int:
        """How many of them are a file's."""
        return self._number("SELECT count(*) FROM results WHERE path = ?", path)

    def by_status(self, day: str = "") -> dict[str, int]:
        """Rows by status; day: of this one, as 2026-01-01 in UTC, or else of all."""
        query = (
            "SELECT status, sum(rows) FROM tally WHERE day = :day OR :day = '' "
            "GROUP BY status ORDER BY status"
        )
        return dict(self._db.execute(query, {"day": day}))

    def by_status_after(self, seq: int) -> dict[str, int]:
        """Rows by status, of those that come after this number; each is looked at."""
        query = "SELECT status, count(*) FROM results WHERE seq > ? GROUP BY status ORDER BY status"
        return dict(self._db.execute(query, (seq,)))

    def failures(self) -> list[tuple[str, int, bytes]]:
        """(reason, how many files, one example), most often first, by a file's present content."""
        return self._db.execute(
            f"SELECT reason, count(*), max(path) FROM results AS r "  # noqa: S608
            f"WHERE status = 'failed' AND {PRESENT} "
            "GROUP BY reason ORDER BY count(*) DESC, reason"
        ).fetchall()

    def main_failures(self, rows: int) -> Iterator[tuple[str, int, bytes, bool]]:
        """Like `failures`, but never long in coming: where there are many, and where a reason has
        many, its rows are counted up to a limit, and the last value says whether there are more.

        rows: how many failed rows there are.
        """
        if rows <= COUNTED:
            yield from ((*found, False) for found in self.failures())
            return
        found: list[tuple[str, int, bytes, bool]] = []
        reason = ""
        while len(found) < COUNTED_REASONS:
            row = self._db.execute(NEXT_REASON, (reason,)).fetchone()
            if row is None:
                break
            reason, example = row
            count = self._number(COUNT_REASON, reason, COUNTED + 1)
            found.append((reason, min(count, COUNTED), example, count > COUNTED))
        yield from sorted(found, key=lambda failure: (-failure[1], failure[0]))

    def failed(self, reason: str) -> Iterator[bytes]:
        """The paths of files whose present content has failed.

        reason: only those in whose reason this text is, in any case.
        """
        found = self._db.execute(
            f"SELECT path FROM results AS r WHERE status = 'failed' AND {PRESENT} "  # noqa: S608
            "AND instr(lower(reason), lower(?)) > 0 ORDER BY seq",
            (reason,),
        )
        return (path for (path,) in found)

    def present(self, sql: str, values: Sequence[object]) -> Iterator[Present]:
        """The rows of present contents that meet a condition: see `conditions`."""
        found = self._db.execute(
            "SELECT r.path, label, status, size, mtime_ns, ctime_ns "  # noqa: S608
            f"FROM results AS r LEFT JOIN files ON files.path = r.path AND result = seq "
            f"WHERE {PRESENT} AND ({sql}) ORDER BY seq",
            tuple(values),
        )
        for path, label, status, *looks in found:
            yield Present(path, label, status, None if looks[0] is None else Signature(*looks))

    def synced(self) -> int:
        """The number of the last row that is known to be on the disk in results.csv."""
        return self._number("SELECT synced FROM outbox")

    def doubles(self) -> list[tuple[bytes, str]]:
        """(path, sha256) of contents that have more than one row that is not a failure."""
        return self._db.execute(
            "SELECT path, sha256 FROM results WHERE status != 'failed' "
            "GROUP BY path, sha256, model HAVING count(*) > 1"
        ).fetchall()

    def ignored(self) -> list[tuple[str, int, bytes]]:
        """(reason, how many, one example) of the last completed scan of the inbox."""
        return self._db.execute("SELECT * FROM ignored ORDER BY reason").fetchall()

    def folders(self) -> list[bytes]:
        """The folders that were backfilled."""
        return [path for (path,) in self._db.execute("SELECT path FROM folders ORDER BY path")]

    def last_result_at(self) -> str | None:
        """When the newest row was made."""
        query = "SELECT classified_at FROM results ORDER BY seq DESC LIMIT 1"
        row = self._db.execute(query).fetchone()
        return None if row is None else str(row[0])

    def state_of(self, path: bytes) -> tuple[str, str] | None:
        """(PENDING, '') or (status, reason) of a file as it is now; None if it never arrived."""
        if self._db.execute("SELECT 1 FROM arrivals WHERE path = ?", (path,)).fetchone():
            return PENDING, ""
        row: tuple[str, str] | None = self._db.execute(
            f"SELECT status, reason FROM results AS r WHERE path = ? AND {PRESENT}",  # noqa: S608
            (path,),
        ).fetchone()
        return row

    def could_not_be_read(self, path: bytes) -> bool:
        """Whether a file was seen, and not even its bytes could be had: then it is tried again with
        every scan, as if it had not been seen."""
        query = (
            f"SELECT count(*) FROM results AS r WHERE path = ? AND {PRESENT} AND sha256 = '' "  # noqa: S608
            "AND NOT EXISTS (SELECT 1 FROM files WHERE path = r.path)"
        )
        return bool(self._number(query, path))

    def seq_of(self, path: bytes, sha256: str, identifier: str) -> int | None:
        """The number of the row of a file's content with this id."""
        row = self._db.execute(
            "SELECT seq FROM results WHERE path = ? AND sha256 = ? AND id = ?",
            (path, sha256, identifier),
        ).fetchone()
        return None if row is None else int(row[0])

    def stood(self, path: bytes) -> list[Stood]:
        """The rows of images that had this path or were moved to it, the newest first."""
        query = (
            f"{STOOD} WHERE path = :path OR seq IN (SELECT row FROM moves WHERE state = 2 "  # noqa: S608
            "AND NOT back AND CAST(folder || x'2f' || name AS BLOB) = :path) ORDER BY seq DESC"
        )
        return [Stood(*found) for found in self._db.execute(query, {"path": path})]

    def identified(self, identifier: str) -> list[Stood]:
        """The row with this id, if there is one. All are looked at."""
        found = self._db.execute(f"{STOOD} WHERE id = ?", (identifier,))
        return [Stood(*values) for values in found]

    def thumbnails(self) -> Iterator[tuple[str, str]]:
        """(id, thumbnail) of every row that names one, but for those that are retired."""
        return self._db.execute(
            "SELECT id, thumbnail FROM results WHERE thumbnail != '' "
            "AND seq > (SELECT upto FROM retired)"
        )

    def retired_thumbnails(self) -> int:
        """How many are."""
        return self._number(
            "SELECT count(*) FROM results WHERE thumbnail != '' "
            "AND seq <= (SELECT upto FROM retired)"
        )

    def _of(self, query: str, paths: Sequence[bytes]) -> Iterator[tuple[Any, ...]]:
        """What a query finds that ends with IN: one for many paths costs a third of many."""
        for start in range(0, len(paths), PATHS_A_QUERY):
            part = paths[start : start + PATHS_A_QUERY]
            yield from self._db.execute(f"{query}({','.join('?' * len(part))})", part)
