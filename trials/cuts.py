"""A run whose changes were logged, cut off by a power loss, and started again."""

from __future__ import annotations

import copy
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple

from trials.disk import MAPPED, Disk, Luck, Operation, Record
from trials.oracle import BrokenPromiseError, hold, hold_what_counts_as_synced, judge
from trials.subject import Subject

AT_ONCE = 2
Forgets = Callable[[Record], bool]


class Cut(NamedTuple):
    """A home after a power cut.

    seen: the most that had stood in results.csv before, in whole lines. live: what stood in it when
    the power went, safe or not.
    """

    subject: Subject
    seen: bytes
    live: bytes
    point: int
    luck: Luck


class Logged:
    """What was done to a subject's home.

    seen: after so many records, the most that had ever stood in results.csv, in whole lines.
    """

    def __init__(self, subject: Subject, before: Disk, records: Sequence[Record]) -> None:
        self.records = records
        self._subject, self._before = subject, before
        self.seen = [b""]
        csv = os.fsencode(subject.csv)
        disk = copy.deepcopy(before)
        for record in records:
            disk.replay(record)
            seen = self.seen[-1]
            if record.operation in (Operation.WRITE, Operation.TRUNCATE):
                node = disk.find(csv)
                text = bytes(node.now) if node is not None else b""
                whole = text[: text.rfind(b"\n") + 1]
                seen = max(seen, whole, key=len)
            self.seen.append(seen)
        # Whether nothing was missed: with all of the log, the model comes to what is there.
        assert disk.files() == _files(subject.home), "the model of the disk is not right"

    def cuts(
        self, points: Iterable[tuple[int, Luck]], forgets: Forgets | None = None
    ) -> Iterator[Cut]:
        """What is left if the power goes after so many records, with such luck.

        forgets: fsyncs that are taken out of the log, as if nobody had asked for them.
        """
        disk, done = copy.deepcopy(self._before), 0
        for point, luck in sorted(points, key=lambda item: item[0]):
            for record in self.records[done:point]:
                if forgets is None or not forgets(record):
                    disk.replay(record)
            done = point
            home = self._subject.folder / f"cut-{point}-{luck.name.lower()}"
            disk.power_cut(home, luck, random.Random(point))
            node = disk.find(os.fsencode(self._subject.csv))
            live = bytes(node.now) if node is not None else b""
            yield Cut(self._subject.moved(home), self.seen[point], live, point, luck)


def _files(home: Path) -> dict[str, bytes]:
    """As `Disk.files`."""
    found = {}
    for path in home.rglob("*"):
        name = "/" + str(path.relative_to(home))
        if path.is_symlink():
            found[name] = os.fsencode(path.readlink())
        elif path.is_file() and not os.fsencode(name).endswith(MAPPED):
            found[name] = path.read_bytes()
    return found


def start_after(cut: Cut) -> None:
    """The power comes back. Raises `BrokenPromiseError`."""
    try:
        hold_what_counts_as_synced(cut.subject, cut.live)
        ended = cut.subject.finished("run", "--once")
        hold(ended.process.returncode == 0, f"it does not start: {ended.output}")
        judge(cut.subject, cut.seen)
    except BrokenPromiseError as error:
        raise BrokenPromiseError(f"after {cut.point} changes, {cut.luck.value}: {error}") from None
    finally:
        shutil.rmtree(cut.subject.home)


def all_of(cuts: Iterable[Cut]) -> list[str]:
    """Start after each of them, some at once; what was broken."""
    broken: list[str] = []
    pending: set[Future[None]] = set()

    def collect(upto: int) -> None:
        while len(pending) > upto:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            pending.difference_update(done)
            for future in done:
                try:
                    future.result()
                except BrokenPromiseError as error:
                    broken.append(str(error))

    with ThreadPoolExecutor(AT_ONCE) as threads:
        for cut in cuts:
            pending.add(threads.submit(start_after, cut))
            collect(AT_ONCE)
        collect(0)
    return broken
