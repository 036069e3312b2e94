"""What a walk finds, and what it says of the rest."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from daemon import walk as walking
from daemon.walk import walk

EXTENSIONS = frozenset({b"jpg", b"png"})


def found(folder: Path) -> dict[str, str | None]:
    """Path below the folder ▸ why it is passed over, or None."""
    root = os.fsencode(folder)
    return {
        os.fsdecode(f.path[len(root) + 1 :]): f.ignored for f in walk(root, EXTENSIONS)
    }  # fmt: skip


def test_images_are_found_by_extension_in_any_case_and_depth(tmp_path: Path) -> None:
    for name in ("a.jpg", "B.JPG", "x/y/z.png", "x.png/c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert found(tmp_path) == dict.fromkeys(("a.jpg", "B.JPG", "x/y/z.png", "x.png/c.jpg"))


def test_everything_else_is_passed_over_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    (tmp_path / "jpg").touch()
    (tmp_path / ".part.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("notes.txt")
    (tmp_path / "broken.jpg").symlink_to("nowhere")
    (tmp_path / "folder.jpg").symlink_to(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tmp_path / "socket.jpg"))
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "a.jpg").touch()
    assert found(tmp_path) == {
        "notes.txt": walking.NOT_AN_IMAGE,
        "jpg": walking.NOT_AN_IMAGE,
        ".part.jpg": walking.HIDDEN,
        "pipe.jpg": walking.SPECIAL,
        "socket.jpg": walking.SPECIAL,
        "link.jpg": walking.LINK,
        "broken.jpg": walking.LINK,
        "folder.jpg": walking.LINK,
        ".hidden": walking.HIDDEN,
    }


def test_names_are_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n\x01.jpg"
    with open(name, "wb"):
        pass
    ((path, signature, ignored),) = walk(os.fsencode(tmp_path), EXTENSIONS)
    assert (path, ignored) == (name, None)
    assert signature is not None


def test_a_path_too_long_for_the_system_does_not_end_the_walk(tmp_path: Path) -> None:
    home = Path.cwd()
    (tmp_path / "a.jpg").touch()
    os.chdir(tmp_path)
    try:
        for _ in range(30):  # longer than a path may be, each step by itself is not
            Path("d" * 200).mkdir()
            os.chdir("d" * 200)
        Path("deep.jpg").touch()
    finally:
        os.chdir(home)
    results = found(tmp_path)
    assert results["a.jpg"] is None
    assert walking.UNREADABLE_FOLDER in results.values()


def test_folders_a_thousand_deep_are_walked(tmp_path: Path) -> None:
    deep = tmp_path
    for _ in range(1100):  # deeper than functions may call each other
        deep = deep / "d"
        deep.mkdir()
    (deep / "a.jpg").touch()
    try:
        assert found(tmp_path) == {str((deep / "a.jpg").relative_to(tmp_path)): None}
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True, timeout=60)  # any depth


def test_a_folder_that_vanishes_meanwhile_is_no_news(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").touch()
    going = walk(os.fsencode(tmp_path), EXTENSIONS)
    first = next(going).path
    other = tmp_path / ("two" if b"/one/" in first else "one")
    (other / "a.jpg").unlink()
    other.rmdir()
    assert list(going) == []


def test_a_root_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk(os.fsencode(tmp_path / "nowhere"), EXTENSIONS))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert found(tmp_path) == {"closed": walking.UNREADABLE_FOLDER}
