"""Where a model is written to: by one at a time, and nothing of a killed one stays."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trainer.errors import TrainerError

log = logging.getLogger(__name__)

CHECKPOINT, METRICS, CURVES, LEFT_OUT = (
    ".training.npz", ".metrics.json", ".curves.png", ".left_out.txt",
)  # fmt: skip
GO_ALONG = (METRICS, CURVES, LEFT_OUT)  # wherever the model is copied to
BESIDE = (CHECKPOINT, METRICS, CURVES, LEFT_OUT)  # the model file, with its name


def followed(output: Path) -> Path:
    """Where a link leads to: there the model shall lie, and the link shall stay."""
    return Path(os.path.realpath(output)) if output.is_symlink() else output


def promoting(output: Path) -> Path:
    """The folder of drafts of the one promote that may be at work on a model."""
    return output.with_name(f".promoting-{output.name}")


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Keep every other training, and every promote, from this model file until the end.

    Raises `TrainerError` if another one is at it, or nothing can be written there.
    """
    if output.is_dir():
        raise TrainerError(f"{output}: this is a folder; the model needs the name of a file")
    lock = output.with_suffix(".training.lock")
    is_new = not output.parent.exists()
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if is_new:
            log.info("%s: this folder was made, as there was none", output.parent)
        tempfile.TemporaryFile(dir=output.parent).close()
        fd = _locked(lock)
    except BlockingIOError:
        raise TrainerError(
            f"{output}: another training or promote is at work on this model: wait for it, or name "
            "another file"
        ) from None
    except OSError as error:
        raise TrainerError(
            f"{output}: the model could not be written here: {error.strerror}"
        ) from None
    try:
        _sweep(output)
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(fd)


def _locked(lock: Path) -> int:
    while True:
        fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever had it may have taken the name away since it was opened.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), lock.stat()):
                    return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _sweep(output: Path) -> None:
    """Drafts of this model and what goes with it, left by a training or promote that was killed."""
    shutil.rmtree(promoting(output), ignore_errors=True)
    ours = {output.name, *(output.with_suffix(suffix).name for suffix in BESIDE)}
    for folder in output.parent.glob(".saving-*"):
        with suppress(OSError):  # somebody else's, and gone by now
            if any(file.name in ours for file in folder.iterdir()):
                shutil.rmtree(folder)
