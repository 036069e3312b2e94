"""The journal's table of moves: which image belongs where, and how far that has come.

A move is noted in the transaction of its row, begun in one that holds the name it will get, and
done in a third. So after a crash it is known of every image where it may be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from classifier.read import Signature
from daemon.census import Census, Priority
from daemon.jobs import Job, timestamp
from daemon.row import Row, escape
from daemon.sorting import Answered, Sorting

WAITING, BEGUN, DONE = 0, 1, 2
# SQLite makes a text of BLOBs that are put together.
PLACE = "CAST(folder || x'2f' || name AS BLOB)"
WAIT = (
    "SELECT m.seq, m.source, m.folder, r.label, r.status, r.model, r.classified_at "
    "FROM moves AS m JOIN results AS r ON r.seq = m.row WHERE m.state = 0 AND NOT m.back"
)
OPEN = (
    "SELECT m.seq, m.state, m.back, m.row, r.id, r.status, r.reason, r.path, m.source, m.root, "
    "m.size, m.mtime_ns, m.ctime_ns, m.folder, m.beneath, coalesce(m.name, x''), "
    "coalesce(m.inode, 0) "
    "FROM moves AS m JOIN results AS r ON r.seq = m.row "
    "WHERE m.state < 2 AND m.seq > ? AND m.row <= ? "
    # One that is to be classified once more stays where it is for that.
    "AND (m.state = 1 OR NOT EXISTS (SELECT 1 FROM arrivals WHERE path = m.source)) "
    "ORDER BY m.seq LIMIT ?"
)


class Move(NamedTuple):
    """source: the image; root: how much of that is the folder beneath which no link is followed.
    signature: of the content that was classified. folder, beneath: where it belongs, and the same
    of that. name, inode: it gets there, and what file it is; of one that has begun."""

    seq: int
    has_begun: bool
    back: bool  # to where it was, to be tried again
    row: int
    row_id: str
    status: str
    reason: str
    path: bytes  # as the row has it
    source: bytes
    root: int
    signature: Signature
    folder: bytes
    beneath: int
    name: bytes
    inode: int

    @property
    def file(self) -> bytes:
        """What the source is called in its folder."""
        return self.source.rpartition(b"/")[2]

    @property
    def source_folder(self) -> bytes:
        return self.source.rpartition(b"/")[0]

    @property
    def target(self) -> bytes:
        return self.folder + b"/" + self.name

    @property
    def note(self) -> bytes:
        """What stands beside a failed one."""
        return f"{self.reason}\n\npath: {escape(self.path)}\nrow: {self.row_id}\n".encode()


class Back(NamedTuple):
    """A moved image that is to be put back: where it is now, with how much of that is its root, how
    it looks, where it was, with how much of that is the inbox."""

    row: int
    source: bytes
    root: int
    signature: Signature
    path: bytes
    beneath: int


class Moves(Census):
    """A part of the journal."""

    sorting: Sorting | None = None  # what is done is moved by this, if by anything

    def open_moves(self, after: int, upto: int, limit: int) -> list[Move]:
        """The next moves that are not done. after: the number of a move. upto: that of the last
        row that is safe in results.csv."""
        return [
            Move(
                seq, state == BEGUN, bool(back), row, row_id, status, reason, path, source, root,
                Signature(*rest[:3]), *rest[3:],
            )
            for seq, state, back, row, row_id, status, reason, path, source, root, *rest
            in self._db.execute(OPEN, (after, upto, limit))
        ]  # fmt: skip

    def sort_by(self, sorting: Sorting | None) -> None:
        """From now on. What waits to be moved belongs elsewhere by that, or nowhere."""
        self.sorting = sorting
        waiting = self._db.execute(WAIT).fetchall()
        changed, dropped = [], []
        for seq, source, folder, *answered in waiting:
            place = sorting.place(source, Answered(*answered)) if sorting else None
            if place is None:
                dropped.append((seq,))
            elif place.folder != folder:
                changed.append((place.folder, place.root, seq))
        if changed or dropped:
            with self._transaction():
                self._db.executemany(
                    "UPDATE moves SET folder = ?, beneath = ? WHERE seq = ?", changed
                )
                self._db.executemany("DELETE FROM moves WHERE seq = ?", dropped)

    def begin_moves(self, moves: Sequence[Move]) -> None:
        """Note the names that they will get, before anything is done."""
        with self._transaction():
            self._db.executemany(
                "UPDATE moves SET state = ?, name = ?, inode = ? WHERE seq = ?",
                [(BEGUN, move.name, move.inode, move.seq) for move in moves],
            )

    def end_moves(
        self,
        done: Sequence[Move],
        dropped: Sequence[Move],
        waiting: Sequence[Move],
        back: Sequence[tuple[Move, Signature]],
    ) -> None:
        """Note what became of them. dropped: they are not wanted any more, and nothing was done.
        waiting: they need another name. back: are where they were, and are to be tried again."""
        with self._transaction():
            self._db.executemany(
                "UPDATE moves SET state = ? WHERE seq = ?", [(DONE, move.seq) for move in done]
            )
            self._db.executemany(
                "UPDATE moves SET state = ?, name = CASE back WHEN 1 THEN name END WHERE seq = ?",
                [(WAITING, move.seq) for move in waiting],
            )
            self._db.executemany(
                "DELETE FROM moves WHERE seq = ?", [(move.seq,) for move in dropped]
            )
            for move, signature in back:
                self._db.execute(
                    "DELETE FROM moves WHERE seq = ? OR "  # noqa: S608
                    f"(row = ? AND state = ? AND {PLACE} = ?)",
                    (move.seq, move.row, DONE, move.source),
                )
                self._db.execute(
                    "INSERT OR REPLACE INTO arrivals (path, root, size, mtime_ns, ctime_ns, "
                    "priority, attempt, anew, seen_at, not_before) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?, 0)",
                    (move.path, move.beneath, *signature, Priority.LIVE, self.rows_of(move.path),
                     timestamp()),
                )  # fmt: skip

    def put_back(self, moved: Iterable[Back]) -> int:
        """Have images moved back to where they were, and be tried again then; how many more are."""
        added = 0
        with self._transaction():
            for row, source, root, signature, path, beneath in moved:
                found = self._db.execute("SELECT 1 FROM moves WHERE back AND row = ?", (row,))
                if found.fetchone() is None:
                    folder, _, name = path.rpartition(b"/")
                    self._add(row, source, root, signature, folder, beneath, name)
                    added += 1
        return added

    def failed_and_moved(self, path: bytes) -> list[tuple[int, bytes, int]]:
        """(number of the row, where the image is, how much of that is the root) of the image that
        came last to this path, if it has failed and was moved; else nothing."""
        return self._db.execute(
            f"SELECT row, {PLACE}, beneath FROM moves "  # noqa: S608
            "WHERE seq = (SELECT max(seq) FROM moves WHERE source = ? AND state = 2 AND NOT back) "
            "AND (SELECT status FROM results WHERE seq = moves.row) = 'failed'",
            (path,),
        ).fetchall()

    def move_of(self, row: int) -> tuple[bytes, bytes | None] | None:
        """(folder, name or None if it waits to be moved there) of the last move of a row."""
        found: tuple[bytes, bytes | None] | None = self._db.execute(
            "SELECT folder, CASE state WHEN 2 THEN name END FROM moves "
            "WHERE row = ? AND NOT back ORDER BY seq DESC LIMIT 1",
            (row,),
        ).fetchone()
        return found

    def moves_waiting(self) -> int:
        """How many are not done."""
        return self._number("SELECT count(*) FROM moves WHERE state < 2")

    def all_moved(self) -> Iterable[bytes]:
        """Where all moved images were put."""
        query = f"SELECT {PLACE} FROM moves WHERE state = 2 ORDER BY seq"  # noqa: S608
        return (path for (path,) in self._db.execute(query))

    # Within the transaction of a row

    def _note_move(self, job: Job, row: int, answered: Answered, signature: Signature) -> None:
        """An image is done: where does it belong?"""
        if self.sorting is None or (place := self.sorting.place(job.path, answered)) is None:
            return
        # Another job of it waits: it stays for that one.
        query = "SELECT 1 FROM arrivals WHERE path = ? AND seq != ?"
        if self._db.execute(query, (job.path, job.seq)).fetchone() is not None:
            return
        query = "DELETE FROM moves WHERE source = ? AND state = ?"
        self._db.execute(query, (job.path, WAITING))
        self._add(row, job.path, self.sorting.root, signature, place.folder, place.root, None)

    def _note_known(self, job: Job, row: int, signature: Signature) -> None:
        """An image came again that has its row."""
        query = "SELECT label, status, model, classified_at FROM results WHERE seq = ?"
        self._note_move(job, row, Answered(*self._db.execute(query, (row,)).fetchone()), signature)

    def _add(
        self,
        row: int,
        source: bytes,
        root: int,
        signature: Signature,
        folder: bytes,
        beneath: int,
        name: bytes | None,  # of one that goes back
    ) -> None:
        self._db.execute(
            "INSERT INTO moves (row, source, root, size, mtime_ns, ctime_ns, folder, beneath, "
            "name, back, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row, source, root, *signature, folder, beneath, name, name is not None, WAITING),
        )


def answered_by(row: Row) -> Answered:
    """What a row says."""
    return Answered(row.label, row.status, row.model, row.classified_at)
