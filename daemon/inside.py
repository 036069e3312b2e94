"""What is done in folders that are held open: look, make, name, compare; no link is followed."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from classifier.beneath import open_beneath
from classifier.durable import sync_names

RENAME_NOREPLACE = 1
# A file system that cannot rename without replacing, or a system that does not know of it.
UNABLE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
CHUNK = 1 << 20


class NameTakenError(OSError):
    """Something has that name already."""


def look(folder: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


class Descriptor:
    """`with` it, and it is closed."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def opened(folder: int, name: bytes) -> Descriptor:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    return Descriptor(os.open(name, flags, dir_fd=folder))


def created(folder: int, name: bytes) -> Descriptor:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return Descriptor(os.open(name, flags, 0o666, dir_fd=folder))


def same_bytes(near: int, name: bytes, far: int, other: bytes) -> bool:
    try:
        with opened(near, name) as one, opened(far, other) as two:
            while True:
                chunk = os.read(one, CHUNK)
                if chunk != _exactly(two, len(chunk) or 1):
                    return False
                if not chunk:
                    return True
    except FileNotFoundError:
        return False


def _exactly(fd: int, size: int) -> bytes:
    """So many bytes, or all that are left."""
    found = b""
    while chunk := os.read(fd, size - len(found)):
        found += chunk
    return found


def read_of(folder: int, name: bytes, size: int) -> bytes:
    with opened(folder, name) as fd:
        return _exactly(fd, size)


def name_new(draft: bytes, name: bytes, folder: int, path: bytes) -> None:
    """Give a file its name for good, in one folder. Raises `NameTakenError`, `OSError`."""
    if rename_new(folder, draft, folder, name):
        return
    try:
        os.link(draft, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise NameTakenError(errno.EEXIST, "its name is taken", path) from None
    os.unlink(draft, dir_fd=folder)


def rename_new(near: int, old: bytes, far: int, new: bytes) -> bool:
    """Rename, in folders that are open, and replace nothing. False where the system cannot.

    Raises `NameTakenError`, `OSError`.
    """
    rename = _renameat2()
    if rename is None:
        return False
    if rename(near, old, far, new, RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number == errno.EEXIST:
        raise NameTakenError(number, "its name is taken", new)
    if number in UNABLE:
        return False
    raise OSError(number, os.strerror(number), new)


@lru_cache(maxsize=1)
def _renameat2() -> Callable[[int, bytes, int, bytes, int], int] | None:
    function = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if function is not None:
        function.argtypes = (
            ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint,
        )  # fmt: skip
    return function


def open_folder(path: bytes, root: int) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    if len(path) <= root:
        return os.open(path, flags)
    return open_beneath(path, root, flags | os.O_NOFOLLOW)


def made_folder(path: bytes, root: int) -> int:
    """Open a folder; what is missing of it is made, and stays after a power cut."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    top = path[:root] or b"/"
    with suppress(FileNotFoundError):
        return open_folder(path, root)
    missing = []
    while not os.path.isdir(top):  # noqa: PTH112
        top, part = os.path.split(top)
        missing.append(part)
    current = os.open(top, flags)
    try:
        for part in [*reversed(missing), *path[root:].split(b"/")]:
            if not part:
                continue
            try:
                below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=current)
            except FileNotFoundError:
                with suppress(FileExistsError):
                    os.mkdir(part, dir_fd=current)
                sync_names(current, Path(os.fsdecode(path)))
                below = os.open(part, flags | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = below
    except BaseException:
        os.close(current)
        raise
    return current
