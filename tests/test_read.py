"""classifier.read: a whole file that held still, or an error that says why not."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from pathlib import Path

import pytest

from classifier.errors import ImageError, UnsettledError
from classifier.read import Signature, read


def test_content_digest_and_signature_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some bytes")
    content = read(str(path))
    assert content.data == b"some bytes"
    assert content.sha256 == hashlib.sha256(b"some bytes").hexdigest()
    assert content.signature == Signature.of(path.stat())


def test_rewriting_with_the_old_modification_time_still_changes_the_signature(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"one")
    before = read(str(path)).signature
    while Signature.of(path.stat()).ctime_ns == before.ctime_ns:  # a file system's clock is coarse
        path.write_bytes(b"two")
        os.utime(path, ns=(before.mtime_ns, before.mtime_ns))
    after = read(str(path)).signature
    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    assert after != before


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(path)).write_bytes(b"bytes")
    assert read(path).data == b"bytes"
    assert read(os.fsdecode(path)).data == b"bytes"


def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    with pytest.raises(ImageError, match="not a regular file"):
        read(str(path))


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path may have no more than 107 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("a.jpg")
        with pytest.raises(ImageError, match="not a regular file"):
            read("a.jpg")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="not a regular file"):
        read(str(tmp_path))


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not for everyone")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "secret")
    with pytest.raises(ImageError, match="symbolic link"):
        read(str(tmp_path / "a.jpg"))


def test_an_empty_file_has_a_content_like_any_other(tmp_path: Path) -> None:
    """So that its `failed` row is known when the file is touched."""
    (tmp_path / "a.jpg").touch()
    content = read(str(tmp_path / "a.jpg"))
    assert (content.data, content.sha256[:8]) == (b"", "e3b0c442")


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="gone"):
        read(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize("name", ["a\0b.jpg", "\ud800.jpg"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    with pytest.raises(ImageError, match="name"):
        read(name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"bytes")
    path.chmod(0)
    with pytest.raises(ImageError, match="Permission denied"):
        read(str(path))


def test_the_size_limit_is_the_last_size_allowed(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x" * 1000)
    assert len(read(str(path), max_bytes=1000).data) == 1000
    with pytest.raises(ImageError, match="larger than the 999 bytes allowed"):
        read(str(path), max_bytes=999)


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_a_short_read_is_not_the_end(
    at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system in user space or on the network may give less than it was asked for."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some bytes")
    really = os.read
    monkeypatch.setattr(os, "read", lambda fd, count: really(fd, min(count, at_once)))
    assert read(str(path)).data == b"some bytes"


def test_a_file_with_more_bytes_than_its_size_tells_is_unsettled() -> None:
    """As many a file of the kernel."""
    with pytest.raises(UnsettledError):
        read("/proc/self/status")


@pytest.mark.parametrize("change", [b"longer bytes", b"same bytes", b"short", b""])
def test_a_file_that_is_written_after_its_bytes_came_is_unsettled(
    change: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"some bytes")
    os.utime(path, (1, 1))
    really = os.read

    def written_meanwhile(fd: int, count: int) -> bytes:
        data = really(fd, count)
        path.write_bytes(change)
        return data

    monkeypatch.setattr(os, "read", written_meanwhile)
    with pytest.raises(UnsettledError):
        read(str(path))


def test_a_file_that_grows_while_it_is_read_is_unsettled(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    with path.open("wb") as file:
        file.truncate(64 << 20)  # long enough to read that the writer gets a turn meanwhile
    stop = threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x")

    def read_often() -> None:
        for _ in range(100):  # once is enough as a rule
            read(str(path))

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        with pytest.raises(UnsettledError):
            read_often()
    finally:
        stop.set()
        writer.join()
    assert read(str(path)).signature.size == path.stat().st_size
