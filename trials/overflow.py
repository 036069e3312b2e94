"""More happens than the kernel can tell, or the inbox goes away under the daemon."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import SkipTest

from daemon.journal import Journal
from trials.namespace import in_own_mounts
from trials.patched import patched_project, tiny_jpegs
from trials.report import Report, Table
from trials.subject import compiled_cache

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

LIMIT = Path("/proc/sys/fs/inotify/max_queued_events")
LONG = 3600  # a rescan that does not come
QUIET = 10.0  # seconds without work and without a row: nothing more comes
PAUSES = (0.0, 0.5, 3.0)  # seconds without an inbox; the daemon looks every two

# Events are the truth: nothing is scanned again after the start.
ONE_SCAN = """
from daemon.watch import Watcher
start = Watcher._start_scan
Watcher._start_scan = lambda self, now: start(self, now) if not self.scans else setattr(
    self, "_next_scan", now + 3600)
"""
# Every inbox is the one that was there before, and its observer well.
ONE_INBOX = """
import daemon.observe, daemon.watch
daemon.watch._identity = lambda folder: (0, 0)
daemon.observe.Observation.is_alive = True
"""
# A file that is quiet for a moment is whole, whoever has it open.
NO_WRITERS = """
import daemon.settle, daemon.watch
daemon.settle.is_being_written = daemon.watch.is_being_written = lambda *path: False
"""


def project_of(work: Path, name: str, cache: Path, patch: str = "", **settings: Any) -> Project:
    (work / name).mkdir()
    return patched_project(work / name, cache, patch, thumbnails={"when": "none"}, **settings)


def put(project: Project, images: list[bytes], prefix: str) -> None:
    """Write images into the inbox."""
    for number, image in enumerate(images):
        (project.inbox / f"{prefix}{number}.jpg").write_bytes(image)


def seconds_until(condition: Callable[[], object], what: str, limit: float) -> float:
    from daemon_process import wait_for

    began = time.monotonic()
    wait_for(condition, what, limit)
    return time.monotonic() - began


def hears(daemon: Daemon, folder: Path) -> bool:
    """Whether the kernel tells the daemon what happens in a folder, by the kernel's own account."""
    inode = f" ino:{folder.stat().st_ino:x} "
    for held in Path(f"/proc/{daemon.pid}/fdinfo").iterdir():
        try:
            lines = held.read_text().splitlines()
        except FileNotFoundError:  # closed meanwhile
            continue
        if any(line.startswith("inotify") and inode in line for line in lines):
            return True
    return False


def waiting(project: Project) -> int:
    """How many images are in the queue."""
    with closing(Journal.open(project.state, read_only=True)) as journal:
        return journal.pending()


def rows_in_the_end(project: Project, files: int) -> int:
    """How many rows there are when all files have one, or when no more come however long one waits:
    nothing is in the queue, and for some seconds there was no new row."""
    count, since = len(project.rows), time.monotonic()
    while count < files and time.monotonic() < since + QUIET:
        time.sleep(0.1)
        now = len(project.rows)
        if now != count or waiting(project):
            count, since = now, time.monotonic()
    return count


