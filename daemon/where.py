"""An image's path, or the id of a row ▸ where the image is now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from daemon.census import Stood
from daemon.errors import UnknownImageError
from daemon.journal import Journal
from daemon.row import escape, unescape
from daemon.settings import Settings


def where(settings: Settings, asked: str) -> Iterator[str]:
    """The rows that it has, the newest first, each with where its image is.

    asked: a path, as a shell or as results.csv has it, where it was or where it is; or an id.
    Raises `JournalError`, and `UnknownImageError` if there is no row.
    """
    with closing(Journal.open_to_read(settings.state)) as journal:
        rows = _rows(journal, asked)
        if not rows:
            raise UnknownImageError(f"{asked}: no row has this id, and no image had this path")
        for row in rows:
            yield f"row        {row.id}: {row.label or row.status}, {row.classified_at}"
            yield f"was        {escape(row.path)}"
            yield f"is         {_place(journal, row)}"


def _rows(journal: Journal, asked: str) -> list[Stood]:
    as_it_is = os.fsencode(Path(asked).absolute())
    try:
        as_a_row_has_it = unescape(asked)
    except ValueError:
        as_a_row_has_it = b""
    for path in (as_it_is, as_a_row_has_it):
        if rows := journal.stood(path):
            return rows
    return journal.identified(asked)


def _place(journal: Journal, row: Stood) -> str:
    move = journal.move_of(row.seq)
    if move is not None:
        folder, name = move
        if name is None:
            return f"{_if_there(row.path)}; it is about to be moved to {escape(folder)}"
        return _if_there(folder + b"/" + name)
    return _if_there(row.path)


def _if_there(path: bytes) -> str:
    return escape(path) if os.path.lexists(path) else f"not there any more: {escape(path)}"
