"""Ten thousand, a hundred thousand and a million files: does a file cost the same?"""

from __future__ import annotations

import time
from pathlib import Path

from bench import images
from bench.processes import finished
from bench.report import Figures, Report
from bench.setup import Setup
from bench.subject import Subject
from bench.usage import cpu, family

MAIN = "{:,} files: memory of the main process"
COST = "{:,} files: for each"
RESCANS = 3
LOOK_SECONDS = 0.25
GLANCE_SECONDS = 0.05
CALM_GLANCES = 5
PATIENCE_SECONDS = 600.0


def run(setup: Setup) -> Report:
    counts = [50, 100] if setup.short else [10_000, 100_000]
    if setup.million:
        counts.append(1_000_000)
    figures = Figures()
    folders = {count: setup.folder() for count in counts}
    for count, folder in folders.items():
        images.tree(folder, count)
    images.grow_old(setup)
    for count, folder in folders.items():
        # As often as in all other parts would take hours of the larger ones.
        for _ in range(setup.repeats if count == counts[0] else 1):
            _measure(setup, folder, count, figures)
    smallest = counts[0]
    for count in counts[1:]:
        for name in (COST, MAIN):
            ratio = _median(figures, name.format(count)) / _median(figures, name.format(smallest))
            figures.add(f"{name.format(count)}, against {smallest:,}", ratio, "times")
    return Report(
        title="Many files",
        done=f"Inboxes of {', '.join(f'{count:,}' for count in counts)} JPEGs of 8x8 pixels in "
        "folders of 10,000, thumbnails off: `run --once`, the same again over what is done, "
        "`status`, and a rescan by a daemon that runs. Memory: the most at any moment (PSS).",
        figures=figures,
        notes=()
        if setup.million
        else ("A million files are measured with `make bench PARTS=scale MILLION=1`.",),
    )


def _median(figures: Figures, name: str) -> float:
    return next(figure.median for figure in figures if figure.name == name)


def _measure(setup: Setup, folder: Path, count: int, figures: Figures) -> None:
    every = 1.0 if setup.short else max(5.0, count / 20_000)
    subject = Subject.started_before(
        setup, folder, thumbnails={"when": "none"}, rescan_seconds=every
    )
    done = subject.once(count, memory_every=LOOK_SECONDS)
    figures.add(COST.format(count), 1e6 * done.finished.seconds / count, "µs")
    figures.add(f"{count:,} files: steady state", done.steady, "rows/s")
    figures.add(MAIN.format(count), done.peak.alone, "MB")
    again = subject.once(count, memory_every=LOOK_SECONDS)
    figures.add(f"{count:,} files, all done: run --once", again.finished.seconds, "s")
    figures.add(f"{count:,} files, all done: its processor time", again.finished.cpu, "s")
    figures.add(f"{count:,} files, all done: memory of the main process", again.peak.alone, "MB")
    seconds, busy = _rescan(subject, every, 1 if setup.short else RESCANS)
    figures.add(f"{count:,} files, all done: a rescan", seconds, "s")
    figures.add(f"{count:,} files, all done: processor time of a rescan", busy, "s")
    status = finished(subject.command("status"))
    figures.add(f"{count:,} files: status", status.seconds, "s")
    subject.remove()


def _rescan(subject: Subject, every: float, times: int) -> tuple[float, float]:
    """Seconds in which a daemon with nothing else to do is at work for a rescan, and seconds of
    processor that it takes for it; what it takes to idle included. every: seconds, of rescans."""
    with subject.running() as pid:
        _wait_for_rest(subject, pid)
        began, first = time.monotonic(), cpu(family(pid))
        before, at_work = first, 0.0
        while (moment := time.monotonic()) < began + times * every:
            time.sleep(GLANCE_SECONDS)
            now = cpu(family(pid))
            at_work += time.monotonic() - moment if now > before else 0.0
            before = now
        return at_work / times, (before - first) / times


def _wait_for_rest(subject: Subject, pid: int) -> None:
    """Until it watches, and has done what it found at its start."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    calm, before = 0, 0.0
    while calm < CALM_GLANCES:
        assert time.monotonic() < deadline, subject.log
        time.sleep(GLANCE_SECONDS)
        now = cpu(family(pid))
        calm = calm + 1 if now == before and "watching" in subject.log else 0
        before = now
