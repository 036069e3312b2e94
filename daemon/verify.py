"""Does it all add up? results.csv against the journal, thumbnails and files against both."""

from __future__ import annotations

import csv
import datetime
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Self

from classifier.read import Signature
from daemon.census import PENDING
from daemon.errors import JournalError, NoJournalError
from daemon.folders import inbox_names
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.lock import holder
from daemon.results import FILE_NAME, Strangers, id_of, open_results, seq_of
from daemon.row import HEADER, Row, escape
from daemon.settings import Settings
from daemon.walk import walk

# A daemon at work commits rows to the journal a moment before it appends them to the file.
LAG_SECONDS = 3.0
MAX_NAMED = 20
# For a scan of a large inbox to come to its end.
SCAN_SECONDS = 60.0
NOT_SEEN = "not seen"


class Faults:
    """Sentences; the first ones are kept, all are counted."""

    def __init__(self) -> None:
        self.named: list[str] = []
        self.count = 0
        self.journal_is_behind = False  # results.csv has rows that it does not know

    def add(self, sentence: str) -> None:
        self.count += 1
        if self.count <= MAX_NAMED:
            self.named.append(sentence)

    def __iadd__(self, others: Faults) -> Self:
        for sentence in others.named:
            self.add(sentence)
        self.count += others.count - len(others.named)
        self.journal_is_behind |= others.journal_is_behind
        return self

    def lines(self) -> Iterator[str]:
        for sentence in self.named:
            yield f"fault      {sentence}"
        if self.count > len(self.named):
            yield f"fault      ... and {self.count - len(self.named):,} more of this kind"


@dataclass
class Verdict:
    """What was found. files: those in the watched folders, by state."""

    rows: int
    row_faults: Faults
    thumbnails: int = 0
    retired: int = 0  # thumbnails, deleted by `retention:`
    thumbnail_faults: Faults = field(default_factory=Faults)
    files: Counter[str] = field(default_factory=Counter)
    file_faults: Faults = field(default_factory=Faults)
    ignored: Counter[str] = field(default_factory=Counter)
    moved: int = 0  # images, to where they belong
    moved_on: int = 0  # of those, somebody has taken so many from there
    to_move: int = 0
    away: list[str] = field(default_factory=list)  # files of closed months that were taken away
    unseen: bytes | None = None  # an example of a file that never came into the queue

    @property
    def faults(self) -> tuple[Faults, ...]:
        return self.row_faults, self.thumbnail_faults, self.file_faults

    @property
    def count(self) -> int:
        """How many faults there are."""
        return sum(faults.count for faults in self.faults)

    @property
    def adds_up(self) -> bool:
        return not self.count

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        retired = f" and {self.retired:,} whose is retired" if self.retired else ""
        yield (
            f"rows       {self.rows:,} in the journal, {self.thumbnails:,} with a thumbnail"
            f"{retired}"
        )
        files = ", ".join(f"{count:,} {state}" for state, count in sorted(self.files.items()))
        yield f"files      {sum(self.files.values()):,}" + (f": {files}" if files else "")
        if self.away:
            yield f"taken away {', '.join(self.away)}: the rows of these months are not looked at"
        if self.moved or self.to_move:
            yield (
                f"moved      {self.moved:,}, of which {self.moved_on:,} are not there any more; "
                f"{self.to_move:,} wait"
            )
        if self.unseen is not None:
            yield f"not seen   such as {escape(self.unseen)}: the next scan takes them"
        for reason, count in sorted(self.ignored.items()):
            yield f"ignored    {count:,}: {reason}"
        for faults in self.faults:
            yield from faults.lines()
        if self.adds_up:
            yield "It adds up: every row is there, once, as it was written."
            return
        yield f"It does not add up: {self.count:,} {'fault' if self.count == 1 else 'faults'}."
        if self.row_faults.journal_is_behind:
            yield (
                f"The journal is older than {FILE_NAME}, or damaged. Put the right state folder "
                "back, or make a journal with `classifyd rebuild`."
            )
        elif self.row_faults.count:
            yield f"{FILE_NAME} is mended from the journal at the next start of `classifyd run`."
        if self.thumbnail_faults.count:
            yield "Thumbnails that are gone are not drawn again; their rows are right all the same."

    def to_json(self) -> dict[str, Any]:
        """For other programs. Every file is counted in exactly one of `files` and `ignored`."""
        files = self.files
        return {
            "adds_up": self.adds_up,
            "rows": self.rows,
            "thumbnails": self.thumbnails,
            "retired": self.retired,
            "files": {
                "done": files["classified"] + files["uncertain"],
                "failed": files["failed"],
                "pending": files["pending"],
                "not_seen": files[NOT_SEEN],
            },
            "moved": {"done": self.moved, "gone": self.moved_on, "waiting": self.to_move},
            "ignored": dict(sorted(self.ignored.items())),
            "faults": self.count,
            "examples": [sentence for faults in self.faults for sentence in faults.named],
        }


