"""Hours at fifty images a second, a fault every half minute: rows exact, memory and files flat.

SOAK_MINUTES says for how long, 120 if it is not set.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import statistics
import subprocess
import threading
import time
import unittest
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from trials.report import Report, Table
from trials.subject import MODEL, ROOT, compiled_cache, jpeg

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

SECONDS = 180
RATE = 50
DISTINCT = 5000
MINUTES, WARM_UP_MINUTES = 120.0, 10.0
DISK_BYTES, SHORT_DISK_BYTES = 1 << 30, 128 << 20
FLAT = 1.05
WORD_SECONDS = 60
FEW = 2  # descriptors that may be open for a moment


class Sample(NamedTuple):
    """Of one moment: memory that is a process's own, in kB, and open files."""

    kind: str  # main or worker
    kilobytes: int
    files: int


class Soak:
    """A daemon, images that come and go, and the faults."""

    def __init__(self, project: Project, daemon: Daemon, models: list[Path], seed: int) -> None:
        self.project = project
        self.daemon = daemon
        self.dice = random.Random(seed)
        self.given: list[str] = []
        self.done: Counter[str] = Counter()
        self.samples: list[list[Sample]] = []
        self.faults: Counter[str] = Counter()
        self._models = models
        self._contents = [jpeg(number) for number in range(DISTINCT)]
        self._read = 0  # bytes of results.csv
        self._may_come = threading.Lock()  # held while there is no inbox

    def produce(self, until: float) -> None:
        began, before = time.monotonic(), len(self.given)
        while (now := time.monotonic()) < until:
            if len(self.given) - before >= RATE * (now - began):
                time.sleep(0.005)
                continue
            with self._may_come:
                self._give(len(self.given))

    def _give(self, number: int) -> None:
        folder = self.project.inbox / f"{number // 1000 % 10}"
        folder.mkdir(exist_ok=True)
        path = folder / f"{number}.jpg"
        aside = self.project.folder / "aside.jpg"
        aside.write_bytes(self._contents[number % DISTINCT])
        aside.rename(path)
        self.given.append(str(path))

    def read_rows(self) -> None:
        """What results.csv has more; images whose rows are there are taken away."""
        with contextlib.suppress(FileNotFoundError), self.project.csv.open("rb") as file:
            file.seek(self._read)
            data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read += len(whole)
            for line in whole.decode().splitlines():
                path = line.split(",")[1]
                if path != "path":
                    self.done[path] += 1
                    with contextlib.suppress(OSError):
                        Path(path).unlink()

    def settle(self) -> None:
        """All that was given has its row."""
        from daemon_process import wait_for

        def is_done() -> bool:
            self.read_rows()
            return len(self.done) >= len(self.given)

        wait_for(is_done, f"all of {len(self.given)} rows", SECONDS)

    def sample(self) -> None:
        """Of all processes there are."""
        found = []
        for kind, pids in (("main", [self.daemon.pid]), ("worker", self.daemon.workers)):
            for pid in pids:
                with contextlib.suppress(OSError, StopIteration):
                    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                    own = next(line for line in lines if line.startswith("RssAnon:"))
                    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
                    found.append(Sample(kind, int(own.split()[1]), files))
        self.samples.append(found)

    def say(self) -> None:
        """How it goes: of hours, whoever looks for what grows needs to know when."""
        main = [one.kilobytes for one in self.samples[-1] if one.kind == "main"]
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        print(f"  {len(self.done):,} rows, main {main} kB; {faults}", flush=True)

    # Faults

    def fault(self) -> None:
        kinds: list[Callable[[], None]] = [
            self.kill_a_worker, self.stop_a_worker, self.fill_the_disk, self.swap_the_model,
            self.break_the_model, self.reload, self.delete_the_inbox,
        ]  # fmt: skip
        kind = self.dice.choice(kinds)
        kind()
        self.faults[kind.__name__.replace("_", " ")] += 1

    def kill_a_worker(self) -> None:
        self._signal_a_worker(signal.SIGKILL)

    def stop_a_worker(self) -> None:
        self._signal_a_worker(signal.SIGSTOP)  # the pool ends it

    def _signal_a_worker(self, number: signal.Signals) -> None:
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(self.dice.choice(self.daemon.workers), number)

    def fill_the_disk(self) -> None:
        ballast = self.project.results.parent / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(b"\0" * (1 << 20))
        with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as file:
            while True:
                file.write(b"\0")
        time.sleep(self.dice.uniform(1, 5))
        ballast.unlink()

    def swap_the_model(self) -> None:
        self._put(self.dice.choice(self._models).read_bytes())

    def break_the_model(self) -> None:
        data = self.dice.choice(self._models).read_bytes()
        self._put(data[: self.dice.randrange(len(data))])

    def _put(self, data: bytes) -> None:
        aside = self.project.folder / "aside.keras"
        aside.write_bytes(data)
        aside.rename(self.project.folder / "model.keras")

    def reload(self) -> None:
        self.daemon.process.send_signal(signal.SIGHUP)

    def delete_the_inbox(self) -> None:
        with self._may_come:
            self.settle()  # what nobody saw has no row
            shutil.rmtree(self.project.inbox)
            time.sleep(self.dice.uniform(0, 3))
            self.project.inbox.mkdir()


