"""Reloads and new models while images come: no row is lost, and each names its model."""

from __future__ import annotations

import datetime
import random
import shutil
import signal
import threading
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from classifier import modelfile
from daemon import record as records
from daemon.row import word
from daemon.troubles import Kind
from trials.report import Report, Table
from trials.subject import MODEL, compiled_cache, jpeg

if TYPE_CHECKING:
    from daemon_process import Daemon, Project

SECONDS = 120
RATE = 200  # images a second
DISTINCT = 4000  # contents; every file has a name of its own
READ = "the configuration was read again"
MODELS = ("one_", "two_")  # what the labels of the models that take turns begin with


class Producer(threading.Thread):
    """Images come by renaming, at an even rate."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._project = project
        self._contents = [jpeg(seed) for seed in range(DISTINCT)]
        self._end = threading.Event()
        self.given = 0

    def run(self) -> None:
        began = time.monotonic()
        while not self._end.is_set():
            if self.given >= RATE * (time.monotonic() - began):
                time.sleep(0.005)
                continue
            folder = self._project.inbox / f"{self.given // 1000:04}"
            folder.mkdir(exist_ok=True)
            part = self._project.folder / "part"
            part.write_bytes(self._contents[self.given % DISTINCT])
            part.rename(folder / f"{self.given}.jpg")
            self.given += 1

    def stop(self) -> int:
        self._end.set()
        self.join()
        return self.given


def run(work: Path, *, short: bool) -> Report:
    from daemon_process import Project, wait_for
    from variants import variant

    reloads = 9 if short else 300
    shutil.copy(MODEL, work / "model.keras")
    project = Project(
        work, compiled_cache(), model="model.keras", rescan_seconds=30,
        thumbnails={"when": "none"},
    )  # fmt: skip
    paths = {mark: work / f"{mark}.keras" for mark in MODELS}
    digests = {
        mark: variant(MODEL, project.state / "models", path, mark) for mark, path in paths.items()
    }
    settings = yaml.safe_load(project.config.read_text())
    dice = random.Random(1)
    refused = taken = 0
    labels = {
        word(modelfile.digest_of(MODEL), 12): "",
        **{word(d, 12): m for m, d in digests.items()},
    }
    producer = Producer(project)
    with project.started("run") as daemon:
        daemon.says("watching")
        producer.start()
        try:
            for number in range(reloads):
                match number % 6:
                    case 0:
                        mark = MODELS[number // 6 % 2]
                        said = f"a new model serves: {word(digests[mark], 12)}"
                        before = daemon.log.count(said)
                        _replace(work, paths[mark].read_bytes())
                        _wait(daemon, said, before)
                        taken += 1
                    case 3:
                        whole = paths[MODELS[0]].read_bytes()
                        at = dice.randrange(1, len(whole))
                        _replace(work, whole[:at])
                        wait_for(lambda: _is_refused(project), "it is refused", SECONDS)
                        refused += 1
                    case _:
                        settings["min_confidence"] = round(dice.random(), 3)
                        settings["workers"] = dice.choice((1, 2))
                        before = daemon.log.count(READ)
                        project.config.write_text(yaml.safe_dump(settings))
                        daemon.process.send_signal(signal.SIGHUP)
                        _wait(daemon, READ, before)
        finally:
            given = producer.stop()
        wait_for(lambda: _count(project) >= given, f"{given} rows", SECONDS)
        assert daemon.stop() == 0
    rows = project.rows
    paths_of_rows = Counter(row["path"] for row in rows)
    assert len(rows) == len(paths_of_rows) == given, (len(rows), len(paths_of_rows), given)
    for row in rows:
        mark = labels[row["model"]]
        assert row["label"].startswith(mark), row
        assert mark or not row["label"].startswith(MODELS), row
    gap = _longest_gap(rows)
    lost = _control(rows)
    by_model = Counter(row["model"] for row in rows)
    return Report(
        title="Reloads and new models under load",
        done=f"{reloads} reloads at {RATE} images a second: {taken} new models, {refused} files "
        "cut off at a random place, and else SIGHUP with other settings.",
        result=f"{given:,} images, {len(rows):,} rows, none twice; each names the model whose "
        "labels it has; every broken model was refused. The longest time without a row was "
        f"{gap:.1f} s.",
        control=lost,
        table=Table(("model", "rows"), sorted(by_model.items())),
    )


def _replace(work: Path, data: bytes) -> None:
    aside = work / "aside.keras"
    aside.write_bytes(data)
    aside.rename(work / "model.keras")


def _wait(daemon: Daemon, text: str, before: int) -> None:
    """Until the log says so once more."""
    from daemon_process import wait_for

    wait_for(lambda: daemon.log.count(text) > before, text, SECONDS)


def _is_refused(project: Project) -> bool:
    """As a monitor sees it: a warning that comes again is not logged again. A good one ends it."""
    record = records.read(project.state)
    return record is not None and any(t.kind == Kind.MODEL_REFUSED for t in record.troubles)


def _count(project: Project) -> int:
    data = project.csv.read_bytes() if project.csv.exists() else b""
    return data.count(b"\n") - 1


def _longest_gap(rows: list[dict[str, str]]) -> float:
    times = [datetime.datetime.fromisoformat(row["classified_at"]).timestamp() for row in rows]
    return max((after - one for one, after in pairwise(times)), default=0.0)


def _control(rows: list[dict[str, str]]) -> str:
    """Rows that name the newest model, as if they did not name the one that made them."""
    newest = rows[-1]["model"]
    wrong = sum(row["model"] != newest for row in rows)
    assert wrong, "only one model made rows"
    return f"If every row named the model of the last one, {wrong:,} would name another one."
