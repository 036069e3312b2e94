"""Broken images for an hour, into a daemon at work: it never ends, and every file has its row."""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trials.report import Report, Table
from trials.subject import ROOT, compiled_cache

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

MINUTES = float(os.environ.get("FUZZING_MINUTES", "60"))
SHORT_SECONDS = 4.0
FILES_A_ROUND = {True: 60, False: 400}
ROUND_SECONDS = 300  # images that hang take their time: some seconds each, one after the other

# The control: images that crash the decoder, with a daemon that does not replace a dead worker.
UNFORGIVING = """
import os, sys
sys.argv[0] = "classifyd"
from daemon import __main__, pool
pool.Pool.__init__.__defaults__ = ("trials.guilty_worker",)
def replace(self, process, hung_for=0):
    os._exit(1)
pool.Pool._replace = replace
sys.exit(__main__.main())
"""


class Fuzzer:
    """A daemon at work, and rounds of broken images for it."""

    def __init__(self, project: Project, daemon: Daemon, seed: int) -> None:
        from trials.mutator import seeds

        self.project, self.daemon = project, daemon
        self.rounds = self.files = 0
        self.kinds: Counter[tuple[str, str]] = Counter()  # by extension and status
        self._chance = random.Random(seed)
        self._whole = seeds()
        self._read = 0  # bytes of results.csv

    def round(self, count: int) -> None:
        """So many files come in at once; waits for their rows, and takes the files away again."""
        from trials.mutator import mutated

        self.rounds += 1
        folder = self.project.folder / f"round{self.rounds}"
        folder.mkdir()
        for number in range(count):
            extension = self._chance.choice([*self._whole])
            data = mutated(self._chance, self._whole[extension])
            (folder / f"{number:04}.{extension}").write_bytes(data)
        there = self.project.inbox / folder.name
        folder.rename(there)
        self._wait_for({str(path) for path in there.iterdir()})
        shutil.rmtree(there)
        self.files += count

    def _wait_for(self, waited_for: set[str]) -> None:
        import csv

        deadline = time.monotonic() + ROUND_SECONDS
        while waited_for:
            assert self.daemon.process.poll() is None, (
                f"the daemon ended\n{self.daemon.log[-3000:]}"
            )
            assert time.monotonic() < deadline, f"no row: {sorted(waited_for)[:5]}"
            with self.project.csv.open("rb") as file:
                file.seek(self._read)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            for row in csv.reader(whole.decode().splitlines()):
                if row[0] == "id":
                    continue
                path, status = row[1], row[5]
                assert path in waited_for, f"a second row, or one that nobody asked for: {path}"
                waited_for.remove(path)
                self.kinds[path.rpartition(".")[2], status] += 1
            time.sleep(0.05)


def fuzzed(project: Project, seconds: float, count: int, seed: int) -> tuple[Fuzzer, str]:
    """Rounds for so long, and an orderly end; what was done, and the daemon's log."""
    with project.started("run") as daemon:
        daemon.says("watching")
        fuzzer = Fuzzer(project, daemon, seed)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            fuzzer.round(count)
        code = daemon.stop()
        assert code == 0, f"ended with {code}\n{daemon.log[-3000:]}"
        log = daemon.log
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout
    return fuzzer, log


def control(work: Path) -> str:
    """The same rounds, with one image in them that crashes the decoder, and no new workers."""
    from daemon_process import Project

    from trials.guilty_worker import mark
    from trials.patched import tiny_jpegs

    class Unforgiving(Project):
        def command(self, name: str, *arguments: object) -> list[str]:
            words = super().command(name, *arguments)
            return [sys.executable, "-c", UNFORGIVING, *words[words.index(name) :]]

    os.environ["PYTHONPATH"] = str(ROOT)
    project = Unforgiving(work, compiled_cache(), thumbnails={"when": "none"})
    with project.started("run") as daemon:
        daemon.says("watching")
        fuzzer = Fuzzer(project, daemon, seed=1)
        (guilty,) = tiny_jpegs(1)
        (project.inbox / "guilty.jpg").write_bytes(mark(guilty, "crash"))
        try:
            for _ in range(20):
                fuzzer.round(20)
        except AssertionError as error:
            if "the daemon ended" not in str(error):
                raise
            return (
                "the decoder crashes on one image (injected), and a worker that died is not "
                f"replaced: the trial saw the daemon end in round {fuzzer.rounds}."
            )
    raise AssertionError("the control did not fail")


def run(work: Path, *, short: bool) -> Report:
    from daemon_process import Project

    (work / "fuzzed").mkdir()
    (work / "control").mkdir()
    settings: dict[str, Any] = {"thumbnails": {"when": "uncertain"}, "limits": {"image_seconds": 3}}
    project = Project(work / "fuzzed", compiled_cache(), **settings)
    seed = 0 if short else int(time.time())
    seconds = SHORT_SECONDS if short else MINUTES * 60
    fuzzer, log = fuzzed(project, seconds, FILES_A_ROUND[short], seed)
    deaths = len(re.findall(r"a worker ended", log))
    late = len(re.findall(r"a worker made no progress", log))
    rows = []
    for extension in sorted({extension for extension, _ in fuzzer.kinds}):
        classified = fuzzer.kinds[extension, "classified"]
        failed = fuzzer.kinds[extension, "failed"]
        rows.append([extension, f"{classified + failed:,}", f"{failed:,}", f"{classified:,}"])
    return Report(
        title="An hour of broken images",
        done=f"{fuzzer.files:,} files, mutated from JPEG, PNG, WebP and BMP files of 16 kinds "
        f"(seed {seed}), put into the inbox of a running daemon in {fuzzer.rounds:,} rounds, for "
        f"{seconds / 60:.1f} minutes; {len(os.sched_getaffinity(0))} processors, shared.",
        result=f"0 exits of the daemon; {sum(fuzzer.kinds.values()):,} rows, one for each file; "
        f"{deaths} workers died, {late} took too long and were replaced. `verify` ends with 0.",
        control=control(work / "control"),
        table=Table(["format", "files", "failed", "classified: the decoder saw no harm"], rows),
    )
