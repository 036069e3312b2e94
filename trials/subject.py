"""What trials work on: the shipped model, compiled once, small images, and patched programs."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon_process import Project

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "image_classifier.keras"

# `python -m daemon`, with the end of standard input as a starting gun when all is imported.
GATED = """
import os, sys
sys.argv[0] = "classifyd"
import daemon.__main__, daemon.backfill, daemon.service, daemon.settings
{patch}
os.read(0, 1)
sys.exit(daemon.__main__.main())
"""


def compiled_cache() -> Path:
    """A cache of compiled models that holds the shipped one; made once, as it takes many seconds.

    It lies in the folder for temporary files, where others may write, in one that is ours alone.
    """
    from classifier.compile import compiled

    folder = Path(tempfile.gettempdir(), f"classifyd-trials-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()  # a folder of another user, or a link, was put there on purpose
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise AssertionError(f"{folder} is not ours alone: remove it, or set TMPDIR")
    compiled(MODEL, folder / "models")
    return folder / "models"


def tiny_jpegs(count: int, first: int = 0) -> list[bytes]:
    """Pictures of 8 by 8 pixels, some hundred bytes each, no two with the same bytes."""
    import cv2
    import numpy as np

    random = np.random.default_rng(0)
    grey = [random.integers(0, 256, (8, 8, 3), dtype=np.uint8) for _ in range(8)]
    whole = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in grey]
    # A comment with a number of its own, right after the marker that begins a JPEG.
    return [
        b"\xff\xd8\xff\xfe\x00\x06" + number.to_bytes(4) + whole[number % 8][2:]
        for number in range(first, first + count)
    ]


def gated(patch: str = "") -> list[str]:
    """A `classifyd` that starts when its standard input ends.

    patch: Python that runs before, such as one that takes out a guard.
    """
    return [sys.executable, "-c", GATED.format(patch=patch)]


def patched_project(folder: Path, cache: Path, patch: str, **settings: Any) -> Project:
    """A project whose commands run with a guard taken out; with an empty patch, as they are."""
    from daemon_process import Project

    class Patched(Project):
        def command(self, name: str, *arguments: object) -> list[str]:
            words = super().command(name, *arguments)
            return [*gated(patch), *words[words.index(name) :]] if patch else words

    return Patched(folder, cache, **settings)
