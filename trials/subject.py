"""What trials work on: the shipped model, compiled once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MODEL = ROOT / "models" / "image_classifier.keras"


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
