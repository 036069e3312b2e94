"""What the disk has to say ▸ what to do about it: wait for room, stop, or have it mended."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from classifier.durable import SyncError
from classifier.room import FULL, has_room
from daemon.database import FILE_NAME, damaged
from daemon.errors import (
    DiskFullError,
    JournalDamagedError,
    JournalError,
    NotDurableError,
    StorageError,
)

FAILED_SYNCS = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
# What SQLite says when it could not make one of its files longer, or make it at all.
PERHAPS_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
NOT_ALLOWED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)


def full(folders: Sequence[Path]) -> Path | None:
    """The first of the folders that has no room."""
    return next((folder for folder in folders if not has_room(folder)), None)


@contextmanager
def storing(state: Path, results: Path) -> Iterator[None]:
    """Turn what the system and SQLite raise within into errors of ours.

    Raises `DiskFullError`, `NotDurableError`, `JournalDamagedError`, `JournalError` and
    `StorageError`.
    """
    try:
        yield
    except SyncError as error:
        if error.errno in FULL:  # NFS and quotas may tell it so late; to begin anew writes it anew
            raise DiskFullError(full([state, results]) or results) from None
        raise not_durable(str(error.filename), error) from None
    except BrokenPipeError:  # whoever read our output went away: no disk had a part in it
        raise
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(full([state, results]) or results) from None
        raise StorageError(
            f"{error.filename or results}: {error.strerror or error}. Nothing is lost: mend that "
            "and start again"
        ) from None
    except sqlite3.Error as error:
        raise _of_journal(state, error) from None


def not_durable(path: str, error: OSError) -> NotDurableError:
    """For a write that may not have reached the disk."""
    return NotDurableError(
        f"{path}: could not be made durable: {error.strerror}. Nothing is lost: look after the "
        "disk and start again; what was not safe is written anew then"
    )


def _of_journal(state: Path, error: sqlite3.Error) -> StorageError | JournalError:
    journal = state / FILE_NAME
    code = getattr(error, "sqlite_errorcode", 0)
    if code in FAILED_SYNCS:
        return not_durable(str(journal), OSError(errno.EIO, os.strerror(errno.EIO)))
    if damaged(error):
        return JournalDamagedError(journal, str(error))
    if code == sqlite3.SQLITE_FULL or (code & 0xFF in PERHAPS_FULL and not has_room(state)):
        return DiskFullError(state)
    if code & 0xFF in NOT_ALLOWED:
        return JournalError(
            f"{journal}: {error}. Nothing is lost: see that it is a file that this user may read "
            f"and write, and {FILE_NAME}-wal and {FILE_NAME}-shm beside it, and start again"
        )
    return JournalError(f"{journal}: {error}. Nothing is lost: mend the disk and start again")
