"""Observer and scans ▸ sightings of image files that are whole.

Events are hints, the scan is the truth. The observer makes things quick; every file is found by the
next scan even if the observer is deaf. A file is whole when its writer closed it or renamed it into
place; without such a sign it is, once it has been quiet for `settle_seconds` and nobody is known to
have it open for writing.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice

from watchdog.events import FileClosedEvent, FileMovedEvent, FileSystemEvent

from classifier.beneath import stat_beneath
from daemon.jobs import Sighting
from daemon.observe import Events, Observation, observe
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
    ) -> None:
        """unseen: which sightings are news. wake: called when an event came, from another thread.
        observe: False for a single scan. apart: folders in it that are not looked into then.
        troubles: where what is wrong with the folder is noted."""
        self.folder = inbox
        self._root = len(inbox.rstrip(b"/"))
        self._extensions = extensions
        self._rescan_seconds = rescan_seconds
        self._unseen = unseen
        self._wake = wake
        self._observe = observe
        self._apart = apart
        self._troubles = troubles or Troubles()
        self._settling = Settling(settle_seconds)
        self._events = Events(wake)
        self._observation: Observation | None = None
        self._deaf = ""  # why there is none
        self._deaf_scans = 0  # since then
        self._identity: tuple[int, int] | None = None  # of the inbox that is scanned
        self._scan: Iterator[Found] | None = None  # of the whole inbox
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
        if self._scan is not None or self._events.waiting or self._events.lost:
            return now
        due = min(self._next_scan, self._next_look)
        settled = self._settling.next_due()
        return due if settled is None else max(now + 0.05, min(settled, due))

    @property
    def idle(self) -> bool:
        """Whether a scan is completed and no file is waited for."""
        going_on = self._scan or self._events.waiting or self._settling
        return self.scans > 0 and not going_on

    @property
    def watching(self) -> tuple[str, str]:
        """(events, polling or, before that is known, '', and why it is polled if it is)."""
        if self._observation is not None:
            return "events", ""
        return ("polling", self._deaf) if self._deaf else ("", "")

    @property
    def settling(self) -> int:
        """How many files are waited for."""
        return len(self._settling)

    def close(self) -> None:
        if self._observation is not None:
            self._observation.stop()
            self._observation = None

    # Events

    def _take_events(self, now: float) -> list[Sighting]:
        events = self._events.waiting
        if self._events.lost:
            log.warning("events were lost; %s is scanned instead", escape(self.folder))
            self._events.lost = False
            events.clear()
            self._next_scan = min(self._next_scan, now + LOSS_SECONDS)
        prefix = 0 if self._observation is None else len(self._observation.folder)
        whole: dict[bytes, Sighting] = {}
        fresh: dict[bytes, Sighting] = {}
        for _ in range(min(len(events), SLICE)):
            event = events.popleft()
            inner = os.fsencode(event.dest_path or event.src_path)[prefix:]
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
        held = self._observation
        # A folder that was made anew at once may have got the number of the one before.
        if identity != self._identity or (held is not None and not held.is_alive):
            self._next_scan = now

    def _start_scan(self, now: float) -> None:
        self._next_scan = now + self._rescan_seconds
        try:
            os.scandir(self.folder).close()
            self._identity = _identity(self.folder)
        except OSError as error:
            self._lost(error)
            return
        # Watch first, then scan: what comes in between is seen twice, never not at all.
        self._keep_observing(self._identity)
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
        if self._scan is not None and len(part) < SLICE:
            self._scan = None
            self.scans += 1
            self.ignored = self._ignored
        # Neighbours in the journal's indexes, and so in its pages, are written together.
        images.sort()
        clock = time.time()
        return [
            image
            for image in self._unseen(images)
            # The change time is the kernel's own; the modification time can be set at will.
            if self._settling.add(image, now, clock - image.signature.ctime_ns / 1e9)
        ]

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

    def _keep_observing(self, identity: tuple[int, int]) -> None:
        """Observe the folder that is the inbox now; one made anew needs a new watch."""
        if not self._observe:
            return
        held = self._observation
        if held is not None and held.is_alive and held.identity == identity:
            return
        if held is not None:
            log.warning("the observer of %s is replaced", escape(self.folder))
            self.close()
        # watchdog keeps a file open at every attempt that fails: so they become rarer and rarer.
        self._deaf_scans = self._deaf_scans + 1 if self._deaf else 0
        if self._deaf_scans & (self._deaf_scans - 1) > 0:
            return
        self._events = Events(self._wake)
        try:
            self._observation = observe(self.folder, identity, self._events)
            self._deaf = ""
            self._troubles.note(Kind.NO_EVENTS, "")
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            if reason != self._deaf:
                log.warning(
                    "no events from %s (%s): it is scanned every %g s instead. If a limit of "
                    "inotify is reached, raise fs.inotify.max_user_watches or max_user_instances",
                    escape(self.folder), reason, self._rescan_seconds,
                )  # fmt: skip
            self._deaf = reason
            self._troubles.note(Kind.NO_EVENTS, f"no events from {escape(self.folder)}: {reason}")


def _identity(folder: bytes) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
