"""No link is followed beneath a folder, whichever way the system opens it."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from classifier import beneath
from classifier.beneath import PATH_MAX, Folders, has_openat2, open_beneath, stat_beneath
from classifier.errors import ImageError, UnreadableError
from classifier.read import read
from daemon.settle import is_being_written
from daemon.walk import walk
from daemon.watch import Watcher

SECRET = b"not for everyone"
LONG = 3600.0


class Place(NamedTuple):
    """An inbox with sub/a.jpg in it, and a folder beside it that holds another a.jpg."""

    inbox: Path
    outside: Path

    @property
    def root(self) -> int:
        return len(os.fsencode(self.inbox))

    def path(self, inner: str) -> bytes:
        return os.fsencode(self.inbox / inner)

    def swap(self) -> None:
        """The folder inside the inbox is a link to the one outside now."""
        (self.inbox / "sub").rename(self.inbox / "real")
        (self.inbox / "sub").symlink_to(self.outside)


@pytest.fixture(params=["at once", "by parts"])
def folders(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Place:
    if request.param == "by parts":
        monkeypatch.setattr(beneath, "has_openat2", lambda: False)
    elif not has_openat2():
        pytest.skip("the kernel has no openat2")
    made = Place(tmp_path / "inbox", tmp_path / "outside")
    (made.inbox / "sub").mkdir(parents=True)
    (made.inbox / "sub" / "a.jpg").write_bytes(b"an image")
    made.outside.mkdir()
    (made.outside / "a.jpg").write_bytes(SECRET)
    return made


def test_a_file_beneath_is_read(folders: Place) -> None:
    assert read(folders.path("sub/a.jpg"), root=folders.root).data == b"an image"
    assert read(folders.path("sub//a.jpg"), root=folders.root).data == b"an image"
    assert read(os.fsdecode(folders.path("sub/a.jpg")), root=folders.root).data == b"an image"


def test_a_folder_that_became_a_link_is_not_followed(folders: Place) -> None:
    folders.swap()
    assert read(folders.path("sub/a.jpg")).data == SECRET  # what is to be kept from happening
    with pytest.raises(UnreadableError, match="symbolic link"):
        read(folders.path("sub/a.jpg"), root=folders.root)
    with pytest.raises(OSError, match="symbolic links") as caught:
        stat_beneath(folders.path("sub/a.jpg"), folders.root)
    assert caught.value.errno == errno.ELOOP
    assert is_being_written(folders.path("sub/a.jpg"), folders.root) is None


def test_a_link_that_stays_inside_is_not_followed_either(folders: Place) -> None:
    (folders.inbox / "other").symlink_to("sub")
    with pytest.raises(UnreadableError, match="symbolic link"):
        read(folders.path("other/a.jpg"), root=folders.root)


def test_a_file_that_became_a_link_is_not_followed(folders: Place) -> None:
    (folders.inbox / "b.jpg").symlink_to(folders.outside / "a.jpg")
    with pytest.raises(UnreadableError, match="symbolic link"):
        read(folders.path("b.jpg"), root=folders.root)


def test_dots_do_not_lead_out(folders: Place) -> None:
    with pytest.raises(ImageError, match="symbolic link"):
        read(folders.path("../outside/a.jpg"), root=folders.root)


def test_links_in_the_folders_own_name_are_followed(folders: Place, tmp_path: Path) -> None:
    (tmp_path / "called").symlink_to("inbox")
    called = os.fsencode(tmp_path / "called")
    assert read(called + b"/sub/a.jpg", root=len(called)).data == b"an image"
    with pytest.raises(UnreadableError, match="symbolic link"):
        read(called + b"/sub/a.jpg", root=len(os.fsencode(tmp_path)))


def test_without_a_folder_no_part_of_the_path_may_be_a_link(folders: Place, tmp_path: Path) -> None:
    (tmp_path / "called").symlink_to("inbox")
    assert read(folders.path("sub/a.jpg"), root=0).data == b"an image"
    with pytest.raises(UnreadableError, match="symbolic link"):
        read(os.fsencode(tmp_path / "called/sub/a.jpg"), root=0)


def test_a_folder_that_was_made_anew_is_the_one_that_is_read(folders: Place) -> None:
    assert read(folders.path("sub/a.jpg"), root=folders.root).data == b"an image"
    shutil.rmtree(folders.inbox)
    with pytest.raises(UnreadableError, match="gone"):
        read(folders.path("sub/a.jpg"), root=folders.root)
    (folders.inbox / "sub").mkdir(parents=True)
    (folders.inbox / "sub" / "a.jpg").write_bytes(b"a new one")
    assert read(folders.path("sub/a.jpg"), root=folders.root).data == b"a new one"


def test_a_folder_is_opened_once_for_many_files(
    folders: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folders.inbox / "b.jpg").write_bytes(b"another")
    opened: list[object] = []
    really = os.open

    def counted(path: bytes, *arguments: int, **options: int) -> int:
        opened.append(path)
        return really(path, *arguments, **options)

    with Folders() as kept:
        monkeypatch.setattr(os, "open", counted)
        for inner in ("sub/a.jpg", "b.jpg", "sub/a.jpg"):
            os.close(kept.open(folders.path(inner), folders.root, os.O_RDONLY))
        assert opened.count(os.fsencode(folders.inbox)) == 1
        with pytest.raises(FileNotFoundError):
            kept.open(folders.path("none.jpg"), folders.root, os.O_RDONLY)
        folders.swap()
        with pytest.raises(OSError, match="symbolic links"):
            kept.open(folders.path("sub/a.jpg"), folders.root, os.O_RDONLY)


def test_a_folder_made_anew_under_one_that_is_kept_open_is_noticed(folders: Place) -> None:
    with Folders() as kept:
        arguments = folders.path("sub/a.jpg"), 1000, folders.root, kept
        assert read(*arguments).data == b"an image"
        shutil.rmtree(folders.inbox)
        with pytest.raises(UnreadableError, match="gone"):
            read(*arguments)
        (folders.inbox / "sub").mkdir(parents=True)
        (folders.inbox / "sub" / "a.jpg").write_bytes(b"a new one")
        assert read(*arguments).data == b"a new one"


def test_what_cannot_be_opened_says_why(folders: Place) -> None:
    with pytest.raises(UnreadableError, match="gone"):
        read(folders.path("sub/b.jpg"), root=folders.root)
    with pytest.raises(UnreadableError, match="Not a directory"):
        read(folders.path("sub/a.jpg/b.jpg"), root=folders.root)
    with pytest.raises(ImageError, match="not a regular file"):
        read(folders.path("sub"), root=folders.root)
    with pytest.raises(ImageError, match="no file can have this name"):
        read(folders.path("sub/a.jpg") + b"\0.jpg", root=folders.root)
    os.mkfifo(folders.inbox / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read(folders.path("pipe.jpg"), root=folders.root)


def test_a_path_that_is_too_long_fails_as_it_does_elsewhere(folders: Place) -> None:
    long = folders.path("d/" * PATH_MAX + "a.jpg")
    with pytest.raises(UnreadableError, match="File name too long"):
        read(long, root=folders.root)


def test_looking_is_like_lstat(folders: Place) -> None:
    (folders.inbox / "b.jpg").symlink_to("sub/a.jpg")
    for inner in ("sub", "sub/a.jpg", "b.jpg"):
        path = folders.path(inner)
        assert stat_beneath(path, folders.root) == os.lstat(path)


def test_no_descriptor_is_left_open(folders: Place) -> None:
    folders.swap()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for inner in ("real/a.jpg", "sub/a.jpg", "real/none.jpg", "none/a.jpg", "real/a.jpg/a.jpg"):
        with suppress(OSError):
            os.close(open_beneath(folders.path(inner), folders.root, os.O_RDONLY))
        with suppress(UnreadableError), Folders() as kept:
            for _ in range(3):
                read(folders.path(inner), 1000, folders.root, kept)
    list(walk(os.fsencode(folders.inbox), frozenset({b"jpg"})))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_walk_does_not_look_into_a_folder_that_became_a_link(folders: Place) -> None:
    (folders.outside / "secret.jpg").touch()
    for number in range(3):
        (folders.inbox / f"first{number}.jpg").touch()
    going = walk(os.fsencode(folders.inbox), frozenset({b"jpg"}))
    found = [next(going)]  # the inbox is being listed: `sub` is taken for the folder that it was
    folders.swap()
    found += going
    assert not any(b"/sub/" in path for path, *_ in found)


def test_an_event_from_behind_a_link_is_not_looked_at(folders: Place) -> None:
    """The observer may have been led out before: what it tells is a name, and no more."""
    watcher = Watcher(
        os.fsencode(folders.inbox), frozenset({b"jpg"}), 0, LONG, list, lambda: None, observe=False
    )
    assert watcher._file(folders.path("sub/a.jpg")) is not None
    folders.swap()
    assert watcher._file(folders.path("sub/a.jpg")) is None
