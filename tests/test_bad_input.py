"""What is no image, and what is no configuration: each ends in a row or a message, and no more."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import SECONDS, Project

MEGABYTE = 1 << 20


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache)


def png_bomb(path: Path, side: int = 30_000) -> None:
    """All black: a few hundred kilobytes that want to become 2.7 gigabytes."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * side)
    pixels = b"".join([*(packer.compress(row) for _ in range(side)), packer.flush()])
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
            check = zlib.crc32(kind + data)
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check))


def test_every_kind_of_bad_file(project: Project, draw_image: DrawImage) -> None:
    inbox = project.inbox
    whole = draw_image(inbox / "good.jpg").read_bytes()
    failing = {
        "empty.jpg": (b"", "the file is empty"),
        "truncated.jpg": (whole[:-200], "incomplete or damaged"),
        "text.jpg": (b"I am not an image.\n", "not a JPEG, PNG, WebP or BMP"),
    }
    for name, (content, _) in failing.items():
        (inbox / name).write_bytes(content)
    odd_names = [b"a, b.jpg", b"two\nlines.jpg", b"caf\xe9.jpg", b"=1+1.jpg", b"back\\slash.jpg",
                 b'"quoted".jpg', " \u2028snow\u2603.jpg".encode()]  # fmt: skip
    for name in odd_names:
        (inbox / os.fsdecode(name)).write_bytes(whole)
    os.mkfifo(inbox / "fifo.jpg")
    here = Path.cwd()
    os.chdir(inbox)  # a socket's path may have no more than 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.jpg")
    os.chdir(here)
    (inbox / "broken.jpg").symlink_to("nowhere")
    (inbox / "link.jpg").symlink_to("good.jpg")
    (inbox / "loop").symlink_to(".")
    (inbox / "x.png").mkdir()
    (inbox / "notes.txt").write_text("not an image by its name")
    (inbox / ".hidden.jpg").write_bytes(whole)

    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    rows = {row["path"].rpartition("/")[2]: row for row in project.rows}
    good = ["good.jpg", "a, b.jpg", r"two\x0alines.jpg", r"caf\xe9.jpg", "=1+1.jpg",
            r"back\\slash.jpg", '"quoted".jpg', " \\u2028snow\u2603.jpg"]  # fmt: skip
    assert sorted(rows) == sorted([*good, *failing])
    assert {rows[name]["status"] for name in good} == {"classified"}
    for name, (_, reason) in failing.items():
        assert rows[name]["status"] == "failed"
        assert reason in rows[name]["reason"]
        assert f"failed: {inbox}/{name}: " in done.stderr

    status = project.classifyd("status").stdout
    for line in (
        "2: not a regular file, such as",
        "3: a symbolic link, such as",
        "1: not an image by its extension, such as",
        "1: hidden (its name starts with a dot), such as",
    ):
        assert line in status
        assert f"ignored: {line}" in done.stderr
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout
    assert "11: 8 classified, 3 failed" in verified.stdout

    # Once more, and after a touch: nothing of it is news.
    os.utime(inbox / "text.jpg")
    os.utime(inbox / "empty.jpg")
    assert project.classifyd("run", "--once").returncode == 0
    assert len(project.rows) == 11


@pytest.mark.slow
def test_a_bomb_costs_no_memory(project: Project, draw_image: DrawImage) -> None:
    project.configure(batch={"size": 4})
    png_bomb(project.inbox / "a_bomb.png")
    for number in range(10):
        draw_image(project.inbox / f"{number}.jpg", number)
    with project.started("run", "--once") as daemon:
        peak = 0
        while daemon.process.poll() is None:
            peak = max(peak, *map(resident, [daemon.pid, *daemon.workers]), 0)
            time.sleep(0.005)
        assert daemon.process.returncode == 0
    assert 20 * MEGABYTE < peak < 400 * MEGABYTE
    assert "too large" in project.row_of("a_bomb.png")["reason"]
    assert len([row for row in project.rows if row["status"] == "classified"]) == 10


