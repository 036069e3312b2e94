"""Every image file is looked at once before training: which can be decoded, and is any there twice?

What is learnt of a file takes 8 bytes. If all pixels fit into a fixed piece of memory they are
kept, and no file is read again.
"""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from classifier.decode import decode
from classifier.errors import ImageError
from classifier.header import image_format
from classifier.quiet import Overheard, pass_on
from classifier.read import read
from trainer.files import FileNames

log = logging.getLogger(__name__)

THREADS = 2  # OpenCV decodes outside Python's lock
KEPT_BYTES = 256 << 20  # of pixels: 87,000 images of 32x32 in colour
AT_A_TIME = 256  # a pool's `map` takes on all that it is given, at 1 kB each
LISTED = 20  # with name and reason; the rest are counted
REASONS = 10
SHRUNK = 0.1  # of a class; who loses more of it should know, wherever in a list its files stand


@dataclass(frozen=True, eq=False)
class Screening:
    """What was seen of n files.

    digests: uint64 (n,), the first 8 bytes of their SHA-256; 0 for those left out.
    images: uint8 (n, height, width, channels); None if they are too many to be kept.
    left_out: (which file, why) for those that cannot be decoded.
    """

    digests: NDArray[np.uint64]
    images: NDArray[np.uint8] | None
    left_out: Sequence[tuple[int, str]]


def load_image(path: bytes, shape: tuple[int, int, int]) -> tuple[NDArray[np.uint8], int]:
    """A file's pixels, uint8 of that (height, width, channels), and the first 8 bytes of its
    SHA-256. Raises `ImageError`."""
    # Links are followed: a data set may well be made of links into another one.
    content = read(os.path.realpath(path) if os.path.islink(path) else path)
    with _libpng_unheard(content.data):
        pixels = decode(content.data, *shape).pixels
    return pixels, int(content.sha256[:16], 16)


@contextmanager
def _libpng_unheard(data: bytes) -> Iterator[None]:
    """libpng has a line on stderr for every harmless oddity of a file, as of its colour profile,
    each time that it is decoded; of damage, the error that is raised tells."""
    if image_format(data) != "png":
        yield
        return
    stderr = Overheard()
    try:
        with stderr:
            yield
    finally:
        lines = stderr.words.splitlines(keepends=True)
        pass_on(b"".join(line for line in lines if not line.startswith(b"libpng ")))


def screen(files: FileNames, shape: tuple[int, int, int]) -> Screening:
    """Decode every file once; on a terminal, a bar tells how far it is."""
    count = len(files)
    digests = np.zeros(count, np.uint64)
    fits = count * math.prod(shape) <= KEPT_BYTES
    images = np.empty((count, *shape), np.uint8) if fits else None
    left_out: list[tuple[int, str]] = []

    def look_at(index: int) -> str | None:
        try:
            pixels, digests[index] = load_image(files[index], shape)
        except ImageError as error:
            return str(error)
        if images is not None:
            images[index] = pixels
        return None

    # The bar moves only when no image is being decoded: what libjpeg says goes to stderr as well.
    # With miniters given, tqdm's own thread leaves it alone.
    with (
        ThreadPoolExecutor(THREADS) as pool,
        tqdm(total=count, desc="looking at every image", unit="image", miniters=1, leave=False,
             disable=None) as bar,
    ):  # fmt: skip
        reasons: dict[str, str] = {}  # one text for all files that share it
        for start in range(0, count, AT_A_TIME):
            some = range(start, min(start + AT_A_TIME, count))
            for index, reason in zip(some, list(pool.map(look_at, some)), strict=True):
                if reason is not None:
                    left_out.append((index, reasons.setdefault(reason, reason)))
            bar.update(len(some))
    return Screening(digests, images, left_out)


def tell_left_out(files: FileNames, left_out: Sequence[tuple[int, str]]) -> None:
    """Log the first with their names, and how many more there are for each reason."""
    for index, reason in left_out[:LISTED]:
        log.warning("left out: %r: %s", os.fsdecode(files[index]), reason)
    counts = Counter(reason for _, reason in left_out[LISTED:]).most_common()
    if counts:
        log.warning("left out: %s more:", f"{len(left_out) - LISTED:,}")
    for reason, count in counts[:REASONS]:
        log.warning("%10s x %s", f"{count:,}", reason)
    if other := sum(count for _, count in counts[REASONS:]):
        log.warning("%10s x for other reasons", f"{other:,}")


def tell_shrunk(
    names: Sequence[str], before: NDArray[np.int64], after: NDArray[np.int64], part: str = ""
) -> None:
    """Log the classes that lost more than `SHRUNK` of their images.

    before, after: int64 (n,), (m,), the class of every image, a place in `names`, with and without
    those that cannot be read. part: which images, as "test ".
    """
    had, have = (np.bincount(labels, minlength=len(names)) for labels in (before, after))
    lost = had - have
    if some := [
        f"{name} lost {lost[label]:,} of {had[label]:,}"
        for label, name in enumerate(names)
        if lost[label] > SHRUNK * had[label]
    ]:
        log.warning("many %simages cannot be read: %s", part, ", ".join(some))
