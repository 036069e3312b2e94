"""The journal's table of rows that were made elsewhere and wait to be published here.

Another process, such as a backfill on a cluster, may have answered for images; it puts their rows
in this table, and whoever drains the queue takes them from there into results.csv.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from classifier.read import Signature
from daemon.census import Census
from daemon.jobs import Job, Outcome
from daemon.row import Row

AT_ONCE = 1000
DELIVER = (
    "INSERT INTO deliveries (path, root, size, mtime_ns, ctime_ns, again, cells) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)


class Delivery(NamedTuple):
    """An image that has its row already.

    signature: how the file looked. root: how much of the path is the folder that it was found in.
    again: it could not be read; a scan that finds it takes it up once more.
    """

    path: bytes
    signature: Signature
    root: int
    again: bool
    row: Row


class Deliveries(Census):
    """A part of the journal."""

    def deliver(self, deliveries: Iterable[Delivery]) -> int:
        """Put rows there, to be published unless their contents have one by then; how many."""
        count = 0
        rest = iter(deliveries)
        # A daemon at work must not wait for long.
        while part := list(islice(rest, AT_ONCE)):
            with self._transaction():
                self._db.executemany(
                    DELIVER,
                    [
                        (one.path, one.root, *one.signature, one.again, json.dumps(one.row))
                        for one in part
                    ],
                )
            count += len(part)
        return count

    def contents(self, paths: Sequence[bytes]) -> dict[bytes, frozenset[str]]:
        """Contents (SHA-256) that have a row, of those of these paths that have any."""
        query = "SELECT path, sha256 FROM results WHERE sha256 > '' AND path IN "
        found: dict[bytes, set[str]] = {}
        for path, sha256 in self._of(query, paths):
            found.setdefault(path, set()).add(sha256)
        return {path: frozenset(contents) for path, contents in found.items()}

    def has_deliveries(self) -> bool:
        """Whether rows wait that were made elsewhere."""
        return self._db.execute("SELECT 1 FROM deliveries LIMIT 1").fetchone() is not None

    def _delivered(self, limit: int, apart: frozenset[bytes]) -> list[tuple[int, Outcome]]:
        """The next of them with their numbers. apart: paths that are worked on just now."""
        query = (
            "SELECT seq, path, root, size, mtime_ns, ctime_ns, again, cells FROM deliveries "
            "ORDER BY seq"
        )
        found = ((seq, *rest) for seq, *rest in self._db.execute(query) if rest[0] not in apart)
        outcomes = []
        for seq, path, root, *looks, again, cells in islice(found, limit):
            row = Row(*json.loads(cells))
            # Its content may have come to a row since: that is looked for if it is a known one.
            known = frozenset({row.sha256})
            job = Job(0, path, Signature(*looks), 0, row.seen_at, known, root)
            outcomes.append((seq, Outcome(job, row=row, again=bool(again))))
        return outcomes
