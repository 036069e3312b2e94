"""Folders that exist already ▸ the same queue, the same rows; once, with progress."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from daemon.access import denied
from daemon.census import Priority
from daemon.database import FILE_NAME
from daemon.errors import DiskFullError, LockHeldError, SettingsError
from daemon.fitting import watcher_of
from daemon.folders import inbox_names, is_among_thumbnails, prepare
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.lock import Holder, holder
from daemon.loop import Loop, Source, Works, raise_trouble
from daemon.progress import Progress, progress
from daemon.reload import Configuration
from daemon.row import escape
from daemon.service import wait_for_room, work
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.storage import full, storing
from daemon.walk import walk
from daemon.watch import Watcher

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5


class Forecast(NamedTuple):
    """What a backfill would do: files that are new or known, and those ignored, by reason."""

    new: int
    known: int
    ignored: Counter[str]


def checked(settings: Settings, folders: Sequence[Path]) -> list[bytes]:
    """The folders under their true names. Raises `SettingsError` that tells of every wrong one."""
    mistakes = []
    for folder in folders:
        name = escape(os.fsencode(folder))  # as `*` gave it, perhaps
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "there is no such folder"
            mistakes.append(f"{name}: {what}")
        elif reason := denied(folder.absolute(), os.R_OK | os.X_OK):
            mistakes.append(f"{name}: cannot be read by this user: {reason}")
        for key, ours in (("results", settings.results), ("state", settings.state)):
            if ours.resolve().is_relative_to(folder.resolve()):
                mistakes.append(
                    f"{name}: holds our own folder {ours}, so our own pictures would be "
                    f"classified: name the folders beside it, or another `{key}:` in config.yaml"
                )
        if is_among_thumbnails(folder, settings.results):
            mistakes.append(f"{name}: is among our own thumbnails, which are no new images")
    if mistakes:
        raise SettingsError("\n".join(mistakes))
    given = {_one_name(settings, folder) for folder in folders}
    inbox = settings.inbox.resolve()
    if inbox.is_dir() and any(inbox.is_relative_to(folder.resolve()) for folder in folders):
        given.add(os.fsencode(settings.inbox))  # it is left out of the walk through that folder
    names = sorted(given)
    # A folder inside another one is looked through with it.
    # Not so the inbox, whose files have the names that `run` gives them.
    return [
        name for name in names
        if name == os.fsencode(settings.inbox)
        or not any(name.startswith(other + b"/") for other in names)
    ]  # fmt: skip


def _one_name(settings: Settings, folder: Path) -> bytes:
    """Without links, so that a file has one path however its folder was called; and in the inbox
    as the inbox is called, so that the daemon and a backfill give it the same one."""
    true, inbox = folder.resolve(), settings.inbox.resolve()
    if true.is_relative_to(inbox):
        true = settings.inbox / true.relative_to(inbox)
    return os.fsencode(true)


def forecast(settings: Settings, folders: Sequence[bytes]) -> Forecast:
    """What `backfill` would do. Nothing is written."""
    extensions = frozenset(map(os.fsencode, settings.extensions))
    journal = None
    if (settings.state / FILE_NAME).exists():
        journal = Journal.open(settings.state, read_only=True)
    new, known, ignored = 0, 0, Counter[str]()
    apart = inbox_names(settings.inbox)
    for found in (found for folder in folders for found in walk(folder, extensions, apart)):
        if found.signature is None:
            ignored[found.ignored or ""] += 1
        elif journal is None or journal.unseen([Sighting(found.path, found.signature)]):
            new += 1
        else:
            known += 1
    if journal is not None:
        journal.close()
    return Forecast(new, known, ignored)


class Done(NamedTuple):
    """How a backfill ended.

    rows: new ones since it began, by status. waiting: files still in the queue. at_work: who goes
    on with those. ignored: by reason: how many, an example.
    """

    complete: bool
    rows: dict[str, int]
    waiting: int
    at_work: Holder | None
    ignored: dict[str, tuple[int, bytes]]


def backfill(settings: Settings, folders: Sequence[bytes]) -> Done:
    """Classify all that is in the folders and new, or as much as there is until a signal comes.

    A process that drains the queue already is left to do the work; if it ends, it is done here.
    """
    prepare(settings.state, settings.results)
    with Signals() as signals, storing(settings.state, settings.results):
        if no_room := full([settings.state, settings.results]):
            wait_for_room(settings, DiskFullError(no_room), signals)
        return _backfilled(settings, folders, signals)


def _backfilled(settings: Settings, folders: Sequence[bytes], signals: Signals) -> Done:
    with closing(Journal.open(settings.state)) as journal:
        before = journal.results()
        for folder in folders:
            journal.note_folder(folder)
        with progress() as shown:
            meter = _Meter(journal, shown)

            def sources() -> list[Source]:
                """New eyes on the folders: what the old ones told may not have been noted."""
                seeing = [
                    watcher_of(settings, folder, journal, signals, observe=False)
                    for folder in folders
                ]
                meter.watch(seeing)
                return [Source(watcher, Priority.BACKFILL) for watcher in seeing]

            complete = False
            while not complete and not signals.stops:
                try:
                    complete = _drain(settings, sources, signals, meter)
                except LockHeldError as error:
                    log.info("%s, does the work; this process fills its queue", error.who)
                    try:
                        with storing(settings.state, settings.results):
                            complete = _follow(settings, journal, sources(), signals, meter)
                    except DiskFullError as error:
                        wait_for_room(settings, error, signals)
            meter.read(time.monotonic())
        rows = journal.by_status_after(before)
        return Done(complete, rows, journal.pending(), holder(settings.state), meter.ignored)


class _Meter:
    """Reads off the journal how much is done, not too often."""

    def __init__(self, journal: Journal, shown: Progress) -> None:
        self._journal = journal
        self._shown = shown
        self._watchers: list[Watcher] = []
        # Left over by a backfill that was interrupted, and found by watchers before the present.
        self._before = journal.pending(Priority.BACKFILL)
        self._next = 0.0

    def watch(self, watchers: list[Watcher]) -> None:
        """Count what these find from now on."""
        self._before += sum(watcher.found for watcher in self._watchers)
        self._watchers = watchers

    @property
    def ignored(self) -> dict[str, tuple[int, bytes]]:
        """What was passed over, by reason: how many, an example."""
        ignored: dict[str, tuple[int, bytes]] = {}
        for watcher in self._watchers:
            for reason, (count, example) in watcher.ignored.items():
                ignored[reason] = (ignored.get(reason, (0, b""))[0] + count, example)
        return ignored

    def tick(self, now: float) -> None:
        if now >= self._next:
            self.read(now)
            self._next = now + POLL_SECONDS

    def read(self, now: float) -> None:
        total = self._before + sum(watcher.found for watcher in self._watchers)
        done = total - min(total, self._journal.pending(Priority.BACKFILL))
        self._shown.update(done, total, now)


def _drain(
    settings: Settings, sources: Callable[[], list[Source]], signals: Signals, meter: _Meter
) -> bool:
    """Do the work in this process. Gives whether all of it is done."""

    def drain(works: Works) -> bool:
        loop = Loop(works, sources(), [works.sorter, works.retention, works.vitals])
        for _ in loop.run(signals, until_done=True):
            raise_trouble(loop.sources)
            meter.tick(time.monotonic())
        if loop.done and not signals.stops:
            works.sorter.finish()
        return loop.done

    return bool(work(Configuration(settings), "backfill", signals, drain))


def _follow(
    settings: Settings,
    journal: Journal,
    sources: Sequence[Source],
    signals: Signals,
    meter: _Meter,
) -> bool:
    """Put the work in the queue and watch another process do it. False if that one ended."""
    searching, upto = True, 0
    while not signals.stops:
        now = time.monotonic()
        for source in sources:
            journal.enqueue(source.watcher.tick(now), source.priority)
        raise_trouble(sources)
        meter.tick(now)
        if searching:
            upto = journal.last_arrival()
            searching = not all(source.watcher.idle for source in sources)
        if not (searching or journal.has_deliveries() or journal.waits_upto(upto)):
            return True
        if holder(settings.state) is None:
            return False
        dues = [source.watcher.next_due(now) for source in sources]
        due = min(dues, default=math.inf) - now
        signals.wait([], min(due, POLL_SECONDS) if searching else POLL_SECONDS)
    return False
