"""Images that failed ▸ the queue once more."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import closing, suppress

from classifier.read import Signature
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.lock import holder
from daemon.moves import Back
from daemon.settings import Settings


def retry(settings: Settings, reason: str) -> Iterator[str]:
    """Queue every file that has failed as it is now, or those with `reason` in theirs; the report.

    A file that is tried again gets a row more, whatever comes of it. Raises `JournalError`.
    """
    Journal.open(settings.state, read_only=True).close()  # none is begun for this
    with closing(Journal.open(settings.state)) as journal:
        folders = {os.fsencode(settings.inbox), *journal.folders()}
        sightings: list[Sighting] = []
        moved: list[Back] = []
        matching = 0
        for path in list(journal.failed(reason)):
            matching += 1
            try:
                looks = Signature.of(os.lstat(path))
            except OSError:
                moved += _moved(journal, path, root_of(path, folders))
            else:
                sightings.append(Sighting(path, looks, root_of(path, folders)))
        taken = journal.enqueue_again(sightings)
        put_back = journal.put_back(moved)
    if not matching:
        yield "queued     none: no file has failed" + (
            f" for a reason with {reason!r} in it, see `classifyd status`" if reason else ""
        )
        return
    who = holder(settings.state)
    does = f"{who}, tries them now" if who else "`classifyd run` tries them at its next start"
    yield f"queued     {taken:,}" + (f"; {does}" if taken else "")
    if waiting := len(sightings) - taken:
        yield f"waiting    {waiting:,} already"
    if moved:
        yield (
            f"put back   {put_back:,} that were moved away: to where they were, to be tried there; "
            + (f"{who} does it" if who else "`classifyd run` does it at its next start")
        )
    if gone := matching - len(sightings) - len(moved):
        yield f"gone       {gone:,}: not there any more"


def _moved(journal: Journal, path: bytes, inbox: int) -> Iterator[Back]:
    """Where a failed image is, if it was moved away, for it to be put back."""
    for row, place, root in journal.failed_and_moved(path):
        with suppress(OSError):
            yield Back(row, place, root, Signature.of(os.lstat(place)), path, inbox)


def root_of(path: bytes, folders: Collection[bytes]) -> int:
    """How much of a path is the watched folder that it lies in."""
    return max((len(folder) for folder in folders if path.startswith(folder + b"/")), default=0)
