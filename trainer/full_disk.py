"""A disk without room costs no finished training: what is to be written waits for it."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from classifier.room import FULL, has_room

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
WEIGHT_BYTES = 4  # float32
# A checkpoint holds the weights of the last epoch and of the best one, and of most optimizers two
# values for each weight; the next one is written beside it.
CHECKPOINT_COPIES = 4
OVERHEAD_BYTES = 1 << 16  # of a model file: names, layers, contract

Result = TypeVar("Result")


def model_bytes(parameters: int) -> int:
    """About how many bytes a model file of so many weights takes."""
    return parameters * WEIGHT_BYTES + OVERHEAD_BYTES


def warn_of_little_room(output: Path, parameters: int) -> None:
    """Log it if the disk has less room than the training of such a model will take.

    output: the model file, in a folder that is there.
    """
    needed = 2 * CHECKPOINT_COPIES * parameters * WEIGHT_BYTES
    free = shutil.disk_usage(output.parent).free
    if free < needed:
        log.warning(
            "%s: there are %s free, and model and checkpoint take up to %s: make room meanwhile, "
            "or checkpoints are left out and the finished training waits for it",
            output.parent, _megabytes(free), _megabytes(needed),
        )  # fmt: skip


def when_there_is_room(
    path: Path, size: int, checkpoint: Path, write: Callable[[], Result]
) -> Result:
    """What `write` gives, which writes about `size` bytes to `path`: tried again for as long as the
    disk is full.

    checkpoint: what the training could go on from, if it is there. Raises what `write` raises for
    other reasons.
    """
    waiting = False
    while True:
        try:
            result = write()
        except Exception as error:  # libraries make other errors of a full disk, too
            full = isinstance(error, OSError) and error.errno in FULL
            if not full and has_room(path.parent, size):
                raise
        else:
            if waiting:
                log.info("%s: there is room again", path)
            return result
        if not waiting:
            left = "ends it, and --resume goes on from its checkpoint"
            log.warning(
                "%s: the disk is full; this file takes about %s. The training is done and waits: "
                "make room, and it is written. It tries again by itself every %d seconds. Ctrl-C "
                "%s",
                path, _megabytes(size), RETRY_SECONDS,
                left if checkpoint.exists() else "gives the training up",
            )  # fmt: skip
        waiting = True
        time.sleep(RETRY_SECONDS)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.2f} MB"
