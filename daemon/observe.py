"""watchdog's observer, with what it does not tell by itself: lost events and dead threads."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)

# None of folders: watchdog tells of every file in a folder that appears.
EVENTS: list[type[FileSystemEvent]] = [FileCreatedEvent, FileClosedEvent, FileMovedEvent]
# More events than this waiting: they are dropped, and a scan finds what they told of.
MAX_EVENTS = 100_000
# watchdog tells here, and nowhere else, that the kernel dropped events. We say it ourselves.
OVERFLOWS = logging.getLogger("watchdog.observers.inotify_c")
OVERFLOWS.setLevel(logging.WARNING)
OVERFLOWS.propagate = False


class Events(FileSystemEventHandler):
    """Runs in the observer's threads and does next to nothing: an error here would end them."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.waiting: deque[FileSystemEvent] = deque(maxlen=MAX_EVENTS)
        self.lost = False  # an event that came in vain
        self._wake = wake

    def on_any_event(self, event: FileSystemEvent) -> None:
        if len(self.waiting) == self.waiting.maxlen:
            self.lost = True
        self.waiting.append(event)
        self._wake()


class _OverflowHandler(logging.Handler):
    def __init__(self, events: Events) -> None:
        super().__init__()
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage():
            self._events.lost = True


class Observation(NamedTuple):
    """Events from a folder, with the threads that bring them."""

    observer: BaseObserver
    overflows: _OverflowHandler
    folder: bytes  # its true name, as events have it
    identity: tuple[int, int]

    @property
    def is_alive(self) -> bool:
        # watchdog 7 reads inotify in one more thread, which it does not show.
        reader = getattr(self.observer, "_inotify_fd", self.observer)
        threads = (self.observer, reader, *self.observer.emitters)
        return all(thread.is_alive() for thread in threads) and self._watches_folder

    @property
    def _watches_folder(self) -> bool:
        """False once the kernel has taken the watch away, as when the folder was unmounted; then
        watchdog's threads go on and wait for nothing."""
        for emitter in self.observer.emitters:
            watched = getattr(getattr(emitter, "_inotify", None), "_active_callbacks_by_path", None)
            if watched is not None and self.folder not in watched:
                return False
        return True

    def stop(self) -> None:
        OVERFLOWS.removeHandler(self.overflows)
        _stop(self.observer)


def observe(folder: bytes, identity: tuple[int, int], events: Events) -> Observation:
    """Raises `OSError` where a limit of the system is reached, `RuntimeError` (`RecursionError`)
    where there can be no thread or folders are nested too deeply for watchdog."""
    true = os.path.realpath(folder)  # a link itself has no events
    observer = Observer()
    try:
        observer.schedule(events, os.fsdecode(true), recursive=True, event_filter=EVENTS)
        observer.start()
    except BaseException:
        _stop(observer)  # a part of it runs already
        raise
    overflows = _OverflowHandler(events)
    OVERFLOWS.addHandler(overflows)
    return Observation(observer, overflows, true, identity)


def _stop(observer: BaseObserver) -> None:
    try:
        observer.stop()
        if observer.is_alive():
            observer.join()
    except Exception:
        # Its notes on folders that were deleted and renamed can be wrong, and it trips over them.
        log.debug("the observer could not be stopped", exc_info=True)
