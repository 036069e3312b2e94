"""What the journal says of thumbnails that were deleted to keep the disk free."""

from __future__ import annotations

from typing import NamedTuple

from daemon.census import Census


class Drawn(NamedTuple):
    """A row, and the thumbnail that it names; '' for none."""

    seq: int
    thumbnail: str
    classified_at: str


class Retired(Census):
    """A part of the journal. Thumbnails go in the order of their rows, so a number tells of all."""

    def retire(self, upto: int) -> None:
        """Note that thumbnails of rows up to this one may be gone, before the first one goes."""
        with self._transaction():
            self._db.execute("UPDATE retired SET upto = ? WHERE upto < ?", (upto, upto))

    def note_deleted(self) -> None:
        """Note that all that are retired are gone."""
        with self._transaction():
            self._db.execute("UPDATE retired SET deleted = upto")

    def retired(self) -> tuple[int, int]:
        """The number of the last row whose thumbnail is retired, and of the last whose is gone."""
        upto, deleted = self._db.execute("SELECT upto, deleted FROM retired").fetchone()
        return upto, deleted

    def drawn(self, after: int, limit: int) -> list[Drawn]:
        """The next rows after this one."""
        query = (
            "SELECT seq, thumbnail, classified_at FROM results WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        return [Drawn(*found) for found in self._db.execute(query, (after, limit))]
