"""The images that are measured with: real ones if a folder is given, else drawn ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.setup import ROOT, Setup
from daemon.settle import WRITER_PATIENCE_SECONDS

SIDE = 32  # pixels, of small images
PHOTO_SIZE = 4000, 3000
# A file younger than `settle_seconds` is waited for, by its change time, which cannot be set.
SETTLED_SECONDS = 2.5
# Of one younger than this, a scan asks whether somebody writes to it.
OLD_SECONDS = WRITER_PATIENCE_SECONDS + 1

Picture = NDArray[np.uint8]


def small(setup: Setup, count: int, *, settled: bool = True) -> Path:
    """A folder with so many small JPEGs, or as many as there are in the data that were given.

    settled: whether to come back only when a scan takes them at once.
    """
    folder = setup.folder()
    _write_small(setup, folder, count)
    if settled:
        time.sleep(SETTLED_SECONDS)
    return folder


def old(setup: Setup, count: int) -> Path:
    """The same, but of files that have been there for a while, as most have; one for all parts."""
    folder = setup.shared / f"old-{count}"
    if not folder.exists():
        folder.mkdir()
        _write_small(setup, folder, count)
        grow_old(setup)
    return folder


def grow_old(setup: Setup) -> None:
    """Wait until all files that were made are old."""
    time.sleep(SETTLED_SECONDS if setup.short else OLD_SECONDS)


def _write_small(setup: Setup, folder: Path, count: int) -> None:
    _write(folder, itertools.islice(_contents(setup.data) if setup.data else drawn(), count))


def given(data: Path) -> list[Path]:
    """The JPEGs of a folder."""
    return sorted(data.rglob("*.jp*g"))


def _contents(data: Path) -> Iterator[bytes]:
    """What is in them, in an order that has some of each of its folders early."""
    folders: dict[Path, list[Path]] = {}
    for path in given(data):
        folders.setdefault(path.parent, []).append(path)
    for row in itertools.zip_longest(*folders.values()):
        yield from (path.read_bytes() for path in row if path is not None)


def drawn(side: int = SIDE) -> Iterator[bytes]:
    """JPEGs without end, all different: parts of the example pictures, brighter or darker."""
    random = np.random.default_rng(0)
    pictures = _examples()
    for number in itertools.count():
        picture = pictures[number % len(pictures)]
        rows, columns = (random.integers(0, size // 4) for size in picture.shape[:2])
        part = cv2.resize(picture[rows:, columns:], (side, side), interpolation=cv2.INTER_AREA)
        shade = part * random.uniform(0.7, 1.2) + random.normal(0, 2, part.shape)
        yield _jpeg(np.clip(shade, 0, 255).astype(np.uint8))


def photos(setup: Setup, count: int, size: tuple[int, int] = PHOTO_SIZE) -> Path:
    """A folder with so many photos: example pictures, enlarged, with texture of every fineness from
    leaves down to the grain of a sensor, which is what makes a JPEG large and slow to decode."""
    folder = setup.folder()
    random = np.random.default_rng(0)
    texture = _texture(random, size)
    enlarged = (
        cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC).astype(np.int16)
        for picture in itertools.cycle(_examples())
    )
    # The same texture for all, in another place each time: to draw it takes seconds.
    shifted = (np.roll(texture, random.integers(0, size, 2), (1, 0)) for _ in range(count))
    summed = (
        np.clip(photo + shift, 0, 255) for shift, photo in zip(shifted, enlarged, strict=False)
    )
    _write(folder, (_jpeg(photo.astype(np.uint8)) for photo in summed))
    time.sleep(SETTLED_SECONDS)
    return folder


def _texture(random: np.random.Generator, size: tuple[int, int]) -> NDArray[np.int16]:
    """What is to be added to a picture of this size (width, height)."""
    texture = np.zeros((size[1], size[0], 3), np.int16)
    for coarseness, strength in ((64, 14), (16, 12), (4, 10), (1, 4)):
        shape = size[1] // coarseness + 1, size[0] // coarseness + 1
        # Mostly grey, as light and shadow are; a little of it coloured.
        noise = random.normal(0, strength, (*shape, 1)) + random.normal(0, 2, (*shape, 3))
        layer = cv2.resize(noise.astype(np.int16), size, interpolation=cv2.INTER_CUBIC)
        texture += layer.astype(np.int16)
    return texture


def tree(folder: Path, count: int, each: int = 10_000) -> None:
    """So many tiny JPEGs, in folders of `each`; their contents come again after a thousand."""
    contents = list(itertools.islice(drawn(8), min(count, 1000)))
    for begin in range(0, count, each):
        part = folder / f"{begin // each:04}"
        part.mkdir()
        numbers = range(begin, min(begin + each, count))
        _write(part, (contents[number % len(contents)] for number in numbers))


def _examples() -> list[Picture]:
    paths = sorted((ROOT / "inbox_example").glob("*.jpg"))
    return [cv2.imread(str(path)).astype(np.uint8) for path in paths]


def _jpeg(picture: Picture) -> bytes:
    return cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, 92))[1].tobytes()


def _write(folder: Path, contents: Iterable[bytes]) -> None:
    """Files of these contents, named by their numbers."""
    for number, content in enumerate(contents):
        (folder / f"{number:06}.jpg").write_bytes(content)
