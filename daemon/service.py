"""The wiring: what `run` and `backfill` are made of, their loop, and the order of shutdown."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from classifier.compile import Program, compiled
from classifier.durable import sync_folder
from classifier.errors import CancelledError, ModelError
from daemon.census import Priority
from daemon.drain import Drain
from daemon.errors import (
    DaemonError,
    DiskFullError,
    LockHeldError,
    ResultsHeldError,
    SettingsError,
)
from daemon.jobs import Outcome
from daemon.journal import Journal
from daemon.lock import StateLock
from daemon.messages import Plan
from daemon.pool import Pool
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.results import ResultsFile
from daemon.row import THUMBNAILS, escape, word
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.storage import full, storing
from daemon.watch import Watcher

log = logging.getLogger(__name__)

# Without any event: how often the loop looks for work that another process put into the journal,
# and for a worker that hangs.
IDLE_SECONDS = 0.5
# After the first signal, for batches of very large images: a service manager's patience ends too.
FINISH_SECONDS = 4.0
REPORT_SECONDS = 10.0
MAX_FAILURES_LOGGED = 10  # of one report; results.csv has them all
FULL_DISK_SECONDS = 2.0  # how often to see whether there is room again

T = TypeVar("T")


class Source(NamedTuple):
    """Where arrivals come from, and how urgent they are."""

    watcher: Watcher
    priority: Priority


class Works(NamedTuple):
    """What drains the queue, opened and locked."""

    journal: Journal
    pool: Pool
    drain: Drain


def prepare(settings: Settings) -> None:
    """Make the folders that are ours."""
    os.umask(os.umask(0o777) | 0o022)  # whatever the user's, nobody else may write to what we make
    for folder in (settings.state, settings.results / THUMBNAILS):
        _make(folder)
        _keep_names_above(folder)


def _make(folder: Path) -> None:
    """Make a folder, with those above it."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)


def _keep_names_above(folder: Path) -> None:
    """See that a power cut does not take the names of a folder and of those above it.

    Also of those that were there: whoever made them may have ended before this.
    """
    for above in folder.parents:
        with suppress(PermissionError):  # not ours to read, so not made by us either
            sync_folder(above)


def bind(settings: Settings) -> None:
    """See that a journal and the results that it tells of stay together.

    Raises `SettingsError` if this state folder belongs to results elsewhere.
    """
    link = settings.state / "results"
    bound = link.readlink() if link.is_symlink() else None
    if bound == settings.results:
        return
    if bound is not None and (bound / RESULTS_NAME).exists():
        raise SettingsError(
            f"state: {settings.state} belongs to the results in {bound}, not to "
            f"{settings.results}. Name that folder under `results:`, or move it there first, or "
            "give these results a `state:` folder of their own"
        )
    link.unlink(missing_ok=True)
    link.symlink_to(settings.results)


def program_of(settings: Settings, cancelled: Callable[[], bool] = lambda: False) -> Program:
    """The model of the settings, compiled. Raises `ModelError`, and `CancelledError` if asked."""
    try:
        return compiled(
            settings.model,
            settings.state / "models",
            settings.description,
            cancelled,
            pin=settings.model_sha256,
        )
    except ModelError:
        if full([settings.state]):  # whatever it was that went wrong then
            raise DiskFullError(settings.state) from None
        raise


@contextmanager
def locked(settings: Settings, command: str) -> Iterator[StateLock]:
    """Hold the state folder and the results folder.

    Raises `LockHeldError` if another process drains this queue, `ResultsHeldError` if one with
    another queue writes to these results.
    """
    prepare(settings)
    with StateLock(settings.state) as lock, StateLock(settings.results, ".lock") as results_lock:
        lock.acquire(command)
        bind(settings)
        try:
            results_lock.acquire(command)
        except LockHeldError as held:
            raise ResultsHeldError(
                f"{settings.results}: {held.who} writes its results here, with another state "
                "folder. Name another folder under `results:`"
            ) from None
        yield lock


