"""Clusters of several nodes on this machine, and backfills on them, for the trials of Ray."""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import subprocess
import sys
import time
import unittest
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from trials.noting_worker import FOLDER
from trials.subject import MODEL, ROOT, compiled_cache, jpeg

SECONDS = 900
NOTING = """
import sys
import daemon.cluster.job
from daemon.__main__ import main
daemon.cluster.job.WORKER = "trials.noting_worker"
sys.exit(main(sys.argv[1:]))
"""
CPUS, STORE_BYTES = 2, 100 << 20  # of a node
BROKEN = (b"", b"no image", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # and a JPEG that is cut off


def need_ray() -> None:
    """Skip the trial where it is not installed."""
    if missing := [name for name in ("ray", "pyarrow", "obstore") if find_spec(name) is None]:
        raise unittest.SkipTest(f"{', '.join(missing)} not installed (`make trial` does)")


@contextlib.contextmanager
def cluster(nodes: int, cpus: int = CPUS) -> Iterator[Any]:
    """A head without actors' CPUs to spare, and nodes; `address` is its own."""
    from ray.cluster_utils import Cluster

    # Nodes are processes of this one, and their workers must find classifyd.
    os.environ["PYTHONPATH"] = f"{ROOT}:{ROOT / 'tests'}"
    head = {"num_cpus": 2, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=cpus, object_store_memory=STORE_BYTES)
        yield made
    finally:
        made.shutdown()


class House:
    """A configuration with folders of its own."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.csv = folder / "results" / "results.csv"
        (folder / "inbox").mkdir(parents=True)
        (folder / "state").mkdir(mode=0o700)
        shutil.copytree(compiled_cache(), folder / "state" / "models")
        said = {
            "inbox": "inbox", "results": "results", "state": "state", "model": str(MODEL),
            "thumbnails": {"when": "none"}, "log_format": "text",
        }  # fmt: skip
        self.config.write_text(yaml.safe_dump(said | settings))

    def command(self, *arguments: object) -> list[str]:
        """With Ray, the workers are such as note what they do."""
        how = ["-c", NOTING] if "ray" in arguments and FOLDER in os.environ else ["-m", "daemon"]
        return [sys.executable, *how, *map(str, arguments), "--config", str(self.config)]

    def run(self, *arguments: object) -> str:
        """A command to its end, which has to be a good one; what it printed."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True, text=True, timeout=SECONDS, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    @contextlib.contextmanager
    def started(self, *arguments: object) -> Iterator[subprocess.Popen[str]]:
        with (self.folder / "log").open("a") as log:
            process = subprocess.Popen(
                self.command(*arguments), stdout=log, stderr=log, text=True, cwd=ROOT
            )
            try:
                yield process
            finally:
                process.kill()
                process.wait()

    @property
    def rows(self) -> list[dict[str, str]]:
        with self.csv.open(newline="") as file:
            return list(csv.DictReader(file))

    def part_files(self) -> int:
        """How many files of rows a job has written."""
        return len(list(self.folder.glob("results/parquet/job-*/rows/*.parquet")))

    def parts(self) -> int:
        """How many parts its manifest has."""
        return len(list(self.folder.glob("results/parquet/job-*/manifest/*.parquet")))

    def wait_for_share(self, share: float) -> None:
        """Until a job has done so much of its manifest."""
        wait_for(lambda: self.parts() and self.part_files() >= share * self.parts(), f"{share}")


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"after {seconds:g} s still not: {what}"
        time.sleep(0.05)


def pictures(folder: Path, count: int, broken: int) -> None:
    """DATA's test images if it is given, else drawn ones; and some that are broken."""
    folder.mkdir(parents=True, exist_ok=True)
    data = os.environ.get("DATA")
    found = sorted(Path(data).rglob("*.jp*g"))[:count] if data else []
    for number in range(count):
        content = found[number].read_bytes() if number < len(found) else jpeg(number)
        (folder / f"{number:06}.jpg").write_bytes(content)
    cut = jpeg(count)[:300]
    for number in range(broken):
        (folder / f"broken-{number:04}.jpg").write_bytes([*BROKEN, cut][number % (len(BROKEN) + 1)])


def differences(ours: list[dict[str, str]], theirs: list[dict[str, str]]) -> Counter[str]:
    """Between rows of the same files: in label, status or reason, confidence beyond 1e-4, or a row
    too many or too few."""
    found = Counter[str]()
    by_path: dict[str, list[dict[str, str]]] = {}
    for row in ours:
        by_path.setdefault(row["path"], []).append(row)
    for row in theirs:
        same = by_path.pop(row["path"], [])
        found["rows"] += abs(len(same) - 1)
        for one in same:
            for name in ("label", "status", "reason", "sha256", "width", "model", "id"):
                found[name] += one[name] != row[name]
            confidences = [float(of["confidence"] or 0) for of in (one, row)]
            found["confidence"] += abs(confidences[0] - confidences[1]) > 1e-4
    found["rows"] += sum(map(len, by_path.values()))
    return +found
