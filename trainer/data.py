"""Folders of class folders, or CIFAR-10 ▸ samples: uint8 images and integer labels.

Files are read through `classifier.read` and `classifier.decode`, as serving does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.decode import decode
from classifier.errors import ImageError
from classifier.read import read
from trainer.errors import DataError

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


@dataclass(frozen=True)
class FileSamples:
    """Images on disk; a batch is decoded when it is asked for, so memory does not grow with n."""

    paths: tuple[Path, ...]
    labels: NDArray[np.int64]
    shape: tuple[int, int, int]  # height, width, channels

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.stack([self._decoded(self.paths[index]) for index in indices])

    def subset(self, indices: NDArray[np.int64]) -> FileSamples:
        return FileSamples(tuple(self.paths[i] for i in indices), self.labels[indices], self.shape)

    def broken(self) -> list[tuple[int, str]]:
        """(index, reason) of every image that cannot be decoded. Reads all of them once."""

        def reason(index: int) -> str | None:
            try:
                self._decoded(self.paths[index])
            except ImageError as error:
                return str(error)
            return None

        with ThreadPoolExecutor(THREADS) as pool:
            reasons = pool.map(reason, range(len(self.paths)))
            return [(index, text) for index, text in enumerate(reasons) if text is not None]

    def _decoded(self, path: Path) -> NDArray[np.uint8]:
        return decode(read(str(path)).data, *self.shape).pixels


@dataclass(frozen=True)
class ArraySamples:
    """Images in memory, uint8 (n, height, width, channels)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def pixels(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.images[indices]

    def subset(self, indices: NDArray[np.int64]) -> ArraySamples:
        return ArraySamples(self.images[indices], self.labels[indices])


@dataclass(frozen=True)
class DataSet:
    """names: of the classes, in the order of the labels. test: None where the data has none."""

    name: str
    names: tuple[str, ...]
    train: Samples
    test: Samples | None


def load(data: str, shape: tuple[int, int, int]) -> DataSet:
    """`cifar10`, or a folder: `train/<class>/…` with `test/<class>/…`, or `<class>/…` alone."""
    return _load_cifar10() if data == "cifar10" else load_folder(Path(data), shape)


def load_folder(folder: Path, shape: tuple[int, int, int]) -> DataSet:
    """A data set on disk. Raises `DataError` if its folders are not as they should be."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder. Give a folder that has one folder of images for "
            "every class, or `--data cifar10`"
        )
    train_folder = folder / "train" if (folder / "train").is_dir() else folder
    names = class_names(train_folder)
    test = None
    if train_folder != folder and (folder / "test").is_dir():
        if class_names(folder / "test") != names:
            differing = sorted(set(class_names(folder / "test")) ^ set(names))
            raise DataError(
                f"{folder}: train/ and test/ must hold the same classes, but these are in one "
                f"alone: {', '.join(differing)}"
            )
        test = load_classes(folder / "test", names, shape)
    return DataSet(folder.name, names, load_classes(train_folder, names, shape), test)


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted: a class each."""
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
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
            if path.suffix.lower() in EXTENSIONS and not path.name.startswith(".")
        )
        if not found:
            kinds = " ".join(sorted(EXTENSIONS))
            raise DataError(f"{folder / name}: no image is in this class ({kinds}): add some, or "
                            "take the folder away")  # fmt: skip
        paths += found
        labels += [label] * len(found)
    return FileSamples(tuple(paths), np.array(labels, np.int64), shape)


def hold_out(labels: NDArray[np.int64], share: float, seed: int) -> tuple[
    NDArray[np.int64], NDArray[np.int64]
]:  # fmt: skip
    """Indices (kept, held out): the same share of every class, at least one image of each."""
    random = np.random.default_rng(seed)
    held = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"class number {label + 1} has a single image: at least two are needed, one to "
                "learn from and one to check on"
            )
        count = max(1, round(len(members) * share))
        held.append(random.permutation(members)[:count])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), out), out


def _load_cifar10() -> DataSet:
    import keras

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
