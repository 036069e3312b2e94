"""The journal as a file: opened, examined, kept in its place, and what is written made durable."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from classifier.durable import SyncError, sync_folder
from classifier.errors import CancelledError
from daemon.errors import JournalDamagedError, JournalError, NoJournalError, OldJournalError
from daemon.schema import MIGRATIONS, SCHEMA, VERSION

log = logging.getLogger(__name__)

FILE_NAME = "journal.sqlite"
BUSY_TIMEOUT_SECONDS, LOOK_AGAIN_SECONDS = 60, 1
# SQLite's own checkpoints keep a failed fsync to themselves, so they are off, and done here.
CHECKPOINT_EVERY = 64  # transactions
TYPES = {"INTEGER": int, "REAL": float, "TEXT": str, "BLOB": bytes}  # as they come out of SQLite


def damaged(error: sqlite3.Error) -> bool:
    """Whether it says that the file is not as SQLite wrote it."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
        # Python says this, not SQLite, which takes any bytes for a text; it has no code.
        str(error).startswith("Could not decode to UTF-8")
    )


class Database:
    """An open file of SQLite. `Census` and `Journal` say what is in it."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._db = connection
        self._file = file
        status = file.stat()
        self._identity = status.st_dev, status.st_ino
        self._transactions = 0

    @classmethod
    def open(cls, state: Path, *, read_only: bool = False) -> Self:
        """Open, or make, the journal in a state folder. Raises `JournalError`, `sqlite3.Error`."""
        path = state / FILE_NAME
        if read_only and not path.exists():
            raise NoJournalError(path)
        try:
            db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
            journal = cls(db, path)
            try:
                if read_only:
                    db.execute("PRAGMA query_only = ON")
                else:
                    _switch_to_wal(db, path)
                    # FULL: what is committed outlives a power cut. NORMAL does not promise that.
                    db.execute("PRAGMA synchronous = FULL")
                    db.execute("PRAGMA wal_autocheckpoint = 0")
                journal._check_version(path, create=not read_only)
            except BaseException:
                db.close()
                raise
        except sqlite3.DatabaseError as error:
            if damaged(error):
                raise JournalDamagedError(path, str(error)) from None
            raise
        return journal

    @classmethod
    def open_to_read(cls, state: Path) -> Self:
        """Open the journal in a state folder as somebody who may not be allowed to write there.

        Raises `JournalError`, `sqlite3.Error`.
        """
        try:
            return cls.open(state, read_only=True)
        except sqlite3.OperationalError:
            path = state / FILE_NAME
            if path.with_name(f"{FILE_NAME}-wal").exists():
                raise
        # Nobody has it open, and SQLite wants to make files beside it: to read does without.
        db = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        try:
            journal = cls(db, path)
            journal._check_version(path, create=False)
        except BaseException:
            db.close()
            raise
        return journal

    def close(self) -> None:
        self._db.close()

    def check_in_place(self) -> None:
        """Raises `JournalError` if the file was moved or deleted: what is noted would be lost."""
        try:
            status = self._file.stat()
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            raise JournalError(
                f"{self._file}: was moved or deleted while classifyd was at work. Put it back and "
                "start again; if it is lost, make one from results.csv with `classifyd rebuild`"
            )

    def examine(self, given_up: Callable[[], bool] = lambda: False) -> None:
        """See that the file is sound, and bring all of it to the disk once more.

        What the last process could not make durable may look as if it were: it is in the system's
        memory, and counted as written there. A checkpoint writes it anew.

        given_up: asked now and then, while somebody else still reads what is to be written.

        Raises `JournalDamagedError` and `CancelledError`.
        """
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise JournalDamagedError(self._file, found.replace("\n", " "))
        self.check_values()
        self._db.execute(f"PRAGMA busy_timeout = {LOOK_AGAIN_SECONDS * 1000}")
        told = False
        while self._number("PRAGMA wal_checkpoint(TRUNCATE)"):
            if given_up():
                raise CancelledError("examining the journal was given up")
            if not told:
                log.info("waiting until nobody reads %s, as `classifyd verify` does", self._file)
            told = True
        self._db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_SECONDS * 1000}")
        sync_folder(self._file.parent)  # SQLite does so too, but does not mind if it fails

    def check_values(self) -> None:
        """Read every value, and see that it is of its column's type.

        One flipped bit makes a BLOB a text, or a text one that is not UTF-8, and SQLite finds
        nothing wrong with either.

        Raises `JournalDamagedError`, and a `sqlite3.Error` that is `damaged`.
        """
        tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        for (table,) in self._db.execute(tables).fetchall():
            columns = self._db.execute(f"PRAGMA table_info({table})").fetchall()
            rows = self._db.execute(f"SELECT * FROM {table}")  # noqa: S608
            for found in {tuple(map(type, row)) for row in rows}:  # a few kinds of rows
                for kind, (_, name, declared, *_) in zip(found, columns, strict=True):
                    # Whether there may be none, `quick_check` minds.
                    if kind not in (TYPES.get(declared, kind), type(None)):
                        raise JournalDamagedError(
                            self._file, f"in {table}, a {name} is no {declared}"
                        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: take the write lock now. A transaction that read first and wants to write later
        # cannot wait for its turn.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
            self._transactions += 1
            if self._transactions % CHECKPOINT_EVERY == 0:
                self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except BaseException:
            if self._db.in_transaction:  # on a full disk, SQLite has rolled back itself
                self._db.execute("ROLLBACK")
            raise

    def _number(self, query: str, *values: object) -> int:
        """The first number of the answer."""
        return int(self._db.execute(query, values).fetchone()[0])

    def _check_version(self, path: Path, *, create: bool) -> None:
        version = self._number("PRAGMA user_version")
        if version == 0 and create:
            with self._transaction():
                if self._number("PRAGMA user_version") == 0:  # nobody was faster
                    for statement in SCHEMA.split(";"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version == 0:  # another process is making it just now
            raise NoJournalError(path)
        elif create and version in MIGRATIONS:
            self._migrate(path)
        elif version < VERSION:
            if version in MIGRATIONS:
                raise OldJournalError(
                    f"{path}: the journal has version {version}, this classifyd reads {VERSION}: "
                    "`classifyd run` brings it there at its start"
                )
            raise OldJournalError(
                f"{path}: the journal has version {version}, this classifyd reads {VERSION}: make "
                "one of this version from results.csv with `classifyd rebuild`"
            )
        elif version > VERSION:
            raise JournalError(
                f"{path}: the journal has version {version}, this classifyd reads {VERSION}: "
                "update classifyd, or name another `state:` folder"
            )

    def _migrate(self, path: Path) -> None:
        """Bring it to the present version, as a whole or not at all."""
        with self._transaction():
            # Somebody else may have been faster.
            while (version := self._number("PRAGMA user_version")) in MIGRATIONS:
                for statement in MIGRATIONS[version].split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {version + 1}")
                log.info("%s is of version %d now", path, version + 1)


def _switch_to_wal(db: sqlite3.Connection, file: Path) -> None:
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":  # it could not write so to the disk, and says no more than this
                raise SyncError(errno.EIO, os.strerror(errno.EIO), str(file))
            return
        except sqlite3.OperationalError as error:
            # Another process opens a new journal, too. SQLite does not wait for its turn with this.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)
