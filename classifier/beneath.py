"""Open and look at files beneath a folder, with no link followed on the way down.

`O_NOFOLLOW` speaks of the last part of a path only. Whoever may write to a folder could swap one
inside it for a link between the moment a file is found and the moment it is opened, and lead the
reader anywhere. Here the way down from the folder is walked without links, by the kernel at once
(`openat2`) or, where it cannot, part by part.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from functools import lru_cache

# Longer paths fail everywhere else, so they do here: one file, one answer.
PATH_MAX = 4096

SYS_OPENAT2 = 437  # the same on all architectures that Python 3.11 runs on
RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH = 0x02, 0x04, 0x08


class _How(ctypes.Structure):
    """`struct open_how` of Linux."""

    _fields_ = (
        ("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64),
    )  # fmt: skip


_HOW_BYTES = ctypes.sizeof(_How)
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.restype = ctypes.c_long
_syscall.argtypes = (  # number, folder, path, how, its size
    ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.POINTER(_How), ctypes.c_size_t,
)  # fmt: skip


def open_beneath(path: bytes, root: int, flags: int) -> int:
    """A file descriptor of a path whose first `root` bytes name the folder that it lies beneath.

    Links in the folder's own name are followed; that is its owner's business. The folder is opened
    each time: one that was made anew, or mounted, is noticed at once.

    Raises `OSError`: ELOOP for a link on the way, and as `open` does.
    """
    name, inner = _parted(path, root)
    folder = _open_root(name)
    try:
        return _open_inner(folder, inner, flags | os.O_CLOEXEC)
    finally:
        os.close(folder)


class Folders:
    """`with Folders() as folders: folders.open(...)`: each stays open from its first file on.

    For some files at a time: it keeps whoever unmounts a folder waiting, and one that is mounted
    over it meanwhile is not seen before the next time.
    """

    def __init__(self) -> None:
        self._opened: dict[bytes, int] = {}

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *_: object) -> None:
        while self._opened:
            os.close(self._opened.popitem()[1])

    def open(self, path: bytes, root: int, flags: int) -> int:
        """As `open_beneath`."""
        name, inner = _parted(path, root)
        folder = self._opened.get(name)
        if folder is not None:
            try:
                return _open_inner(folder, inner, flags | os.O_CLOEXEC)
            except FileNotFoundError:  # perhaps the folder was made anew meanwhile
                os.close(self._opened.pop(name))
        folder = self._opened[name] = _open_root(name)
        return _open_inner(folder, inner, flags | os.O_CLOEXEC)


def stat_beneath(path: bytes, root: int) -> os.stat_result:
    """What `os.lstat` tells, with no link followed beneath the folder. Raises `OSError`."""
    fd = open_beneath(path, root, os.O_PATH | os.O_NOFOLLOW)
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


@lru_cache(maxsize=1)
def has_openat2() -> bool:
    """Whether the system has it: Linux from 5.6 on, unless a container's filter hides it."""
    if sys.platform != "linux":
        return False
    try:
        os.close(_openat2(-1, b"/", os.O_PATH | os.O_CLOEXEC, RESOLVE_NO_SYMLINKS))
    except OSError:
        return False
    return True


def _parted(path: bytes, root: int) -> tuple[bytes, bytes]:
    """The folder's name, and the way down from it."""
    if b"\0" in path:
        raise ValueError("embedded null byte")
    if len(path) >= PATH_MAX:
        raise _error(errno.ENAMETOOLONG, path)
    return path[:root] or b"/", path[root:].lstrip(b"/")


def _open_root(name: bytes) -> int:
    return os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)


def _open_inner(folder: int, inner: bytes, flags: int) -> int:
    if not has_openat2():
        return _open_by_parts(folder, inner, flags)
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    while True:
        try:
            return _openat2(folder, inner, flags, resolve)
        except InterruptedError:  # by a signal that has been handled now
            continue


def _openat2(folder: int, path: bytes, flags: int, resolve: int) -> int:
    how = _how(flags, resolve)
    fd: int = _syscall(SYS_OPENAT2, folder, path, how, _HOW_BYTES)
    if fd < 0:
        raise _error(ctypes.get_errno(), path)
    return fd


@lru_cache(maxsize=16)
def _how(flags: int, resolve: int) -> _How:
    return _How(flags, 0, resolve)


def _open_by_parts(folder: int, inner: bytes, flags: int) -> int:
    *folders, name = inner.split(b"/")
    if b".." in (*folders, name):
        raise _error(errno.EXDEV, inner)
    current = os.dup(folder)
    try:
        for part in folders:
            below = _open_folder(current, part)
            os.close(current)
            current = below
        return os.open(name, flags | os.O_NOFOLLOW, dir_fd=current)
    finally:
        os.close(current)


def _open_folder(parent: int, name: bytes) -> int:
    # Without O_DIRECTORY, which would say "not a directory" of a link: here it is told apart.
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    mode = os.fstat(fd).st_mode
    if not stat.S_ISDIR(mode):
        os.close(fd)
        raise _error(errno.ELOOP if stat.S_ISLNK(mode) else errno.ENOTDIR, name)
    return fd


def _error(number: int, path: bytes) -> OSError:
    return OSError(number, os.strerror(number), path)