def verify(settings: Settings) -> Verdict:
    """Read everything, change nothing.

    Raises `JournalError` if there is no journal or a damaged one, and what `check_values` does.
    """
    try:
        opened = Journal.open(settings.state, read_only=True)
    except NoJournalError as error:
        rows_file = settings.results / FILE_NAME
        if rows_file.is_file() and rows_file.stat().st_size > len(HEADER):
            raise JournalError(
                f"{error.path}: there is no journal, but {rows_file} has rows. Put the state "
                "folder back, or make a journal from the rows with `classifyd rebuild`"
            ) from None
        raise
    with closing(opened) as journal:
        journal.check_values()
        rows = journal.results()
        verdict = Verdict(rows, _row_faults_that_stay(settings, journal, rows))
        for path, sha256 in journal.doubles():
            verdict.file_faults.add(f"{escape(path)} has two rows for one content ({sha256})")
        for identifier, thumbnail in journal.thumbnails():
            verdict.thumbnails += 1
            if not (settings.results / thumbnail).is_file():
                verdict.thumbnail_faults.add(
                    f"row {identifier}: its thumbnail {thumbnail} is not there"
                )
        verdict.away = [
            part.name
            for part in journal.parts()
            if part.is_closed and not (settings.results / part.name).exists()
        ]
        verdict.retired = journal.retired_thumbnails()
        verdict.to_move = journal.moves_waiting()
        for place in journal.all_moved():
            verdict.moved += 1
            verdict.moved_on += not os.path.lexists(place)
        _count_files(settings, journal, verdict)
    return verdict


def _row_faults_that_stay(settings: Settings, journal: Journal, upto: int) -> Faults:
    """Faults that are no mere lag of a daemon at work."""
    deadline = time.monotonic() + LAG_SECONDS
    while True:
        at_work = holder(settings.state) is not None
        faults = Faults()
        for part in journal.parts():
            path = settings.results / part.name
            if path.exists() or not part.is_closed:
                faults += row_faults(path, journal, part.last, part.after, part.last)
        faults += row_faults(settings.results / FILE_NAME, journal, upto, journal.last_part())
        if not faults.count or not at_work or time.monotonic() > deadline:
            return faults
        time.sleep(0.2)


