"""Folders ▸ image files, by all that can be told without opening them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Iterator
from typing import NamedTuple

from classifier.beneath import PATH_MAX, open_beneath
from classifier.read import Signature

NOT_AN_IMAGE = "not an image by its extension"
HIDDEN = "hidden (its name starts with a dot)"
LINK = "a symbolic link"
SPECIAL = "not a regular file"
UNREADABLE = "cannot be looked at"
UNREADABLE_FOLDER = "a folder that cannot be read"
GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV})


class Found(NamedTuple):
    """What a walk came across: an image file with its signature, or something with a reason to
    pass it over."""

    path: bytes
    signature: Signature | None
    ignored: str | None


def walk(
    root: bytes, extensions: frozenset[bytes], apart: Collection[bytes] = ()
) -> Iterator[Found]:
    """Everything under a folder, no link followed, with no list of all files held.

    apart: folders below it that are left to a walk of their own.

    Every folder is opened beneath the root and listed by its descriptor: one that is swapped for a
    link meanwhile is not looked into.

    Raises `OSError` if the root itself cannot be read.
    """
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            fd = _open_folder(folder, root)
            prefix = os.path.join(folder, b"")
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        path = prefix + name
                        if _is_folder(entry) and not name.startswith(b"."):
                            if path not in apart:
                                folders.append(path)
                        elif (found := _looked_at(path, entry, extensions)) is not None:
                            yield found
            finally:
                os.close(fd)
        except OSError as error:
            if folder == root:
                raise
            # What is gone meanwhile, or a link, is no news; what cannot be read is.
            if error.errno not in GONE:
                yield Found(folder, None, UNREADABLE_FOLDER)


def _open_folder(folder: bytes, root: bytes) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | os.O_CLOEXEC
    if folder == root:
        return os.open(folder, flags)  # its own links are its owner's business
    return open_beneath(folder, len(root), flags | os.O_NOFOLLOW)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _looked_at(path: bytes, entry: os.DirEntry[str], extensions: frozenset[bytes]) -> Found | None:
    """None if it is gone meanwhile."""
    try:
        if len(path) >= PATH_MAX:  # it could be looked at here, but never be opened
            return Found(path, None, UNREADABLE)
        return look(path, extensions, entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        return None
    except OSError:  # a disk that fails here
        return Found(path, None, UNREADABLE)


def look(path: bytes, extensions: frozenset[bytes], status: os.stat_result) -> Found:
    """Whether a path is an image file by all that can be told without opening it."""
    name = path[path.rfind(b"/") + 1 :]
    mode = status.st_mode
    reason = None
    if name.startswith(b"."):
        reason = HIDDEN
    elif stat.S_ISLNK(mode):
        reason = LINK
    elif not stat.S_ISREG(mode):
        reason = SPECIAL
    elif name[name.rfind(b".") + 1 :].lower() not in extensions or b"." not in name:
        reason = NOT_AN_IMAGE
    return Found(path, None if reason else Signature.of(status), reason)
