"""Folders of class folders, or CIFAR-10 ▸ a data set, or an error that says what to do about it."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from classifier.contract import Contract
from classifier.errors import ModelError
from classifier.quiet import quiet
from trainer.duplicates import warn_of_copies, warn_of_leaks
from trainer.errors import DataError
from trainer.files import PassedOver, find_images, listing, shown
from trainer.samples import ArraySamples, FileSamples, Samples
from trainer.screening import THREADS, tell_shrunk

__all__ = ["THREADS", "DataSet", "FileSamples", "Samples", "load", "load_folder"]

log = logging.getLogger(__name__)

CIFAR10_LABELS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
# What people call the parts of a data set. Folders of such names alone are not taken for classes.
PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


@dataclass(frozen=True)
class DataSet:
    """names: of the classes, in the order of the labels. test: None where the data has none."""

    name: str
    names: tuple[str, ...]
    train: Samples
    test: Samples | None

    def readable(self) -> DataSet:
        """Without the images that cannot be decoded, which the log tells. It warns of images that
        are there twice, too. Raises `DataError` for a class that has no other."""
        train, test = self.train.readable(), self.test and self.test.readable()
        for part, samples in (("training", train), ("test", test)):
            if samples is not None and (gone := {*range(len(self.names))} - {*samples.labels}):
                names = ", ".join(shown(self.names[label]) for label in sorted(gone))
                raise DataError(f"none of the {part} images of these classes can be read: {names}")
        seen = [*map(shown, self.names)]
        tell_shrunk(seen, self.train.labels, train.labels, "training ")
        if self.test is not None and test is not None:
            tell_shrunk(seen, self.test.labels, test.labels, "test ")
        if isinstance(train, FileSamples):
            warn_of_copies(train)
            if isinstance(test, FileSamples):
                warn_of_leaks(train, test)
        return replace(self, train=train, test=test)

    @property
    def left_out(self) -> Iterator[tuple[str, str]]:
        """(path, reason) of every image that `readable` left out."""
        for samples in (self.train, self.test):
            if isinstance(samples, FileSamples):
                yield from samples.left_out


def load(data: str, shape: tuple[int, int, int]) -> DataSet:
    """`cifar10`, or a folder: `train/<class>/…` with `test/<class>/…`, or `<class>/…` alone."""
    return _load_cifar10(shape) if data == "cifar10" else load_folder(Path(data), shape)


def load_folder(folder: Path, shape: tuple[int, int, int]) -> DataSet:
    """A data set on disk. Raises `DataError` if its folders are not as they should be."""
    parts = _Parts.of(folder)
    test = load_classes(parts.test, parts.names, shape) if parts.test else None
    train = load_classes(parts.train, parts.names, shape)
    return DataSet(shown(folder.resolve().name), parts.names, train, test)


def load_to_measure(
    data: str, shape: tuple[int, int, int]
) -> tuple[tuple[str, ...], Samples, bool]:
    """Names of the classes; the images of `test/`, or all if there is none; whether there is.

    Beside a `test/`, only the names of the folders in `train/` are looked at: they may hold
    millions of images, or none any more. Raises `DataError`.
    """
    if data == "cifar10":
        found = _load_cifar10(shape)
        return found.names, found.test or found.train, found.test is not None
    parts = _Parts.of(Path(data))
    samples = load_classes(parts.test or parts.train, parts.names, shape)
    return parts.names, samples, parts.test is not None


@dataclass(frozen=True)
class _Parts:
    """Where the class folders of a data set lie. test: None where it has none."""

    names: tuple[str, ...]
    train: Path
    test: Path | None

    @classmethod
    def of(cls, folder: Path) -> _Parts:
        """Raises `DataError` if the folders are not as they should be."""
        if not folder.is_dir():
            raise DataError(
                f"{shown(folder)}: there is no such folder. Give a folder that has one folder of "
                "images for every class, or `--data cifar10`"
            )
        inside = listing(folder)
        # With no folder inside, `train` is a class like any other: pictures of trains.
        is_split = "train" in inside.folders and bool(listing(folder / "train").folders)
        if not is_split:
            if inside.folders and {name.lower() for name in inside.folders} <= PARTS:
                raise DataError(
                    f"{shown(folder)}: its folders are called {_listed(inside.folders)}, which are "
                    "parts of a data set and no classes. Make them train/<class>/... and, if you "
                    "like, test/<class>/..., with one folder of images for every class"
                )
            return cls(class_names(folder), folder, None)
        names = class_names(folder / "train")
        if unused := sorted({*inside.folders} - {"train", "test"}):
            log.warning("%s: not used, as they are neither train nor test: %s", shown(folder),
                        _listed(unused))  # fmt: skip
        _warn_of_strays(folder, inside.images)
        has_test = "test" in inside.folders
        if has_test:
            _check_test(folder / "test", names)
        return cls(names, folder / "train", folder / "test" if has_test else None)


def _check_test(folder: Path, names: Sequence[str]) -> None:
    inside = listing(folder)
    if {*inside.folders} != {*names}:
        raise DataError(
            f"{shown(folder.parent)}: train/ and test/ must hold the same classes, but "
            f"{difference(names, inside.folders, ('in train/', 'in test/'))}"
        )
    _warn_of_strays(folder, inside.images)


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted: a class each. Raises `DataError` if they cannot be."""
    names, images, hidden = listing(folder)
    if hidden:
        log.warning("%s: hidden folders are no classes: %s", shown(folder), _listed(hidden))
    if len(names) < 2:
        found = f"1: {shown(names[0])}" if names else "none"
        if images:
            found += f", and {images:,} images that are in no folder"
        raise DataError(
            f"{shown(folder)}: a classifier needs at least two classes, so at least two folders of "
            f"images here, each named after what it shows; found {found}"
        )
    try:
        Contract(names, 1, 1, 1)
    except ModelError as error:
        raise DataError(f"{shown(folder)}: {error}: rename this folder") from None
    check_apart(names, shown(folder))
    _warn_of_strays(folder, images)
    return names


