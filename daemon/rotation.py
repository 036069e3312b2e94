"""results.csv gets the name of its month, and another one begins in its place.

There is a results.csv at any time, but for a moment on a file system without links.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from classifier.durable import sync, sync_folder
from daemon.row import HEADER

PART = re.compile(r"results-([0-9]{4}-[0-9]{2})(?:-([0-9]+))?\.csv")


def free_name(folder: Path, month: str, taken: Collection[str]) -> str:
    """What the file of a month is to be called. taken: names that are taken anyway."""
    for number in count(1):
        name = f"results-{month}.csv" if number == 1 else f"results-{month}-{number}.csv"
        if name not in taken and not os.path.lexists(folder / name):
            return name
    raise AssertionError


def part_files(folder: Path) -> list[Path]:
    """The files of closed months, in the order of their rows."""

    def found() -> Iterator[tuple[str, int, Path]]:
        for path in folder.iterdir():
            if match := PART.fullmatch(path.name):
                yield match[1], int(match[2] or 1), path

    return [path for *_, path in sorted(found())]


def is_same(path: Path, other: Path) -> bool:
    """Whether two names lead to one file."""
    with suppress(FileNotFoundError):
        return os.path.samestat(path.lstat(), other.lstat())
    return False


def begin_anew(file: Path) -> None:
    """Put a results.csv without rows in the place of the one that there is, whole and for good."""
    draft = file.with_name(f".{file.name}.new")
    with draft.open("wb") as new:
        new.write(HEADER)
        new.flush()
        sync(new.fileno(), draft)
    draft.replace(file)
    sync_folder(file.parent)
