"""Folders of class folders, or CIFAR-10 ▸ samples: uint8 images and integer labels.

Files are read through `classifier.read` and `classifier.decode`, as serving does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.decode import decode
from classifier.errors import ImageError
from classifier.quiet import quiet
from classifier.read import read
from trainer.errors import DataError

log = logging.getLogger(__name__)

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})
CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
THREADS = 2  # OpenCV decodes outside Python's lock


class Samples(Protocol):
    """Images with their labels, some of which are taken at a time."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,): the class of every image."""
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


@dataclass(frozen=True)
class FileSamples:
    """Images on disk; a batch is decoded when it is asked for, so memory does not grow with n."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]  # height, width, channels

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._decoded(index) for index in indices])

    def subset(self, indices: NDArray[np.int64]) -> FileSamples:
        return FileSamples(tuple(self.paths[i] for i in indices), self.labels[indices], self.shape)

    def readable(self) -> FileSamples:
        """Those of them that can be decoded. Reads all of them once."""

        def is_readable(index: int) -> bool:
            try:
                self._decoded(index)
            except DataError as error:
                log.warning("left out: %s", error)
                return False
            return True

        with ThreadPoolExecutor(THREADS) as pool:
            return self.subset(np.flatnonzero([*pool.map(is_readable, range(len(self.paths)))]))

    def _decoded(self, index: int | np.int64) -> NDArray[np.uint8]:
        path = self.paths[index]
        try:
            # Links are followed: a data set may well be made of links into another one.
            return decode(read(os.path.realpath(path)).data, *self.shape).pixels
        except ImageError as error:
            raise DataError(f"{str(path)!r}: {error}") from None


@dataclass(frozen=True)
class ArraySamples:
    """Images in memory, uint8 (n, height, width, channels)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[indices]

    def subset(self, indices: NDArray[np.int64]) -> ArraySamples:
        return ArraySamples(self.images[indices], self.labels[indices])

    def readable(self) -> ArraySamples:
        return self


@dataclass(frozen=True)
class DataSet:
    """names: of the classes, in the order of the labels. test: None where the data has none."""

    name: str
    names: tuple[str, ...]
    train: Samples
    test: Samples | None


def load(data: str, shape: tuple[int, int, int]) -> DataSet:
    """`cifar10`, or a folder: `train/<class>/…` with `test/<class>/…`, or `<class>/…` alone."""
    return _load_cifar10(shape) if data == "cifar10" else load_folder(Path(data), shape)


def load_folder(folder: Path, shape: tuple[int, int, int]) -> DataSet:
    """A data set on disk. Raises `DataError` if its folders are not as they should be."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder. Give a folder that has one folder of images for "
            "every class, or `--data cifar10`"
        )
    # With no folder inside, `train` is a class like any other: pictures of trains.
    is_split = bool(_folders(folder / "train"))
    train_folder = folder / "train" if is_split else folder
    names = class_names(train_folder)
    test = None
    if is_split and (folder / "test").is_dir():
        if differing := sorted(set(_folders(folder / "test")) ^ set(names)):
            raise DataError(
                f"{folder}: train/ and test/ must hold the same classes, but these are in one "
                f"alone: {', '.join(differing)}"
            )
        test = load_classes(folder / "test", names, shape)
    name = folder.resolve().name
    return DataSet(name, names, load_classes(train_folder, names, shape), test)


def _folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted: a class each."""
    names = _folders(folder)
    if len(names) < 2:
        raise DataError(
            f"{folder}: a classifier needs at least two classes, so at least two folders of images "
            f"here; found {len(names)}"
        )
    return tuple(names)


def load_classes(folder: Path, names: Iterable[str], shape: tuple[int, int, int]) -> FileSamples:
    """The images of `folder/<name>/…`, at any depth, for every class name, sorted by path."""
    paths: list[Path] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        found = sorted(
            path
            for path in (folder / name).rglob("*")
            if path.suffix.lower() in EXTENSIONS
            # An editor's copies, thumbnails of a file manager, .ipynb_checkpoints.
            and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        )
        if not found:
            kinds = " ".join(sorted(EXTENSIONS))
            raise DataError(f"{folder / name}: no image is in this class ({kinds}): add some, or "
                            "take the folder away")  # fmt: skip
        paths += found
        labels += [label] * len(found)
    return FileSamples(tuple(paths), np.array(labels, np.int64), shape)


def hold_out(
    labels: NDArray[np.int64], names: Sequence[str], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices (kept, held out): the same share of every class, at least one image of each."""
    random = np.random.default_rng(seed)
    held = []
    for label, name in enumerate(names):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"class {name}: {len(members)} readable images: at least two are needed, one to "
                "learn from and one to check on"
            )
        count = max(1, round(len(members) * share))
        held.append(random.permutation(members)[:count])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def _load_cifar10(shape: tuple[int, int, int]) -> DataSet:
    with quiet():  # the backend greets
        import keras

    if shape != (32, 32, 3):
        raise DataError(f"CIFAR-10 has images of 32x32x3, and this model takes {shape}")

    try:
        (images, labels), (test_images, test_labels) = keras.datasets.cifar10.load_data()
    except Exception as error:  # a refused connection surfaces as a bare Exception in Keras
        raise DataError(
            f"CIFAR-10 could not be downloaded ({error}). Without a network, put the images into "
            "folders, train/<class>/ and test/<class>/, and give `--data FOLDER`"
        ) from None
    return DataSet(
        "CIFAR-10",
        CIFAR10_LABELS,
        ArraySamples(images, labels.reshape(-1).astype(np.int64)),
        ArraySamples(test_images, test_labels.reshape(-1).astype(np.int64)),
    )