@contextmanager
def opened(settings: Settings, signals: Signals) -> Iterator[Works]:
    """Bring results.csv in line with the journal, start the workers. The lock must be held.

    Raises `CancelledError` if a signal comes while the model is compiled, and what `storing` does.
    """
    program = program_of(settings, lambda: signals.stops > 0)
    log.info(
        "model %s (%s): %d classes; %s",
        word(program.digest, 12), settings.model.name, len(program.contract.labels), program.note,
    )  # fmt: skip
    limits = settings.limits
    plan = Plan(
        program=program,
        results=settings.results,
        scratch=settings.state,
        thumbnails=settings.thumbnails.when,
        min_confidence=settings.min_confidence,
        max_bytes=int(limits.megabytes * 1e6),
        max_pixels=int(limits.megapixels * 1e6),
        formats=settings.formats,
    )
    # The workers first: they load the model while the journal and results.csv are opened.
    with (
        storing(settings.state, settings.results),
        closing(
            Pool(plan, settings.worker_count, limits.image_seconds, limits.worker_images)
        ) as pool,
        closing(Journal.open(settings.state)) as journal,
    ):
        journal.examine()
        with closing(ResultsFile(settings.results, journal)) as results:
            drain = Drain(
                journal,
                results,
                pool,
                batch_size=settings.batch.size,
                wait_seconds=settings.batch.wait_seconds,
                retry_seconds=settings.settle_seconds,
            )
            yield Works(journal, pool, drain)
            journal.note_synced(results.synced)


def work(
    settings: Settings, command: str, signals: Signals, body: Callable[[Works], T]
) -> T | None:
    """Lock, open and do the work; while the disk is full, wait, and begin anew when there is room.

    To begin anew is what every crash leads to as well, so there is no second way to go on.

    Gives None if a signal came before the end. Raises what `locked` and `opened` do.
    """
    with locked(settings, command) as lock:
        while not signals.stops:
            try:
                with opened(settings, signals) as works:
                    return body(works)
            except DiskFullError as error:
                wait_for_room(settings, error, signals, lock)
            except CancelledError:
                break
    return None


def wait_for_room(
    settings: Settings, error: DiskFullError, signals: Signals, lock: StateLock | None = None
) -> None:
    """Come back when there is room on the disk again, or a signal came."""
    log.error("%s: images wait, none fails for this, and it goes on by itself", error)
    if lock is not None:
        lock.pause(str(error))
    while not signals.stops:
        signals.wait([], FULL_DISK_SECONDS)
        if full([settings.state, settings.results]) is None:
            log.info("there is room again")
            break
    if lock is not None:
        lock.pause("")


def watcher_of(
    settings: Settings, folder: bytes, journal: Journal, signals: Signals, *, observe: bool
) -> Watcher:
    """Eyes on a folder. observe: False for a single scan."""
    return Watcher(
        folder,
        frozenset(os.fsencode(extension) for extension in settings.extensions),
        settings.settle_seconds,
        settings.rescan_seconds,
        journal.unseen,
        signals.wake,
        observe=observe,
    )


