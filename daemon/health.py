"""Facts ▸ a verdict: is it well, and if not, what is wrong, how badly, since when, what to do."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from daemon.facts import OVERDUE_SECONDS, Facts
from daemon.record import Record
from daemon.troubles import Kind

# What has less left is about to be full.
LOW_BYTES = 200_000_000
# To compile a large model and to read a large journal may take this long; nothing else may.
STARTING_SECONDS = 900.0
NOT_RUNNING, DISK_LOW = "not_running", "disk_low"


class Level(IntEnum):
    """As monitors have it, and what `status --check` ends with."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3  # it cannot be told: the configuration or the folders cannot be read


# Whether images wait, or only something beside the work is not as it should be.
LEVELS = {
    NOT_RUNNING: Level.CRITICAL,
    Kind.DISK_FULL: Level.CRITICAL,
    Kind.INBOX_UNREADABLE: Level.CRITICAL,
    Kind.NOT_CONFIRMED: Level.CRITICAL,
    Kind.STUCK: Level.CRITICAL,
    Kind.MODEL_REFUSED: Level.WARNING,
    Kind.NO_EVENTS: Level.WARNING,
    Kind.SETTINGS_REFUSED: Level.WARNING,
    Kind.UNMOVED: Level.WARNING,
    DISK_LOW: Level.WARNING,
}
NAMES = tuple(str(kind) for kind in LEVELS)


class Problem(NamedTuple):
    """since: seconds since 1970, or None where nobody knows."""

    kind: str
    text: str
    since: float | None

    @property
    def level(self) -> Level:
        return LEVELS.get(self.kind, Level.WARNING)

    @property
    def since_utc(self) -> str:
        """ISO 8601, '' where nobody knows."""
        return "" if self.since is None else _utc(self.since)


def problems(facts: Facts) -> list[Problem]:
    """The worst first; none if all is well."""
    found: dict[str, Problem] = {}
    for problem in (*_noted(facts), *_seen(facts)):
        found.setdefault(problem.kind, problem)
    return sorted(found.values(), key=lambda problem: -problem.level)


def level(found: list[Problem]) -> Level:
    """How bad it is in all."""
    return max((problem.level for problem in found), default=Level.OK)


def _noted(facts: Facts) -> Iterator[Problem]:
    """What the process at work knows of."""
    if facts.holder is not None and facts.record is not None and facts.record_is_current:
        for kind, since, text in facts.record.troubles:
            yield Problem(kind, text, since)


def _seen(facts: Facts) -> Iterator[Problem]:
    """What can be seen from outside, and alone from there if the process can say nothing more."""
    disk = facts.crowded
    if facts.holder is None:
        yield Problem(NOT_RUNNING, _ending(facts), _seconds(_of(facts.record).ended_at))
    elif facts.holder.paused:
        kind = Kind.DISK_FULL if "is full" in facts.holder.paused else Kind.NOT_CONFIRMED
        since, _, text = facts.holder.paused.removeprefix("since ").partition(": ")
        yield Problem(kind, text, _seconds(since))
    if disk is not None:
        yield Problem(Kind.DISK_FULL, f"the disk of {disk.folder} is full: make room", None)
    else:
        yield from (
            Problem(DISK_LOW, f"the disk of {disk.folder} has {disk.free:,} bytes left: make room",
                    None)
            for disk in facts.disks if disk.free < LOW_BYTES
        )  # fmt: skip
        yield from _hanging(facts)


def _hanging(facts: Facts) -> Iterator[Problem]:
    """Does the loop turn? While it does, it notes itself if images wait and none gets done.

    An idle loop writes nothing, so one that hangs is known by an image that waits in vain.
    """
    if facts.holder is None:
        return
    pid, since = facts.holder.pid, _seconds(facts.holder.since)
    if facts.is_stopped:
        yield Problem(Kind.STUCK, f"process {pid} stands still: go on with `kill -CONT {pid}`, or "
                      "end it; nothing is lost", None)  # fmt: skip
        return
    if facts.record is None or since is None or not facts.record_is_current:
        return
    if not facts.record.is_working:
        if facts.at - since > STARTING_SECONDS and not facts.record.troubles:
            yield Problem(Kind.STUCK, f"process {pid} has not come up: look into its log", since)
        return
    if facts.queue is None or facts.queue.overdue is None:
        return
    signs = (since, facts.record.stirred, _seconds(facts.queue.last_row) or 0.0)
    if facts.at - max(signs) > OVERDUE_SECONDS:
        yield Problem(
            Kind.STUCK,
            f"images wait since {facts.queue.overdue}, and process {pid} gives no sign: end it, "
            "with `kill -9` if need be, and start it again; nothing is lost",
            max(signs),
        )


def _ending(facts: Facts) -> str:
    """Why nobody is at work, as far as it is known."""
    record = facts.record
    remedy = "start it with `classifyd run`, or as a service"
    if record is None:
        return f"it is not running: {remedy}"
    return f"it is not running; {ended(record, facts.boot)}: {remedy}"


def ended(record: Record, boot: str) -> str:
    """How a process ended that is not at work any more."""
    if record.ended:
        return f"`classifyd {record.command}` ended at {record.ended_at}: {record.ended}"
    why = "it was killed (kill -9, or for want of memory)"
    if record.boot and boot and record.boot != boot:
        why = "the machine went down with it"
    return f"`classifyd {record.command}`, begun at {record.since}, ended without a word: {why}"


def _of(record: Record | None) -> Record:
    return record or Record(0, "", "", "")


def _seconds(moment: str | None) -> float | None:
    """Of a time in ISO 8601, seconds since 1970; None for anything else."""
    try:
        return datetime.datetime.fromisoformat(moment or "").timestamp()
    except ValueError:
        return None


def _utc(since: float) -> str:
    return datetime.datetime.fromtimestamp(since, datetime.UTC).isoformat(timespec="seconds")
