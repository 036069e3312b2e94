"""What a part is given to measure with."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "image_classifier.keras"
ACCURATE = ROOT / "models" / "accurate_classifier.keras"


@dataclass(frozen=True)
class Setup:
    """scratch: a folder for everything, gone afterwards; what parts share is in scratch/shared.
    data: a folder with real images, or None. repeats: how often everything is measured, in turn.
    short: sizes that only show that it works; its figures mean nothing.
    million: whether the part `scale` goes up to a million files.
    """

    scratch: Path
    data: Path | None = None
    repeats: int = 5
    short: bool = False
    million: bool = False

    @property
    def shared(self) -> Path:
        folder = self.scratch / "shared"
        folder.mkdir(exist_ok=True)
        return folder

    def folder(self) -> Path:
        """A new, empty one."""
        return Path(tempfile.mkdtemp(dir=self.scratch))


def processors() -> list[int]:
    """Those that this process may use, by their numbers."""
    return sorted(os.sched_getaffinity(0))
