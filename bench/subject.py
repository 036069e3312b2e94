"""classifyd itself, as a user would start it: a project folder, and its commands as processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from bench import images
from bench.growth import Growth
from bench.processes import Finished, finished, module, started
from bench.setup import MODEL, Setup
from bench.usage import Peak
from daemon.row import HEADER

PROGRAMS = "models"  # of a state folder: the first start makes them for all others


class Once(NamedTuple):
    """What a `run --once` took: see `Finished`, `Growth` and `Peak`."""

    finished: Finished
    growth: Growth
    peak: Peak
    rows: int

    @property
    def rate(self) -> float:
        """Rows a second of the whole process, from its start to its exit."""
        return self.rows / self.finished.seconds

    @property
    def steady(self) -> float:
        return self.growth.steady(self.rows)

    @property
    def first_row(self) -> float:
        """Seconds from its start until a row can be read."""
        return self.growth.first_row(len(HEADER))


class Subject:
    """inbox, results, state and config.yaml. All guarantees are on, and everything is as it is by
    default but for what is given."""

    def __init__(
        self, folder: Path, inbox: Path | None = None, model: Path = MODEL, **settings: Any
    ) -> None:
        """folder: an empty one. inbox: one with images, left as it is; an empty one by default."""
        self.folder = folder
        self.inbox = inbox or folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self.results, self.state = folder / "results", folder / "state"
        self.csv = self.results / "results.csv"
        self.config = folder / "config.yaml"
        said = {"inbox": self.inbox, "results": self.results, "state": self.state, "model": model}
        self.config.write_text(
            yaml.safe_dump(settings | {name: str(path) for name, path in said.items()})
        )

    @classmethod
    def started_before(
        cls, setup: Setup, inbox: Path | None = None, model: Path = MODEL, **settings: Any
    ) -> Subject:
        """The model is compiled, as after the first start of all."""
        subject = cls(setup.folder(), inbox, model, **settings)
        kept = _after_first_start(setup, model)
        shutil.copytree(kept / PROGRAMS, subject.state / PROGRAMS)
        return subject

    def command(self, *arguments: str) -> list[str]:
        return module("daemon", *arguments, "--config", self.config)

    def once(self, rows: int, *, memory_every: float = 0) -> Once:
        """`run --once`. Raises `AssertionError` if it does not end with so many rows, all answered.

        memory_every: after how many seconds to look how much it takes, again and again, which
        slows it down a little; 0: not at all.
        """
        growth, peak = Growth(self.csv), Peak()

        @contextmanager
        def watching(pid: int) -> Iterator[None]:
            with growth.watching():
                if memory_every:
                    with peak.watching(pid, memory_every):
                        yield
                else:
                    yield

        done = finished(self.command("run", "--once"), watching)
        self.check(rows)
        return Once(done, growth, peak, rows)

    @contextmanager
    def running(self) -> Iterator[int]:
        """`run` in the background; the number of its process."""
        with started(self.command("run"), self.folder / "log") as process:
            yield process.pid

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def check(self, rows: int) -> None:
        """So many rows, none of a failed image."""
        data = self.csv.read_bytes()
        found = data.count(b"\r\n") - 1
        assert found == rows, f"{found:,} rows of {rows:,} images"
        assert b",failed," not in data, "some images could not be classified"

    def remove(self) -> None:
        """All of it but an inbox that was given."""
        shutil.rmtree(self.folder)


def _after_first_start(setup: Setup, model: Path) -> Path:
    """A folder with what the first start with a model leaves for all others; made once."""
    kept = setup.shared / model.stem
    if not (kept / PROGRAMS).is_dir():
        with tempfile.TemporaryDirectory(dir=setup.scratch) as temporary:
            subject = Subject(Path(temporary), model=model)
            (subject.inbox / "0.jpg").write_bytes(next(images.drawn()))
            subject.once(1)
            shutil.copytree(subject.state / PROGRAMS, kept / PROGRAMS)
    return kept


def program_of(setup: Setup, model: Path) -> Path:
    """The compiled network of a model, as the workers run it."""
    (program,) = (_after_first_start(setup, model) / "models").glob("*/model.litert")
    return program
