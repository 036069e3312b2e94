"""All there is to know of a queue at one moment, from its lock, record, journal and disks.

Whoever tells how things are (status, a check, the metrics) begins with this, so that they agree.
"""

from __future__ import annotations

import datetime
import grp
import os
import pwd
import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from classifier.room import ROOM_BYTES
from daemon import record as records
from daemon.census import Census, Priority
from daemon.database import FILE_NAME
from daemon.errors import NoJournalError, NotAllowedError
from daemon.lock import Holder, holder
from daemon.record import Record

RATE_SECONDS = 60.0
# An arrival that waits for longer, and may be taken, is one that a loop at work would have taken.
OVERDUE_SECONDS = 120.0


class Failure(NamedTuple):
    """Why images fail. is_least: there are so many that they were not counted to the end."""

    reason: str
    times: int
    example: bytes
    is_least: bool = False


class Disk(NamedTuple):
    """free, total: bytes that this service may use."""

    folder: Path
    free: int
    total: int

    @property
    def is_full(self) -> bool:
        return self.free < ROOM_BYTES


@dataclass(frozen=True)
class Queue:
    """What the journal says. Times are UTC, ISO 8601."""

    rows: dict[str, int]  # by status
    today: dict[str, int]
    last_row: str | None
    live: int  # wait, from the inbox
    backfilled: int  # wait, from backfilled folders
    anew: int  # wait to be reclassified
    oldest: str | None  # of what waits, since when
    overdue: str | None  # since when the oldest one waits that should have been done by now
    recent: int  # rows of the last RATE_SECONDS
    failures: list[Failure]  # most often first
    ignored: list[tuple[str, int, bytes]]
    folders: list[bytes]

    @property
    def waiting(self) -> int:
        return self.live + self.backfilled + self.anew

    @property
    def rate(self) -> float:
        """Images a second, of late."""
        return self.recent / RATE_SECONDS


@dataclass(frozen=True)
class Facts:
    """at: when, seconds since 1970. queue: None if there is no journal, or it cannot be read, which
    `unread` tells then."""

    at: float
    state: Path
    results: Path
    inbox: Path
    holder: Holder | None  # who is at work
    record: Record | None  # of that one, or of the last one that was
    is_stopped: bool  # it stands still, by SIGSTOP
    boot: str  # of the machine
    disks: tuple[Disk, ...]
    queue: Queue | None
    unread: str = ""

    @property
    def record_is_current(self) -> bool:
        """Whether it is of the process at work, which may only just have begun."""
        return (
            self.record is not None
            and not self.record.ended
            and self.holder is not None
            and self.holder.pid == self.record.pid
        )

    @property
    def crowded(self) -> Disk | None:
        """The first disk that has no room."""
        return next((disk for disk in self.disks if disk.is_full), None)


def gather(state: Path, results: Path, inbox: Path, at: float, own: Record | None = None) -> Facts:
    """own: of the process that asks, if that is the one at work.

    Raises `NotAllowedError`, `JournalError` and `sqlite3.Error`.
    """
    try:
        record = own or records.read(state)
        at_work = _holder(state, record) if own is None else _told_by(own)
        disks = _disks(state, results)
        unread, queue = "", None
        try:
            queue = _queue(state, at)
        except NoJournalError:
            pass
        except sqlite3.OperationalError:
            if not any(disk.is_full for disk in disks):
                raise
            unread = "to read the journal takes some room, too"
    except (PermissionError, sqlite3.OperationalError) as error:
        if forbidden := _forbidden(state):
            raise NotAllowedError(forbidden) from None
        raise error
    return Facts(
        at, state, results, inbox, at_work, record,
        is_stopped=own is None and at_work is not None and _stands_still(at_work.pid),
        boot=records.boot(), disks=disks, queue=queue, unread=unread,
    )  # fmt: skip


def _holder(state: Path, record: Record | None) -> Holder | None:
    """Who is at work; to whom may not read the lock, the record tells what stands in there."""
    at_work = holder(state)
    if at_work is None or at_work.command != "unknown" or record is None or record.ended:
        return at_work
    return _told_by(record)


def _told_by(record: Record) -> Holder:
    return Holder(record.pid, record.command, record.since, "", record.model)


def _queue(state: Path, at: float) -> Queue:
    with closing(Census.open_to_read(state)) as census:
        rows = census.by_status()
        return Queue(
            rows=rows,
            today=census.by_status(_utc(at)[: len("2026-01-01")]),
            last_row=census.last_result_at(),
            live=census.pending(Priority.LIVE),
            backfilled=census.pending(Priority.BACKFILL),
            anew=census.pending(Priority.RECLASSIFY),
            oldest=census.oldest_pending(),
            overdue=census.overdue(at - OVERDUE_SECONDS, _utc(at - OVERDUE_SECONDS)),
            recent=census.results_since(_utc(at - RATE_SECONDS)),
            failures=[Failure(*found) for found in census.main_failures(rows.get("failed", 0))],
            ignored=census.ignored(),
            folders=census.folders(),
        )


def _disks(state: Path, results: Path) -> tuple[Disk, ...]:
    """Those of results and state; one, if they are on the same."""
    found: dict[int, Disk] = {}
    for folder in (results, state):
        with suppress(PermissionError):  # results of other users may be out of sight
            there = next(parent for parent in (folder, *folder.parents) if parent.exists())
            space = os.statvfs(there)
            disk = Disk(folder, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize)
            found.setdefault(there.stat().st_dev, disk)
    return tuple(found.values())


def _stands_still(pid: int) -> bool:
    with suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return False


def _forbidden(state: Path) -> str:
    """What to do, if this user may not look into the state folder; '' if it may."""
    if not os.access(state, os.R_OK | os.X_OK):
        closed, allows = state, stat.S_IXGRP
    else:
        files = (state / records.FILE_NAME, state / FILE_NAME)
        found = [path for path in files if path.exists() and not os.access(path, os.R_OK)]
        if not found:
            return ""
        closed, allows = found[0], stat.S_IRGRP
    try:
        status = closed.stat()
    except OSError:
        return f"{closed}: may not be looked into by this user: try it with sudo"
    user, group = str(status.st_uid), str(status.st_gid)
    with suppress(KeyError):
        user = pwd.getpwuid(status.st_uid).pw_name
        group = grp.getgrgid(status.st_gid).gr_name
    if not status.st_mode & allows:
        return f"{closed}: only the user {user} may look into it: try it with sudo -u {user}"
    return (
        f"{closed}: only the user {user} and the group {group} may look into it: try it with sudo, "
        f"or have yourself put into that group (sudo usermod -aG {group} YOU), and log in anew"
    )


def _utc(at: float) -> str:
    """As rows have it."""
    moment = datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")
