"""Folders ▸ image files, by all that can be told without opening them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from classifier.read import Signature

NOT_AN_IMAGE = "not an image by its extension"
HIDDEN = "hidden (its name starts with a dot)"
LINK = "a symbolic link"
SPECIAL = "not a regular file"
UNREADABLE = "cannot be looked at"
UNREADABLE_FOLDER = "a folder that cannot be read"


class Found(NamedTuple):
    """What a walk came across: an image file with its signature, or something with a reason to
    pass it over."""

    path: bytes
    signature: Signature | None
    ignored: str | None


def walk(root: bytes, extensions: frozenset[bytes]) -> Iterator[Found]:
    """Everything under a folder, no link followed, with no list of all files held.

    Raises `OSError` if the root itself cannot be read.
    """
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if _is_folder(entry) and not entry.name.startswith(b"."):
                        folders.append(entry.path)
                    else:
                        yield from _looked_at(entry, extensions)
        except OSError as error:
            if folder == root:
                raise
            # What is gone meanwhile is no news; what cannot be read is.
            if not isinstance(error, FileNotFoundError | NotADirectoryError):
                yield Found(folder, None, UNREADABLE_FOLDER)


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _looked_at(entry: os.DirEntry[bytes], extensions: frozenset[bytes]) -> Iterator[Found]:
    try:
        yield look(entry.path, extensions, entry.stat(follow_symlinks=False))
    except FileNotFoundError:
        pass
    except OSError:  # a path that is too long, a disk that fails here
        yield Found(entry.path, None, UNREADABLE)


def look(path: bytes, extensions: frozenset[bytes], status: os.stat_result) -> Found:
    """Whether a path is an image file by all that can be told without opening it."""
    name = os.path.basename(path)
    reason = None
    if name.startswith(b"."):
        reason = HIDDEN
    elif stat.S_ISLNK(status.st_mode):
        reason = LINK
    elif not stat.S_ISREG(status.st_mode):
        reason = SPECIAL
    elif os.path.splitext(name)[1][1:].lower() not in extensions:
        reason = NOT_AN_IMAGE
    return Found(path, None if reason else Signature.of(status), reason)
