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
from daemon.jobs import Answer, Finding, Job
from daemon.messages import HEADER, Plan, Progress
from daemon.worker import Worker, main


class Evil:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


ANSWER = Answer([("a", 0.75), ("b", 0.25)], False, 8, 8)


def _done(job: Job) -> Finding:
    return Finding(job, min(job.known, default="a" * 64))


def _forged(finding: Finding, **fields: Any) -> Finding:
    """An answer that is right, but for these fields of it."""
    return finding._replace(answer=ANSWER._replace(**fields))


FORGERIES: dict[str, Callable[[Finding], Any]] = {
    "forge_seq": lambda finding: finding._replace(job=finding.job._replace(seq=1)),
    "forge_two_lines": lambda finding: finding._replace(reason="one\r\ntwo"),
    "forge_no_text": lambda finding: finding._replace(reason=7),
    "forge_surrogate": lambda finding: finding._replace(reason="\udcff"),
    "forge_label": lambda finding: _forged(finding, ranking=[("no class", 0.5)]),
    "forge_no_label": lambda finding: _forged(finding, ranking=[]),
    "forge_labels": lambda finding: _forged(finding, ranking=[("a", 0.1)] * 1000),
    "forge_pair": lambda finding: _forged(finding, ranking=[["a"]]),
    "forge_list": lambda finding: _forged(finding, ranking=[[["a"], 0.5]]),
    "forge_number": lambda finding: _forged(finding, width=1 << 70),
    "forge_truth": lambda finding: _forged(finding, width=True),
    "forge_confidence": lambda finding: _forged(finding, ranking=[("a", float("nan"))]),
    "forge_sure": lambda finding: _forged(finding, ranking=[("a", 1.5)]),
    "forge_minus": lambda finding: _forged(finding, ranking=[("a", -0.0)]),
    "forge_long": lambda finding: finding._replace(reason="a" * 140_000),
    "forge_words": lambda finding: _forged(finding, ranking=[("a", "1")]),
    "forge_sha256": lambda finding: _forged(finding)._replace(sha256="x"),
    "forge_unread": lambda finding: _forged(finding)._replace(sha256=None),
    "forge_done": lambda finding: finding._replace(sha256=None),
    "forge_known": lambda finding: finding._replace(sha256="0" * 64),
    "forge_both": lambda finding: finding._replace(unsettled=True),
    "forge_signature": lambda finding: Finding(
        finding.job, unsettled=True, signature=("a", "b", "c")
    ),
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

    def work(self, jobs: Sequence[Job]) -> list[Finding]:
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
                data = b'{"findings": ["done", "done", "done", "done"]}'
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
            if "answer" in name:
                return [_forged(_done(job)) for job in jobs]
            if "forge" in name:
                return [FORGERIES[name](_done(job)) for job in jobs]
            if "disk" in name:
                raise OSError(28, "No space left on device", "/results/thumbnails/a.jpg")
            self._progress.step()
        return [_done(job) for job in jobs]

    def judge(self, job: Job) -> Finding:
        if b"unreadable" in job.path:
            os._exit(9)
        if b"stalled" in job.path:
            worker.read = lambda *_: time.sleep(1000)  # type: ignore[assignment]
        return super().judge(job)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), StrangeWorker)
