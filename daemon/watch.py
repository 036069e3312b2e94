"""Observer and scans ▸ sightings of image files that are whole.

Events are hints, the scan is the truth. The observer makes things quick; every file is found by the
next scan even if the observer is deaf. A file is whole when its writer closed it or renamed it into
place; without such a sign it is, once it has been quiet for `settle_seconds` and nobody is known to
have it open for writing.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent

from classifier.beneath import stat_beneath
from daemon.hearing import Hearing, Watch
from daemon.jobs import Sighting
from daemon.row import escape
from daemon.settle import Settling, is_being_written
from daemon.troubles import Kind, Troubles
from daemon.walk import Found, look, walk

log = logging.getLogger(__name__)

# How many files a scan looks at before the rest of the program gets its turn.
SLICE = 2000
# How often to see whether the inbox is still the one that was scanned, and not one made anew.
LOOK_SECONDS = 2.0
# After lost events: watchdog needs a moment to watch all folders again; watch first, then scan.
LOSS_SECONDS = 1.0
# A file that changed so long ago should have had its event.
LATE_SECONDS = 15.0
# How often to scan where no events come.
POLL_SECONDS = 10.0


class Watcher:
    """Everything there is to see in the inbox. `tick` is all that has to be called."""

    def __init__(
        self,
        inbox: bytes,
        extensions: frozenset[bytes],
        settle_seconds: float,
        rescan_seconds: float,
        unseen: Callable[[Sequence[Sighting]], list[Sighting]],
        wake: Callable[[], None],
        *,
        observe: bool = True,
        apart: Collection[bytes] = (),
        troubles: Troubles | None = None,
        watch: Watch = "auto",
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """unseen: which sightings are news. wake: called when an event came, from another thread.
        observe: False for a single scan. apart: folders in it that are not looked into then.
        troubles: where what is wrong with the folder is noted. watch: see `Hearing`.
        poll_seconds: how often to scan where no events come, if not more often anyway."""
        self.folder = inbox
        self._root = len(inbox.rstrip(b"/"))
        self._extensions = extensions
        self._rescan_seconds = rescan_seconds
        self._poll_seconds = min(poll_seconds, rescan_seconds)
        self._unseen = unseen
        self._observe = observe
        self._apart = apart
        self._settling = Settling(settle_seconds)
        self._troubles = troubles or Troubles()
        self._hearing = Hearing(inbox, watch, wake, self._troubles)
        self._identity: tuple[int, int] | None = None  # of the inbox that is scanned
        self._scan: Iterator[Found] | None = None  # of the whole inbox
        self._is_making_up = True  # the scan finds what no event could tell of
        self._missed: set[bytes] = set()  # found by the scan, though an event should have told
        self._missed_before: set[bytes] = set()  # by the last one: what cannot be read comes again
        self._next_scan = 0.0
        self._next_look = 0.0
        self._ignored: dict[str, tuple[int, bytes]] = {}
        self.trouble = ""  # why the folder cannot be read now
        self.found = 0  # sightings given
        self.scans = 0  # completed ones
        self.ignored: dict[str, tuple[int, bytes]] = {}  # by reason: how many, an example

    def tick(self, now: float) -> list[Sighting]:
        """Files that are whole and new. Looks at events and at one slice of a scan."""
        ready = self._take_events(now)
        if self._hearing.has_failed(now):
            self._next_scan = now
        if now >= self._next_look:
            self._look(now)
        if self._scan is None and now >= self._next_scan:
            self._start_scan(now)
        if self._scan is not None:
            ready += self._slice(now)
        ready += self._unseen(self._settling.due(now))
        once = {sighting.path: sighting for sighting in ready}  # an event and a scan may both tell
        self.found += len(once)
        return list(once.values())

    def next_due(self, now: float) -> float:
        """When `tick` has something to do even if nothing happens, by the monotonic clock."""
        if self._scan is not None or self._hearing.events.waiting or self._hearing.events.lost:
            return now
        due = min(self._next_scan, self._next_look, self._hearing.next_due() or math.inf)
        settled = self._settling.next_due()
        return due if settled is None else max(now + 0.05, min(settled, due))

    @property
    def idle(self) -> bool:
        """Whether a scan is completed and no file is waited for."""
        going_on = self._scan or self._hearing.events.waiting or self._settling
        return self.scans > 0 and not going_on

    @property
    def watching(self) -> tuple[str, str]:
        """(events, polling or, before that is known, '', and why it is polled if it is)."""
        return self._hearing.mode

    @property
    def settling(self) -> int:
        """How many files are waited for."""
        return len(self._settling)

    def close(self) -> None:
        self._hearing.close()

    # Events

    def _take_events(self, now: float) -> list[Sighting]:
        heard = self._hearing.events
        events = heard.waiting
        if heard.lost:
            log.warning("events were lost; %s is scanned instead", escape(self.folder))
            heard.lost = False
            self._is_making_up = True
            events.clear()
            self._next_scan = min(self._next_scan, now + LOSS_SECONDS)
        prefix = self._hearing.prefix
        whole: dict[bytes, Sighting] = {}
        fresh: dict[bytes, Sighting] = {}
        for _ in range(min(len(events), SLICE)):
            event = events.popleft()
            inner = os.fsencode(event.dest_path or event.src_path)[prefix:]
            self._hearing.heard(inner)
            if b"/." in inner:
                continue  # in a hidden folder, where no scan goes either
            path = self.folder + inner
            whole.pop(path, None)
            fresh.pop(path, None)
            sighting = self._file(path)
            if sighting is None:
                self._settling.discard(path)
            elif self._is_whole(event, sighting):
                whole[path] = sighting
                self._settling.discard(path)
            else:
                fresh[path] = sighting
        return self._unseen(list(whole.values())) + [
            found for found in self._unseen(list(fresh.values())) if self._settling.add(found, now)
        ]

    def _file(self, path: bytes) -> Sighting | None:
        try:
            found = look(path, self._extensions, stat_beneath(path, self._root))
        except OSError:
            return None  # gone again
        return None if found.signature is None else Sighting(path, found.signature, self._root)

    def _is_whole(self, event: FileSystemEvent, found: Sighting) -> bool:
        """By what the event says. An empty file is as a rule one that is about to be filled."""
        if found.signature.size == 0:
            return False
        if isinstance(event, FileClosedEvent | FileMovedEvent):
            return is_being_written(found.path, found.root) is not True  # opened again?
        # A name that appears with content that nobody writes to was renamed or linked into place.
        return is_being_written(found.path, found.root) is False

    # Scans

    def _look(self, now: float) -> None:
        self._next_look = now + LOOK_SECONDS
        try:
            identity = _identity(self.folder)
        except OSError:
            identity = None
        # A folder that was made anew at once may have got the number of the one before.
        if identity != self._identity or not self._hearing.is_of(identity):
            self._next_scan = now
            self._is_making_up = True

    def _start_scan(self, now: float) -> None:
        self._next_scan = now + self._rescan_seconds
        self._missed_before, self._missed = self._missed, set()
        try:
            os.scandir(self.folder).close()
            self._identity = _identity(self.folder)
        except OSError as error:
            self._lost(error)
            return
        # Watch first, then scan: what comes in between is seen twice, never not at all.
        if self._observe:
            self._hearing.keep(self._identity, now)
            if self._hearing.is_polling:
                self._next_scan = now + self._poll_seconds
                self._is_making_up = True
        if self.trouble:
            log.info("%s is back", escape(self.folder))
            self.trouble = ""
            self._troubles.note(Kind.INBOX_UNREADABLE, "")
        self._ignored = {}
        self._scan = walk(self.folder, self._extensions, self._apart)

    def _slice(self, now: float) -> list[Sighting]:
        """The next part of the scan."""
        assert self._scan is not None
        part: list[Found] = []
        try:
            part += islice(self._scan, SLICE)
        except OSError as error:  # the inbox went away while it was read
            self._scan = None
            self._lost(error)
        images = []
        for found in part:
            if found.signature is not None:
                images.append(Sighting(found.path, found.signature, self._root))
            elif found.ignored is not None:
                count, example = self._ignored.get(found.ignored, (0, found.path))
                self._ignored[found.ignored] = (count + 1, example)
        # Neighbours in the journal's indexes, and so in its pages, are written together.
        images.sort()
        clock = time.time()
        news = self._unseen(images)
        self._missed |= {
            image.path
            for image in news
            if clock - image.signature.ctime_ns / 1e9 > LATE_SECONDS
            and image.path not in self._settling
        }
        if self._scan is not None and len(part) < SLICE:
            self._end_scan()
        return [
            image
            for image in news
            # The change time is the kernel's own; the modification time can be set at will.
            if self._settling.add(image, now, clock - image.signature.ctime_ns / 1e9)
        ]

    def _end_scan(self) -> None:
        self._scan = None
        self.scans += 1
        self.ignored = self._ignored
        missed = self._missed - self._missed_before
        if missed and not self._is_making_up:
            self._hearing.missed(len(missed), min(missed))
        self._is_making_up = False

    def _lost(self, error: OSError) -> None:
        self._identity = None
        reason = error.strerror or str(error)
        what = (
            f"{escape(self.folder)} cannot be read: {reason}; trying again every {LOOK_SECONDS:g} s"
        )
        if reason != self.trouble:
            log.error("%s", what)
        self.trouble = reason
        self._troubles.note(Kind.INBOX_UNREADABLE, what)


def _identity(folder: bytes) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