def overflow(project: Project, files: int) -> tuple[float, int]:
    """Make files while the daemon is stopped; seconds until the last row, and how many there are in
    the end: slow is not lost."""
    from daemon_process import is_stopped, wait_for

    images = tiny_jpegs(files)
    (project.folder / "made").mkdir()
    for number, image in enumerate(images):
        (project.folder / "made" / f"{number}.jpg").write_bytes(image)
    (project.inbox / "x").write_bytes(b"")
    limit = int(LIMIT.read_text())
    with project.started("run") as daemon:
        wait_for(lambda: hears(daemon, project.inbox), "the inbox is watched")
        time.sleep(1.5)  # the first scan is over
        daemon.process.send_signal(signal.SIGSTOP)
        wait_for(lambda: is_stopped(daemon.pid), "it is stopped")
        if files <= limit:  # two events each
            for number in range(limit // 2 + 1):
                names = ("x", "y") if number % 2 == 0 else ("y", "x")
                (project.inbox / names[0]).rename(project.inbox / names[1])
        for image in (project.folder / "made").iterdir():
            image.rename(project.inbox / image.name)
        daemon.process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        # Either it heard that events were lost, or it met the observer while that began anew.
        words = ("events were lost", "the observer of")
        wait_for(lambda: any(word in daemon.log for word in words), "it notices the loss")
        rows_in_the_end(project, files)
        took = time.monotonic() - began
        assert daemon.stop() == 0, daemon.log
    rows = project.rows
    assert len({row["path"] for row in rows}) == len(rows)
    return took, len(rows)


def inbox_anew(
    project: Project, gone: Callable[[], None], back: Callable[[], None], rescan: float, times: int
) -> list[float]:
    """Take the inbox away and make it anew, some times; seconds until images in it have rows.

    By then, or with the next rescan at the latest, the daemon has to hear of new files too.
    """
    took = []
    images = tiny_jpegs(6 * times)
    with project.started("run") as daemon:
        daemon.says("watching")
        for turn in range(times):
            put(project, images[6 * turn : 6 * turn + 3], f"{turn}-before")
            project.wait_for_rows(6 * turn + 3)
            gone()
            time.sleep(PAUSES[turn % len(PAUSES)])
            back()
            put(project, images[6 * turn + 3 : 6 * turn + 6], f"{turn}-after")
            took.append(
                seconds_until(
                    lambda wanted=6 * turn + 6: len(project.rows) >= wanted,
                    f"rows of the inbox made anew\n{daemon.log}",
                    rescan + 3,  # the rescan, the time until they are settled, and the work
                )
            )
            seconds_until(
                lambda: hears(daemon, project.inbox), f"it hears again\n{daemon.log}", rescan + 3
            )
        assert daemon.stop() == 0, daemon.log
    assert len({row["path"] for row in project.rows}) == len(project.rows) == 6 * times
    return took


def deleted(project: Project, rescan: float, times: int) -> list[float]:
    return inbox_anew(
        project, lambda: shutil.rmtree(project.inbox), project.inbox.mkdir, rescan, times
    )


def remounted(project: Project, rescan: float, times: int) -> list[float]:
    """The same with a file system in memory. Only where mounts are our own."""

    def mount() -> None:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", project.inbox], check=True
        )

    def unmount() -> None:
        from daemon_process import wait_for

        # Busy for a moment, while the daemon reads it.
        command = ["umount", project.inbox]
        wait_for(lambda: not subprocess.run(command, capture_output=True).returncode, "unmounted")

    mount()
    return inbox_anew(project, unmount, mount, rescan, times)


