"""The wiring: what `run` and `backfill` work with, opened in order, and anew after a full disk."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TypeVar

from classifier.errors import CancelledError
from daemon.census import Priority
from daemon.drain import Drain
from daemon.errors import DiskFullError, LockHeldError, ResultsHeldError
from daemon.fitting import crew_of, keep_of, pace_of, program_of, watcher_of
from daemon.folders import bind, prepare
from daemon.journal import Journal
from daemon.lock import Locks, StateLock
from daemon.loop import Duty, Loop, Source, Works, raise_trouble
from daemon.models import looks
from daemon.presence import visible
from daemon.pulse import Alive, Pulse
from daemon.reload import Configuration, Reload
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.results import ResultsFile
from daemon.retention import Retention
from daemon.row import escape, word
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.sorter import Sorter
from daemon.storage import full, storing
from daemon.succession import Succession
from daemon.troubles import Kind, Troubles
from daemon.vitals import Vitals
from daemon.watch import Watcher

log = logging.getLogger(__name__)

# How often to see whether there is room again; more and more seldom if it is full again so soon.
FULL_DISK_SECONDS, MAX_FULL_DISK_SECONDS, SOON_SECONDS = 2.0, 60.0, 30.0

T = TypeVar("T")


@contextmanager
def locked(settings: Settings, command: str) -> Iterator[Locks]:
    """Hold the state folder and the results folder.

    Raises `LockHeldError` if another process drains this queue, `ResultsHeldError` if one with
    another queue writes to these results.
    """
    prepare(settings.state, settings.results)
    with StateLock(settings.state) as lock, StateLock(settings.results, ".lock") as results_lock:
        lock.acquire(command)
        bind(settings.state, settings.results)
        try:
            results_lock.acquire(command)
        except LockHeldError as held:
            raise ResultsHeldError(
                f"{settings.results}: {held.who} writes its results here, with another state "
                "folder. Name another folder under `results:`"
            ) from None
        yield Locks(lock, results_lock)


@contextmanager
def opened(
    configuration: Configuration,
    signals: Signals,
    locks: Locks,
    troubles: Troubles,
    vitals: Vitals,
    alive: Alive,
) -> Iterator[Works]:
    """Bring results.csv in line with the journal, start the workers. The locks must be held.

    Raises `CancelledError` if a signal comes while the model is compiled, and what `storing` does.
    """

    def given_up() -> bool:
        """Asked again and again by what may take long."""
        alive.tick(time.monotonic(), "starting: a new model is compiled, or the journal is mended")
        return signals.stops > 0

    def copying() -> None:
        alive.tick(time.monotonic(), "an image is copied to where it belongs, on another disk")

    settings = configuration.settings
    # One that served already is good, whatever the file has become since.
    if configuration.program is None:
        configuration.judged = looks(settings.model)  # before it is read: what changes is seen
    program = configuration.program or program_of(settings, given_up)
    configuration.program = program
    log.info(
        "model %s (%s): %d classes; %s",
        word(program.digest, 12), settings.model.name, len(program.contract.labels), program.note,
    )  # fmt: skip
    locks.state.note_model(program.digest)
    # The workers first: they load the model while the journal and results.csv are opened.
    with (
        storing(settings.state, settings.results),
        closing(Succession(crew_of(settings, program))) as pool,
        closing(Journal.open(settings.state)) as journal,
    ):
        journal.examine(given_up=given_up)
        journal.sort_by(settings.sorting)
        journal.want(pool.model)
        with closing(
            ResultsFile(settings.results, journal, monthly=settings.rotate == "monthly")
        ) as results:
            drain = Drain(journal, results, pool, pace_of(settings))
            vitals.serve(pool, drain)
            try:
                sorter = Sorter(journal, troubles, lambda: results.synced, copying)
                retention = Retention(journal, settings.results, keep_of(settings))
                yield Works(locks, journal, pool, drain, troubles, vitals, alive, sorter, retention)
            finally:
                vitals.rest()
            journal.note_synced(results.synced)


def work(
    configuration: Configuration, command: str, signals: Signals, body: Callable[[Works], T]
) -> T | None:
    """Lock, open and do the work; while the disk is full, wait, and begin anew when there is room.

    To begin anew is what every crash leads to as well, so there is no second way to go on.

    Gives None if a signal came before the end. Raises what `locked` and `opened` do.
    """
    waited = 0.0
    settings = configuration.settings
    troubles, alive = Troubles(), Alive()
    metrics = settings.metrics
    listening = None if metrics.port is None else (metrics.address, metrics.port)
    with (
        locked(settings, command) as locks,
        visible(
            locks.state, troubles, signals, settings.results, settings.inbox, listening
        ) as vitals,
    ):
        while not signals.stops:
            began = time.monotonic()
            try:
                with opened(configuration, signals, locks, troubles, vitals, alive) as works:
                    return body(works)
            except DiskFullError as error:
                # Full again so soon: there is too little room for what has to be written at once.
                soon = waited > 0 and time.monotonic() - began < SOON_SECONDS
                waited = min(2 * waited, MAX_FULL_DISK_SECONDS) if soon else FULL_DISK_SECONDS
                troubles.note(Kind.DISK_FULL, str(error))
                vitals.note()
                wait_for_room(settings, error, signals, waited, locks.state, alive)
                troubles.note(Kind.DISK_FULL, "")
                vitals.note()
            except CancelledError:
                break
    return None


def wait_for_room(
    settings: Settings,
    error: DiskFullError,
    signals: Signals,
    seconds: float = FULL_DISK_SECONDS,
    lock: StateLock | None = None,
    alive: Alive | None = None,
) -> None:
    """Come back when there is room on the disk again, or a signal came.

    seconds: how often to look.
    """
    log.error("%s: images wait, none fails for this, and it goes on by itself", error)
    if lock is not None:
        lock.pause(str(error))
    next_look = time.monotonic() + seconds
    while not signals.stops:
        if alive is not None:
            alive.tick(time.monotonic(), str(error))
            signals.wait([], min(next_look, alive.next_due()) - time.monotonic())
        else:
            signals.wait([], seconds)
        if time.monotonic() < next_look:
            continue
        next_look += seconds
        if full([settings.state, settings.results]) is None:
            log.info("there is room again")
            break
    if lock is not None:
        lock.pause("")


def run(settings: Settings, reread: Callable[[], Settings], *, once: bool) -> bool:
    """Watch the inbox until a signal comes; once: until all that is there has its row.

    reread: reads the configuration again, when SIGHUP asks for it. A terminal that is closed sends
    that as well: there, and with `once`, it is a signal to stop.

    Gives whether it ended as it should: a signal ends the first, but cuts the second short.
    """
    is_shown = sys.stderr is not None and sys.stderr.isatty()  # None: as with `2>&-`
    with Signals(hangup_reloads=not once and not is_shown) as signals:
        configuration = Configuration(settings, reread)

        def watch(works: Works) -> None:
            _watch(configuration, works, signals, once=once)

        work(configuration, "run --once" if once else "run", signals, watch)
        log.info("done" if once and not signals.stops else "stopped")
        return not (once and signals.stops)


def _watch(configuration: Configuration, works: Works, signals: Signals, *, once: bool) -> None:
    settings = configuration.settings
    inbox = os.fsencode(settings.inbox)
    watcher = watcher_of(
        settings, inbox, works.journal, signals, observe=not once, troubles=works.troubles
    )
    sources = [Source(watcher, Priority.LIVE)]
    log.info(
        "%s %s; workers: %d; rows go to %s",
        "classifying what is in" if once else "watching", escape(inbox),
        settings.worker_count, settings.results / RESULTS_NAME,
    )  # fmt: skip
    pulse = Pulse(works.alive, works.journal, works.pool, works.troubles)
    duties: list[Duty] = [works.sorter, works.retention, works.vitals, pulse]

    def see(watcher: Watcher) -> None:
        works.vitals.watch(watcher)
        pulse.watcher = watcher

    see(watcher)
    with ExitStack() as stack:
        if not once:
            reload = Reload(configuration, works, sources, signals, see)
            stack.callback(reload.close)
            duties.append(reload)
        stack.callback(lambda: sources[0].watcher.close())
        for _ in Loop(works, sources, duties).run(signals, until_done=once):
            if once:
                raise_trouble(sources)
        if once and not signals.stops:
            works.sorter.finish()
