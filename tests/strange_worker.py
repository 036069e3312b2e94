"""A worker process that misbehaves on images whose names say so; all others are done at once.

`python -m strange_worker CHANNEL PROGRESS`, as the pool starts it: all but `work` is the real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from daemon import worker
from daemon.jobs import Job, Outcome, failed
from daemon.messages import HEADER, Plan, Progress
from daemon.worker import Worker, main


class Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def _done(job: Job) -> Outcome:
    return Outcome(job, job.signature, sha256=min(job.known))


def _forged(outcome: Outcome, **fields: Any) -> Outcome:
    """A row that is right, but for these fields of it."""
    row = failed(outcome.job, "no reason", "0" * 12).row
    assert row is not None
    return outcome._replace(row=row._replace(**fields), sha256=None)


FORGERIES: dict[str, Callable[[Outcome], Any]] = {
    "forge_seq": lambda outcome: outcome._replace(job=outcome.job._replace(seq=1)),
    "forge_path": lambda outcome: _forged(outcome, path="/another.jpg"),
    "forge_id": lambda outcome: _forged(outcome, id="0" * 20),
    "forge_two_lines": lambda outcome: _forged(outcome, reason="one\r\ntwo"),
    "forge_no_text": lambda outcome: _forged(outcome, label=7),
    "forge_surrogate": lambda outcome: _forged(outcome, label="\udcff"),
    "forge_thumbnail": lambda outcome: _forged(outcome, thumbnail="../../secret.jpg"),
    "forge_model": lambda outcome: _forged(outcome, model="1" * 12),
    "forge_status": lambda outcome: _forged(outcome, status="fine"),
    "forge_number": lambda outcome: _forged(outcome, width=1 << 70),
    "forge_confidence": lambda outcome: _forged(outcome, confidence="nan"),
    "forge_sha256": lambda outcome: _forged(outcome, sha256="x"),
    "forge_done": lambda outcome: outcome._replace(sha256=None),
    "forge_known": lambda outcome: outcome._replace(sha256="0" * 64),
    "forge_signature": lambda outcome: outcome._replace(signature=("a", "b", "c")),
}
NOISE = b"Corrupt JPEG data: premature end of data segment\n" * 1000


class StrangeWorker(Worker):
    """In plan.scratch, the file `starts` gets a line for every start, and one that is called
    `crash_at_start_N` makes the first N of them fail."""

    def __init__(self, plan: Plan, progress: Progress) -> None:
        self._plan = plan
        self._progress = progress
        with (plan.scratch / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        starts = len((plan.scratch / "starts").read_text().splitlines())
        for asked in plan.scratch.glob("crash_at_start_*"):
            if starts <= int(asked.name.rpartition("_")[2]):
                sys.exit("first words\nthe library libstrange.so is missing")

    def confine(self) -> str:
        return ""

    def work(self, jobs: Sequence[Job]) -> list[Outcome]:
        for job in jobs:
            name = Path(os.fsdecode(job.path)).name
            if "noise" in name:
                for _ in range(200):  # 10 MB
                    os.write(2, NOISE)
            if "segv" in name:
                ctypes.string_at(0)
            if "exit" in name:
                os._exit(7)
            if "raise" in name:
                raise RuntimeError("this decoder has a bug")
            if "hang" in name:
                time.sleep(1000)
            if "slow" in name:
                time.sleep(0.3)
            if "pickle" in name:
                data = pickle.dumps(Evil(self._plan.scratch / "harm"))
                os.write(int(sys.argv[1]), HEADER.pack(len(data)) + data)
            if "kind" in name:
                data = b'{"outcomes": ["done", "done", "done", "done"]}'
                os.write(int(sys.argv[1]), HEADER.pack(len(data)) + data)
            if "nested" in name:
                data = b"[" * 1_000_000
                os.write(int(sys.argv[1]), HEADER.pack(len(data)) + data)
            if "ready" in name:
                data = b'{"ready": ""}'
                for _ in range(100):
                    os.write(int(sys.argv[1]), HEADER.pack(len(data)) + data)
            if "shrink" in name:
                with contextlib.suppress(PermissionError):
                    os.ftruncate(int(sys.argv[2]), 0)
                os._exit(7)
            if "endless" in name:
                os.write(int(sys.argv[1]), HEADER.pack(1 << 60))
            if "forge" in name:
                return [FORGERIES[name](_done(job)) for job in jobs]
            if "disk" in name:
                raise OSError(28, "No space left on device", "/results/thumbnails/a.jpg")
            self._progress.step()
        return [_done(job) for job in jobs]

    def judge(self, job: Job) -> Outcome:
        if b"unreadable" in job.path:
            os._exit(9)
        if b"stalled" in job.path:
            worker.read = lambda *_: time.sleep(1000)  # type: ignore[assignment]
        return super().judge(job)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), StrangeWorker)
