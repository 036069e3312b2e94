"""What is going on, as lines for people, as JSON for programs, or as a verdict for a monitor."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from classifier import contract as contracts
from classifier import modelfile
from classifier.contract import Contract
from classifier.errors import ModelError
from daemon.facts import Facts, Queue, gather
from daemon.health import NOT_RUNNING, Level, ended, level, problems
from daemon.places import Places
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.row import escape, shown, word
from daemon.troubles import Kind
from daemon.worth import worth

MAX_REASONS = 20
PAUSING = (Kind.DISK_FULL, Kind.NOT_CONFIRMED)  # it goes on by itself


def gathered(places: Places) -> Facts:
    """What there is to know now. Raises what `gather` does."""
    return gather(places.state, places.results, places.inbox, time.time())


def lines(places: Places) -> Iterator[str]:
    """The report, line by line."""
    facts = gathered(places)
    yield f"running    {facts.holder or 'no'}"
    if facts.holder is None and facts.record is not None:
        yield f"ended      {ended(facts.record, facts.boot)}"
    for problem in problems(facts):
        since = f"since {problem.since_utc}: " if problem.since else ""
        if problem.kind in PAUSING and facts.holder:
            yield f"paused     {since}{problem.text}; it goes on by itself"
        elif problem.kind != NOT_RUNNING:
            yield f"trouble    {problem.kind}: {since}{problem.text}"
    for model in _models(places, facts.holder.model if facts.holder else ""):
        yield f"{model.role:<10} {model.told}"
    yield f"inbox      {places.inbox}"
    if facts.record_is_current and facts.record and facts.record.watching:
        why = f" ({facts.record.watching_why})" if facts.record.watching_why else ""
        yield f"watching   by {facts.record.watching}{why}"
    if facts.queue is None:
        why = facts.unread and f"cannot be counted: {facts.unread}"
        yield f"rows       {why or f'none: nothing was classified yet into {places.results}'}"
    else:
        yield f"results    {places.results / RESULTS_NAME}"
        yield from _rows(facts, facts.queue)
    for disk in facts.disks:
        yield f"disk       {_size(disk.free)} of {_size(disk.total)} left for {disk.folder}"


def _rows(facts: Facts, queue: Queue) -> Iterator[str]:
    rows = ", ".join(f"{count:,} {status}" for status, count in queue.rows.items())
    yield f"rows       {sum(queue.rows.values()):,}" + (f" ({rows})" if rows else "")
    yield f"today      {sum(queue.today.values()):,} (UTC)"
    if queue.last_row:
        yield f"last row   {queue.last_row}"
    waiting = f"waiting    {queue.waiting:,}"
    if queue.backfilled or queue.anew:
        kinds = [f"{queue.live:,} from the inbox"]
        kinds += [f"{queue.backfilled:,} from backfilled folders"] if queue.backfilled else []
        kinds += [f"{queue.anew:,} to be reclassified"] if queue.anew else []
        waiting += f" ({', '.join(kinds)})"
    if queue.oldest:
        waiting += f", the oldest since {queue.oldest}"
        if facts.holder is None:
            waiting += "; `classifyd run` goes on with them"
    yield waiting
    if facts.holder is not None:
        yield f"rate       {queue.rate:.1f} images a second, in the last minute"
    for reason, count, example, is_least in queue.failures[:MAX_REASONS]:
        more = " and more" if is_least else ""
        yield f"failed     {count:,}{more}: {reason}, such as {escape(example)}"
    if len(queue.failures) > MAX_REASONS:
        hidden = len(queue.failures) - MAX_REASONS
        yield f"failed     for {hidden:,} more reasons: see {RESULTS_NAME}"
    for reason, count, example in queue.ignored[:MAX_REASONS]:
        yield f"ignored    {count:,}: {reason}, such as {escape(example)}"
    if len(queue.ignored) > MAX_REASONS:
        yield f"ignored    for {len(queue.ignored) - MAX_REASONS:,} more reasons"
    for folder in queue.folders:
        yield f"backfilled {escape(folder)}"


def to_json(places: Places) -> dict[str, Any]:
    """The same for other programs. Times are UTC, ISO 8601; sizes are bytes."""
    facts = gathered(places)
    found, queue = problems(facts), facts.queue
    record = facts.record if facts.record_is_current or not facts.holder else None
    running = facts.holder and {
        "pid": facts.holder.pid,
        "command": facts.holder.command,
        "since": facts.holder.since,
        "watching": record.watching if record else "",
        "watching_why": record.watching_why if record else "",
        "worker_restarts": record.worker_restarts if record else 0,
    }
    return {
        "state": level(found).name.lower(),
        "running": running,
        "ended": ended(record, facts.boot) if record and not facts.holder else None,
        "troubles": [
            {
                "kind": problem.kind,
                "level": problem.level.name.lower(),
                "since": problem.since_utc or None,
                "text": problem.text,
            }
            for problem in found
        ],
        "models": [
            {"role": model.role, "digest": model.digest or None, "told": model.told}
            for model in _models(places, facts.holder.model if facts.holder else "")
        ],
        "inbox": shown(str(places.inbox)),
        "results": shown(str(places.results / RESULTS_NAME)),
        "queue": None if queue is None else {
            "rows": queue.rows,
            "today": queue.today,
            "last_row": queue.last_row,
            "waiting": {
                "inbox": queue.live, "backfill": queue.backfilled, "reclassify": queue.anew,
            },
            "oldest_waiting": queue.oldest,
            "images_per_second": round(queue.rate, 3),
            "failures": [
                {"reason": reason, "count": count, "is_at_least": is_least,
                 "example": escape(example)}
                for reason, count, example, is_least in queue.failures
            ],
            "ignored": [
                {"reason": reason, "count": count, "example": escape(example)}
                for reason, count, example in queue.ignored
            ],
            "backfilled": [escape(folder) for folder in queue.folders],
        },
        "disks": [
            {"folder": shown(str(disk.folder)), "free": disk.free, "total": disk.total}
            for disk in facts.disks
        ],
    }  # fmt: skip


def check(places: Places) -> tuple[Level, list[str]]:
    """For a monitor: how bad it is, and a line for each trouble, the worst first."""
    facts = gathered(places)
    if found := problems(facts):
        told = [
            f"{problem.level.name} - {problem.kind}: {problem.text}"
            + (f" (since {problem.since_utc})" if problem.since else "")
            for problem in found
        ]
        return level(found), [" ".join(line.split("\n")) for line in told]
    queue = facts.queue
    told_of = "nothing yet" if queue is None else (
        f"{sum(queue.rows.values()):,} images, {sum(queue.today.values()):,} of them today, "
        f"{queue.waiting:,} waiting, {queue.rate:.1f} a second"
    )  # fmt: skip
    return Level.OK, [f"OK - {facts.holder}: {told_of}"]


class _Model(NamedTuple):
    """role: model, or configured if the next start would take it. digest: '' if it has none."""

    role: str
    digest: str
    told: str


def _models(places: Places, running: str) -> Iterator[_Model]:
    """The model that runs, and the one that the next start would take if that is another.

    running: the digest of the first, '' if none runs.
    """
    name, trouble = escape(os.fsencode(places.model.name)), ""
    configured, contract = "", None
    try:
        with modelfile.opened(places.model, places.model_sha256) as (_, configured):
            contract = contracts.read(places.model)
    except (ModelError, OSError) as error:
        trouble = f"{escape(os.fsencode(places.model))}: {shown(str(error))}"
    if running and running != configured:
        kept = _kept(places.state / "models", running)
        yield _Model("model", running, f"{word(running, 12)}: "
                     f"{worth(kept.evidence if kept else None)}")  # fmt: skip
    of_file = worth(contract.evidence if contract else None)
    described = trouble or f"{word(configured, 12)} {name}: {of_file}"
    if running in ("", configured):
        yield _Model("model", configured, described)
    else:
        told = described + ("" if trouble else "; it is taken once compiled")
        yield _Model("configured", configured, told)


def _kept(models: Path, digest: str) -> Contract | None:
    """The contract of a compiled model. All that are kept of one file have the same evidence."""
    with suppress(PermissionError):  # another user's alone
        for path in models.glob(f"{digest}-*/contract.json"):
            with suppress(ModelError, OSError):
                return Contract.from_json(path.read_bytes())
    return None


def _size(count: int) -> str:
    """Bytes as people read them: 1.2 GB."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
