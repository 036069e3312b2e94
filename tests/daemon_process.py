"""A project folder of its own, and `classifyd` on it as the processes that a user would start."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

COMMAND = [sys.executable, "-m", "daemon"]
SECONDS = 60  # no wait in these tests is for longer


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.02)


def _stat(pid: int) -> list[str]:
    """State, parent and more of a process, as /proc has it; nothing if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are there still, zombies not counted."""
    there = [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]
    return [child for child in there if is_running(child) and str(pid) in _stat(child)[1:2]]


def is_running(pid: int) -> bool:
    return bool(stat := _stat(pid)) and stat[0] != "Z"


def is_stopped(pid: int) -> bool:
    """Whether it stands still after SIGSTOP."""
    return _stat(pid)[:1] == ["T"]


class Daemon:
    """A `classifyd` that was started and may still be running."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._log = log
        self._begin = log.stat().st_size

    @property
    def log(self) -> str:
        """What it has written to standard error and output."""
        return self._log.read_bytes()[self._begin :].decode(errors="replace")

    @property
    def workers(self) -> list[int]:
        return children(self.pid)

    def says(self, text: str) -> None:
        """Wait for a line in its log."""
        wait_for(lambda: text in self.log or self.process.poll() is not None, text)
        assert text in self.log, self.log

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal; the exit code."""
        self.process.send_signal(number)
        return self.process.wait(SECONDS)

    def end(self) -> None:
        """Leave nothing running, however the test went."""
        workers = self.workers
        self.process.kill()
        self.process.wait(SECONDS)
        wait_for(lambda: not any(map(is_running, workers)), "the workers have ended")


class Project:
    """inbox, results, state with the model compiled, and config.yaml."""

    def __init__(self, folder: Path, cache: Path, **settings: Any) -> None:
        self.folder = folder
        self.inbox = folder / "inbox"
        self.results = folder / "results"
        self.state = folder / "state"
        self.csv = self.results / "results.csv"
        self.config = folder / "config.yaml"
        self.inbox.mkdir()
        shutil.copytree(cache, self.state / "models")
        self.configure(**settings)

    def configure(self, **settings: Any) -> None:
        """Write config.yaml anew: two workers, no long waits, and what is given."""
        said = {
            "inbox": "inbox", "results": "results", "state": "state",
            "workers": 2, "settle_seconds": 0.2, "rescan_seconds": 1, "log_format": "text",
        }  # fmt: skip
        self.config.write_text(yaml.safe_dump(said | settings))

    def command(self, name: str, *arguments: object) -> list[str]:
        return [*COMMAND, name, *map(str, arguments), "--config", str(self.config)]

    def classifyd(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(name, *arguments),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    @contextmanager
    def started(self, name: str, *arguments: object) -> Iterator[Daemon]:
        """Start a command in a session of its own; at the end of the block it is gone."""
        log = self.folder / "log"
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.command(name, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        daemon = Daemon(process, log)
        try:
            yield daemon
        finally:
            daemon.end()

    @property
    def rows(self) -> list[dict[str, str]]:
        """The rows of results.csv that are whole."""
        try:
            text = self.csv.read_bytes()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1].decode()
        return list(csv.DictReader(whole.splitlines()))

    def wait_for_rows(self, count: int) -> None:
        wait_for(lambda: len(self.rows) >= count, f"{count} rows")

    def row_of(self, name: str) -> dict[str, str]:
        (row,) = [row for row in self.rows if row["path"].endswith("/" + name)]
        return row

    def check_rows(self, count: int) -> None:
        """So many rows, one for each file, each with its thumbnail, and no thumbnail besides."""
        rows = self.rows
        assert len(rows) == count
        assert len({row["path"] for row in rows}) == count
        assert [row["status"] for row in rows] == ["classified"] * count
        thumbnails = sorted(self.results / row["thumbnail"] for row in rows)
        assert thumbnails == sorted((self.results / "thumbnails").rglob("*.*"))
        verified = self.classifyd("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert f"{count:,} in the journal" in verified.stdout


def interrupt_group(pid: int) -> None:
    """Ctrl-C in a terminal: the signal comes to the whole group of processes."""
    os.killpg(pid, signal.SIGINT)
