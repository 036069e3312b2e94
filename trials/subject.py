"""What the trials are made on: a project folder with images, and `classifyd` as real processes."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from classifier.compile import compiled

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "image_classifier.keras"
SECONDS = 120  # no process of a trial takes longer


def private_folder() -> Path:
    """A folder of this user's alone, that outlasts a trial."""
    folder = Path(tempfile.gettempdir(), f"classifyd-trials-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise RuntimeError(f"{folder} is not a folder of yours alone: remove it")
    return folder


def compiled_cache() -> Path:
    """A cache of compiled models that holds the shipped one; copy it to STATE/models."""
    cache = private_folder() / "models"
    compiled(MODEL, cache)
    return cache


def jpeg(seed: int) -> bytes:
    """A small picture; another one for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (32, 32), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", image)[1].tobytes()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Subject:
    """inbox, home with results and state, the model compiled, a configuration; and every content
    that a file of the inbox ever had, by its path: the last one is what it holds now."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder.absolute()
        self.inbox = self.folder / "inbox"
        self.contents: dict[str, list[str]] = {}
        self.variables: dict[str, str] = {}  # of the environment of what is started
        self._settings = settings
        self.inbox.mkdir(parents=True)
        self._live_in(self.folder / "home")
        shutil.copytree(compiled_cache(), self.state / "models")

    def _live_in(self, home: Path) -> None:
        """home: where results and state are, and nothing else."""
        self.home = home
        self.results, self.state = home / "results", home / "state"
        self.csv = self.results / "results.csv"
        self.log = home.with_name(f"{home.name}.log")
        self.config = home.with_name(f"{home.name}.yaml")
        places = {"inbox": self.inbox, "results": self.results, "state": self.state, "model": MODEL}
        said = {
            "workers": 1, "settle_seconds": 0.2, "rescan_seconds": 1, "batch": {"size": 8},
            **self._settings,
            **{name: str(place) for name, place in places.items()},
        }  # fmt: skip
        self.config.write_text(yaml.safe_dump(said))

    def moved(self, home: Path) -> Subject:
        """The same images, with results and state elsewhere."""
        other = copy.copy(self)
        other.variables = {}
        other._live_in(home)
        return other

    def put(self, name: str, seed: int, *, by_rename: bool = False) -> None:
        """An image comes into the inbox: written there, or renamed into place."""
        data, path = jpeg(seed), self.inbox / name
        self.contents.setdefault(str(path), []).append(digest(data))
        if by_rename:
            elsewhere = self.folder / f"{name}.part"
            elsewhere.write_bytes(data)
            elsewhere.rename(path)
        else:
            path.write_bytes(data)

    def command(self, *arguments: str, patches: Sequence[str] = ()) -> list[str]:
        program = (
            ["-m", "trials.weakened", ",".join(patches), "--"] if patches else ["-m", "daemon"]
        )
        return [sys.executable, *program, *arguments, "--config", str(self.config)]

    def environment(self, extra: Mapping[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MPLCONFIGDIR": str(private_folder() / "matplotlib"),
            **self.variables,
            **extra,
        }

    def start(
        self,
        *arguments: str,
        patches: Iterable[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> Started:
        """Start a command in a session of its own. patches: see `trials.weakened`."""
        with self.log.open("ab") as output:
            begin = output.tell()
            process = subprocess.Popen(
                self.command(*arguments, patches=list(patches)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment(variables or {}),
                start_new_session=True,
            )
        return Started(process, self.log, begin)

    def finished(self, *arguments: str, patches: Iterable[str] = ()) -> Started:
        """Run a command to its end."""
        started = self.start(*arguments, patches=patches)
        try:
            started.process.wait(SECONDS)
        finally:
            started.kill()
        return started

    def whole_lines(self) -> bytes:
        """What a reader may take as read in results.csv now."""
        try:
            data = self.csv.read_bytes()
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]


class Started:
    """A `classifyd` with its workers: one group of processes."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, begin: int) -> None:
        self.process = process
        self._log, self._begin = log, begin

    @property
    def output(self) -> str:
        with self._log.open("rb") as file:
            file.seek(self._begin)
            return file.read().decode(errors="replace")

    def kill(self) -> None:
        """kill -9 of the whole group; returns when all are gone."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        deadline = time.monotonic() + SECONDS
        while members(self.process.pid):
            assert time.monotonic() < deadline, f"group {self.process.pid} outlives its SIGKILL"
            time.sleep(0.005)

    def stop(self) -> int:
        """SIGTERM, as a service manager stops it; the exit code."""
        self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        finally:
            self.kill()


def members(group: int) -> list[int]:
    """The processes of a group that are still running."""
    there = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if fields[0] not in "ZX" and int(fields[2]) == group:
            there.append(int(folder.name))
    return there
