"""The file that `model:` names: whose word it is, and the one copy of it that everything else uses.

It is opened once. Who else can write it is judged, its digest is computed, and on the way into the
cache it is copied from the same open file: whoever replaces it later changes nothing.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from classifier.errors import ModelError
from classifier.trust import replaceable

# TensorFlow's own limit for a compiled program.
MAX_BYTES = 2_000_000_000
CHUNK = 1 << 20


@contextmanager
def opened(path: Path, pin: str | None = None) -> Iterator[tuple[BinaryIO, str]]:
    """(the open model file, its SHA-256). Raises `ModelError` for a file that is not to be trusted.

    pin: the SHA-256 that it must have, 64 digits. The file may then lie where others can write:
        what they would write has another digest.
    """
    if path.suffix != ".keras":
        raise ModelError(
            "a model is a .keras file. Load yours in Keras 3 and save it again with "
            "model.save('NAME.keras')"
        )
    with _open_regular(path) as file:
        try:
            if pin is None:
                _refuse_if_others_write(path, file)
            found = digest(file)
        except OSError as error:
            raise ModelError(f"the model cannot be read: {error.strerror}") from None
        if pin is not None and found != pin.lower():
            raise ModelError(
                f"its SHA-256 is {found}, and it is pinned to {pin} (`model_sha256:` in "
                "config.yaml): put the right file back, or pin the new one if you trust it"
            )
        yield file, found


def _open_regular(path: Path) -> BinaryIO:
    """Opening a device can do things, and opening a pipe waits for its writer: look first."""
    try:
        _check_kind(path.stat())
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ModelError(
            "there is no model here: give the name of one, or make one with `classifyd-train train`"
        ) from None
    except OSError as error:
        raise ModelError(f"the model cannot be read: {error.strerror}") from None
    try:
        _check_kind(os.fstat(fd))
        return os.fdopen(fd, "rb")
    except BaseException:
        os.close(fd)
        raise


def _check_kind(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, a socket or a device"
        raise ModelError(f"this is {kind}; a model is a file")
    if status.st_size > MAX_BYTES:
        raise ModelError(
            f"it has {status.st_size:,} bytes, and a model may have {MAX_BYTES:,}: "
            "train a smaller network"
        )


def digest(file: BinaryIO, target: BinaryIO | None = None) -> str:
    """SHA-256 of a whole file as 64 hex digits, copied to `target` on the way.

    Its first 12 digits name the model in results.csv.
    """
    file.seek(0)
    seen = hashlib.sha256()
    left = MAX_BYTES + 1  # of a file that grows without end meanwhile
    while left > 0 and (chunk := file.read(min(CHUNK, left))):
        seen.update(chunk)
        if target is not None:
            target.write(chunk)
        left -= len(chunk)
    return seen.hexdigest()


def digest_of(path: Path) -> str:
    """SHA-256 of a file of our own."""
    with path.open("rb") as file:
        return digest(file)


def copy(file: BinaryIO, expected: str, target: Path) -> None:
    """Keep the model in `target`, for this user alone."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as kept:
        copied = digest(file, kept)
    if copied != expected:
        raise ModelError("it was written to while it was read: start again when it is whole")


def _refuse_if_others_write(path: Path, file: BinaryIO) -> None:
    remedy = "or pin the model with `model_sha256:` in config.yaml"
    if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
        raise ModelError(f"every user can write to it: chmod o-w {path}, {remedy}")
    if how := replaceable(path):
        raise ModelError(f"{how}, {remedy}")
