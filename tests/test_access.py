"""Why a user may not go somewhere: asked by a real process of another user."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import ROOT

from daemon.access import denied

PROGRAM = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from daemon.access import denied
os.setgid(65534); os.setuid(65534)
print(denied(Path(sys.argv[2]), int(sys.argv[3])))
"""


def told(folder: Path, mode: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(ROOT), str(folder), str(mode)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.fixture
def open_folder() -> Path:
    """One that everybody may enter; pytest's own ones are closed."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    return folder


def test_nothing_is_denied_to_the_owner(tmp_path: Path) -> None:
    assert denied(tmp_path, os.R_OK | os.W_OK | os.X_OK) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as another user")
def test_the_folder_on_the_way_is_named(open_folder: Path) -> None:
    inbox = open_folder / "closed" / "inbox"
    inbox.mkdir(parents=True)
    assert told(inbox, os.R_OK | os.X_OK) == "None"
    assert told(inbox, os.W_OK | os.X_OK) == (
        f"the user nobody may not write to {inbox} (drwxr-xr-x root): chmod or chown it, or allow "
        f"just this user: setfacl -m u:nobody:wx {inbox}"
    )
    inbox.parent.chmod(0o700)
    assert told(inbox, os.R_OK | os.X_OK) == (
        f"the user nobody may not enter {inbox.parent} (drwx------ root): chmod or chown it, or "
        f"allow just this user: setfacl -m u:nobody:x {inbox.parent}"
    )
