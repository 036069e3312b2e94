"""Does it all add up? results.csv against the journal, thumbnails and files against both."""

from __future__ import annotations

import csv
import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from daemon.journal import Journal
from daemon.lock import holder
from daemon.results import FILE_NAME
from daemon.row import HEADER, Row, escape
from daemon.settings import Settings
from daemon.walk import walk

# A daemon at work commits rows to the journal a moment before it appends them to the file.
LAG_SECONDS = 3.0
MAX_NAMED = 20


@dataclass
class Verdict:
    """What was found. faults: each a sentence. files: those in the watched folders, by state."""

    rows: int = 0
    thumbnails: int = 0
    faults: list[str] = field(default_factory=list)
    files: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    unseen: bytes | None = None  # an example of a file that never came into the queue

    def lines(self) -> Iterator[str]:
        """The report, line by line."""
        yield f"rows       {self.rows:,} in the journal, {self.thumbnails:,} with a thumbnail"
        files = ", ".join(f"{count:,} {state}" for state, count in sorted(self.files.items()))
        yield f"files      {sum(self.files.values()):,}" + (f": {files}" if files else "")
        if self.unseen is not None:
            yield f"not seen   such as {escape(self.unseen)}: the next scan takes them"
        for reason, count in sorted(self.ignored.items()):
            yield f"ignored    {count:,}: {reason}"
        for fault in self.faults[:MAX_NAMED]:
            yield f"fault      {fault}"
        if len(self.faults) > MAX_NAMED:
            yield f"fault      ... and {len(self.faults) - MAX_NAMED:,} more"
        if self.faults:
            yield "It does not add up. The next start of `classifyd run` mends results.csv."
        else:
            yield "It adds up: every row is there, once, as it was written."


def verify(settings: Settings) -> Verdict:
    """Read everything, change nothing. Raises `JournalError` if there is no journal."""
    journal = Journal.open(settings.state, read_only=True)
    verdict = Verdict()
    verdict.rows = journal.results()
    results = settings.results / FILE_NAME
    verdict.faults = row_faults(results, journal)
    deadline = time.monotonic() + LAG_SECONDS
    while verdict.faults and holder(settings.state) and time.monotonic() < deadline:
        time.sleep(0.2)
        verdict.faults = row_faults(results, journal)
    for identifier, thumbnail in journal.thumbnails():
        verdict.thumbnails += 1
        if not (settings.results / thumbnail).is_file():
            verdict.faults.append(f"row {identifier}: its thumbnail {thumbnail} is not there")
    _count_files(settings, journal, verdict)
    return verdict


def row_faults(path: Path, journal: Journal) -> list[str]:
    """Every row that is missing, changed, or not ours, in the order of the file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return [f"{path} is not there"]
    faults = []
    with file:
        if (header := file.readline()) != HEADER:
            faults.append(f"{path}: the first line is not the header")
            file.seek(0 if header.count(b",") < len(Row._fields) - 1 else len(header))
        expected = journal.lines()
        awaited = next(expected, None)
        for number, line in enumerate(file, 2):
            if awaited is not None and line == awaited.line:
                awaited = next(expected, None)
                continue
            identifier = line.partition(b",")[0].decode(errors="replace")
            seq = journal.seq_of(identifier)
            if seq is None:
                torn = "" if line.endswith(b"\n") else ", which is not even whole"
                faults.append(f"{path}:{number}: a line that classifyd did not write{torn}")
            elif awaited is None or seq < awaited.seq:
                faults.append(f"{path}:{number}: row {identifier} stands there again")
            else:
                while awaited is not None and awaited.seq < seq:
                    faults.append(_missing(awaited.line))
                    awaited = next(expected, None)
                if awaited is not None and line != awaited.line:
                    faults.append(f"{path}:{number}: row {identifier} was changed")
                awaited = next(expected, None)
        rest = chain([] if awaited is None else [awaited], expected)
        faults += [_missing(published.line) for published in rest]
    return faults


def _missing(line: bytes) -> str:
    row = next(csv.DictReader([line.decode()], Row._fields))
    return f"row {row['id']} is missing: {row['path']} ({row['label'] or row['reason']})"


def _count_files(settings: Settings, journal: Journal, verdict: Verdict) -> None:
    """What became of every file that is in the inbox or a backfilled folder now."""
    extensions = frozenset(map(os.fsencode, settings.extensions))
    counted: set[bytes] = set()  # roots only: a folder inside another one is walked with it
    for folder in sorted({os.fsencode(settings.inbox), *journal.folders()}):
        if any(folder.startswith(root + b"/") for root in counted):
            continue
        counted.add(folder)
        try:
            for found in walk(folder, extensions):
                if found.ignored is not None:
                    verdict.ignored[found.ignored] += 1
                    continue
                state = journal.state_of(found.path)
                verdict.files[state[0] if state else "not seen"] += 1
                if state is None:
                    verdict.unseen = found.path
        except OSError as error:
            verdict.ignored[f"a folder that cannot be read ({error.strerror})"] += 1
