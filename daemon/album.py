"""The thumbnails of one batch: written one by one, made durable together."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from classifier.durable import naming, sync, sync_folder

MOST_OPEN = 128  # files; a process may have 1,024, and a batch may be as large as that


class Album:
    """Files stay open until they are safe: to open each once more would take longer than to write
    it."""

    def __init__(self, results: Path, on_file: Callable[[], None]) -> None:
        """on_file is called as each file is safe: many on a slow disk are no disk that stands
        still."""
        self._results = os.fspath(results)
        self._on_file = on_file
        self._open: list[tuple[int, str]] = []
        self._folders: dict[str, Path] = {}

    def put(self, name: str, image: bytes) -> None:
        """Write a thumbnail; name: as in its row, relative to the results, in the folder of a day.

        Raises `OSError` with the file's name.
        """
        path = f"{self._results}/{name}"
        folder = path.rpartition("/")[0]
        if folder not in self._folders:
            self._folders[folder] = Path(folder)
            self._folders[folder].mkdir(exist_ok=True)  # of the day; the one it is in is ours
        if len(self._open) == MOST_OPEN:
            self._sync_files()
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._open.append((fd, path))
        rest = image
        with naming(Path(path)):
            while rest:
                rest = rest[os.write(fd, rest) :]

    def make_durable(self) -> None:
        """A row names its thumbnail, so the thumbnail must be safe before the row is.

        Raises `SyncError`.
        """
        self._sync_files()
        days = self._folders.values()
        for folder in {*days, *(day.parent for day in days)}:
            sync_folder(folder)
            self._on_file()

    def _sync_files(self) -> None:
        while self._open:
            fd, path = self._open[-1]
            sync(fd, Path(path))
            self._open.pop()
            os.close(fd)
            self._on_file()

    def __enter__(self) -> Album:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for fd, _ in self._open:  # an error came between
            os.close(fd)
