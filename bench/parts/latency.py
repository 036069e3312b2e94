"""From the rename of a file into the inbox to its row, readable in results.csv."""

from __future__ import annotations

import csv
import itertools
import statistics
import time
from pathlib import Path
from threading import Event, Thread

from bench import images
from bench.report import Figures, Report
from bench.setup import ACCURATE, MODEL, Setup
from bench.subject import Subject

LOOK_SECONDS = 0.001
PATIENCE_SECONDS = 300.0
PERCENTILES = 50, 95, 99


class Reader:
    """Somebody who reads results.csv as it grows: when was the row of each file there?"""

    def __init__(self, path: Path) -> None:
        self.seen: dict[str, float] = {}  # by file name; by time.perf_counter
        self._path = path
        self._ended = Event()
        self._thread = Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        with self._path.open("rb") as file:
            while not self._ended.wait(LOOK_SECONDS):
                if data := file.read():
                    moment = time.perf_counter()
                    whole, _, rest = (rest + data).rpartition(b"\n")
                    for row in csv.reader(whole.decode().splitlines()):
                        self.seen[Path(row[1]).name] = moment

    def wait(self, count: int) -> None:
        """Until so many rows were seen."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(self.seen) < count:
            assert time.monotonic() < deadline, f"{len(self.seen):,} rows of {count:,}"
            time.sleep(0.01)

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


def run(setup: Setup) -> Report:
    rates = {20: 10, 300: 30} if setup.short else {20: 300, 300: 3000}
    models = (MODEL,) if setup.short else (MODEL, ACCURATE)
    figures = Figures()
    for model in models:
        for _ in range(setup.repeats):
            for rate, count in rates.items():
                _measure(setup, model, rate, count, figures)
    return Report(
        title="From a drop to its row",
        done="A running daemon with an empty queue, thumbnails on; small "
        f"{'given' if setup.data else 'drawn'} JPEGs are renamed into the inbox one by one: "
        f"{', '.join(f'{count:,} at {rate} a second' for rate, count in rates.items())}. The time "
        "from just before each rename until somebody who looks every millisecond has read the "
        "whole row.",
        figures=figures,
    )


def _measure(setup: Setup, model: Path, rate: int, count: int, figures: Figures) -> None:
    subject = Subject.started_before(setup, model=model)
    waiting = images.small(setup, count + 1, settled=False)
    first, *files = sorted(waiting.iterdir())
    count = len(files)
    with subject.running():
        first.rename(subject.inbox / first.name)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not subject.csv.exists() or subject.csv.read_bytes().count(b"\n") < 2:
            assert time.monotonic() < deadline, subject.log
            time.sleep(0.05)
        reader = Reader(subject.csv)
        try:
            sent = _send(files, subject.inbox, rate)
            reader.wait(count + 2)  # with the head and the first one
        finally:
            reader.end()
    subject.check(count + 1)
    subject.remove()
    took = sorted(1000 * (reader.seen[name] - moment) for name, moment in sent.items())
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    for percentile in PERCENTILES:
        name = f"{model.stem}, {rate} files a second: p{percentile}"
        figures.add(name, cuts[percentile - 1], "ms")


def _send(files: list[Path], inbox: Path, rate: int) -> dict[str, float]:
    """Rename files into the inbox, so many a second; when each of them was."""
    sent: dict[str, float] = {}
    began = time.perf_counter()
    for number, path in zip(itertools.count(), files, strict=False):
        time.sleep(max(0, began + number / rate - time.perf_counter()))
        sent[path.name] = time.perf_counter()
        path.rename(inbox / path.name)
    return sent
