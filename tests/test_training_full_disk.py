"""classifyd-train train on a disk without room: no finished training is lost for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from daemon_process import wait_for
from test_trainer import COMMAND, draw_discs

from classifier import contract as contracts
from classifier.durable import write_whole

SECONDS = 240  # for a whole training, on a machine that has much else to do
# 0.3 MB are free beside the ballast: neither the checkpoint (2 MB) nor the model (0.5 MB) fits.
SMALL_DISK = """
trap '' INT
mkdir disk kept
mount -t tmpfs -o size=1200k tmpfs disk
head -c 900k /dev/zero > disk/ballast
"$@"
code=$?
cp disk/* kept/
exit $code
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a mount namespace: root, or user namespaces")
    draw_discs(tmp_path / "discs", 4, seed=1)
    return tmp_path


@contextmanager
def training(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A training that is done, and waits for room; its disk, as seen from here."""
    arguments = ["train", "--data", "discs", "--epochs", "1", "--output", "disk/model.keras"]
    said = folder / "log"
    with said.open("w") as log:
        process = subprocess.Popen(
            ["unshare", "-rm", "sh", "-c", SMALL_DISK, "sh", *COMMAND, *arguments],
            cwd=folder, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        wait_for(
            lambda: "disk is full" in said.read_text() or process.poll() is not None,
            "it waits",
            SECONDS,
        )
        yield process, Path(f"/proc/{process.pid}/root") / folder.relative_to("/") / "disk"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_finished_training_waits_for_room(folder: Path) -> None:
    with training(folder) as (process, disk):
        lines = (folder / "log").read_text().splitlines()
        assert any(
            line.startswith("disk: there are 0.31 MB free, and model and checkpoint take up to 3.")
            for line in lines
        ), lines
        assert (
            "disk/model.keras: the disk is full; this file takes about 0.55 MB. The training is "
            "done and waits: make room, and it is written. It tries again by itself every 5 "
            "seconds. Ctrl-C gives the training up"
        ) in lines
        assert {path.name for path in disk.iterdir()} == {"ballast", "model.training.lock"}
        (disk / "ballast").unlink()
        assert process.wait(SECONDS) == 0, (folder / "log").read_text()
    kept = folder / "kept"
    assert {path.name for path in kept.iterdir()} == {
        "model.keras", "model.metrics.json", "model.curves.png",
    }  # fmt: skip
    assert contracts.read(kept / "model.keras") is not None
    assert "disk/model.keras: there is room again" in (folder / "log").read_text()


def test_the_wait_for_room_can_be_given_up(folder: Path) -> None:
    with training(folder) as (process, _):
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(SECONDS) == 1
    assert (folder / "log").read_text().splitlines()[-1] == (
        "classifyd-train: stopped; disk/model.keras was not written"
    )
    assert [path.name for path in (folder / "kept").iterdir()] == ["ballast"]


def test_an_error_of_the_disk_names_the_file(tmp_path: Path) -> None:
    script = (
        "import resource, sys; from pathlib import Path; "
        "from classifier.durable import write_whole; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)); "
        "write_whole(Path(sys.argv[1]), bytes(20))"
    )
    file = tmp_path / "file"
    done = subprocess.run(
        [sys.executable, "-c", script, file], capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == f"OSError: [Errno 27] File too large: '{file}'"
    with pytest.raises(FileNotFoundError, match=rf"'{tmp_path}/gone/file'"):
        write_whole(tmp_path / "gone" / "file", b"")
