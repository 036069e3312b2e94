"""The thumbnails of one batch: written one by one, made durable together."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from classifier.durable import naming, sync, sync_folder, sync_names

MOST_OPEN = 32  # files


class Album:
    """Files stay open until they are safe: to open each once more would take longer than to write
    it."""

    def __init__(self, results: Path, on_file: Callable[[], None]) -> None:
        """on_file is called as each file is safe: many on a slow disk are no disk that stands
        still."""
        self._results = results
        self._on_file = on_file
        self._files: list[tuple[int, Path]] = []  # that are open, and not safe yet
        self._days: dict[str, _Folder] = {}

    def put(self, name: str, image: bytes) -> None:
        """Write a thumbnail; name: as in its row, relative to the results, in the folder of a day.

        Raises `OSError` with the file's name.
        """
        day, _, file = name.rpartition("/")
        if day not in self._days:
            path = self._results / day
            path.mkdir(exist_ok=True)  # the folder that it is in is ours
            self._days[day] = _Folder(path)
        folder = self._days[day]
        if len(self._files) == MOST_OPEN:
            self._sync_files()
        path = folder.path / file
        with naming(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
            fd = os.open(file, flags, 0o666, dir_fd=folder.fd)
            self._files.append((fd, path))
            rest = image
            while rest:
                rest = rest[os.write(fd, rest) :]

    def make_durable(self) -> None:
        """A row names its thumbnail, so the thumbnail must be safe before the row is.

        Raises `SyncError`; `FileNotFoundError` if a folder was moved or deleted meanwhile.
        """
        self._sync_files()
        for folder in self._days.values():
            folder.make_durable()
            self._on_file()
        for parent in {folder.path.parent for folder in self._days.values()}:
            sync_folder(parent)
            self._on_file()

    def _sync_files(self) -> None:
        while self._files:
            fd, path = self._files[-1]
            sync(fd, path)
            self._files.pop()
            with naming(path):
                os.close(fd)
            self._on_file()

    def close(self) -> None:
        # What is still open here was given up for an error, which a second one must not hide.
        for fd in [fd for fd, _ in self._files] + [folder.fd for folder in self._days.values()]:
            with suppress(OSError):
                os.close(fd)


class _Folder:
    """That of a day, held open: files get into this one, whatever has its name by now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make_durable(self) -> None:
        sync_names(self.fd, self.path)
        if not os.path.samestat(os.fstat(self.fd), self.path.stat()):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))
