"""An hour of files that were made to break the decoder, through a daemon that is at work."""

from __future__ import annotations

import csv
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trials.patched import patched_project
from trials.pictures import FORMATS, drawn, encoded, jpegs_and_pngs, mutated
from trials.report import Report, Table
from trials.subject import compiled_cache

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

MINUTES = float(os.environ.get("FUZZING_MINUTES", "60"))
SHORT_SECONDS = 2
BATCH = {True: 100, False: 500}
# A daemon that gives no row for this long has lost a file. Longer than a time-out, tried twice.
PATIENCE_SECONDS = {True: 60, False: 180}
CONTROL_PATIENCE_SECONDS = 3
# Pictures for thumbnails are made, but none is kept.
SETTINGS = {"thumbnails": {"when": "uncertain"}}
# Workers that forget a row now and then.
FORGETFUL = """
import itertools
from daemon.journal import Journal
finish, numbers = Journal.finish, itertools.count(1)
def forgetful(self, outcomes, *rest, **named):
    kept = [one._replace(row=None) if next(numbers) % 30 == 0 else one for one in outcomes]
    return finish(self, kept, *rest, **named)
Journal.finish = forgetful
"""


def seeds() -> list[bytes]:
    """Whole images of every format, small and large."""
    return [
        *jpegs_and_pngs().values(),
        *(encoded(drawn(number, size), kind, **options)
          for number, size in enumerate(((8, 8), (24, 20), (120, 90)))
          for kind, options in FORMATS.values()),
    ]  # fmt: skip


class Rows:
    """The rows that are new in results.csv. In an hour it grows too long to be read anew."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = 0

    def read(self) -> Iterator[dict[str, str]]:
        if not self._file.exists():
            return
        with self._file.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        from daemon.row import Row

        for row in csv.DictReader(whole.decode().splitlines(), Row._fields):
            if row["id"] != Row._fields[0]:
                yield row


def check_batch(
    daemon: Daemon, project: Project, rows: Rows, files: Mapping[str, bytes], patience: float
) -> list[dict[str, str]]:
    """Give the daemon files; their rows, one of each. Then the files are gone."""
    waiting, got = {str(project.inbox / name) for name in files}, []
    for name, data in files.items():
        # As most programs do it. No two are the same file, so every one gets a row.
        (project.folder / "part").write_bytes(data)
        (project.folder / "part").rename(project.inbox / name)
    deadline = time.monotonic() + patience
    while waiting:
        assert daemon.process.poll() is None, f"the daemon ended: {daemon.process.returncode}"
        assert time.monotonic() < deadline, (
            f"{len(waiting)} files have no row, such as {min(waiting)}"
        )
        time.sleep(0.02)
        for row in rows.read():
            assert row["path"] in waiting, f"a second row, or of no file: {row}"
            waiting.remove(row["path"])
            got.append(row)
            deadline = time.monotonic() + patience
    for name in files:
        (project.inbox / name).unlink()
    return got


def batches(count: int) -> Iterator[dict[str, bytes]]:
    """Without end; always the same."""
    random, start = np.random.default_rng(8), 0
    whole = seeds()
    while True:
        # The extension says nothing; the content is what counts.
        yield {f"{start + n}.jpg": mutated(random, whole) for n in range(count)}
        start += count


def run(work: Path, *, short: bool) -> Report:
    (work / "guarded").mkdir()
    project = patched_project(work / "guarded", compiled_cache(), "", **SETTINGS)
    ends: Counter[str] = Counter()
    seconds = SHORT_SECONDS if short else MINUTES * 60
    with project.started("run") as daemon:
        daemon.says("watching")
        rows, began, said = Rows(project.csv), time.monotonic(), 0.0
        for files in batches(BATCH[short]):
            for row in check_batch(daemon, project, rows, files, PATIENCE_SECONDS[short]):
                # Numbers are taken out, so that the same reason is the same.
                ends[re.sub(r"\d+", "N", row["reason"]) or row["status"]] += 1
            if time.monotonic() - said > 60:
                said = time.monotonic()
                print(f"  {said - began:.0f} s: {ends.total():,} files", flush=True)
            if time.monotonic() - began > seconds:
                break
        assert daemon.stop() == 0, daemon.log[-2000:]
        log = daemon.log
    deaths = log.count("a worker ended: ")
    hangs = log.count("a worker made no progress ")
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    return Report(
        title="Files made to break the decoder break nothing",
        done=f"For {seconds / 60:.2g} minutes, files were put into the inbox of a daemon at work, "
        f"{BATCH[short]} at a time: {len(seeds())} whole JPEG, PNG, WebP and BMP files, changed "
        "in one to six ways (bits, bytes, pieces, extreme numbers), half of the PNGs with their "
        f"checksums mended. {ends.total():,} files in all.",
        result="The daemon never ended, every file has its one row, and `verify` finds nothing "
        f"wrong. Workers that died: {deaths}; that hung: {hangs}. What the rows say:",
        control=control(work),
        table=Table(("row", "files"), ends.most_common()),
    )


def control(work: Path) -> str:
    """The same with a daemon that forgets one row in thirty, and with one that dies."""
    (work / "control").mkdir()
    project = patched_project(work / "control", compiled_cache(), FORGETFUL, **SETTINGS)
    with project.started("run") as daemon:
        (project.inbox / "first.jpg").write_bytes(seeds()[0])
        project.wait_for_rows(1)  # from now on, what is missing is not late
        found = []
        for step in (None, daemon.process.kill):
            rows = Rows(project.csv)
            list(rows.read())
            if step:
                step()
            try:
                check_batch(daemon, project, rows, next(batches(150)), CONTROL_PATIENCE_SECONDS)
            except AssertionError as error:
                found.append(str(error))
    assert len(found) == 2, f"not noticed: {found}"
    lacking = int(found[0].split()[0])
    assert 1 <= lacking <= 150 // 30 + 1, found[0]
    assert "the daemon ended" in found[1], found[1]
    return (
        f"With a daemon that forgets one row in thirty, the trial fails at the first 150 files: "
        f"{lacking} have no row. With a daemon that is killed, it fails, too."
    )
