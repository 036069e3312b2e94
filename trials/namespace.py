"""A part of a trial that mounts file systems, where nobody else sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any
from unittest import SkipTest

from trials.subject import ROOT

# As root; or as a user who is root in a namespace of his own.
WAYS = (["--mount"], ["--user", "--map-root-user", "--mount"])


def in_own_mounts(module: str, *arguments: object, seconds: float) -> Any:
    """Run `python -m MODULE ARGUMENT...` with mounts of its own; what it printed, from JSON.

    Raises `SkipTest` where this user may not mount anything.
    """
    done = subprocess.run(
        ["unshare", *_way(), sys.executable, "-m", module, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _way() -> list[str]:
    words = "there is no unshare"
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            try:
                tried = subprocess.run(
                    ["unshare", *way, "mount", "-t", "tmpfs", "tmpfs", folder],
                    capture_output=True, text=True, timeout=60, check=False,
                )  # fmt: skip
            except FileNotFoundError:
                break
            if tried.returncode == 0:
                return way
            words = tried.stderr.strip()
    raise SkipTest(f"neither as root nor in a user namespace can we mount: {words}")
