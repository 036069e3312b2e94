"""A file system that tells nothing, and a kernel that has no watches left: every file is found."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import unittest
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from trials.report import Report, Table
from trials.subject import compiled_cache, jpeg

if TYPE_CHECKING:
    from daemon_process import Project

SECONDS = 120
FOLDERS = 20
# A user namespace has limits of its own, so nobody else on this machine is short of watches.
LIMITED = """
import os, sys
open("/proc/sys/user/max_inotify_watches", "w").write(sys.argv[1])
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def run(work: Path, *, short: bool) -> Report:
    bindfs = shutil.which("bindfs")
    if os.geteuid() != 0 or bindfs is None or not os.access("/dev/fuse", os.W_OK):
        raise unittest.SkipTest("it takes root, /dev/fuse and bindfs")
    files, limited = (60, 40) if short else (1000, 500)
    polled = _on_fuse(work / "polled", bindfs, files, watch="auto", poll_seconds=2)
    deaf = _on_fuse(work / "deaf", bindfs, files // 4, watch="events", give_up=5.0)
    assert deaf < files // 4, "by events alone, all was seen"
    found = _without_watches(work / "limited", limited)
    return Report(
        title="A share, and no watches left",
        done=f"{files:,} images were written behind the back of a FUSE mount that is the inbox, "
        f"as another host would. {limited:,} came into {FOLDERS} folders while inotify allowed "
        "five watches.",
        result="The mount was recognised and looked through every 2 s, the limit was named with "
        f"the sysctl to raise: {polled:,} of {files:,} and {found:,} of {limited:,} have their one "
        "row.",
        control=f"With `watch: events` on the mount, {deaf:,} of {files // 4:,} had a row "
        "before the rescan.",
        table=Table(
            ("", "rows", "of"), [("FUSE", polled, files), ("five watches", found, limited)]
        ),
    )


def _project(folder: Path, **settings: object) -> Project:
    from daemon_process import Project

    folder.mkdir()
    return Project(
        folder, compiled_cache(), rescan_seconds=3600, thumbnails={"when": "none"}, **settings
    )


def _write(folder: Path, count: int) -> None:
    for number in range(count):
        inner = folder / f"{number % FOLDERS}"
        inner.mkdir(exist_ok=True)
        (inner / f"{number}.jpg").write_bytes(jpeg(number))


def _on_fuse(
    folder: Path, bindfs: str, files: int, *, give_up: float = SECONDS, **settings: object
) -> int:
    """How many of so many files have their one row."""
    project = _project(folder, **settings)
    behind = folder / "behind"
    behind.mkdir()
    subprocess.run([bindfs, behind, project.inbox], check=True)
    try:
        with project.started("run") as daemon:
            daemon.says("watching")
            # The first scan is over.
            _until(lambda: "watching   by" in project.classifyd("status").stdout, SECONDS)
            _write(behind, files)
            _until(lambda: len(project.rows) >= files, give_up)
            assert daemon.stop() == 0
        return _exact(project)
    finally:
        subprocess.run(["umount", project.inbox], check=True)


def _without_watches(folder: Path, files: int) -> int:
    project = _project(folder, poll_seconds=2)
    _write(project.inbox, FOLDERS)  # the folders are there
    ordinary = project.command("run")

    def command(name: str, *arguments: object) -> list[str]:
        outer = ["unshare", "--user", "--map-root-user", sys.executable, "-c", LIMITED, "5"]
        return [*outer, *ordinary[1:]] if name == "run" else project.__class__.command(
            project, name, *arguments
        )  # fmt: skip

    project.command = command  # type: ignore[method-assign]
    with project.started("run") as daemon:
        daemon.says("the limit fs.inotify.max_user_watches (")
        _write(project.inbox, files)
        _until(lambda: len(project.rows) >= files, SECONDS)
        assert daemon.stop() == 0
    return _exact(project)


def _exact(project: Project) -> int:
    rows: Sequence[dict[str, str]] = project.rows
    counts = Counter((row["path"], row["sha256"]) for row in rows)
    assert set(counts.values()) <= {1}, "a row came twice"
    return len(counts)


def _until(done: object, seconds: float) -> None:
    """Wait for it, or until the time is over."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not done():  # type: ignore[operator]
        time.sleep(0.1)