def check_apart(names: Sequence[str], where: str) -> None:
    """Raise `DataError` if a person takes some of these names for the same; of such as differ in
    case alone, only warn."""
    for one, other, how in look_alikes(names, names):
        if one > other:  # each pair comes both ways round
            continue
        pair = f"{where}: the classes {one!r} and {other!r} differ in {how} alone"
        if how == CASE:  # as of letters: A and a
            log.warning("%s", pair)
        else:
            raise DataError(f"{pair}: rename one, or make them one")


CASE, SPACES, ENCODING = "upper and lower case", "spaces at an end", "how Unicode encodes them"


def look_alikes(names: Sequence[str], others: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """(name, other name, what they differ in alone) for what a person takes for the same."""
    for how, key in (
        (ENCODING, lambda name: unicodedata.normalize("NFKC", name)),
        (SPACES, str.strip),
        (CASE, str.casefold),
    ):
        like: dict[str, list[str]] = {}
        for other in others:
            like.setdefault(key(other), []).append(other)
        for name in names:
            yield from ((name, o, how) for o in like.get(key(name), ()) if o != name)


def difference(names: Sequence[str], others: Sequence[str], places: tuple[str, str]) -> str:
    """Which names are in one of two lists alone, and whether some of them only look different.

    places: what the two lists are, as `in train/`.
    """
    mine, theirs = sorted({*names} - {*others}), sorted({*others} - {*names})
    text = "; ".join(
        f"{place} alone: {_listed(alone)}"
        for place, alone in zip(places, (mine, theirs), strict=True)
        if alone
    )
    for one, other, how in look_alikes(mine, theirs):
        text += f"; {one!r} and {other!r} differ in {how} alone: rename one"
    return text


def load_classes(folder: Path, names: Sequence[str], shape: tuple[int, int, int]) -> FileSamples:
    """The images of `folder/<name>/…` for every class name; the log says what is passed over."""
    passed_over = PassedOver()
    files, labels = find_images(folder, names, passed_over)
    if passed_over.kinds:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(passed_over.kinds.items()))
        log.warning("%s: images of these kinds are not read: %s. Convert them to JPEG or PNG",
                    shown(folder), kinds)  # fmt: skip
    if passed_over.folder_links:
        log.warning("%s: links to folders inside a class are not followed: %d", shown(folder),
                    passed_over.folder_links)  # fmt: skip
    return FileSamples(files, np.arange(len(files)), labels, shape)


def _warn_of_strays(folder: Path, images: int) -> None:
    if images:
        log.warning("%s: images in no class folder are left out: %s", shown(folder), f"{images:,}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names))


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