def slow_writer(project: Project) -> list[str]:
    """Write an image in pieces, with pauses; the digests of its rows, the whole file's first."""
    image = tiny_jpegs(1)[0]
    with project.started("run") as daemon:
        daemon.says("watching")
        with (project.inbox / "slow.jpg").open("wb", buffering=0) as file:
            for begin in range(0, len(image), len(image) // 4 + 1):
                file.write(image[begin : begin + len(image) // 4 + 1])
                time.sleep(0.7)  # longer than it takes to settle
        project.wait_for_rows(1)
        time.sleep(1.5)
        assert daemon.stop() == 0, daemon.log
    return [hashlib.sha256(image).hexdigest(), *(row["sha256"] for row in project.rows)]


def run(work: Path, *, short: bool) -> Report:
    cache = compiled_cache()
    files, rescan = (200, 5.0) if short else (20_000, 30.0)
    every, times = (2.0, 2) if short else (6.0, 21)
    # Most of it is waiting. In full, each part has the machine to itself, for its figures.
    with ThreadPoolExecutor(4 if short else 1) as pool:
        many = pool.submit(overflow, project_of(work, "many", cache, rescan_seconds=rescan), files)
        anew = pool.submit(
            deleted, project_of(work, "anew", cache, rescan_seconds=every), every, times
        )
        mounted = pool.submit(
            in_own_mounts, "trials.overflow", work, cache, every, times,
            seconds=60 + times * (every + 15),
        )  # fmt: skip
        slow = pool.submit(slow_writer, project_of(work, "slow", cache))
        # The controls.
        one_scan = pool.submit(overflow, project_of(work, "scan", cache, ONE_SCAN), files)
        is_deaf = pool.submit(deaf, project_of(work, "deaf", cache, ONE_INBOX, rescan_seconds=LONG))
        half = pool.submit(slow_writer, project_of(work, "half", cache, NO_WRITERS))

    took, count = many.result()
    assert count == files, f"{count} rows of {files}, and no more came"
    if not short:  # where the parts share the machine, the time says nothing
        assert took <= 2 * rescan, f"{count} rows took {took:.0f} s, more than two rescans"
    table: list[list[object]] = [["files made while it was stopped", files, f"{took:.1f}", rescan]]
    table.append(["inbox deleted and made anew", times, f"{max(anew.result()):.1f}", every])
    try:
        table.append(["inbox unmounted and mounted", times, f"{max(mounted.result()):.1f}", every])
    except SkipTest as reason:
        table.append([f"inbox unmounted and mounted: left out, {reason}", 0, "", ""])
    whole, *found = slow.result()
    assert found == [whole], "a slow writer's file has not one row with its final bytes"
    _, without_scan = one_scan.result()
    assert without_scan < files, "without a scan after lost events, no file was missed"
    assert is_deaf.result(), "an inbox made anew was noticed without looking at it"
    whole, *found = half.result()
    assert found != [whole], "a slow writer was waited for without looking for writers"
    return Report(
        title="Lost events, and an inbox that goes away",
        done=f"{files:,} files made while the daemon was stopped by SIGSTOP and the kernel's queue "
        f"of {int(LIMIT.read_text()):,} events ran over; the inbox deleted and made anew, and "
        f"unmounted and mounted, after {', '.join(f'{pause:g}' for pause in PAUSES)} s; a file "
        "written in four pieces with pauses longer than `settle_seconds`.",
        result=f"{count:,} rows, {took:.1f} s after it went on (two rescans: "
        f"{2 * rescan:g} s). Every image of an inbox made anew had its row, and the daemon "
        "heard of new files again, within one rescan. The slow file had one row, of its final "
        "bytes. None had two.",
        control=f"without the scan after lost events: {without_scan:,} rows of {files:,} files; "
        "without the look at which folder the inbox is: deaf to the one made anew; without the "
        f"look for writers: {len(found)} row(s) of the slow file, of other bytes.",
        table=Table(["What", "times", "seconds until all rows, at most", "rescan"], table),
    )


def deaf(project: Project) -> bool:
    """Whether images in an inbox made anew get no row, and the daemon is not told of new ones."""
    with project.started("run") as daemon:
        daemon.says("watching")
        put(project, tiny_jpegs(1), "before")
        project.wait_for_rows(1)
        shutil.rmtree(project.inbox)
        time.sleep(0.5)
        (project.folder / "other").mkdir()  # so that it gets another number than it had
        project.inbox.mkdir()
        put(project, tiny_jpegs(3, first=1), "after")
        count = rows_in_the_end(project, 4)
        assert daemon.process.poll() is None, daemon.log
        return count == 1 and not hears(daemon, project.inbox)


if __name__ == "__main__":
    folder, kept, every, turns = sys.argv[1:]
    anew = project_of(Path(folder), "mounted", Path(kept), rescan_seconds=float(every))
    print(json.dumps(remounted(anew, float(every), int(turns))))
