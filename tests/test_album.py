"""Thumbnails on a real disk: where they lie, and that they are safe."""

from __future__ import annotations

import resource
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from daemon.album import MOST_OPEN, Album


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_many_more_than_may_be_open_are_written(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    names = [f"thumbnails/2026-01-0{1 + n % 2}/{n}.jpg" for n in range(2 * MOST_OPEN + 5)]
    safe: list[str] = []
    before = descriptors()
    with closing(Album(tmp_path, lambda: safe.append(""))) as album:
        for name in names:
            album.put(name, name.encode() * 1000)
            assert descriptors() <= before + MOST_OPEN + 2  # and the folders of both days
        album.make_durable()
    assert descriptors() == before
    assert all((tmp_path / name).read_bytes() == name.encode() * 1000 for name in names)
    assert len(safe) == len(names) + 3  # every file, both days, and the folder that they are in


def test_the_same_work_done_again_writes_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    for content in (b"a longer one", b"short"):
        with closing(Album(tmp_path, lambda: None)) as album:
            album.put("thumbnails/2026-01-01/a.jpg", content)
            album.make_durable()
    assert (tmp_path / "thumbnails/2026-01-01/a.jpg").read_bytes() == b"short"


def test_an_error_names_the_file_and_leaves_nothing_open(tmp_path: Path) -> None:
    (tmp_path / "thumbnails" / "2026-01-01").mkdir(parents=True)
    name = "thumbnails/2026-01-01/a.jpg"
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    album = Album(tmp_path, lambda: None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with closing(album), pytest.raises(OSError, match=rf"File too large: '{tmp_path}/{name}'"):
            album.put(name, bytes(20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before
    with closing(Album(tmp_path / "gone", lambda: None)) as album, pytest.raises(FileNotFoundError):
        album.put(name, b"")


def test_a_folder_that_was_replaced_meanwhile_is_noticed(tmp_path: Path) -> None:
    """Else rows would name thumbnails that nobody finds."""
    day = tmp_path / "thumbnails" / "2026-01-01"
    (tmp_path / "thumbnails").mkdir()
    before = descriptors()
    with closing(Album(tmp_path, lambda: None)) as album:
        album.put("thumbnails/2026-01-01/a.jpg", b"a")
        shutil.rmtree(day)
        day.mkdir()
        with pytest.raises(FileNotFoundError, match=f"'{day}/b.jpg'"):
            album.put("thumbnails/2026-01-01/b.jpg", b"b")
        with pytest.raises(FileNotFoundError, match=f"'{day}'"):
            album.make_durable()
    assert descriptors() == before
