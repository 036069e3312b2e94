"""A training, as far as it got, in one file: written after every epoch, read by `--resume`."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier.durable import naming, writing_whole
from trainer.errors import TrainerError

Arrays = list[NDArray[Any]]

OPTIONS = {
    "format": "the version of classifyd",
    "network": "--network",
    "height": "--input-size",
    "width": "--input-size",
    "channels": "--grey",
    "epochs": "--epochs",
    "patience": "--patience",
    "seed": "--seed",
    "mirror": "--no-mirror",
    "start": "--from",
}


@dataclass
class Progress:
    """What was reached.

    plan: what decides over the training; only the same training can go on from here.
    epoch: how many were finished. history: by metric, a value for each of them.
    weights: of the last epoch; best: of the epoch `best_epoch`, from 1.
    optimizer: its variables, here only while they are written or read.
    """

    plan: dict[str, Any]
    epoch: int = 0
    history: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    weights: Arrays = field(default_factory=list)
    optimizer: Arrays = field(default_factory=list)
    best: Arrays = field(default_factory=list)
    best_epoch: int = 0

    _ARRAYS = ("weights", "optimizer", "best")

    def save(self, path: Path) -> None:
        """Put it into the place of the last one, whole or not at all."""
        said = {k: v for k, v in vars(self).items() if k not in self._ARRAYS}
        # A zip's names have no checksum: by a flipped bit in one, an array would be missing.
        counts = [len(getattr(self, name)) for name in self._ARRAYS]
        # Straight into the file: a large network's weights stand in memory often enough.
        with writing_whole(path) as file, zipfile.ZipFile(file, "w") as archive:
            _write_array(archive, "said", np.array(json.dumps([said, counts])))
            for name in self._ARRAYS:
                for number, array in enumerate(getattr(self, name)):
                    _write_array(archive, f"{name}{number}", array)

    @classmethod
    def load(cls, path: Path) -> Progress:
        """Raises `TrainerError` if there is none, or if it is damaged, `OSError` if the disk does
        not give it."""
        try:
            with naming(path):
                content = path.read_bytes()
        except FileNotFoundError:
            raise TrainerError(
                f"{path}: there is no training to go on with: leave --resume out"
            ) from None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                said, counts = json.loads(str(file["said"]))
                progress = cls(**said)
                for name, count in zip(cls._ARRAYS, counts, strict=True):
                    setattr(progress, name, [file[f"{name}{i}"] for i in range(count)])
                return progress
        except Exception as error:  # of bytes in memory: a damaged zip has many ways to fail
            raise TrainerError(
                f"{path}: this is damaged ({error}): delete it, and train without --resume"
            ) from None

    def check(self, plan: dict[str, Any], path: Path) -> None:
        """Raise `TrainerError` if this is the beginning of another training than of this plan, or
        of this part of one."""
        differing = [key for key, value in plan.items() if self.plan.get(key) != value]
        if differing:
            # Each by the option that decides it; what no option does follows from the images.
            options = dict.fromkeys(OPTIONS.get(key, "the data") for key in differing)
            raise TrainerError(
                f"{path}: this is the beginning of another training; it differs in "
                f"{', '.join(options)}. Give the same data and options again, or delete it and "
                "train without --resume"
            )


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    """As `np.savez` does it, whose archive is closed by nobody after a failed write."""
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
