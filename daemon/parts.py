"""What the journal says of the files that results.csv was before: a part for each closed month."""

from __future__ import annotations

from typing import NamedTuple

from daemon.census import Census


class Part(NamedTuple):
    """Rows that stand in one file. name: of the file, beside results.csv. after, last: the number
    of the last row of the part before, and of this one. is_closed: the file has that name, and
    results.csv begins after it."""

    name: str
    after: int
    last: int
    is_closed: bool


class Parts(Census):
    """A part of the journal."""

    def parts(self) -> list[Part]:
        """In the order of their rows."""
        found, after = [], 0
        query = "SELECT name, last, closed FROM parts ORDER BY last"
        for name, last, closed in self._db.execute(query):
            found.append(Part(name, after, last, bool(closed)))
            after = last
        return found

    def last_part(self) -> int:
        """The number of the last row that does not stand in results.csv; 0 if there is none."""
        return self._number("SELECT coalesce(max(last), 0) FROM parts")

    def open_month(self) -> str:
        """The month, as 2026-12 in UTC, of the last row in results.csv; '' if there is none."""
        query = (
            "SELECT classified_at FROM results WHERE seq > (SELECT coalesce(max(last), 0) "
            "FROM parts) ORDER BY seq DESC LIMIT 1"
        )
        row = self._db.execute(query).fetchone()
        return "" if row is None else str(row[0])[: len("2026-12")]

    def note_part(self, name: str, *, is_closed: bool = False) -> None:
        """All rows so far, as far as they stand in no part yet, are to be those of this file.

        They are on the disk in results.csv; of a file that is closed it is not known.
        """
        with self._transaction():
            last = self.results()
            if not is_closed:
                self._db.execute("UPDATE outbox SET synced = ? WHERE synced < ?", (last, last))
            self._db.execute("INSERT INTO parts VALUES (?, ?, ?)", (name, last, is_closed))

    def rename_part(self, name: str, other: str) -> None:
        """Somebody else's file has that name."""
        with self._transaction():
            self._db.execute("UPDATE parts SET name = ? WHERE name = ?", (other, name))

    def note_closed(self, name: str) -> None:
        """The file has its name, and results.csv begins after it."""
        with self._transaction():
            self._db.execute("UPDATE parts SET closed = 1 WHERE name = ?", (name,))
