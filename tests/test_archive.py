"""classifier.archive: the zip of a model file, held against limits before anybody else opens it."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
from evil_files import members_of, written

from classifier import archive
from classifier.errors import ModelError


@pytest.fixture
def good(shipped_model: Path) -> dict[str, bytes]:
    return members_of(shipped_model)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_that_was_packed_again(method: int, good: Any, tmp_path: Path) -> None:
    path = written(tmp_path, good, method)
    archive.check(path)
    assert archive.member(path, "config.json") == good["config.json"]
    assert archive.member(path, "model.weights.h5") == good["model.weights.h5"]
    assert archive.member(path, "other") is None


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_byte_changed_anywhere_in_the_weights(method: int, good: Any, tmp_path: Path) -> None:
    path = written(tmp_path, good, method)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged"):
        archive.check(path)


def test_a_list_of_a_million_members_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "many.keras"
    with zipfile.ZipFile(path, "w") as file:
        for number in range(5):
            file.writestr(str(number), b"")
    with pytest.raises(ModelError, match="it holds 5 members"):
        archive.check(path)
    # The list can also be longer than the number of its members says.
    content = bytearray(path.read_bytes())
    content[-14:-10] = b"\1\0\1\0"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="this is a zip file, but no Keras model"):
        archive.check(path)
    content[-10:-6] = (1 << 20).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not where Keras writes it"):
        archive.check(path)


def test_bytes_after_the_archive(good: Any, tmp_path: Path) -> None:
    path = written(tmp_path, good)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ModelError, match="no whole zip"):
        archive.check(path)


def test_a_name_that_zipfile_would_take_for_another_list(tmp_path: Path) -> None:
    """Just before the end it looks for the place of a list with larger numbers (zip64)."""
    path = written(tmp_path, {"config.json": b"{}", "PK\6\7" + 16 * "x": b""})
    with pytest.raises(ModelError, match="not where Keras writes it"):
        archive.check(path)


def test_a_name_that_zipfile_would_cut_short(good: Any, tmp_path: Path) -> None:
    """It takes a name to end at a NUL."""
    good["metadata.jsox"] = good.pop("metadata.json")
    path = written(tmp_path, good)
    path.write_bytes(path.read_bytes().replace(b"metadata.jsox", b"metadata\0json"))
    with pytest.raises(ModelError, match=r"'metadata\\x00json', which is no part"):
        archive.check(path)


def test_an_encrypted_member(good: Any, tmp_path: Path) -> None:
    path = written(tmp_path, good)
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\1\2", 0, content.rfind(b"config.json")) + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"config.json is encrypted"):
        archive.check(path)
