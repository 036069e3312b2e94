"""A results.csv whose journal is lost or damaged ▸ a new journal."""

from __future__ import annotations

import datetime
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from classifier.durable import sync_file, sync_folder
from daemon.database import FILE_NAME, damaged
from daemon.errors import JournalDamagedError, JournalError, OldJournalError, StorageError
from daemon.journal import Journal
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.results import LINES_LOST, first_unknown, open_results
from daemon.rotation import is_same, part_files
from daemon.row import HEADER, Row, is_ours, parsed, unescape
from daemon.service import locked
from daemon.settings import Settings
from daemon.storage import storing

AT_ONCE = 1000  # rows


class Rebuilt(NamedTuple):
    """What a rebuild did.

    rows: taken over. aside: where the old journal is kept; None if there was none. folders:
    backfilled ones that could still be read from it.
    """

    rows: int
    aside: Path | None
    folders: list[bytes]


def rebuild(settings: Settings) -> Rebuilt:
    """Make a journal from results.csv, and keep the old one aside.

    What was waiting is not known any more: the next scan of the inbox finds it, and files that have
    a row are recognised by their content.

    Raises `JournalError` if the journal is sound, `StorageError` for a results.csv that is not as
    classifyd writes it, `LockHeldError`.
    """
    state = settings.state
    with locked(settings, "rebuild"), storing(state, settings.results):
        parts = part_files(settings.results)
        if not (settings.results / RESULTS_NAME).exists() and not parts:
            raise StorageError(
                f"{settings.results / RESULTS_NAME}: is not there, and the journal is rebuilt from "
                f"it. Put back a copy; or, to begin anew, move {state / FILE_NAME} elsewhere"
            )
        _refuse_if_sound(state, settings.results / RESULTS_NAME)
        folders = _folders(state / FILE_NAME)
        with tempfile.TemporaryDirectory(dir=state, prefix=".rebuilding-") as draft:
            with closing(Journal.open(Path(draft))) as journal:
                rows = 0
                for part in parts:
                    adopted = journal.adopt(_rows(part))
                    rows += adopted
                    if adopted:
                        journal.note_part(part.name, is_closed=True)
                if not any(is_same(part, settings.results / RESULTS_NAME) for part in parts):
                    rows += journal.adopt(_rows(settings.results / RESULTS_NAME))
                for folder in folders:
                    journal.note_folder(folder)
                if any(value is not None for _, value in settings.retention):
                    journal.retire(_without_thumbnail(journal, settings.results))
                    journal.note_deleted()
                journal.examine()
            sync_file(Path(draft, FILE_NAME))
            aside = _set_aside(state)
            Path(draft, FILE_NAME).rename(state / FILE_NAME)
        sync_folder(state)
    return Rebuilt(rows, aside, folders)


def _refuse_if_sound(state: Path, results: Path) -> None:
    """A sound journal knows more than results.csv does: what waits, and what was seen."""
    if not (state / FILE_NAME).exists():
        return
    try:
        with closing(Journal.open(state)) as journal:
            journal.examine()
            rows = sum(1 for _ in journal.lines())
            behind = results.exists() and first_unknown(results, journal) is not None
    except (JournalDamagedError, OldJournalError):
        return
    except sqlite3.DatabaseError as error:
        if not damaged(error):  # the disk, perhaps: that says nothing about the journal
            raise
        return
    if not behind and (rows or not results.exists()):
        raise JournalError(
            f"{state / FILE_NAME}: the journal is sound, so there is nothing to rebuild: start "
            "`classifyd run`, which mends results.csv from it"
        )


def _without_thumbnail(journal: Journal, results: Path) -> int:
    """The last of the first rows that have none any more: those that `retention:` has deleted."""
    upto = 0
    while rows := journal.drawn(upto, AT_ONCE):
        for row in rows:
            if row.thumbnail and (results / row.thumbnail).exists():
                return upto
            upto = row.seq
    return upto


def _folders(journal: Path) -> list[bytes]:
    """The backfilled folders that a damaged journal still tells of."""
    try:
        with closing(sqlite3.connect(f"{journal.as_uri()}?mode=ro", uri=True)) as db:
            # What a flipped bit has made a text of is a name all the same.
            query = "SELECT CAST(path AS BLOB) FROM folders WHERE path IS NOT NULL ORDER BY path"
            return [path for (path,) in db.execute(query)]
    except sqlite3.Error:
        return []


def _rows(results: Path) -> Iterator[tuple[bytes, Row, bytes]]:
    """(path, row, line) of every whole line. Raises `StorageError` at one that is not ours."""
    if not results.exists():
        return  # it was about to begin anew
    with open_results(results) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return  # torn by a crash; the file it tells of is done again
            if number == 1 and line == HEADER:
                continue
            try:
                row = parsed(line)
                # Before it, its file had no more rows than there are lines, but for deleted ones.
                if row.sha256 and not is_ours(row, number + LINES_LOST):
                    raise ValueError("its id is that of another row")
                yield unescape(row.path), row, line
            except ValueError:
                raise StorageError(
                    f"{results}:{number}: is not a line as classifyd writes it. Take it out of the "
                    "file, or put back a copy of the file, and run `classifyd rebuild` again"
                ) from None


def _set_aside(state: Path) -> Path | None:
    """Keep the journal's files under another name, by which SQLite still opens them."""
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")
    kept = state / f"journal.damaged-{stamp}.sqlite"
    for suffix in ("-wal", "-shm", ""):  # the journal itself last: a crash leaves it to be found
        old = state / (FILE_NAME + suffix)
        if old.exists():
            shutil.move(old, kept.with_name(kept.name + suffix))
    return kept if kept.exists() else None
