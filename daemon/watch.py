"""Observer and scans ▸ sightings of image files that are whole.

Events are hints, the scan is the truth. The observer makes things quick; every file is found by the
next scan even if the observer is deaf. A file is whole when its writer closed it or renamed it into
place; without such a sign it is, once it has been quiet for `settle_seconds` and nobody is known to
have it open for writing.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from classifier.read import Signature
from daemon.journal import Sighting
from daemon.row import escape

log = logging.getLogger(__name__)

EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent, FileClosedEvent, FileMovedEvent, DirCreatedEvent, DirMovedEvent,
]  # fmt: skip
# More events than this waiting: they are dropped, and a scan finds what they told of.
MAX_EVENTS = 100_000
# How many files a scan looks at before the rest of the program gets its turn.
SCAN_SLICE = 2000
# A writer that keeps its file open is waited for this long after the last change.
WRITER_PATIENCE_SECONDS = 300.0

NOT_AN_IMAGE = "not an image by its extension"
HIDDEN = "hidden (its name starts with a dot)"
LINK = "a symbolic link"
SPECIAL = "not a regular file"
UNREADABLE_FOLDER = "a folder that cannot be read"


class Found(NamedTuple):
    """What a walk came across: an image file with its signature, or something with a reason to
    pass it over."""

    path: bytes
    signature: Signature | None
    ignored: str | None


def walk(root: bytes, extensions: frozenset[bytes]) -> Iterator[Found]:
    """Everything under a folder, no link followed, with no list of all files held.

    Raises `OSError` if the root itself cannot be read.
    """
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(folder)
        except OSError:
            if folder == root:
                raise
            # Gone meanwhile is no news; what cannot be read is.
            if os.path.lexists(folder):
                yield Found(folder, None, UNREADABLE_FOLDER)
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(b"."):
                        folders.append(entry.path)
                        continue
                    yield look(entry.path, extensions, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue


def look(path: bytes, extensions: frozenset[bytes], status: os.stat_result) -> Found:
    """Whether a path is an image file by all that can be told without opening it."""
    name = os.path.basename(path)
    reason = None
    if name.startswith(b"."):
        reason = HIDDEN
    elif stat.S_ISLNK(status.st_mode):
        reason = LINK
    elif not stat.S_ISREG(status.st_mode):
        reason = SPECIAL
    elif os.path.splitext(name)[1][1:].lower() not in extensions:
        reason = NOT_AN_IMAGE
    return Found(path, None if reason else Signature.of(status), reason)


def is_being_written(path: bytes) -> bool | None:
    """Whether somebody has the file open for writing; None where the system does not tell.

    A read lease is granted only on a file that nobody has open for writing. Linux tells the file's
    owner and root. SIGIO must be ignored: it comes if a writer opens the file just then.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return False


class _Waiting(NamedTuple):
    signature: Signature
    quiet_since: float  # by the monotonic clock


class Settling:
    """Files that may still be written to, until they have been quiet for long enough."""

    def __init__(self, settle_seconds: float) -> None:
        self._settle_seconds = settle_seconds
        self._waiting: dict[bytes, _Waiting] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, sighting: Sighting, now: float, age_seconds: float = 0.0) -> bool:
        """True if the file is whole already, by how long ago it was last modified."""
        waiting = self._waiting.get(sighting.path)
        if waiting is None or waiting.signature != sighting.signature:
            waiting = _Waiting(sighting.signature, now - max(age_seconds, 0))
        if self._is_quiet(sighting.path, waiting, now):
            self._waiting.pop(sighting.path, None)
            return True
        self._waiting[sighting.path] = waiting
        return False

    def discard(self, path: bytes) -> None:
        self._waiting.pop(path, None)

    def due(self, now: float) -> list[Sighting]:
        """The files that have become whole; they are not waited for any more."""
        ready = []
        for path, waiting in list(self._waiting.items()):
            if now - waiting.quiet_since < self._settle_seconds:
                continue
            try:
                signature = Signature.of(os.lstat(path))
            except OSError:
                del self._waiting[path]
                continue
            if self.add(Sighting(path, signature), now):
                ready.append(Sighting(path, signature))
        return ready

    def next_due(self) -> float | None:
        """When `due` is worth a call, by the monotonic clock."""
        if not self._waiting:
            return None
        return min(waiting.quiet_since for waiting in self._waiting.values()) + self._settle_seconds

    def _is_quiet(self, path: bytes, waiting: _Waiting, now: float) -> bool:
        quiet = now - waiting.quiet_since
        if quiet < self._settle_seconds:
            return False
        return quiet >= WRITER_PATIENCE_SECONDS or not is_being_written(path)


