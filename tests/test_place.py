"""Where a training writes to: one at a time, and nothing of a killed one stays."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.errors import TrainerError
from trainer.place import claimed

HOLD = """
import sys
from pathlib import Path
from trainer.place import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(output: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, output],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_trainings_of_one_model(tmp_path: Path) -> None:
    output = tmp_path / "model.keras"
    with holder(output) as process:
        with (
            pytest.raises(TrainerError, match="another training or promote is at work"),
            claimed(output),
        ):
            pass
        with claimed(tmp_path / "another.keras"):
            pass
        process.communicate()
    with claimed(output):
        pass
    assert not [*tmp_path.iterdir()]


def test_a_killed_one_is_in_nobodys_way(tmp_path: Path) -> None:
    output = tmp_path / "model.keras"
    with holder(output) as process:
        process.kill()
    ours, others = tmp_path / ".saving-a", tmp_path / ".saving-b"
    for folder, name in ((ours, "model.training.npz"), (others, "model.2.training.npz")):
        folder.mkdir()
        (folder / name).touch()
    with claimed(output):
        assert not ours.exists()
    assert [*tmp_path.iterdir()] == [others]


KILLED_IN_SAVING = """
import os, signal, sys
from pathlib import Path
from classifier import contract as contracts
from classifier.contract import Contract
from trainer.place import claimed

class Model:
    def save(self, filepath):
        Path(filepath).write_bytes(b"half a model")
        os.kill(os.getpid(), signal.SIGKILL)

with claimed(Path(sys.argv[1])):
    contracts.write(Model(), Path(sys.argv[1]), Contract(("cat", "dog"), 32, 32, 3))
"""


def test_the_draft_of_a_model_is_swept_by_its_own_training(tmp_path: Path) -> None:
    pets, model = tmp_path / "pets.keras", tmp_path / "model.keras"
    done = subprocess.run([sys.executable, "-c", KILLED_IN_SAVING, pets], check=False)
    assert done.returncode == -signal.SIGKILL
    (draft,) = tmp_path.glob(".saving-*/*")
    with claimed(model):
        assert draft.exists()
    with claimed(pets):
        assert not draft.parent.exists()
    assert not [*tmp_path.iterdir()]


def test_a_lock_file_that_has_gone_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its opening and its locking, one training ended and another one began."""
    output = tmp_path / "model.keras"
    lock = fcntl.flock
    with contextlib.ExitStack() as others:
        first = others.enter_context(holder(output))

        def meanwhile(fd: int, how: int) -> None:
            monkeypatch.setattr(fcntl, "flock", lock)
            first.communicate()
            others.enter_context(holder(output))
            lock(fd, how)

        monkeypatch.setattr(fcntl, "flock", meanwhile)
        with (
            pytest.raises(TrainerError, match="another training or promote is at work"),
            claimed(output),
        ):
            pass


def test_no_place_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for output, what in (
        (tmp_path, "this is a folder"),
        (tmp_path / "file" / "a.keras", "could not be"),
    ):
        with pytest.raises(TrainerError, match=what), claimed(output):
            pass


def test_a_folder_that_is_made_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    for _ in range(2):
        with claimed(tmp_path / "not" / "there" / "model.keras"):
            pass
    assert caplog.messages == [f"{tmp_path}/not/there: this folder was made, as there was none"]