def run(work: Path, *, short: bool) -> Report:
    if os.geteuid() != 0:
        raise unittest.SkipTest("only root may mount a disk to fill")
    minutes = 0.2 if short else float(os.environ.get("SOAK_MINUTES", MINUTES))
    warm_up = min(WARM_UP_MINUTES, minutes / 4)
    soak = _soaked(work / "soak", minutes, pause=2.0 if short else 30.0)
    table, flat = _judged(soak.samples, warm_up / minutes)
    # What starts has not come to rest after a few seconds.
    assert flat or short, table
    leaking = _soaked(work / "leaking", 0.2 if short else 3.0, pause=None, patches="all_is_kept")
    control, is_flat = _judged(leaking.samples, 0.25)
    assert not is_flat, "a leak was not noticed"
    faults = ", ".join(f"{count} times {name}" for name, count in sorted(soak.faults.items()))
    return Report(
        title="A soak",
        done=f"{minutes:g} minutes at {RATE} images a second, with a fault about every half "
        f"minute: {faults}.",
        result=f"{len(soak.given):,} images, {sum(soak.done.values()):,} rows, none twice. Memory "
        "and open files in the last quarter, against the quarter after the first "
        f"{warm_up:g} minutes:",
        control=f"With a list in which every outcome is kept, the main process grows by "
        f"{control[0][3]}.",
        table=Table(
            ("process", "memory before", "after", "growth", "files before", "after"), table
        ),
    )


def _soaked(folder: Path, minutes: float, *, pause: float | None, patches: str = "") -> Soak:
    """pause: seconds between two faults, about; None for no faults."""
    from daemon_process import Project
    from variants import variant

    folder.mkdir()
    disk = folder / "disk"
    disk.mkdir()
    size = DISK_BYTES if minutes > 5 else SHORT_DISK_BYTES
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "soak", disk], check=True)
    try:
        shutil.copy(MODEL, folder / "model.keras")
        project = Project(
            folder, compiled_cache(), model="model.keras", results="disk/results",
            state="disk/state", rescan_seconds=10, min_confidence=0.3,
            thumbnails={"when": "uncertain"}, limits={"image_seconds": 5},
        )  # fmt: skip
        project.results, project.state = disk / "results", disk / "state"
        project.csv = project.results / "results.csv"
        shutil.move(folder / "state", project.state)
        other = folder / "other.keras"
        variant(MODEL, project.state / "models", other, "other_")
        if patches:
            plain = project.command
            project.command = (
                lambda name, *arguments: [  # type: ignore[method-assign]
                    plain(name)[0],
                    "-m",
                    "trials.weakened",
                    patches,
                    "--",
                    *plain(name, *arguments)[3:],
                ]
            )
        with contextlib.chdir(ROOT), project.started("run") as daemon:
            daemon.says("watching")
            soak = Soak(project, daemon, [MODEL, other], seed=1)
            _go_on(soak, minutes * 60, pause)
            soak.settle()
            assert daemon.stop() == 0
        assert soak.done == Counter(soak.given), "rows are not exact"
        if not patches:
            verified = project.classifyd("verify")
            assert verified.returncode == 0, verified.stdout
        return soak
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def _go_on(soak: Soak, seconds: float, pause: float | None) -> None:
    end = time.monotonic() + seconds
    producer = threading.Thread(target=soak.produce, args=(end,))
    producer.start()
    next_fault = time.monotonic() + (pause or seconds)
    next_sample, next_word = 0.0, time.monotonic() + WORD_SECONDS
    while (now := time.monotonic()) < end:
        soak.read_rows()
        if now >= next_sample:
            soak.sample()
            next_sample = now + max(0.2, min(5.0, seconds / 100))
        if now >= next_word:
            soak.say()
            next_word = now + WORD_SECONDS
        if pause is not None and now >= next_fault:
            soak.fault()
            next_fault = time.monotonic() + pause * soak.dice.uniform(0.5, 1.5)
        time.sleep(0.1)
    producer.join()


def _judged(samples: list[list[Sample]], warm_up: float) -> tuple[list[list[str]], bool]:
    """A table, and whether all is flat. warm_up: the share of the samples that is left out.

    Of workers, the highest counts: the first large batch takes memory that is kept, and how many of
    them have met one yet, of workers that faults replace all the time, is a matter of chance.
    """
    later = samples[int(len(samples) * warm_up) :]
    quarter = max(1, len(later) // 4)
    table, flat = [], True
    for kind, middle in (("main", statistics.mean), ("worker", max)):
        found = []
        for part in (later[:quarter], later[-quarter:]):
            of_kind = [one for moment in part for one in moment if one.kind == kind]
            sizes, files = (one.kilobytes for one in of_kind), (one.files for one in of_kind)
            found.append((middle(sizes), statistics.mean(files)))
        (before, files_before), (after, files_after) = found
        flat = flat and after <= FLAT * before and files_after <= files_before + FEW
        table.append(
            [
                kind,
                f"{before / 1000:.1f} MB",
                f"{after / 1000:.1f} MB",
                f"{(after / before - 1) * 100:+.1f}%",
                f"{files_before:.1f}",
                f"{files_after:.1f}",
            ]
        )
    return table, flat
