"""Power loss at many points of a run, on a disk that keeps nothing but what was fsynced.

The run is logged by `faults.c`; `disk.py` makes of a beginning of the log what could be found after
the power came back.
"""

from __future__ import annotations

import itertools
import random
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from trials.cuts import Forgets, Logged, all_of
from trials.disk import Disk, Luck, Operation, Record
from trials.faults import Recording, built
from trials.oracle import BrokenPromiseError
from trials.report import Report, Table
from trials.subject import SECONDS, Subject

SEED = 77
# The cruellest ones more often.
LUCK = (
    Luck.NOTHING, Luck.TORN, Luck.IN_ORDER, Luck.NOTHING, Luck.TORN, Luck.NAMES, Luck.DATA,
    Luck.ALL,
)  # fmt: skip


class Run:
    """A run with a kill and a mend in it, to be logged."""

    def __init__(self, work: Path, library: Path, images: int, patches: Sequence[str] = ()) -> None:
        self.subject = Subject(work)
        before = Disk(self.subject.home)
        self._recording = Recording(library, self.subject)
        self._patches = patches
        self._images = iter(range(images))
        third = images // 3
        # Killed in the midst of work, and the end of results.csv cut off: there is to be mended.
        self._run(third, kill=True)
        self._recording.fail_no_more()
        size = max(0, self.subject.csv.stat().st_size - 40) if self.subject.csv.exists() else 0
        subprocess.run(
            ["truncate", f"--size={size}", self.subject.csv],
            env=self.subject.environment({}),
            check=True,
            start_new_session=True,
        )
        self._run(third, overwrite=third // 3)
        self._run(images - 2 * third)
        self.logged = Logged(self.subject, before, self._recording.records())

    def _run(self, images: int, *, kill: bool = False, overwrite: int = 0) -> None:
        """Start it, let images come, some with a new content, and stop it."""
        daemon = self.subject.start("run", patches=self._patches)
        try:
            new = [next(self._images) for _ in range(images)]
            for number in new:
                self.subject.put(f"{number}.jpg", number)
                time.sleep(0.02)
            if kill:
                self._wait(
                    lambda: self.subject.whole_lines().count(b"\n") > images // 2, daemon.output
                )
                self._recording.kill_soon(random.Random(SEED).randint(5, 40))
                for number in itertools.count(100_000):
                    if daemon.process.poll() is not None:
                        return
                    self.subject.put(f"{number}.jpg", number)
                    time.sleep(0.1)
            for number in new[:overwrite]:
                self.subject.put(f"{number}.jpg", 10_000 + number)
            self._wait(self._is_done, daemon.output)
            code = daemon.stop()
            assert code == 0, daemon.output
        finally:
            daemon.kill()

    def _is_done(self) -> bool:
        rows = self.subject.whole_lines()
        return all(ever[-1].encode() in rows for ever in self.subject.contents.values())

    def _wait(self, condition: Callable[[], bool], output: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, output
            time.sleep(0.02)


def spread(count: int, records: int, first: int = 1) -> list[tuple[int, Luck]]:
    """Points from `first` to the end of the log, each with its luck."""
    chance = random.Random(SEED)
    step = (records + 1 - first) / count
    return [
        (first + int((number + chance.random()) * step), LUCK[number % len(LUCK)])
        for number in range(count)
    ]


# Fsyncs without which the trial has to fail.
def _of_journal(record: Record) -> bool:
    return _is_fsync(record) and b"/journal.sqlite" in record.first


def _of_thumbnails(record: Record) -> bool:
    return _is_fsync(record) and record.first.endswith(b".jpg")


def _of_folders(record: Record) -> bool:
    return _is_fsync(record) and b"/thumbnails/" in record.first and not _of_thumbnails(record)


def _of_results(record: Record) -> bool:
    return _is_fsync(record) and record.first.endswith(b"/results.csv")


def _of_results_folder(record: Record) -> bool:
    return _is_fsync(record) and record.first.endswith(b"/results")


def _is_fsync(record: Record) -> bool:
    return record.operation == Operation.FSYNC


FORGETS: dict[str, Forgets] = {
    "the journal": _of_journal,
    "thumbnails": _of_thumbnails,
    "a day's folder of thumbnails": _of_folders,
    "results.csv": _of_results,
    "the folder of results.csv": _of_results_folder,
}


def _control(logged: Logged, what: str, count: int, forgets: Forgets | None = None) -> str:
    last = len(logged.records)
    broken = all_of(logged.cuts(spread(count, last, first=last * 2 // 3), forgets))
    assert broken, f"the control held: {what}, and nothing was noticed"
    return f"{what}: broken {len(broken)} of {count} times"


def run(work: Path, *, short: bool) -> Report:
    library = built(work)
    images, count, weak = (15, 3, 1) if short else (90, 200, 16)
    logged = Run(work / "run", library, images).logged
    points = spread(count, len(logged.records))
    broken = all_of(logged.cuts(points))
    if broken:
        raise BrokenPromiseError(f"{len(broken)} of {count} times: " + "\n".join(broken))
    controls = [
        _control(logged, f"without an fsync of {name}", weak, forgets)
        for name, forgets in list(FORGETS.items())[: 1 if short else None]
    ]
    if not short:
        other = Run(work / "weak", library, images, ["commits_are_not_synced"]).logged
        controls.append(_control(other, "with SQLite's synchronous=NORMAL", weak))
    fsyncs = sum(map(_is_fsync, logged.records))
    return Report(
        title="Power loss",
        done=f"A run over {images} images, with a kill -9 and a mend in it, changed files "
        f"{len(logged.records):,} times, {fsyncs:,} fsyncs among them. At {count} points spread "
        "over it the power was cut: what was fsynced was kept, of the rest nothing or some, as "
        "in the table. Then `run --once`.",
        result="each time: one row for each image; every line that ever stood in results.csv "
        "before the cut, fsynced or not, was there as before; every named thumbnail was there and "
        "decodes; `verify` agrees. Before the start, results.csv already had every row that the "
        "journal calls synced",
        control="; ".join(controls),
        table=Table(
            ("what was not fsynced", "cuts"),
            sorted(Counter(luck.value for _, luck in points).items()),
        ),
    )
