"""The real worker on disks that are as slow as files in its scratch folder say.

`python -m slow_worker CHANNEL PROGRESS`, as the pool starts it. A file there that is called
`slow_sync`, `slow_write` or `slow_read` holds the seconds that each of these takes; of images, only
those with `slow` in their names are read slowly. `starts` gets a line for every start.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from daemon import album, worker
from daemon.album import Album
from daemon.messages import Plan, Progress

T = TypeVar("T")


class SlowWorker(worker.Worker):
    def __init__(self, plan: Plan, progress: Progress) -> None:
        super().__init__(plan, progress)
        from classifier import classify  # not before the worker has set what OpenCV reads

        with (plan.scratch / "starts").open("a") as file:
            file.write(f"{os.getpid()}\n")
        scratch = plan.scratch

        def slowed(name: str, does: Callable[..., T]) -> Callable[..., T]:
            def after(path: Any, *arguments: object) -> T:
                if name != "slow_read" or b"slow" in os.fsencode(path):
                    with contextlib.suppress(FileNotFoundError):
                        time.sleep(float((scratch / name).read_text()))
                return does(path, *arguments)

            return after

        album.sync = slowed("slow_sync", album.sync)
        Album.put = slowed("slow_write", Album.put)  # type: ignore[method-assign]
        classify.read = slowed("slow_read", classify.read)


if __name__ == "__main__":
    worker.main(int(sys.argv[1]), int(sys.argv[2]), SlowWorker)
