"""Old thumbnails are deleted, by their age or by what all of them take, a few at a time."""

from __future__ import annotations

import datetime
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from classifier.durable import sync_names
from daemon.jobs import Outcome
from daemon.journal import Journal
from daemon.retired import Drawn
from daemon.row import THUMBNAILS

log = logging.getLogger(__name__)

AT_ONCE = 500  # rows, in a turn
COUNT_AT_ONCE = 2000  # files
LOOK_SECONDS = 60.0
# After so long they are counted anew: what others add or delete is not known otherwise.
COUNT_SECONDS = 6 * 3600.0
DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
NAME = re.compile(r"[0-9a-f]{20,64}\.jpg")
OURS = re.compile(f"{THUMBNAILS}/({DAY.pattern})/({NAME.pattern})")
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Keep(NamedTuple):
    """How long, in days, and how much, in bytes on the disk; None: without a limit."""

    days: float | None = None
    size: int | None = None


class Retention:
    """A duty of the loop. Only what a row names is deleted, the oldest row's first."""

    def __init__(
        self,
        journal: Journal,
        results: Path,
        keep: Keep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """keep: may be replaced by another at any time."""
        self._journal = journal
        self._results = results
        self.keep = keep
        self._clock = clock
        self._next = 0.0
        self._count_at = 0.0
        self._counting: Iterator[int] | None = None
        self._counted = 0  # so far
        self._size: int | None = None  # of all, on the disk
        self._has_deleted = False  # since folders were looked at
        self._told = ""  # what went wrong, as it was logged

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        if self.keep.size is None:
            self._size = self._counting = None
        if self.keep == Keep():
            return
        if self._size is not None or self._counting is not None:
            new = sum(self._size_of(o.row.thumbnail) for o in outcomes if o.row)
            self._counted += new
            self._size = None if self._size is None else self._size + new
        if now < self._next:
            return
        try:
            goes_on = self._turn(now)
        except OSError as error:
            what = f"old thumbnails cannot be deleted: {error}"
            if what != self._told:
                log.error("%s; it is tried again", what)
            self._told, goes_on = what, False
        self._next = now if goes_on else now + LOOK_SECONDS

    def next_due(self, now: float) -> float:
        return self._next if self.keep != Keep() else now + LOOK_SECONDS

    def _turn(self, now: float) -> bool:
        """A part of the work; whether there is more."""
        upto, deleted = self._journal.retired()
        if deleted < upto:  # a former process came so far
            self._delete(deleted, upto)
            return True
        if self.keep.size is not None and not self._has_counted(now):
            return True
        rows = self._journal.drawn(upto, AT_ONCE)
        old = list(self._too_many(rows))
        if old:
            self._journal.retire(old[-1].seq)
            self._delete(upto, old[-1].seq)
            return True
        if self._has_deleted:
            self._remove_empty_days()
            self._has_deleted = False
        self._told = ""
        return False

    def _too_many(self, rows: Sequence[Drawn]) -> Iterator[Drawn]:
        """Those of the oldest rows whose thumbnails have to go."""
        moment = ""
        if self.keep.days is not None:
            at = self._clock() - self.keep.days * 86400
            utc = datetime.datetime.fromtimestamp(max(at, 0), datetime.UTC)
            moment = utc.isoformat(timespec="milliseconds")
        for row in rows:
            is_excess = self.keep.size is not None and (self._size or 0) > self.keep.size
            if row.classified_at >= moment and not is_excess:
                return
            if self._size is not None:
                self._size -= self._size_of(row.thumbnail)
            yield row

    def _delete(self, after: int, upto: int) -> None:
        """Those of these rows; nobody asks for them any more."""
        names = [row.thumbnail for row in self._journal.drawn(after, upto - after)
                 if row.seq <= upto]  # fmt: skip
        days: dict[str, list[str]] = {}
        for name in names:
            if match := OURS.fullmatch(name):
                days.setdefault(match[1], []).append(match[2])
        gone = 0
        top = os.open(self._results / THUMBNAILS, FOLDER & ~os.O_NOFOLLOW)  # its owner's business
        try:
            for day, files in days.items():
                gone += self._delete_of_day(top, day, files)
        finally:
            os.close(top)
        self._journal.note_deleted()
        self._has_deleted = self._has_deleted or gone > 0
        log.debug("%d old thumbnails were deleted", gone)

    def _delete_of_day(self, top: int, day: str, files: Sequence[str]) -> int:
        try:
            folder = os.open(day, FOLDER, dir_fd=top)
        except FileNotFoundError:
            return 0
        gone = 0
        try:
            for file in files:
                with suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=folder)
                    gone += 1
            sync_names(folder, self._results / THUMBNAILS / day)
        finally:
            os.close(folder)
        return gone

    def _remove_empty_days(self) -> None:
        """But none that a worker may be about to write to: a thumbnail is of the day when its image
        was seen."""
        now = datetime.datetime.fromtimestamp(self._clock(), datetime.UTC).isoformat()
        first = min(self._journal.oldest_pending() or now, now)[:10]
        for folder in (self._results / THUMBNAILS).iterdir():
            if DAY.fullmatch(folder.name) and folder.name < first:
                with suppress(OSError):
                    folder.rmdir()

    # What all of them take

    def _has_counted(self, now: float) -> bool:
        if self._counting is None:
            if self._size is not None and now < self._count_at:
                return True
            self._counted = 0
            self._counting = self._sizes()
        sizes = list(islice(self._counting, COUNT_AT_ONCE))
        self._counted += sum(sizes)
        if len(sizes) == COUNT_AT_ONCE:
            return False
        self._size, self._counting = self._counted, None
        self._count_at = now + COUNT_SECONDS
        return True

    def _sizes(self) -> Iterator[int]:
        """Of the thumbnails that rows name: no other one is ours to delete."""
        after, _ = self._journal.retired()
        while rows := self._journal.drawn(after, AT_ONCE):
            for row in rows:
                yield self._size_of(row.thumbnail)
            after = rows[-1].seq

    def _size_of(self, thumbnail: str) -> int:
        if not OURS.fullmatch(thumbnail):
            return 0
        with suppress(FileNotFoundError):
            return (self._results / thumbnail).lstat().st_blocks * 512
        return 0
