"""SIGHUP ▸ the configuration is read again, and what can change at once changes. So does the model.

Nothing is stopped for it: new workers take over from the old ones between two batches, and a new
watcher scans the inbox before it goes on by events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from classifier.compile import Program
from daemon import logs
from daemon.errors import SettingsError
from daemon.fitting import crew_of, keep_of, pace_of, program_of, watcher_of
from daemon.jobs import Outcome
from daemon.loop import Source, Works
from daemon.models import Looks, Models, prune
from daemon.notify import notify
from daemon.row import word
from daemon.settings import Settings, wrong_ways
from daemon.signals import Signals
from daemon.troubles import Kind
from daemon.watch import Watcher

log = logging.getLogger(__name__)

# What everything that is open stands on.
NEED_RESTART = ("inbox", "results", "state", "metrics", "log_format", "rotate")
OF_MODEL = ("model", "model_sha256", "labels", "unknown")
OF_WATCHER = ("extensions", "settle_seconds", "rescan_seconds", "watch", "poll_seconds")


class Configuration:
    """What holds now; it outlives what is opened by it, which a full disk closes.

    program: the last one that served. judged: how the model file looked when it was judged last.
    reloads: how many were done.
    """

    def __init__(self, settings: Settings, reread: Callable[[], Settings] | None = None) -> None:
        """reread: reads the file again. Raises `SettingsError`."""
        self.settings = settings
        self.reread = reread
        self.program: Program | None = None
        self.judged: Looks | None = None
        self.reloads = 0


class Reload:
    """A duty of the loop that watches an inbox."""

    def __init__(
        self,
        configuration: Configuration,
        works: Works,
        sources: list[Source],
        signals: Signals,
        see: Callable[[Watcher], None],
    ) -> None:
        """sources: of the loop; the first one is the inbox, and may be replaced.
        see: told of a new watcher."""
        self._configuration = configuration
        self._works = works
        self._sources = sources
        self._signals = signals
        self._see = see
        settings = configuration.settings
        self._wanted: Program | None = None  # about to take over
        self._before = ""  # the digest of the model before this one
        self._models = Models(
            settings.model, configuration.judged, self._prepare, self._take, works.troubles,
            signals.wake,
        )  # fmt: skip

    def tick(self, now: float, outcomes: Sequence[Outcome]) -> None:
        if self._signals.reloads != self._configuration.reloads:
            self._configuration.reloads = self._signals.reloads
            notify(
                "RELOADING=1",
                f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}",
            )
            self._reload()
            notify("READY=1")
        self._models.tick(now, outcomes)

    def next_due(self, now: float) -> float:
        return self._models.next_due(now)

    def close(self) -> None:
        self._models.close()
        self._configuration.judged = self._models.judged

    def _reload(self) -> None:
        assert self._configuration.reread is not None
        try:
            read = self._configuration.reread()
        except SettingsError as error:
            what = f"the configuration that was read holds on, as the new one is wrong: {error}"
            self._works.troubles.note(Kind.SETTINGS_REFUSED, what)
            log.error("%s", what)
            return
        self._works.troubles.note(Kind.SETTINGS_REFUSED, "")
        held = self._configuration.settings
        changed = [name for name in type(read).model_fields if _of(read, name) != _of(held, name)]
        later = [name for name in changed if name in NEED_RESTART]
        at_once = [name for name in changed if name not in NEED_RESTART]
        settings = read.model_copy(update={name: _of(held, name) for name in later})
        # It was judged with the folders that are to come, and has to be good with those of now.
        if later and any(wrong_ways(settings)):
            settings = settings.model_copy(update={"after": held.after})
            at_once.remove("after")
            later.append("after")
        said = [f"changed: {', '.join(at_once)}"] if at_once else []
        if later:
            said.append(f"these need a restart: {', '.join(later)}")
        log.log(
            logging.WARNING if later else logging.INFO,
            "the configuration was read again; %s", "; ".join(said) or "nothing is new",
        )  # fmt: skip
        self._apply(settings, frozenset(at_once))

    def _apply(self, settings: Settings, changed: frozenset[str]) -> None:
        self._configuration.settings = settings
        if "log_level" in changed:
            logs.set_up(settings.log_format, settings.log_level)
        self._works.drain.pace = pace_of(settings)
        if "after" in changed:
            self._works.journal.sort_by(settings.sorting)
        self._works.retention.keep = keep_of(settings)
        if changed & {*OF_WATCHER}:
            self._watch_anew(settings)
        # One that was refused may be good by now: it is always looked at again.
        if changed & {*OF_MODEL} or self._works.troubles.text(Kind.MODEL_REFUSED):
            self._models.look_again(settings.model)
        if changed - {*OF_MODEL, *OF_WATCHER, "log_level", "batch"}:
            self._hire()

    def _watch_anew(self, settings: Settings) -> None:
        inbox, priority = self._sources[0]
        inbox.close()
        watcher = watcher_of(
            settings, inbox.folder, self._works.journal, self._signals, observe=True,
            troubles=self._works.troubles,
        )  # fmt: skip
        self._sources[0] = Source(watcher, priority)
        self._see(watcher)

    def _prepare(self, cancelled: Callable[[], bool]) -> Program:
        """In a thread."""
        return program_of(self._configuration.settings, cancelled)

    def _take(self, program: Program) -> None:
        """A program that is good, of the file as it is now."""
        self._wanted = program
        self._hire()

    def _hire(self) -> None:
        """New workers, for the settings and the model that are wanted now."""
        settings = self._configuration.settings
        program = self._wanted or self._configuration.program
        assert program is not None
        if settings.unknown and program.contract.energy_threshold is None:
            settings = settings.model_copy(update={"unknown": False})  # until the model is judged
        crew = crew_of(settings, program)
        if crew == self._works.pool.crew and not self._works.pool.is_changing:
            return
        self._works.pool.succeed(crew, lambda reason: self._changed(program, reason))

    def _changed(self, program: Program, reason: str) -> None:
        """The new workers serve, or never will, for a reason."""
        self._wanted = None
        if reason:
            what = f"new workers do not come up, the ones before them serve on: {reason}"
            self._works.troubles.note(Kind.MODEL_REFUSED, what)
            log.error("%s", what)
            return
        before = self._configuration.program
        if before is None or program.digest == before.digest:
            self._configuration.program = program
            return
        self._configuration.program = program
        self._works.locks.state.note_model(program.digest)
        self._works.journal.want(word(program.digest, 12))
        log.info(
            "a new model serves: %s (%s): %d classes; %s; before it, %s did",
            word(program.digest, 12), self._configuration.settings.model.name,
            len(program.contract.labels), program.note, word(before.digest, 12),
        )  # fmt: skip
        prune(self._configuration.settings.state / "models", {program.digest, before.digest})


def _of(settings: Settings, name: str) -> object:
    return getattr(settings, name)
