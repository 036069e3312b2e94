"""What the trials of power loss stand on: the log of what a process does, the model of a disk."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from trials.disk import Disk, Luck, Operation, read_log
from trials.faults import STATE, Then, built

PROGRAM = """
import os, sys
root = sys.argv[1]
os.chdir(root)

def write(name, data, *syncs):
    with open(name, "wb") as file:
        file.write(data)
        file.flush()
        if "file" in syncs:
            os.fsync(file.fileno())
    if "folder" in syncs:
        fd = os.open(os.path.dirname(os.path.abspath(name)), os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)

{}
"""


class Played:
    """A program that ran with the library loaded, in a folder with one safe file, `old`."""

    def __init__(self, work: Path, library: Path, program: str, failing: int = 0) -> None:
        self.root, self._work = work / "root", work
        self.root.mkdir()
        (self.root / "old").write_bytes(b"old" * 1000)
        log, state = work / "log", work / "state"
        state.write_bytes(STATE.pack(0, 0, failing, Then.IT_IS_HIDDEN, 0))
        disk = Disk(self.root)
        subprocess.run(
            [sys.executable, "-c", PROGRAM.format(program), self.root],
            env={"LD_PRELOAD": str(library), "FAULTS_ROOT": str(self.root),
                 "FAULTS_LOG": str(log), "FAULTS_STATE": str(state)},
            check=True,
            timeout=60,
        )  # fmt: skip
        self.records = read_log(log)
        for record in self.records:
            disk.replay(record)
        self._disk = disk

    def left(self, luck: Luck) -> dict[str, bytes | None]:
        """Files and folders that are there after a power cut."""
        there = self._work / luck.name
        self._disk.power_cut(there, luck, random.Random(1))
        return files(there)


def files(root: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
        for path in root.rglob("*")
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("library"))


def test_the_log_tells_all_that_was_done(tmp_path: Path, library: Path) -> None:
    played = Played(
        tmp_path,
        library,
        """
write("a", b"a" * 5000)
write("old", b"new")
with open("a", "r+b") as file:
    file.seek(4000)
    file.write(b"b" * 3000)
    file.truncate(6500)
with open("a", "ab") as file:
    file.write(b"c")
fd = os.open("a", os.O_WRONLY)
os.pwrite(fd, b"d", 10)
os.writev(fd, [b"", b"ef"])
os.mkdir("folder")
write("folder/x", b"x")
os.rename("folder/x", "folder/y")
os.link("a", "folder/linked")
folder = os.open("folder", os.O_RDONLY)
os.mkdir("inner", dir_fd=folder)
os.unlink("y", dir_fd=folder)
os.rmdir("inner", dir_fd=folder)
os.symlink(root + "/a", "link")
if os.fork() == 0:
    write("child", b"of another process")
    os._exit(0)
os.wait()
os.unlink("a")
write("a", b"another one")
""",
    )
    assert files(played.root) == played.left(Luck.ALL)
    assert not any(record.operation == Operation.UNSEEN for record in played.records)


def test_nothing_is_left_but_what_was_synced(tmp_path: Path, library: Path) -> None:
    played = Played(
        tmp_path,
        library,
        """
write("safe", b"safe", "file", "folder")
write("old", b"rewritten")
write("safe", b"half", "file")
with open("safe", "ab") as file:
    file.write(b" and more")
write("nameless", b"x", "file")
os.rename("old", "renamed")
""",
    )
    assert played.left(Luck.NOTHING) == {"old": b"old" * 1000, "safe": b"half"}
    assert played.left(Luck.NAMES) == {
        "renamed": bytes(9), "safe": b"half" + bytes(9), "nameless": b"x"
    }  # fmt: skip
    assert played.left(Luck.DATA) == {"old": b"rewritten", "safe": b"half and more"}


def test_a_file_is_not_safe_in_a_folder_that_is_not(tmp_path: Path, library: Path) -> None:
    program = 'os.mkdir("folder"); write("folder/file", b"x", "file", "folder")'
    assert Played(tmp_path, library, program).left(Luck.NOTHING) == {"old": b"old" * 1000}


def test_torn_leaves_whole_sectors(tmp_path: Path, library: Path) -> None:
    left = Played(tmp_path, library, 'os.pwrite(os.open("old", 1), b"N" * 2000, 100)').left(
        Luck.TORN
    )["old"]
    assert left is not None
    before, after = b"old" * 1000, b"old" * 1000
    after = after[:100] + b"N" * 2000 + after[2100:]
    assert left not in (before, after)
    for start in range(0, 3000, 512):
        sector = slice(start, start + 512)
        assert left[sector] in (before[sector], after[sector])


def test_what_a_failed_fsync_lost_no_later_one_brings_back(tmp_path: Path, library: Path) -> None:
    program = """
with open("old", "r+b") as file:
    file.write(b"lost")
    file.flush()
    os.fsync(file.fileno())
    file.write(b"safe")
    file.flush()
    os.fsync(file.fileno())
"""
    before = b"old" * 1000
    left = Played(tmp_path, library, program, failing=1).left(Luck.NOTHING)
    assert left == {"old": before[:4] + b"safe" + before[8:]}


def test_what_cannot_be_followed_is_told(tmp_path: Path, library: Path) -> None:
    program = 'os.posix_fallocate(os.open("old", 1), 0, 9000)'
    (record,) = Played(tmp_path, library, program).records
    assert record.operation == Operation.UNSEEN
    assert record.first.startswith(b"posix_fallocate")