def row_faults(
    path: Path, journal: Journal, upto: int, after: int = 0, last: int | None = None
) -> Faults:
    """Every row that is missing, changed, or not ours, in the order of the file.

    upto: the number of the last row that has to be there; what comes after it may be on its way.
    after, last: those of the last row before this file, and of its own last one.
    """
    faults = Faults()
    try:
        file = open_results(path)
    except FileNotFoundError:
        if upto > after:
            faults.add(f"{path} is not there")
        return faults
    with file:
        # First the size, then the journal's snapshot: up to there, the file holds no row that the
        # snapshot does not.
        size = os.fstat(file.fileno()).st_size
        expected = journal.lines(after, last)
        awaited = next(expected, None)
        strangers = Strangers(journal)
        for number, line in enumerate(_lines(file, size), 1):
            if number == 1:
                if line == HEADER:
                    continue
                faults.add(f"{path}:1: is not the header")
                if seq_of(line, journal) is None:
                    continue
            if awaited is not None and line == awaited.line:
                awaited = next(expected, None)
                continue
            seq = seq_of(line, journal)
            if awaited is not None and id_of(line) == id_of(awaited.line):  # whatever was changed
                seq = awaited.seq
            if not line.endswith(b"\n") and awaited and awaited.line.startswith(line):
                if awaited.seq <= upto:
                    faults.add(f"{path}:{number}: row {id_of(awaited.line)} is cut short")
                awaited = next(expected, None)
            elif seq is None:
                if strangers.is_ours(line):
                    faults.add(f"{path}:{number}: row {id_of(line)} is not in the journal")
                    faults.journal_is_behind = True
                else:
                    faults.add(f"{path}:{number}: a line that classifyd did not write")
            elif seq <= after or (last is not None and seq > last):
                faults.add(f"{path}:{number}: row {id_of(line)} belongs into another file")
            elif awaited is None or seq < awaited.seq:
                faults.add(f"{path}:{number}: row {id_of(line)} stands there again")
            else:
                while awaited is not None and awaited.seq < seq:
                    faults.add(_missing(awaited.line))
                    awaited = next(expected, None)
                if awaited is not None and line != awaited.line:
                    faults.add(f"{path}:{number}: row {id_of(line)} was changed")
                awaited = next(expected, None)
        for published in chain([] if awaited is None else [awaited], expected):
            if published.seq <= upto:
                faults.add(_missing(published.line))
    return faults


def _lines(file: BinaryIO, size: int) -> Iterator[bytes]:
    while line := file.readline(size):
        size -= len(line)
        yield line


def _missing(line: bytes) -> str:
    row = next(csv.DictReader([line.decode()], Row._fields))
    return f"row {row['id']} is missing: {row['path']} ({row['label'] or row['reason']})"


def _count_files(settings: Settings, journal: Journal, verdict: Verdict) -> None:
    """What became of every file that is in the inbox or a backfilled folder now."""
    extensions = frozenset(map(os.fsencode, settings.extensions))
    inbox = os.fsencode(settings.inbox)
    seen_until = _scanned_until(settings)
    counted: set[bytes] = set()  # roots only: a folder inside another one is walked with it
    apart = inbox_names(settings.inbox)
    for folder in [inbox, *sorted({*journal.folders()} - {inbox})]:
        if any(folder.startswith(root + b"/") for root in counted):
            continue
        counted.add(folder)
        try:
            for found in walk(folder, extensions, apart):
                if found.signature is None:
                    verdict.ignored[found.ignored or ""] += 1
                    continue
                state = _state(journal, found.path, found.signature)
                verdict.files[state] += 1
                if state != NOT_SEEN:
                    continue
                verdict.unseen = found.path
                if folder == inbox and found.signature.ctime_ns < seen_until * 1e9:
                    verdict.file_faults.add(
                        f"{escape(found.path)} is neither done, failed, pending nor ignored, and "
                        "`classifyd run` must have seen it"
                    )
        except OSError as error:
            verdict.ignored[f"{escape(folder)} cannot be read ({error.strerror})"] += 1


def _scanned_until(settings: Settings) -> float:
    """A daemon at work has seen what was not changed since this time, in seconds since 1970."""
    at_work = holder(settings.state)
    if at_work is None or at_work.command != "run" or at_work.paused:
        return 0
    ago = time.time() - (2 * settings.rescan_seconds + settings.settle_seconds + SCAN_SECONDS)
    began = datetime.datetime.fromisoformat(at_work.since).timestamp()
    return ago if began < ago else 0


def _state(journal: Journal, path: bytes, signature: Signature) -> str:
    """What became of a file as it looks now: it is in one state, and in one only."""
    newest = journal.state_of(path)
    if newest is None:
        return NOT_SEEN
    state, _ = newest
    if state == PENDING or journal.could_not_be_read(path):
        return state
    return NOT_SEEN if journal.unseen([Sighting(path, signature)]) else state
