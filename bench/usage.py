"""What processes take, by what /proc says of them: memory, processors, disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from bench.repeated import repeated

T = TypeVar("T")

TICK = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """A process and all that it and they have started."""
    members = [pid]
    tasks = Path(f"/proc/{pid}/task")
    for task in _read(lambda: list(tasks.iterdir())) or []:
        for child in (_read((task / "children").read_text) or "").split():
            members += family(int(child))
    return members


def memory(pids: Sequence[int]) -> float:
    """Megabytes; what processes share is counted once (PSS)."""
    return sum(_number(pid, "smaps_rollup", "Pss") for pid in pids) * 1024 / 1e6


def written(pids: Sequence[int]) -> int:
    """Bytes that were sent to a disk since these processes began."""
    return sum(_number(pid, "io", "write_bytes") for pid in pids)


def cpu(pids: Sequence[int]) -> float:
    """Seconds of processors since these processes began."""
    stats = [_read(Path(f"/proc/{pid}/stat").read_text) or "" for pid in pids]
    fields = [stat.rpartition(")")[2].split() for stat in stats if stat]
    return sum(int(field[11]) + int(field[12]) for field in fields) / TICK


class Peak:
    """The most memory that a process had, in megabytes; and with all that it has started."""

    def __init__(self) -> None:
        self.alone = self.together = 0.0

    @contextmanager
    def watching(self, pid: int, every: float = 0.1) -> Iterator[None]:
        """Look at it again and again as long as the block runs. every: seconds."""

        def look() -> None:
            members = family(pid)
            self.alone = max(self.alone, memory(members[:1]))
            self.together = max(self.together, memory(members))

        with repeated(look, every):
            yield


def _number(pid: int, file: str, name: str) -> int:
    """A number out of a file that /proc has of a process; 0 if that is gone."""
    text = _read(Path(f"/proc/{pid}/{file}").read_text) or ""
    values = [line.split()[1] for line in text.splitlines() if line.startswith(f"{name}:")]
    return int(values[0]) if values else 0


def _read(look: Callable[[], T]) -> T | None:
    """What a look at a process gives; None if it is gone."""
    try:
        return look()
    except (FileNotFoundError, ProcessLookupError):
        return None
