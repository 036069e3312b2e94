"""What is going on: read off the journal and the lock, whether a daemon runs or not."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from classifier import contract as contracts
from classifier import modelfile
from classifier.contract import Contract
from classifier.errors import ModelError
from daemon.census import Priority
from daemon.errors import NoJournalError
from daemon.jobs import timestamp
from daemon.journal import Journal
from daemon.lock import holder
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.row import escape, shown, word
from daemon.settings import Settings
from daemon.storage import full
from daemon.worth import worth

MAX_REASONS = 20


def lines(settings: Settings) -> Iterator[str]:
    """The report, line by line."""
    at_work = holder(settings.state)
    yield f"running    {at_work or 'no'}"
    crowded = full([settings.state, settings.results]) if at_work else None
    if at_work and (at_work.paused or crowded):
        # With no room at all, it could not even note that it waits.
        why = at_work.paused or f"the disk of {crowded} is full: make room"
        yield f"paused     {why}; it goes on by itself"
    yield from _models(settings, at_work.model if at_work else "")
    yield f"inbox      {settings.inbox}"
    try:
        journal = Journal.open(settings.state, read_only=True)
    except NoJournalError:
        yield f"rows       none: nothing was classified yet into {settings.results}"
        return
    except sqlite3.OperationalError:
        if not crowded:
            raise
        yield "rows       cannot be counted: to read the journal takes some room, too"
        return
    yield f"results    {settings.results / RESULTS_NAME}"
    counts = journal.by_status()
    rows = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    yield f"rows       {sum(counts.values()):,}" + (f" ({rows})" if rows else "")
    today = sum(journal.by_status(timestamp()[: len("2026-01-01")]).values())
    yield f"today      {today:,} (UTC)"
    if last := journal.last_result_at():
        yield f"last row   {last}"
    live, backfilled = journal.pending(Priority.LIVE), journal.pending(Priority.BACKFILL)
    waiting = f"waiting    {live + backfilled:,}"
    if backfilled:
        waiting += f" ({live:,} from the inbox, {backfilled:,} from backfilled folders)"
    if oldest := journal.oldest_pending():
        waiting += f", the oldest since {oldest}"
        if at_work is None:
            waiting += "; `classifyd run` goes on with them"
    yield waiting
    for title, found in (("failed", journal.failures()), ("ignored", journal.ignored())):
        for reason, count, example in found[:MAX_REASONS]:
            yield f"{title:<10} {count:,}: {reason}, such as {escape(example)}"
        if len(found) > MAX_REASONS:
            yield f"{title:<10} for {len(found) - MAX_REASONS:,} more reasons: see {RESULTS_NAME}"
    for folder in journal.folders():
        yield f"backfilled {escape(folder)}"


def _models(settings: Settings, running: str) -> Iterator[str]:
    """The model that runs, and the one that the next start would take if that is another.

    running: the digest of the first, '' if none runs.
    """
    name, trouble = escape(os.fsencode(settings.model.name)), ""
    configured, contract = "", None
    try:
        with modelfile.opened(settings.model, settings.model_sha256) as (_, configured):
            contract = contracts.read(settings.model)
    except (ModelError, OSError) as error:
        trouble = f"{escape(os.fsencode(settings.model))}: {shown(str(error))}"
    if running and running != configured:
        kept = _kept(settings.state / "models", running)
        yield f"model      {word(running, 12)}: {worth(kept.evidence if kept else None)}"
    of_file = worth(contract.evidence if contract else None)
    described = trouble or f"{word(configured, 12)} {name}: {of_file}"
    if running in ("", configured):
        yield f"model      {described}"
    else:
        yield f"configured {described}" + ("" if trouble else "; restart to use it")


def _kept(models: Path, digest: str) -> Contract | None:
    """The contract of a compiled model. All that are kept of one file have the same evidence."""
    for path in models.glob(f"{digest}-*/contract.json"):
        with suppress(ModelError, OSError):
            return Contract.from_json(path.read_bytes())
    return None
