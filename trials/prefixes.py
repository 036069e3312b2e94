"""A file that ends too early is never classified, wherever it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from unittest import mock

import cv2

from classifier import decode, jpeg
from classifier.errors import ImageError
from classifier.quiet import Overheard
from trials.pictures import jpegs_and_pngs
from trials.report import Report
from trials.subject import compiled_cache

SAMPLE = {True: 100, False: 2000}  # of the prefixes, those that a daemon is given


def is_taken(data: bytes) -> bool:
    try:
        # libpng speaks to stderr, too, but there is nothing in it that the error does not say.
        with Overheard() if data.startswith(b"\x89") else contextlib.nullcontext():
            decode.decode(data, 32, 32, 3)
    except ImageError:
        return False
    return True


def taken(files: Mapping[str, bytes]) -> list[tuple[str, int]]:
    """(name, length) of every proper prefix that is decoded."""
    return [
        (name, length)
        for name, data in files.items()
        for length in range(len(data))
        if is_taken(data[:length])
    ]


def taken_unguarded(files: Mapping[str, bytes], file: Path) -> list[tuple[str, int]]:
    """The same as most programs do it: OpenCV reads the file, and nobody hears its warnings."""

    def from_path(data: bytes, flags: int) -> cv2.typing.MatLike:
        file.write_bytes(data)
        image = cv2.imread(str(file), flags)
        if image is None:
            raise ImageError("the image is damaged")
        return image

    with (
        mock.patch.object(decode, "_decoded", from_path),
        mock.patch.object(jpeg, "heard", return_value=jpeg.Heard("", False, b"")),
    ):
        return taken(files)


def check_daemon(work: Path, files: Mapping[str, bytes], count: int) -> None:
    """Whole files are classified among prefixes, which are failed."""
    from daemon_process import Project

    (work / "project").mkdir()
    project = Project(work / "project", compiled_cache(), thumbnails={"when": "none"})
    every = [(name, length) for name, data in files.items() for length in range(len(data))]
    # Those that lack least are the most like whole ones.
    last = [(name, len(data) - missing) for name, data in files.items() for missing in (1, 2)]
    some = {*every[:: len(every) // count], *last}
    for name, length in some:
        (project.inbox / f"{length}-{name}").write_bytes(files[name][:length])
    for name, data in files.items():
        (project.inbox / name).write_bytes(data)
    once = project.classifyd("run", "--once")
    assert once.returncode == 0, once.stderr
    status = {Path(row["path"]).name: row["status"] for row in project.rows}
    assert status == dict.fromkeys(files, "classified") | {
        f"{length}-{name}": "failed" for name, length in some
    }, f"not as it should be: {[item for item in status.items() if '-' in item[0]][:10]}"
    assert project.classifyd("verify").returncode == 0


def run(work: Path, *, short: bool) -> Report:
    files = jpegs_and_pngs()
    assert not [name for name, data in files.items() if not is_taken(data)]
    prefixes = sum(map(len, files.values()))
    found = taken(files)
    assert not found, f"{len(found)} prefixes are decoded, such as {found[0]}"
    check_daemon(work, files, SAMPLE[short])

    # Only JPEGs: of a PNG that ends too early, imread gives nothing either.
    chosen = ["grey.jpg"] if short else [name for name in files if name.endswith(".jpg")]
    unguarded = taken_unguarded({name: files[name] for name in chosen}, work / "prefix.jpg")
    assert unguarded, "no prefix is decoded without the guard, so this trial shows nothing"
    return Report(
        title="A file that ends too early is never classified",
        done=f"Every proper prefix of {len(files)} files ({', '.join(files)}) was given to the "
        f"decoder, {prefixes:,} in all, and some {SAMPLE[short]:,} of them to a daemon, with the "
        "whole files among them.",
        result="None was decoded. In results.csv all of them have failed, and the whole files are "
        "classified.",
        control="With OpenCV reading from the path and no ear for libjpeg's warnings, "
        f"{len(unguarded):,} of {sum(len(files[name]) for name in chosen):,} prefixes of "
        f"{', '.join(chosen)} are decoded as if they were whole.",
    )
