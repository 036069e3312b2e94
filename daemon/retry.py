"""Images that failed ▸ the queue once more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing

from daemon.journal import Journal
from daemon.lock import holder
from daemon.settings import Settings


def retry(settings: Settings, reason: str) -> Iterator[str]:
    """Queue every file whose newest row is `failed`, or those with `reason` in theirs; the report.

    A file that is tried again gets a row more, whatever comes of it. Raises `JournalError`.
    """
    Journal.open(settings.state, read_only=True).close()  # none is begun for this
    with closing(Journal.open(settings.state)) as journal:
        folders = {os.fsencode(settings.inbox), *journal.folders()}
        taken, gone = journal.retry(reason, folders)
    who = holder(settings.state)
    does = f"{who}, tries them now" if who else "`classifyd run` tries them at its next start"
    yield f"queued     {taken:,}" + (f"; {does}" if taken else "")
    if gone:
        yield f"gone       {gone:,}: not there any more"
