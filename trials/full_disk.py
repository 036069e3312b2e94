"""A disk of 8 MB that is full at 50 different places of the work, and then has room again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trials.namespace import in_own_mounts
from trials.patched import patched_project, tiny_jpegs
from trials.report import Report, Table
from trials.subject import compiled_cache

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

IMAGES = 60
DISK = 8 << 20
PAGE = 4096  # what the file system gives out
# `wait_for_room` looks every two seconds; then the workers load the model again.
SECONDS_TO_GO_ON = 20.0
WORDS = "images wait, none fails for this"
# What a full disk did before: it ended the daemon.
NO_PAUSE = """
def wait_for_room(settings, error, *rest):
    raise error
daemon.service.wait_for_room = wait_for_room
"""


class Point(NamedTuple):
    """When the disk is full.

    kind: a key of KINDS. number: by kind, how many bytes are free at the start, or how many images
    came before it was full.
    """

    kind: str
    number: int


KINDS = {
    "start": "bytes free before the first start",
    "journal": "bytes free before the first start, without thumbnails",
    "image": "images before it was full, to the last byte",
    "mend": "bytes free before a start that has to mend results.csv",
}


class Disk:
    """A file system of 8 MB in memory, and a ballast in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder], check=True, timeout=60
        )
        self._ballast = folder / "ballast"

    @property
    def free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Let the ballast grow until only so much is left, also while others write."""
        with self._ballast.open("ab") as file:
            while (excess := self.free - leave) > 0:
                size = os.fstat(file.fileno()).st_size
                try:
                    os.posix_fallocate(file.fileno(), size, excess)
                except OSError:  # somebody else took some of it just now
                    continue

    def clear(self) -> None:
        self._ballast.unlink()

    def unmount(self) -> None:
        subprocess.run(["umount", self.folder], check=True, timeout=60)


@contextmanager
def project_on_disk(
    work: Path, cache: Path, patch: str = "", **settings: Any
) -> Iterator[tuple[Project, Disk]]:
    """A project with results and state on a small disk, and the inbox elsewhere."""
    folder = work / f"{time.monotonic_ns()}"
    folder.mkdir()
    disk = Disk(folder / "disk")
    try:
        settings = {
            "results": "disk/results", "state": "disk/state", "batch": {"size": 4}, **settings
        }  # fmt: skip
        project = patched_project(folder, cache, patch, **settings)
        project.results, project.state = folder / "disk" / "results", folder / "disk" / "state"
        project.csv = project.results / "results.csv"
        shutil.move(folder / "state", project.state)
        yield project, disk
    finally:
        disk.unmount()
    shutil.rmtree(folder)


def put(project: Project, begin: int, end: int) -> None:
    """Images come into the inbox, one after the other."""
    for number, image in enumerate(tiny_jpegs(end - begin, first=begin), begin):
        draft = project.folder / "draft"
        draft.write_bytes(image)
        draft.rename(project.inbox / f"{number:03}.jpg")
        time.sleep(0.01)


def whole_lines(project: Project) -> bytes:
    text = project.csv.read_bytes() if project.csv.exists() else b""
    return text[: text.rfind(b"\n") + 1]


def is_paused(project: Project) -> bool:
    """Whether `status` says so, and why; and since when, unless there was no room to note even that
    on a disk that was full from the first."""
    status = project.classifyd("status")
    assert status.returncode == 0, status.stdout + status.stderr
    paused = [line for line in status.stdout.splitlines() if line.startswith("paused")]
    assert all("is full" in line for line in paused), paused
    if (project.state / "lock").stat().st_size:
        assert all("since 20" in line for line in paused), paused
    return bool(paused)


def pause_and_go_on(project: Project, disk: Disk, daemon: Daemon, hold: float) -> float:
    """What has to be seen while the disk is full, for some seconds; then make room.

    Gives the seconds until all rows.
    """
    from daemon_process import wait_for

    daemon.says(WORDS)
    disk.fill()  # what it gave back when it closed its files
    wait_for(lambda: is_paused(project), f"`status` says that it is paused\n{daemon.log}")
    before = whole_lines(project)
    time.sleep(hold)
    said = daemon.log.count(WORDS)
    time.sleep(hold)
    assert daemon.log.count(WORDS) == said, f"it says so again and again\n{daemon.log}"
    assert daemon.process.poll() is None, f"it did not wait\n{daemon.log}"
    disk.clear()
    began = time.monotonic()
    wait_for(
        lambda: len(project.rows) >= IMAGES,
        f"it goes on by itself\n{daemon.log}",
        SECONDS_TO_GO_ON,
    )
    took = time.monotonic() - began
    wait_for(lambda: not is_paused(project), "`status` says no more that it is paused")
    assert daemon.stop() == 0, daemon.log
    after = whole_lines(project)
    assert after.startswith(before), "rows that a reader has seen are changed or gone"
    rows = project.rows
    assert len({row["path"] for row in rows}) == len(rows) == IMAGES
    failed = [row for row in rows if row["status"] != "classified"]
    assert not failed, f"failed for the full disk: {failed[0]}"
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"{IMAGES} in the journal" in verified.stdout, verified.stdout
    return took


def play(work: Path, cache: Path, point: Point, hold: float = 2.5) -> float:
    """One time full and one time freed; seconds until all rows. hold: it looks every two."""
    drawn = "none" if point.kind == "journal" else "all"
    with project_on_disk(work, cache, thumbnails={"when": drawn}) as (project, disk):
        if point.kind == "mend":
            put(project, 0, IMAGES // 2)
            done = project.classifyd("run", "--once")
            assert done.returncode == 0, done.stderr
            project.csv.unlink()
            disk.fill(point.number)
        elif point.kind != "image":
            disk.fill(point.number)
        with project.started("run") as daemon:
            if point.kind == "image":
                daemon.says("watching")
                put(project, 0, point.number)
                disk.fill()
                put(project, point.number, IMAGES)
            else:
                put(project, IMAGES // 2 if point.kind == "mend" else 0, IMAGES)
            return pause_and_go_on(project, disk, daemon, hold)


def use(work: Path, cache: Path, thumbnails: str) -> int:
    """How many bytes a run takes of the disk in the end, if there are enough."""
    with project_on_disk(work, cache, thumbnails={"when": thumbnails}) as (project, disk):
        put(project, 0, IMAGES)
        before = disk.free
        done = project.classifyd("run", "--once")
        assert done.returncode == 0, done.stderr
        return before - disk.free


def without_pause(work: Path, cache: Path) -> str:
    """The same with the pause taken out: how many rows there are at the end."""
    with project_on_disk(work, cache, NO_PAUSE) as (project, disk), project.started("run") as it:
        it.says("watching")
        put(project, 0, IMAGES // 2)
        disk.fill()
        put(project, IMAGES // 2, IMAGES)
        try:
            code: int | None = it.process.wait(10)
        except subprocess.TimeoutExpired:
            code = None
        disk.clear()
        time.sleep(0 if code is not None else 10)
        rows = len(project.rows)
        assert rows < IMAGES, "without the pause, a full disk did no harm"
        assert code is not None
        return f"it ended with {code}, and {rows} of {IMAGES} images had a row when there was room"


def points(work: Path, cache: Path, *, short: bool) -> list[Point]:
    if short:
        return [Point("start", 0), Point("image", IMAGES // 2)]
    found = []
    for kind, thumbnails, count in (("start", "all", 20), ("journal", "none", 8)):
        most = use(work, cache, thumbnails)
        # The first pages one by one, as it begins with small files; then evenly, to the end.
        some = range(0, 5 * PAGE, PAGE)
        step = (most * 9 // 10 - len(some) * PAGE) // (count - len(some)) // PAGE * PAGE
        found += [Point(kind, left) for left in some]
        found += [
            Point(kind, len(some) * PAGE + number * step) for number in range(count - len(some))
        ]
    found += [Point("image", number) for number in range(0, 54, 3)]
    found += [Point("mend", left) for left in (0, PAGE, 2 * PAGE, 8 * PAGE)]
    return found


def in_namespace(work: Path, cache: Path, *, short: bool) -> dict[str, Any]:
    took: dict[str, list[float]] = {}
    where = points(work, cache, short=short)
    # Most of it is waiting. In full, each has the machine to itself, for its figures.
    with ThreadPoolExecutor(3 if short else 1) as pool:
        playing = [pool.submit(play, work, cache, point, 1.1 if short else 2.5) for point in where]
        control = pool.submit(without_pause, work, cache)
    for point, played in zip(where, playing, strict=True):
        try:
            took.setdefault(point.kind, []).append(played.result())
        except AssertionError as error:
            raise AssertionError(f"{KINDS[point.kind]}: {point.number}: {error}") from error
    return {
        "table": [
            [KINDS[kind], f"{min(its)} to {max(its)}", len(its), f"{max(took[kind]):.1f}"]
            for kind in took
            for its in [[point.number for point in where if point.kind == kind]]
        ],
        "times": len(where),
        "control": control.result(),
    }


def run(work: Path, *, short: bool) -> Report:
    found = in_own_mounts(
        "trials.full_disk", work, compiled_cache(), "short" if short else "full",
        seconds=100 if short else 2400,
    )  # fmt: skip
    return Report(
        title="A full disk",
        done=f"results and state on a disk of 8 MB in memory, filled by a ballast at "
        f"{found['times']} places while {IMAGES} images come; then the ballast was taken away.",
        result=f"Every time, the daemon waited and `status` said that the disk is full and since "
        f"when, the log said it once. When there was room it went on by itself: {IMAGES} rows, one "
        "for each image, none failed, no row that was there before changed, `verify` ended with 0.",
        control=f"the pause taken out: {found['control']}.",
        table=Table(
            ["Full", "from, to", "times", "seconds until all rows, at most"], found["table"]
        ),
    )


if __name__ == "__main__":
    folder, kept, form = sys.argv[1:]
    print(json.dumps(in_namespace(Path(folder), Path(kept), short=form == "short")))