def resident(pid: int) -> int:
    """The most memory that a process ever had, in bytes; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    lines = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(lines[0].split()[1]) * 1024 if lines else 0


def test_a_file_that_vanishes_before_it_is_read(project: Project, draw_image: DrawImage) -> None:
    """Seen, queued, gone: the queue of a daemon that was stopped names a file no longer there."""
    project.configure(workers=1, batch={"size": 1})
    names = [f"{number:04}.jpg" for number in range(1500)]  # they are noted four times a second
    for number, name in enumerate(names):
        draw_image(project.inbox / name, number)
    with project.started("run") as daemon:
        project.wait_for_rows(1)
        assert daemon.stop() == 0
    waiting = sorted({*names} - {Path(row["path"]).name for row in project.rows})
    assert waiting  # or it was not stopped while some waited
    (project.inbox / waiting[0]).unlink()
    (project.inbox / waiting[-1]).unlink()
    (project.inbox / waiting[-1]).mkdir()
    assert project.classifyd("run", "--once").returncode == 0
    assert len(project.rows) == len(names)
    assert "gone before it could be read" in project.row_of(waiting[0])["reason"]
    assert "not a regular file" in project.row_of(waiting[-1])["reason"]


def test_thumbnails_that_cannot_be_written(project: Project, draw_image: DrawImage) -> None:
    """The disk is at fault then, not the images: no row says that they failed."""
    for number in range(20):
        draw_image(project.inbox / f"{number}.jpg", number)
    project.results.mkdir()
    (project.results / "thumbnails").write_text("in the way")
    done = project.classifyd("run", "--once")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "thumbnails: File exists. Nothing is lost: mend that and start again" in done.stderr
    assert project.rows == []
    (project.results / "thumbnails").unlink()
    assert project.classifyd("run", "--once").returncode == 0
    project.check_rows(20)


def repacked(model: Path, target: Path, **changes: object) -> None:
    """A model file whose contract says something else."""
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "contract.json":
                content = json.dumps(json.loads(content) | changes).encode()
            new.writestr(name, content)


def config_error(project: Project, command: str = "run") -> str:
    """The one message of a command that must refuse to start."""
    done = project.classifyd(command)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert done.stderr.count("classifyd: ") == 1
    assert not project.csv.exists()
    return done.stderr


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_wrong_configuration_is_told_all_at_once(project: Project, command: str) -> None:
    project.inbox.rmdir()
    project.configure(workers=0, colour="red", min_confidence="high", thumbnails={"when": "never"})
    said = config_error(project, command)
    for part in ("workers: ", "colour: there is no such setting", "min_confidence: ",
                 "thumbnails.when: "):  # fmt: skip
        assert f"{part}" in said
    assert f"there is no folder {project.inbox}" in said
    assert said.count(f"{project.config}:") == 5


def test_no_configuration(project: Project) -> None:
    project.config.unlink()
    assert "there is no configuration here" in config_error(project)


def test_a_file_where_the_results_should_go(project: Project) -> None:
    project.results.write_text("in the way")
    done = project.classifyd("run")
    assert done.returncode == 2
    assert f"results: {project.results} is not a folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_results_inside_the_inbox(project: Project) -> None:
    project.configure(results="inbox/results")
    assert "is inside the inbox" in config_error(project)


def test_a_missing_model(project: Project) -> None:
    project.configure(model="none.keras")
    said = config_error(project)
    assert f"{project.folder / 'none.keras'}" in said


def test_broken_models(project: Project, shipped_model: Path) -> None:
    model = project.folder / "broken.keras"
    project.configure(model="broken.keras")
    for content in (b"", b"not a zip", shipped_model.read_bytes()[:-1000]):
        model.write_bytes(content)
        assert str(model) in config_error(project)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": ["cat", "dog"]}, "2 class names (cat, dog), but the network has 10"),
        ({"height": 64}, "promises an input of [64, 32, 3]"),
    ],
)
def test_a_contract_that_does_not_fit(
    project: Project, shipped_model: Path, changes: dict[str, object], message: str
) -> None:
    repacked(shipped_model, project.folder / "other.keras", **changes)
    project.configure(model="other.keras")
    assert message in config_error(project, "check")


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run", "--twice"], ["backfill"]])
def test_a_wrong_command_line(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "daemon", *arguments],
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "usage: classifyd" in done.stderr
