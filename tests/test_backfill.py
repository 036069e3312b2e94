"""`classifyd backfill`: folders that exist already, once, alone and beside a running daemon."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from conftest import DrawImage
from daemon_process import SECONDS, Project, interrupt_group

from daemon.progress import Lines
from daemon.settings import load
from daemon.verify import verify

MANY = 900  # as rows are noted four times a second while many wait


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache, batch={"size": 4})


@pytest.fixture
def photos(project: Project, draw_image: DrawImage) -> Path:
    """A folder with images in it and in a folder of its own."""
    folder = project.folder / "photos"
    for number in range(MANY):
        draw_image(folder / ("deeper" if number % 2 else "") / f"{number:04}.jpg", number)
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    """All that is in a folder, with the content of files."""
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def test_folders_once(project: Project, photos: Path, draw_image: DrawImage) -> None:
    other = draw_image(project.folder / "other" / "a.jpg", MANY).parent
    (photos / "notes.txt").write_text("no image")
    done = project.classifyd("backfill", photos, other)
    assert done.returncode == 0, done.stderr
    assert f"new rows   {MANY + 1} ({MANY + 1} classified) in " in done.stdout
    assert f"ignored    1: not an image by its extension, such as {photos}/notes.txt" in done.stdout
    project.check_rows(MANY + 1)

    again = project.classifyd("backfill", photos, other)
    assert again.returncode == 0
    assert "new rows   0 in " in again.stdout
    status = project.classifyd("status").stdout
    assert f"backfilled {photos}\n" in status
    project.check_rows(MANY + 1)


@pytest.mark.parametrize("used", [False, True])
def test_a_dry_run_writes_nothing(project: Project, photos: Path, used: bool) -> None:
    known = 0
    (photos / "link.jpg").symlink_to("0000.jpg")
    if used:
        shutil.copytree(photos / "deeper", project.inbox, dirs_exist_ok=True)
        assert project.classifyd("run", "--once").returncode == 0
        known = MANY // 2
    before = tree(project.folder)
    done = project.classifyd("backfill", "--dry-run", photos, photos / "deeper", project.inbox)
    assert tree(project.folder) == before
    assert done.returncode == 0
    assert done.stdout == (
        f"new        {MANY} images would be classified\n"
        f"known      {known} are done or waiting\n"
        "ignored    1: a symbolic link\n"
    )
    assert done.stderr == ""


def test_interrupted_and_run_again(project: Project, photos: Path) -> None:
    with project.started("backfill", photos) as backfill:
        project.wait_for_rows(20)
        interrupt_group(backfill.pid)
        assert backfill.process.wait(SECONDS) == 1
        assert "Run the same command again to go on" in backfill.log
    done = len(project.rows)
    assert f"waiting    {MANY - done} of the images found so far\n" in backfill.log
    assert 20 <= done < MANY
    project.check_rows(done)
    assert f"waiting    {MANY - done} (0 from the inbox" in project.classifyd("status").stdout

    again = project.classifyd("backfill", photos)
    assert again.returncode == 0
    assert f"new rows   {MANY - done} (" in again.stdout
    project.check_rows(MANY)


def test_killed_and_run_again(project: Project, photos: Path) -> None:
    with project.started("backfill", photos) as backfill:
        project.wait_for_rows(20)
        backfill.stop(signal.SIGKILL)
    assert len(project.rows) < MANY
    assert project.classifyd("backfill", photos).returncode == 0
    project.check_rows(MANY)


def test_beside_a_daemon_live_images_go_first(
    project: Project, photos: Path, draw_image: DrawImage
) -> None:
    project.configure(workers=1, batch={"size": 4})
    with project.started("run") as daemon:
        daemon.says("watching")
        with project.started("backfill", photos) as backfill:
            project.wait_for_rows(20)
            assert backfill.workers == []  # it leaves the work to the daemon
            live = draw_image(project.inbox / "live.jpg", MANY)
            assert backfill.process.wait(SECONDS) == 0
            assert f"process {daemon.pid}" in backfill.log
            assert "Traceback" not in backfill.log
        assert daemon.stop() == 0
    project.check_rows(MANY + 1)
    rows = project.rows
    place = next(n for n, row in enumerate(rows) if row["path"] == str(live))
    overtook = [row for row in rows[:place] if row["classified_at"] > rows[place]["seen_at"]]
    assert len(overtook) <= 2 * 4  # the batches that were in hand already
    assert place < MANY - 20


def test_the_daemon_stops_meanwhile(project: Project, photos: Path) -> None:
    with project.started("run") as daemon:
        daemon.says("watching")
        with project.started("backfill", photos) as backfill:
            project.wait_for_rows(20)
            assert daemon.stop() == 0
            assert len(project.rows) < MANY
            assert backfill.process.wait(SECONDS) == 0
            assert f"new rows   {MANY} ({MANY} classified)" in backfill.log
    project.check_rows(MANY)


def test_stopped_beside_a_daemon_that_goes_on(project: Project, photos: Path) -> None:
    project.configure(workers=1, batch={"size": 1})
    with project.started("run") as daemon:
        daemon.says("watching")
        with project.started("backfill", photos) as backfill:
            project.wait_for_rows(1)
            assert backfill.stop(signal.SIGINT) == 1
            assert "goes on with them" in backfill.log
        project.wait_for_rows(MANY)
        assert daemon.stop() == 0
    project.check_rows(MANY)


def test_folders_that_cannot_be(project: Project, photos: Path) -> None:
    absent, file = project.folder / "absent", project.config
    thumbnails = project.results / "thumbnails" / "2026-01-01"
    thumbnails.mkdir(parents=True)
    done = project.classifyd("backfill", absent, file, project.folder, photos, thumbnails)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for line in (
        f"{absent}: there is no such folder",
        f"{file}: is not a folder",
        f"{project.folder}: holds our own folder {project.results}",
        f"{project.folder}: holds our own folder {project.state}",
        f"{thumbnails}: is among our own thumbnails",
    ):
        assert line in done.stderr
    assert not project.csv.exists()
    dry = project.classifyd("backfill", "--dry-run", absent)
    assert dry.returncode == 2


def test_one_folder_by_many_names(project: Project, photos: Path, draw_image: DrawImage) -> None:
    link = project.folder / "link"
    link.symlink_to(photos)
    names = [photos, link, f"{photos}/../photos/", photos / "deeper", link / "deeper"]
    done = project.classifyd("backfill", *names)
    assert done.returncode == 0, done.stderr
    project.check_rows(MANY)
    assert project.classifyd("backfill", link).returncode == 0
    project.check_rows(MANY)


def test_a_folder_inside_the_inbox(project: Project, draw_image: DrawImage) -> None:
    """Also where the inbox is a link: the daemon and a backfill must not give it two names."""
    shutil.move(project.inbox, project.folder / "disk")
    project.inbox.symlink_to("disk")
    image = draw_image(project.inbox / "folder" / "a.jpg")
    assert project.classifyd("run", "--once").returncode == 0
    for folder in (image.parent, project.folder / "disk" / "folder", project.inbox):
        done = project.classifyd("backfill", folder)
        assert done.returncode == 0
        assert "new rows   0 in" in done.stdout
    assert [row["path"] for row in project.rows] == [str(image)]


@pytest.mark.parametrize("name", ["data/photos/new", "disk/photos/new"])
def test_a_folder_that_the_inbox_is_in(project: Project, draw_image: DrawImage, name: str) -> None:
    """However the inbox is called in the configuration, its files are called by that."""
    draw_image(project.folder / "disk" / "photos" / "old.jpg")
    (project.folder / "disk" / "photos" / "new").mkdir()
    (project.folder / "data").symlink_to("disk")
    image = draw_image(project.folder / name / "a.jpg")
    project.configure(inbox=name)
    assert project.classifyd("run", "--once").returncode == 0
    for folder in ("data/photos", "disk/photos", "data/photos/new/..", "disk"):
        done = project.classifyd("backfill", project.folder / folder)
        assert done.returncode == 0, done.stderr
    dry = project.classifyd("backfill", "--dry-run", project.folder / "disk")
    assert "new        0 images would be" in dry.stdout
    old = project.folder / "disk" / "photos" / "old.jpg"
    assert [row["path"] for row in project.rows] == [str(image), str(old)]
    verdict = verify(load(project.config))
    assert verdict.files == {"classified": 2}


def test_a_folder_that_an_inbox_is_in_that_is_not_there(
    project: Project, draw_image: DrawImage
) -> None:
    draw_image(project.folder / "disk" / "old.jpg")
    project.configure(inbox="disk/new")
    done = project.classifyd("backfill", project.folder / "disk")
    assert done.returncode == 0, done.stderr
    assert len(project.rows) == 1


def screen(written: bytes) -> list[str]:
    """The lines that stand on a terminal that is wide enough, when all that was written to it."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[A|\r|\n|[^\r\n\x1b]+", written.decode()):
        if part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            if row == len(lines):
                lines.append("")
        elif part == "\x1b[A":
            row -= 1
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + part + line[column + len(part) :]
            column += len(part)
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("size", [(24, 100), (0, 0)], ids=["of known size", "of unknown size"])
def test_the_bar_on_a_terminal(project: Project, photos: Path, size: tuple[int, int]) -> None:
    (photos / "text.jpg").write_text("no image")
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = subprocess.Popen(
        project.command("backfill", photos), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    written = b""
    try:
        while True:
            written += os.read(ours, 65536)
    except OSError:  # the terminal has no user any more
        pass
    finally:
        os.close(ours)
        process.kill()
    assert process.wait(SECONDS) == 0
    lines = screen(written)
    bars = [line for line in lines if "img/s" in line]
    assert len(bars) == 1  # drawn over itself, and left as it was at the end
    total = MANY + 1
    bar = rf"100%\|█+\| {total}/{total} \[00:\d\d<00:00, +[\d.]+img/s\]"
    assert re.fullmatch(bar, bars[0])
    log = [line for line in lines if re.match(r"\d{4}-\d\d-\d\dT", line)]
    assert any(line.endswith("whatever its name says") for line in log)
    assert log == lines[: len(log)]
    assert lines[len(log) :] == [
        bars[0],
        next(x for x in lines if x.startswith(f"new rows   {total} ({MANY} classified, 1 f")),
        f"results    {project.csv}",
        "",
    ]


def test_lines_where_there_is_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    lines = Lines()
    for second in range(36):
        lines.update(done=min(second, 25) * 100, total=5_000, now=1000.0 + second)
    assert caplog.messages == [
        "1,000 of 5,000 images, 100 a second, about 40 s left",
        "2,000 of 5,000 images, 100 a second, about 30 s left",
        "2,500 of 5,000 images, 83 a second, about 30 s left",
    ]
