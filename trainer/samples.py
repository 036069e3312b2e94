"""Images with their labels, on disk or in memory: some of them are taken at a time.

Files are read through `classifier.read` and `classifier.decode`, as serving does.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.errors import ImageError
from trainer.errors import DataError
from trainer.files import FileNames
from trainer.screening import Screening, load_image, screen, tell_left_out


class Samples(Protocol):
    """Images with their labels, some of which are taken at a time."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,): the class of every image."""
        ...

    @property
    def digests(self) -> NDArray[np.uint64] | None:
        """uint64 (n,): equal where images are; None where that is not known."""
        ...

    @property
    def fingerprint(self) -> str:
        """Another one for other images, other labels, another order."""
        ...

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """uint8 (len(indices), height, width, channels)."""
        ...

    def subset(self, indices: NDArray[np.int64]) -> Samples:
        """These images alone, in this order."""
        ...

    def readable(self) -> Samples:
        """Those of them that can be decoded; the log says which cannot."""
        ...


@dataclass(frozen=True, eq=False)
class FileSamples:
    """Images on disk. Memory does not grow with their pixels: a batch is decoded when it is asked
    for, but where all pixels fit into a fixed size, they are kept from the first look on.

    chosen: int64 (n,), which of the files. labels: int64 (n,), of these.
    shape: height, width, channels.
    """

    files: FileNames
    chosen: NDArray[np.int64]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]
    screening: Screening | None = None

    def path(self, index: int) -> str:
        """Where one of the images lies."""
        return os.fsdecode(self.files[int(self.chosen[index])])

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Raises `DataError` for a file that cannot be decoded, or changed since the first look."""
        files = self.chosen[indices]
        if self.screening is not None and self.screening.images is not None:
            return self.screening.images[files]
        found = np.empty((len(files), *self.shape), np.uint8)
        for row, file in enumerate(files):
            found[row] = self._decoded(int(file))
        return found

    def subset(self, indices: NDArray[np.int64]) -> FileSamples:
        return replace(self, chosen=self.chosen[indices], labels=self.labels[indices])

    def readable(self) -> FileSamples:
        """Those of them that can be decoded. Reads every file once, the first time."""
        if self.screening is not None:
            return self
        screening = screen(self.files, self.shape)
        tell_left_out(self.files, screening.left_out)
        gone = [file for file, _ in screening.left_out]
        kept = np.flatnonzero(np.isin(self.chosen, gone, invert=True))
        return replace(self, screening=screening).subset(kept)

    @property
    def left_out(self) -> Iterator[tuple[str, str]]:
        """(path, reason) of all files that could not be decoded."""
        for file, reason in self.screening.left_out if self.screening else ():
            yield os.fsdecode(self.files[file]), reason

    @property
    def digests(self) -> NDArray[np.uint64] | None:
        """uint64 (n,): equal where files are, byte for byte. None before the first look."""
        return None if self.screening is None else self.screening.digests[self.chosen]

    @property
    def fingerprint(self) -> str:
        """Known after the first look."""
        assert self.digests is not None
        return _fingerprint(self.labels, self.digests)

    def _decoded(self, file: int) -> NDArray[np.uint8]:
        path = self.files[file]
        try:
            pixels, digest = load_image(path, self.shape)
        except ImageError as error:
            raise DataError(f"{os.fsdecode(path)!r}: {error}") from None
        if self.screening is not None and digest != self.screening.digests[file]:
            raise DataError(
                f"{os.fsdecode(path)!r}: this image has changed since it was first looked at; "
                "start again when nobody changes the images"
            )
        return pixels


@dataclass(frozen=True, eq=False)
class ArraySamples:
    """Images in memory, uint8 (n, height, width, channels)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    digests = None  # nobody looks for copies in CIFAR-10

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self.labels, self.images)

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[indices]

    def subset(self, indices: NDArray[np.int64]) -> ArraySamples:
        return ArraySamples(self.images[indices], self.labels[indices])

    def readable(self) -> ArraySamples:
        return self


def _fingerprint(*arrays: NDArray[np.int64] | NDArray[np.uint64] | NDArray[np.uint8]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
