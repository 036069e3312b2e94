"""What is written is made to outlive a power cut: bytes by their file, names by their folder."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class SyncError(OSError):
    """The system could not make a write durable.

    Never try again and believe it: Linux marks the pages clean after a failed fsync, and the next
    one succeeds without having written them. Only writing the bytes anew makes up for it.
    """


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """An `OSError` raised within is one of this file: of a failed write the system names none, and
    of a draft one that nobody knows."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # of a library
            raise OSError(f"{path}: {error}") from None
        raise type(error)(error.errno, error.strerror, str(path)) from None


def sync(fd: int, path: Path, how: Callable[[int], None] = os.fsync) -> None:
    """Wait until what was written through a file descriptor is on the disk. Raises `SyncError`."""
    try:
        how(fd)
    except OSError as error:
        raise SyncError(error.errno, error.strerror, str(path)) from None


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable. Raises `SyncError`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync(fd, path)
    finally:
        os.close(fd)


def name_new(draft: Path, target: Path) -> None:
    """Give a whole file its name for good, in a folder of the same file system.

    Nothing is overwritten: raises `FileExistsError` if something has that name. Raises `SyncError`.
    """
    try:
        os.link(draft, target)  # a rename would overwrite
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        draft.rename(target)
    sync_folder(target.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. Raises `SyncError`."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_names(fd, path)
    finally:
        os.close(fd)


def sync_names(fd: int, path: Path) -> None:
    """`sync_folder` of one that is open. Raises `SyncError`."""
    try:
        sync(fd, path)
    except SyncError as error:
        # A file system that cannot do it, or one on which there is nothing to be lost.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name holds the old content or all of the new, on the disk.

    Raises `OSError` with the file's name.
    """
    with writing_whole(path) as file:
        file.write(content)


@contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """`write_whole` for what is written piece by piece. Leave by an exception, and nothing changes.

    Raises `OSError` with the file's name.
    """
    with naming(path), tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        draft = Path(folder) / path.name
        with draft.open("wb") as file:
            yield file
        sync_file(draft)
        draft.replace(path)
        sync_folder(path.parent)
