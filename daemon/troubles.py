"""What is wrong just now, of what goes on all the same: for `status`, the metrics and the log."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """The names by which monitors know what is wrong; they stay as they are."""

    DISK_FULL = "disk_full"  # the disk of results or state; images wait
    INBOX_UNREADABLE = "inbox_unreadable"  # it is gone, unmounted or forbidden
    MODEL_REFUSED = "model_refused"  # a new model file is no good; the one before it serves on
    NO_EVENTS = "no_events"  # the inbox is scanned more often instead
    NOT_CONFIRMED = "not_confirmed"  # the disk does not confirm writes; images wait
    SETTINGS_REFUSED = "settings_refused"  # config.yaml is wrong since; the one before it holds
    STUCK = "stuck"  # images wait and none gets done
    UNMOVED = "unmoved"  # images that are done could not be moved to where they belong


class Trouble(NamedTuple):
    """since: when it began, seconds since 1970, and in UTC, ISO 8601. text: what is wrong, where,
    and what to do."""

    since: float
    text: str

    @property
    def since_utc(self) -> str:
        began = datetime.datetime.fromtimestamp(self.since, datetime.UTC)
        return began.isoformat(timespec="seconds")


class Troubles:
    """At most one of each kind. Whoever notes one also writes it to the log, once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._now: dict[Kind, Trouble] = {}
        self.changes = 0  # so far

    def note(self, kind: Kind, text: str) -> bool:
        """It is there, with this text, or with '' it is over. Whether that is news."""
        before = self._now.get(kind)
        if text == (before.text if before else ""):
            return False
        if not text:
            del self._now[kind]
        else:
            self._now[kind] = Trouble(before.since if before else self._clock(), text)
        self.changes += 1
        return True

    def text(self, kind: Kind) -> str:
        """What is wrong of this kind; '' for nothing."""
        return self._now[kind].text if kind in self._now else ""

    def all(self) -> dict[Kind, Trouble]:
        """All there are, the oldest first."""
        return dict(sorted(self._now.items(), key=lambda item: item[1].since))
