"""kill -9 of the whole group of processes at random instants, while images arrive."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from trials.oracle import BrokenPromiseError, Reader, judge
from trials.report import Report, Table
from trials.subject import Subject

SEED = 20260
STARTING, WAITING, WORKING = "during the start", "while nothing waits", "while images are in hand"


class Arrivals:
    """Images that come while the trial goes on, at random instants, half of them by rename."""

    def __init__(self, subject: Subject, count: int, seconds: float, seed: int) -> None:
        self._subject = subject
        self._count = count
        self._pause = seconds / count
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._come)
        self.come = 0
        self._thread.start()

    def _come(self) -> None:
        while self.come < self._count:
            # In clusters: a copy of a folder brings many at once.
            cluster = min(self._random.choice((1, 1, 3, 20)), self._count - self.come)
            for _ in range(cluster):
                number = self.come
                self._subject.put(f"{number}.jpg", number, by_rename=number % 2 == 1)
                self.come += 1
            self._stop.wait(self._random.uniform(0, 2) * self._pause * cluster)

    def finish(self) -> None:
        """Let the rest come without waiting."""
        self._stop.set()
        self._thread.join()


def trial(
    subject: Subject, files: int, kills: int, seed: int, patches: Sequence[str] = ()
) -> tuple[Counter[str], Reader]:
    """How many kills fell into what. Raises `BrokenPromiseError`."""
    chance = random.Random(seed)
    reader = Reader(subject)
    fell: Counter[str] = Counter()
    arrivals = Arrivals(subject, files, 1.1 * kills, seed)
    try:
        for _ in range(kills):
            daemon = subject.start("run", patches=patches)
            # A start takes about a second here; as many kills are to fall into it as after it.
            deadline = time.monotonic() + chance.choice((1.2, 2.4)) * chance.random()
            while (left := deadline - time.monotonic()) > 0:
                time.sleep(min(left, 0.02))
                reader.look()
            assert daemon.process.poll() is None, f"it ended by itself:\n{daemon.output}"
            daemon.kill()
            reader.look()
            fell[_state(subject, daemon.output)] += 1
    finally:
        arrivals.finish()
    ended = subject.finished("run", "--once", patches=patches)
    assert ended.process.returncode == 0, ended.output
    judge(subject, reader.seen)
    return fell, reader


def _state(subject: Subject, output: str) -> str:
    """What the daemon was at when it was killed."""
    if "watching" not in output:
        return STARTING
    return WORKING if len(subject.contents) > subject.whole_lines().count(b"\n") - 1 else WAITING


def run(work: Path, *, short: bool) -> Report:
    files, kills, weak_files, weak_kills = (60, 4, 40, 3) if short else (3000, 300, 300, 30)
    fell, reader = trial(Subject(work / "whole", workers=2), files, kills, SEED)
    try:
        trial(Subject(work / "weak", workers=2), weak_files, weak_kills, SEED, ["claims_are_noted"])
    except BrokenPromiseError as error:
        broken = str(error)
    else:
        raise AssertionError("the control held: this trial would not notice a lost image")
    return Report(
        title="kill -9 of the whole process group, at random instants",
        done=f"{files:,} images came by copy and by rename while the daemon with its two workers "
        f"was killed {kills} times, at random from the first moment of its start on; then "
        "`run --once`. Somebody read results.csv every 20 ms and after each kill.",
        result=f"{files:,} rows, one for each image; every line that the reader saw stayed as it "
        "was; every named thumbnail is there and decodes; `verify` agrees. The reader found the "
        f"last line cut short {reader.torn} times.",
        control="jobs taken out of the queue when they are handed out: after "
        f"{weak_kills} kills, {broken}",
        table=Table(("the kill came", "times"), sorted(fell.items())),
    )
