"""Class folders ▸ the names of their image files, in little memory and always in the same order."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.errors import DataError

EXTENSIONS = (".bmp", ".jpeg", ".jpg", ".png", ".webp")
# Images, too, which people have and wonder about.
NOT_READ = (".avif", ".gif", ".heic", ".heif", ".jfif", ".jp2", ".tif", ".tiff")
_READ, _NOT_READ = (frozenset(map(str.encode, kinds)) for kinds in (EXTENSIONS, NOT_READ))


@dataclass(frozen=True, eq=False)
class FileNames:
    """Names of files beneath a folder. One after another in one piece of memory they take some 25
    bytes each, where a `Path` takes hundreds.

    names: relative to the folder, with nothing between them.
    ends: int64 (n,), where in `names` each of them ends.
    """

    folder: bytes
    names: bytes
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> bytes:
        """The path of one file, the folder's included."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self.ends[index - 1]) if index else 0
        return os.path.join(self.folder, self.names[start : int(self.ends[index])])


class Listing(NamedTuple):
    """What is directly inside a folder. folders, hidden: names of folders, sorted. images: how
    many."""

    folders: tuple[str, ...]
    images: int
    hidden: tuple[str, ...]


@dataclass
class PassedOver:
    """What is in class folders and is not taken, as numbers."""

    folder_links: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # by extension


def listing(folder: Path) -> Listing:
    """Raises `DataError` if it cannot be read. Hidden files are left out."""
    folders: list[str] = []
    hidden: list[str] = []
    images = 0
    for entry in _entries(os.fsencode(folder)):
        if os.path.isdir(entry):  # a link to a folder may be a class
            (hidden if _is_hidden(entry) else folders).append(os.fsdecode(entry.name))
        elif not _is_hidden(entry):
            images += _extension(entry.name) in _READ
    return Listing(tuple(sorted(folders)), images, tuple(sorted(hidden)))


def find_images(
    folder: Path, classes: Sequence[str], passed_over: PassedOver
) -> tuple[FileNames, NDArray[np.int64]]:
    """The image files of `folder/<class>/…`, at any depth, and int64 (n,) their labels: class after
    class, and within a class sorted by the bytes of their names, whatever the disk's order.

    Raises `DataError` for a class that has none.
    """
    pieces, lengths, counts = [], [], []
    for name in classes:
        _refuse_loop(folder, name)
        inside = os.fsencode(name)
        found = _images_beneath(os.fsencode(folder), inside, passed_over)
        if not found:
            raise DataError(
                f"{shown(folder / name)}: no image is in this class ({' '.join(EXTENSIONS)}): add "
                "some, or take the folder away"
            )
        found.sort()
        pieces.append(b"".join(found))
        lengths.append(np.fromiter(map(len, found), np.int64, len(found)))
        counts.append(len(found))
    names = FileNames(os.fsencode(folder), b"".join(pieces), np.cumsum(np.concatenate(lengths)))
    return names, np.repeat(np.arange(len(counts)), counts)


def _images_beneath(folder: bytes, inside: bytes, passed_over: PassedOver) -> list[bytes]:
    """Names relative to `folder` of the image files in `inside` and below, in the disk's order."""
    found: list[bytes] = []
    waiting = [inside]
    while waiting:
        above = waiting.pop()
        for entry in _entries(os.path.join(folder, above)):
            if _is_hidden(entry):
                continue
            name = os.path.join(above, entry.name)
            extension = _extension(entry.name)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(name)
            elif extension in _READ:
                found.append(name)  # links to files, too: a data set may be made of them
            elif extension in _NOT_READ:
                passed_over.kinds[extension.decode()] += 1
            elif entry.is_symlink() and os.path.isdir(entry):
                # It may lead in a circle, or into another class.
                passed_over.folder_links += 1
    return found


def _entries(folder: bytes) -> Iterator[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        raise DataError(
            f"{shown(folder)}: this folder cannot be read ({error.strerror}): set its permissions, "
            "or take it away"
        ) from None


def _is_hidden(entry: os.DirEntry[bytes]) -> bool:
    """An editor's copies, thumbnails, .ipynb_checkpoints."""
    return entry.name.startswith(b".")


def _refuse_loop(folder: Path, name: str) -> None:
    """A class that is a link to a folder above it holds every other class."""
    target = os.path.realpath(folder / name)
    above = os.path.realpath(folder)
    if os.path.commonpath([target, above]) == target:
        raise DataError(
            f"{shown(folder / name)}: this is a link to a folder that it lies in, and no class: "
            "take it away"
        )


def _extension(name: bytes) -> bytes:
    return os.path.splitext(name)[1].lower()


def shown(name: str | bytes | Path) -> str:
    """A name for a message: with what is not printable written as escapes."""
    text = os.fsdecode(name)
    return text if text.isprintable() else repr(text)[1:-1]
