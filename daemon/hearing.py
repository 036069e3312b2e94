"""Does this folder tell of its files? Events where they can be trusted, many scans elsewhere."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

from daemon.canary import NAME, Canary
from daemon.inotify_limits import explained, reached
from daemon.mounts import remote
from daemon.observe import Events, Observation, observe
from daemon.row import escape
from daemon.troubles import Kind, Troubles

log = logging.getLogger(__name__)

Watch = Literal["auto", "events", "poll"]


class Hearing:
    """The observer of one folder: replaced when it has to be, doubted when there is reason to."""

    def __init__(
        self, folder: bytes, watch: Watch, wake: Callable[[], None], troubles: Troubles
    ) -> None:
        """watch: `auto`: events, but on a share; `events` and `poll` whatever it is.
        wake: called when an event came, from another thread."""
        self._folder = folder
        self._watch = watch
        self._wake = wake
        self._troubles = troubles
        self._observation: Observation | None = None
        self._canary = Canary()
        self._share = ""  # the type of a file system that tells nothing
        self._deaf = ""  # why there are no events, though there should be
        self._doubts = ""  # why the observer is to be replaced
        self._scans = 0  # since there are none
        self._replaced = 0  # scans since the observer was replaced for a doubt
        self._patience = 1  # how many scans to wait before that is done again
        self.events = Events(wake)

    @property
    def mode(self) -> tuple[str, str]:
        """(events, polling or, before that is known, '', and why it is polled if it is)."""
        if self._observation is not None:
            return "events", ""
        if self._watch == "poll":
            return "polling", "as `watch: poll` asks for"
        if self._share:
            return "polling", f"{self._share}, which tells nothing of what others write"
        return ("polling", self._deaf) if self._deaf else ("", "")

    @property
    def is_polling(self) -> bool:
        return self.mode[0] == "polling"

    @property
    def prefix(self) -> int:
        """How many bytes of an event's path are the folder."""
        return 0 if self._observation is None else len(self._observation.folder)

    def is_of(self, identity: tuple[int, int] | None) -> bool:
        """Whether it is as it should be, of the folder with this device and inode."""
        held = self._observation
        return held is None or (held.is_alive and held.identity == identity)

    def has_failed(self, now: float) -> bool:
        """Whether it has just come out that no events arrive."""
        if not self._canary.is_overdue(now):
            return False
        self._canary.heard()
        self.close()
        self._fail("no event came of a file that was made there as a test")
        return True

    def next_due(self) -> float | None:
        return self._canary.deadline

    def heard(self, inner: bytes) -> None:
        """Of an event; inner: its path without the folder's."""
        self._canary.heard()
        if inner.lstrip(b"/") == NAME and self._troubles.text(Kind.NO_EVENTS):
            self._troubles.note(Kind.NO_EVENTS, "")
            log.info("events come from %s again", escape(self._folder))

    def missed(self, files: int, example: bytes) -> None:
        """A scan has found files that an event should have told of: it is listened anew with the
        next scan, less and less often if that does not help."""
        if self._observation is not None:
            self._doubts = f"{files:,} files came without an event, such as {escape(example)}"

    def keep(self, identity: tuple[int, int], now: float) -> None:
        """Before a scan: observe the folder that stands there now."""
        self._share = remote(self._folder) if self._watch == "auto" else ""
        if self._watch == "poll" or self._share:
            if self._observation is not None:
                self.close()
            self._deaf = ""
            self._troubles.note(Kind.NO_EVENTS, "")
            return
        held = self._observation
        limit = reached(self._folder) if held is not None else None
        if limit is not None:
            self.close()
            self._fail(explained(limit))
            return
        if held is not None and self.is_of(identity):
            self._replaced += 1
            if not self._doubts or self._replaced < self._patience:
                return
            log.warning("the observer of %s is replaced: %s", escape(self._folder), self._doubts)
            self._patience = min(2 * self._patience, 64)
            self._replaced = 0
            self.close()
        elif held is not None:
            log.warning("the observer of %s is replaced", escape(self._folder))
            self.close()
        # watchdog keeps a file open at every attempt that fails: so they become rarer and rarer.
        self._scans = self._scans + 1 if self._deaf else 0
        if self._scans & (self._scans - 1) > 0:
            return
        self._begin(identity, now)

    def close(self) -> None:
        if self._observation is not None:
            self._observation.stop()
            self._observation = None

    def _begin(self, identity: tuple[int, int], now: float) -> None:
        self.events = Events(self._wake)
        self._doubts = ""
        try:
            self._observation = observe(self._folder, identity, self.events)
        except OSError as error:
            self._fail(explained(error))
            return
        except RuntimeError as error:
            self._fail(str(error))
            return
        if limit := reached(self._folder):
            self.close()
            self._fail(explained(limit))
            return
        was_deaf, self._deaf = self._deaf, ""
        if not self._canary.release(self._folder, now) and was_deaf:
            self._troubles.note(Kind.NO_EVENTS, "")

    def _fail(self, reason: str) -> None:
        if reason != self._deaf:
            what = (
                f"no events from {escape(self._folder)}: {reason}. "
                "It is looked through every `poll_seconds` instead"
            )
            log.warning("%s", what)
            self._troubles.note(Kind.NO_EVENTS, what)
        self._deaf = reason
