"""What is going on: read off the journal and the lock, whether a daemon runs or not."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.census import Priority
from daemon.journal import FILE_NAME, Journal
from daemon.lock import holder
from daemon.results import FILE_NAME as RESULTS_NAME
from daemon.row import escape
from daemon.settings import Settings


def lines(settings: Settings) -> Iterator[str]:
    """The report, line by line."""
    at_work = holder(settings.state)
    yield f"running    {at_work or 'no'}"
    if at_work and at_work.paused:
        yield f"paused     {at_work.paused}; it goes on by itself"
    yield f"inbox      {settings.inbox}"
    if not (settings.state / FILE_NAME).exists():
        yield f"rows       none: nothing was classified yet into {settings.results}"
        return
    journal = Journal.open(settings.state, read_only=True)
    yield f"results    {settings.results / RESULTS_NAME}"
    counts = journal.by_status()
    rows = ", ".join(f"{count:,} {status}" for status, count in counts.items())
    yield f"rows       {sum(counts.values()):,}" + (f" ({rows})" if rows else "")
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
        for reason, count, example in found:
            yield f"{title:<10} {count:,}: {reason}, such as {escape(example)}"
    for folder in journal.folders():
        yield f"backfilled {escape(folder)}"