class _Handler(FileSystemEventHandler):
    """Runs in the observer's thread and does next to nothing: an error here would end it."""

    def __init__(self, events: deque[FileSystemEvent], wake: Callable[[], None]) -> None:
        self._events = events
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        self._events.append(event)
        self._wake()


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
    ) -> None:
        """unseen: which sightings are news. wake: called when an event came, from another thread.
        observe: False for a single scan."""
        self._inbox = inbox
        self._extensions = extensions
        self._rescan_seconds = rescan_seconds
        self._unseen = unseen
        self._wake = wake
        self._observe = observe
        self._settling = Settling(settle_seconds)
        self._events: deque[FileSystemEvent] = deque(maxlen=MAX_EVENTS)
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None  # of the inbox that is observed
        self._scan: Iterator[Found] | None = None
        self._next_scan = 0.0
        self._ignored: dict[str, tuple[int, bytes]] = {}
        self._inbox_error = ""
        self.scans = 0  # completed ones
        self.ignored: dict[str, tuple[int, bytes]] = {}  # by reason: how many, an example

    def tick(self, now: float) -> list[Sighting]:
        """Files that are whole and new. Looks at events and at one slice of a scan."""
        ready = self._take_events(now)
        if self._scan is None and now >= self._next_scan:
            self._start_scan()
        if self._scan is not None:
            ready += self._scan_slice(now)
        return ready + self._settling.due(now)

    def next_due(self, now: float) -> float:
        """When `tick` has something to do even if nothing happens, by the monotonic clock."""
        if self._scan is not None or self._events:
            return now
        settled = self._settling.next_due()
        return (
            self._next_scan if settled is None else max(now + 0.05, min(settled, self._next_scan))
        )

    @property
    def idle(self) -> bool:
        """Whether a scan is completed and no file is waited for."""
        return self.scans > 0 and self._scan is None and not self._events and not self._settling

    @property
    def settling(self) -> int:
        """How many files are waited for."""
        return len(self._settling)

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join()
            self._observer = None

    # Events

    def _take_events(self, now: float) -> list[Sighting]:
        if len(self._events) == MAX_EVENTS:
            log.warning("more than %d events are waiting; a scan takes their place", MAX_EVENTS)
            self._events.clear()
            self._next_scan = now
        whole: dict[bytes, Sighting] = {}
        fresh: dict[bytes, Sighting] = {}
        while self._events:
            event = self._events.popleft()
            path = os.fsencode(event.dest_path or event.src_path)
            if b"/." in path[len(self._inbox) :]:
                continue  # in a hidden folder, where no scan goes either
            if event.is_directory:
                for found in self._folder(path):
                    fresh[found.path] = found
                continue
            sighting = self._file(path)
            if sighting is None:
                self._settling.discard(path)
            elif isinstance(event, FileClosedEvent | FileMovedEvent):
                whole[path] = sighting
                fresh.pop(path, None)
            elif path not in whole:
                fresh[path] = sighting
        for path in whole:
            self._settling.discard(path)
        return self._unseen(list(whole.values())) + [
            found for found in self._unseen(list(fresh.values())) if self._settled(found, now)
        ]

    def _file(self, path: bytes) -> Sighting | None:
        try:
            found = look(path, self._extensions, os.lstat(path))
        except OSError:
            return None  # gone again
        return None if found.signature is None else Sighting(path, found.signature)

    def _folder(self, path: bytes) -> list[Sighting]:
        """The images in a folder that just came: no event tells of what it brought along."""
        try:
            return [
                Sighting(found.path, found.signature)
                for found in walk(path, self._extensions)
                if found.signature is not None
            ]
        except OSError:
            return []

    def _settled(self, found: Sighting, now: float) -> bool:
        # A name that appears with content that nobody writes to was renamed or linked into place.
        if found.signature.size and is_being_written(found.path) is False:
            self._settling.discard(found.path)
            return True
        return self._settling.add(found, now)

    # Scans

    def _start_scan(self) -> None:
        self._next_scan = time.monotonic() + self._rescan_seconds
        try:
            status = os.stat(self._inbox)
            # Watch first, then scan: what comes in between is seen twice, never not at all.
            self._keep_observing((status.st_dev, status.st_ino))
            os.scandir(self._inbox).close()
        except OSError as error:
            if str(error) != self._inbox_error:
                log.error("the inbox %s cannot be read: %s; trying again every %g s",
                          escape(self._inbox), error.strerror, self._rescan_seconds)  # fmt: skip
            self._inbox_error = str(error)
            return
        if self._inbox_error:
            log.info("the inbox %s is back", escape(self._inbox))
            self._inbox_error = ""
        self._ignored = {}
        self._scan = walk(self._inbox, self._extensions)

    def _scan_slice(self, now: float) -> list[Sighting]:
        assert self._scan is not None
        images: list[Sighting] = []
        try:
            for _ in range(SCAN_SLICE):
                found = next(self._scan)
                if found.signature is not None:
                    images.append(Sighting(found.path, found.signature))
                elif found.ignored is not None:
                    count, example = self._ignored.get(found.ignored, (0, found.path))
                    self._ignored[found.ignored] = (count + 1, example)
        except StopIteration:
            self._scan = None
            self.scans += 1
            self.ignored = self._ignored
        except OSError as error:  # the inbox went away while it was read
            self._scan = None
            log.error("the scan of %s broke off: %s", escape(self._inbox), error.strerror)
        clock = time.time()
        return [
            found
            for found in self._unseen(images)
            if self._settling.add(found, now, clock - found.signature.mtime_ns / 1e9)
        ]

    def _keep_observing(self, identity: tuple[int, int]) -> None:
        """Observe the folder that is the inbox now; one made anew needs a new watch."""
        if not self._observe:
            return
        if self._observer is not None and (identity != self._identity or not self._is_alive()):
            log.warning("the observer of %s is replaced", escape(self._inbox))
            self.stop()
        if self._observer is not None:
            return
        observer = Observer()
        handler = _Handler(self._events, self._wake)
        observer.schedule(handler, os.fsdecode(self._inbox), recursive=True, event_filter=EVENTS)
        try:
            observer.start()
        except OSError as error:
            if self._identity is None:
                log.warning(
                    "no events from %s (%s): it is scanned every %g s instead. If a limit of "
                    "inotify is reached, raise fs.inotify.max_user_watches or max_user_instances",
                    escape(self._inbox), error.strerror, self._rescan_seconds,
                )  # fmt: skip
        else:
            self._observer = observer
        self._identity = identity

    def _is_alive(self) -> bool:
        observer = self._observer
        return observer is not None and all(
            thread.is_alive() for thread in (observer, *observer.emitters)
        )
