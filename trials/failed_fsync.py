"""An fsync fails, and what it was asked for never reaches the disk.

The n-th fsync of a run fails by `faults.c`; then classifyd is started again, and at several moments
of that the power is cut, with `disk.py`: what the failed fsync was to write is lost, and no later
fsync brings it back.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from trials.cuts import AT_ONCE, Logged, start_after
from trials.disk import Disk, Luck, Operation, Record
from trials.faults import Recording, Then, built
from trials.oracle import BrokenPromiseError, Reader, hold
from trials.report import Report, Table
from trials.subject import SECONDS, Started, Subject

NOT_DURABLE = 4  # the exit code
WITHIN_SECONDS = 10
FIRST, MORE = 6, 8  # images of the first start, and of the second
FSYNCS = 20


class Kind(NamedTuple):
    """starts: which start of classifyd it is whose fsync fails."""

    name: str
    starts: int
    then: Then
    patches: Sequence[str] = ()


KINDS = (
    Kind("first start", 1, Then.IT_IS_TOLD),
    Kind("later start", 2, Then.IT_IS_TOLD),
    Kind("later start, killed at once", 2, Then.ALL_ARE_KILLED),
)
CONTROLS = (
    Kind("the failed fsync tried again and believed", 2, Then.IT_IS_HIDDEN),
    Kind("no checkpoint at the start", 2, Then.ALL_ARE_KILLED, ("journal_is_not_examined",)),
)


def trial(work: Path, library: Path, kind: Kind, number: int, *, short: bool) -> str:
    """What the fsync was for. Raises `BrokenPromiseError`. short: with one power cut, not four."""
    subject = Subject(work / f"{kind.name.replace(' ', '-')}-{number}", batch={"size": 2})
    before = Disk(subject.home)
    recording = Recording(library, subject)
    for image in range(FIRST):
        subject.put(f"{image}.jpg", image)
    if kind.starts > 1:
        _run_once(subject, kind)
        for image in range(FIRST, FIRST + MORE):
            subject.put(f"{image}.jpg", image)
    recording.fail_fsync(number, kind.then)
    reader = Reader(subject)
    began = time.monotonic()
    daemon = subject.start("run", "--once", patches=kind.patches)
    try:
        while daemon.process.poll() is None and time.monotonic() < began + SECONDS:
            reader.look()
            time.sleep(0.01)
    finally:
        daemon.kill()
    reader.look()
    took = time.monotonic() - began
    recording.fail_no_more()
    records = recording.records()
    failed = [at for at, record in enumerate(records) if record.error]
    assert len(failed) == 1, f"there was no fsync {number}:\n{daemon.output}"
    ended = len(records)
    if kind.then == Then.IT_IS_TOLD:
        hold(took < WITHIN_SECONDS, f"it went on for {took:.0f} s")
        _stopped(subject, daemon, records, failed[0])
    elif kind.then == Then.ALL_ARE_KILLED:
        assert daemon.process.returncode == -signal.SIGKILL, daemon.output
    _run_once(subject, kind)
    reader.look()
    records = recording.records()
    logged = Logged(subject, before, records)
    if kind.then == Then.IT_IS_TOLD and not _is_kept_by_sqlite(subject, records, failed[0]):
        published = logged.seen[failed[0]] != logged.seen[ended]
        hold(not published, "it went on to publish rows after the failed fsync")
    # When rows had come to results.csv for the last time.
    last = logged.seen.index(logged.seen[-1])
    points = {last} if short else {failed[0] + 1, ended, last, len(records)}
    for cut in logged.cuts((point, Luck.NOTHING) for point in points):
        start_after(cut)
    shutil.rmtree(subject.folder)
    return _what(subject, records[failed[0]])


def _is_kept_by_sqlite(subject: Subject, records: Sequence[Record], at: int) -> bool:
    """SQLite looks away when its own fsync of its folder fails: the one right after the first fsync
    of a file that it made there. So it may go on; but then the folder has to be fsynced by somebody
    else before it matters, which the power cuts show."""
    state = os.fsencode(subject.state)
    if records[at].operation != Operation.FSYNC or records[at].first != state:
        return False
    # Workers may be at work in results meanwhile.
    made_or_synced = [
        (record.operation, record.first)
        for record in records[:at]
        if record.operation in (Operation.CREATE, Operation.FSYNC)
        and record.first.startswith(state)
    ]
    operation, path = made_or_synced[-1]
    if operation != Operation.FSYNC or not path.endswith((b"-wal", b"-journal")):
        return False
    created = len(made_or_synced) - made_or_synced[::-1].index((Operation.CREATE, path))
    return made_or_synced[created:].count((Operation.FSYNC, path)) == 1


def _what(subject: Subject, record: Record) -> str:
    """What an fsync was for, for the table."""
    path = Path(os.fsdecode(record.first)).relative_to(subject.home)
    if path.parts[:2] == ("results", "thumbnails"):
        return "a thumbnail" if path.suffix else "a folder of thumbnails"
    return path.name or "the folder of results and state"


def _run_once(subject: Subject, kind: Kind) -> None:
    ended = subject.finished("run", "--once", patches=kind.patches)
    # That would be a mistake in a control, or worse than a broken promise.
    assert "Traceback" not in ended.output, ended.output
    hold(ended.process.returncode == 0, f"it does not start again: {ended.output}")


def _stopped(subject: Subject, daemon: Started, records: Sequence[Record], at: int) -> None:
    """With its own exit code, and a message that says which file it was."""
    if _is_kept_by_sqlite(subject, records, at) and daemon.process.returncode == 0:
        return
    failed = records[at]
    hold(
        daemon.process.returncode == NOT_DURABLE,
        f"it ended with {daemon.process.returncode}:\n{daemon.output}",
    )
    # SQLite does not say which of its files it was, or whether the folder of them.
    paths = {Path(os.fsdecode(failed.first))}
    if any(path.is_relative_to(subject.state) for path in paths):
        paths.add(subject.state / "journal.sqlite")
    hold(
        any(f"classifyd: {path}: could not be made durable" in daemon.output for path in paths),
        f"{failed.first!r} is not named:\n{daemon.output}",
    )


def run(work: Path, *, short: bool) -> Report:
    library = built(work)
    cases = list(itertools.product(KINDS, range(1, FSYNCS + 1)))
    weak = list(itertools.product(CONTROLS, range(2, FSYNCS + 1, 3)))
    if short:
        # A folder of thumbnails; the journal's, when it is examined; a commit in the journal.
        cases, weak = [(KINDS[0], 20), (KINDS[1], 4)], [(CONTROLS[0], 8)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        controls = [threads.submit(_outcome, work, library, *case, short) for case in weak]
        whats = list(threads.map(lambda case: _outcome(work, library, *case, short), cases))
        lost = [what for what in whats if isinstance(what, BrokenPromiseError)]
        hold(not lost, f"{len(lost)} of {len(cases)} times: " + "\n".join(map(str, lost)))
        broken = Counter(
            kind.name
            for (kind, _), control in zip(weak, controls, strict=True)
            if isinstance(control.result(), BrokenPromiseError)
        )
    told = []
    for kind in dict.fromkeys(kind for kind, _ in weak):
        times = sum(other is kind for other, _ in weak)
        assert broken[kind.name], f"the control held: {kind.name}, and nothing was noticed"
        told.append(f"{kind.name}: rows or thumbnails lost {broken[kind.name]} of {times} times")
    numbers = f"1 to {FSYNCS}" if not short else " and ".join(str(number) for _, number in cases)
    kinds = dict.fromkeys(kind.name for kind, _ in cases)
    return Report(
        title="An fsync that fails",
        done=f"`run --once` over {FIRST + MORE} images in batches of two, in which fsync {numbers} "
        f"failed with EIO ({'; '.join(kinds)}), and once more without a failure. The power was cut "
        "right after the failure, at the end of the process, after the last row, and at the very "
        "end, on a disk that never writes what the failed fsync was for unless it is written "
        "again; then `run --once`.",
        result=f"{len(cases)} failures: if not killed, it ended each time with exit code "
        f"{NOT_DURABLE} within {WITHIN_SECONDS} s, named the file, and published no row more (but "
        "for SQLite's own fsyncs of its folder, of which it does not tell); after each cut and "
        "start, no row that had stood in results.csv was missing or changed, and every named "
        "thumbnail was there",
        control="; ".join(told),
        table=Table(("the fsync was for", "failures"), sorted(Counter(map(str, whats)).items())),
    )


def _outcome(
    work: Path, library: Path, kind: Kind, number: int, short: bool
) -> str | BrokenPromiseError:
    try:
        return trial(work, library, kind, number, short=short)
    except BrokenPromiseError as error:
        return BrokenPromiseError(f"{kind.name}, fsync {number}: {error}")
