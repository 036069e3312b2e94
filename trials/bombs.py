"""Small files of huge images: refused before they are decoded, at no cost to anybody else."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials import bomb_files
from trials.patched import patched_project
from trials.pictures import drawn, encoded
from trials.report import Report, Table
from trials.subject import ROOT, compiled_cache

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

MAIN_MB, WORKER_MB = 20, 100  # by how much they may grow
IMAGE_SECONDS = 5
PIXELS, SCANS = "more than 100 million pixels", "more than 100 scans"
# name: how it is made, and the reason that its row is to give
BOMBS = {
    "32000x32000.png": (bomb_files.png, PIXELS),
    "30000x30000.jpg": (bomb_files.jpeg, PIXELS),
    "30000x30000 progressive.jpg": (bomb_files.progressive_jpeg, PIXELS),
    "1000 scans.jpg": (bomb_files.scan_bomb, SCANS),
}
# As many pixels as can be set, and a worker that does not count scans.
UNLIMITED = f"""
import functools, sys
sys.path.insert(0, {str(ROOT)!r})
import daemon.pool
daemon.service.Pool = functools.partial(daemon.pool.Pool, module="trials.patient_worker")
"""


def memory(pid: int) -> float:
    """The most that a process ever had, in MB; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1000 if found else 0


class Meters:
    """How far the main process and its workers have grown since a moment."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._main = memory(daemon.pid)
        self._worker = max(map(memory, daemon.workers))
        self.main = self.worker = 0.0

    def read(self) -> None:
        self.main = memory(self._daemon.pid) - self._main
        self.worker = max(
            self.worker, *(memory(pid) - self._worker for pid in self._daemon.workers)
        )


def good(project: Project, number: int) -> None:
    # Photos of an ordinary size, so that workers have their usual size when it is measured.
    image = encoded(drawn(number, (1200, 900)), "JPEG")
    (project.inbox / f"{number} good.jpg").write_bytes(image)


def dropped(
    folder: Path, bombs: Mapping[str, bytes], patch: str = "", **settings: Any
) -> tuple[dict[str, dict[str, str]], Meters, float]:
    """Bombs among good images, in a daemon that is at work: the rows by name, how far processes
    grew, and how long it took."""
    from daemon_process import wait_for

    folder.mkdir()
    project = patched_project(
        folder, compiled_cache(), patch, thumbnails={"when": "none"}, **settings
    )
    for number in range(4):
        good(project, number)
    with project.started("run") as daemon:
        project.wait_for_rows(4)
        meters, began = Meters(daemon), time.monotonic()
        for number, (name, data) in enumerate(bombs.items(), start=4):
            (project.inbox / name).write_bytes(data)
            good(project, number)

        def have_rows() -> bool:
            meters.read()
            return len(project.rows) == 4 + 2 * len(bombs)

        wait_for(have_rows, "a row of every file", 120)
        took = time.monotonic() - began
        assert daemon.stop() == 0, daemon.log[-2000:]
    rows = {Path(row["path"]).name: row for row in project.rows}
    assert len(rows) == 4 + 2 * len(bombs)
    lost = [name for name in rows if "good" in name and rows[name]["status"] != "classified"]
    assert not lost, f"not classified: {lost}"
    return rows, meters, took


def run(work: Path, *, short: bool) -> Report:
    made = {name: make() for name, (make, _) in BOMBS.items()}
    limits = {"image_seconds": IMAGE_SECONDS}
    rows, meters, took = dropped(work / "guarded", made, limits=limits)
    for name, (_, reason) in BOMBS.items():
        assert rows[name]["status"] == "failed", rows[name]
        assert reason in rows[name]["reason"], rows[name]
    assert meters.main < MAIN_MB, f"the main process grew by {meters.main:.0f} MB"
    assert meters.worker < WORKER_MB, f"a worker grew by {meters.worker:.0f} MB"
    table = [
        (name, f"{len(data):,}", f"failed: {rows[name]['reason']}") for name, data in made.items()
    ]
    return Report(
        title="Bombs are refused within the limits",
        done=f"{len(BOMBS)} small files of huge images were put into the inbox of a daemon at "
        "work, good images between them: a PNG of 70 bytes that promises a billion pixels, and "
        "whole JPEGs, made by hand, that libjpeg has nothing to say against.",
        result=f"All rows after {took:.1f} s. The main process grew by {meters.main:.1f} MB, a "
        f"worker by {meters.worker:.0f} MB at most, and every good image is classified:",
        control=control(work, made, short=short),
        table=Table(("file", "bytes", "row"), table),
    )


def control(work: Path, made: Mapping[str, bytes], *, short: bool) -> str:
    side = 16_000 if short else bomb_files.SIDE
    huge = f"{side}x{side} progressive.jpg"
    bombs = {huge: bomb_files.progressive_jpeg(side)}
    if not short:  # it takes twice as long as the limit
        bombs["1000 scans.jpg"] = made["1000 scans.jpg"]
    limits = {"image_seconds": IMAGE_SECONDS, "megapixels": 1000}
    rows, meters, _ = dropped(work / "control", bombs, UNLIMITED, limits=limits)
    assert meters.worker > WORKER_MB, f"a worker grew by {meters.worker:.0f} MB only"
    said = (
        f"With a thousand million pixels allowed, a worker grows by {meters.worker:,.0f} MB at a "
        f"progressive JPEG of {side}x{side}"
    )
    if short:
        return f"{said}."
    reason = rows["1000 scans.jpg"]["reason"]
    assert "longer than" in reason, reason
    return f"{said}; with any number of scans allowed, that file is given up: {reason}."
