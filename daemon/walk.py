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
            entries = os.scandir(folder)
        except OSError:
            if folder == root:
                raise
            # Gone meanwhile is no news; what cannot be read is.
            if os.path.lexists(folder):
                yield Found(folder, None, UNREADABLE_FOLDER)
            continue
        with entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(b"."):
                        folders.append(entry.path)
                        continue
                    yield look(entry.path, extensions, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue


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
