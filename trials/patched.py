"""Small images, and a `classifyd` with a guard taken out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon_process import Project

# `python -m daemon`, with the end of standard input as a starting gun when all is imported.
GATED = """
import os, sys
sys.argv[0] = "classifyd"
import daemon.__main__, daemon.backfill, daemon.service, daemon.settings
{patch}
os.read(0, 1)
sys.exit(daemon.__main__.main())
"""


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