class Report:
    """A line on what was done, at most one in REPORT_SECONDS, and one for every failure up to a
    limit."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()  # since the last line
        self._began: float | None = None  # when the first of them came
        self._spoke = -REPORT_SECONDS

    def tick(self, now: float, outcomes: Sequence[Outcome], *, busy: bool) -> None:
        for row in (outcome.row for outcome in outcomes if outcome.row):
            self._rows[row.status] += 1
            log.debug("%s: %s %s", row.path, row.label or row.status, row.confidence or row.reason)
            if row.status == "failed" and self._rows["failed"] <= MAX_FAILURES_LOGGED:
                log.warning("failed: %s: %s", row.path, row.reason)
        if self._rows and self._began is None:
            self._began = now
        if self._began is None or now - self._spoke < REPORT_SECONDS:
            return
        if not busy or now - self._began >= REPORT_SECONDS:
            self.say()
            self._spoke = now

    def say(self) -> None:
        hidden = self._rows["failed"] - MAX_FAILURES_LOGGED
        if hidden > 0:
            log.warning("failed: %d more, see results.csv", hidden)
        if self._rows:
            log.info("rows: %s", ", ".join(f"{n:,} {status}" for status, n in self._rows.items()))
        self._rows.clear()
        self._began = None


class Service:
    """The loop: sources ▸ journal ▸ workers ▸ results. `tick` is all that has to be called."""

    def __init__(self, works: Works, sources: Sequence[Source]) -> None:
        self._works = works
        self.sources = sources
        self._scans = {id(source): 0 for source in sources}
        self._report = Report()

    def tick(self, now: float) -> list[Outcome]:
        """One turn; what was finished in it. Raises what `Drain.tick` does."""
        for source in self.sources:
            if found := source.watcher.tick(now):
                self._works.journal.enqueue(found, source.priority)
            self._note_scan(source)
        return self._drain(now, accept=True)

    def next_due(self, now: float) -> float:
        """When `tick` is to be called again even if nothing happens, by the monotonic clock."""
        held_back = self._works.drain.next_due()
        dues = [source.watcher.next_due(now) for source in self.sources]
        return min([now + IDLE_SECONDS, *dues, *([held_back] if held_back is not None else [])])

    @property
    def done(self) -> bool:
        """Whether all that the sources hold has its row."""
        return all(source.watcher.idle for source in self.sources) and self._works.drain.done

    def run(self, signals: Signals, *, until_done: bool) -> Iterator[list[Outcome]]:
        """Turn after turn, until a signal asks to stop or, if asked for, all is done."""
        while not signals.stops:
            now = time.monotonic()
            yield self.tick(now)
            if until_done and self.done:
                break
            signals.wait(self._works.pool.events, self.next_due(now) - now)
        if signals.stops == 1 and self._works.drain.busy:
            log.info("stopping: images in hand are finished first; a second signal stops at once")
        deadline = time.monotonic() + FINISH_SECONDS
        while self._works.drain.busy and signals.stops == 1 and time.monotonic() < deadline:
            signals.wait(self._works.pool.events, IDLE_SECONDS)
            yield self._drain(time.monotonic(), accept=False)
        self._report.say()

    def _drain(self, now: float, *, accept: bool) -> list[Outcome]:
        drain = self._works.drain
        outcomes = drain.tick(now, accept=accept)
        self._report.tick(now, outcomes, busy=drain.busy)
        return outcomes

    def _note_scan(self, source: Source) -> None:
        """What a scan passed over, for `status` and the log, when it is not as before."""
        watcher = source.watcher
        if watcher.scans == self._scans[id(source)]:
            return
        self._scans[id(source)] = watcher.scans
        if source.priority == Priority.LIVE and self._works.journal.note_ignored(watcher.ignored):
            for reason, (count, example) in sorted(watcher.ignored.items()):
                log.info("ignored: %d: %s, such as %s", count, reason, escape(example))


def raise_trouble(sources: Sequence[Source]) -> None:
    """For work that has an end: it never comes while a folder cannot be read.

    Raises `DaemonError`.
    """
    for source in sources:
        if source.watcher.trouble:
            raise DaemonError(
                f"{escape(source.watcher.folder)}: {source.watcher.trouble}. Mend that and run the "
                "same command again: what is done stays done"
            )


def run(settings: Settings, *, once: bool) -> bool:
    """Watch the inbox until a signal comes; once: until all that is there has its row.

    Gives whether it ended as it should: a signal ends the first, but cuts the second short.
    """
    with Signals() as signals:
        inbox = os.fsencode(settings.inbox)

        def watch(works: Works) -> None:
            watcher = watcher_of(settings, inbox, works.journal, signals, observe=not once)
            sources = [Source(watcher, Priority.LIVE)]
            log.info(
                "%s %s; workers: %d; rows go to %s",
                "classifying what is in" if once else "watching", escape(inbox),
                settings.worker_count, settings.results / RESULTS_NAME,
            )  # fmt: skip
            with closing(watcher):
                for _ in Service(works, sources).run(signals, until_done=once):
                    if once:
                        raise_trouble(sources)

        work(settings, "run --once" if once else "run", signals, watch)
        log.info("done" if once and not signals.stops else "stopped")
        return not (once and signals.stops)
