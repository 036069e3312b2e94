"""The zip that a `.keras` file is, held against limits before anything in it is used.

Keras writes an archive of three members, stored as they are; `contract.write` adds a fourth. What
is laid out in any other way, or inflates to more than it says, is refused. Nothing here holds more
of a member in memory than it was asked for.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from classifier.errors import ModelError
from classifier.modelfile import CHUNK, MAX_BYTES

# What there may be in it, and how large each may be.
MEMBERS = {
    "metadata.json": 1 << 16,
    "config.json": 8 << 20,  # ten times that of the largest networks of keras.applications
    "model.weights.h5": MAX_BYTES,
    "contract.json": 1 << 20,
}
# Weights are noise and hardly shrink; a text of JSON does, to a thirtieth or so.
MAX_EXPANSION = 100
EXPANSION_FLOOR = 1 << 20
MAX_DIRECTORY_BYTES = 1 << 16

END = struct.Struct("<4s4H2LH")  # the record that ends an archive; Keras writes no comment after it
ZIP64_LOCATOR_BYTES = 20
LOCAL_HEADER = struct.Struct("<4s22x2H")
ENCRYPTED = 0x1 | 0x40


def check(path: Path) -> None:
    """Read all of an archive through. Raises `ModelError` if it is not as a Keras file is."""
    with _opened(path) as (file, archive):
        for info in archive.infolist():
            _check_content(file, info)


def member(path: Path, name: str) -> bytes | None:
    """One member's content, None if there is none of this name."""
    with _opened(path) as (_, archive):
        return archive.read(name) if name in archive.namelist() else None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, zipfile.ZipFile]]:
    try:
        with path.open("rb") as file:
            _check_end(file)
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(members)
                _check_places(file, members)
                yield file, archive
    except (ModelError, OSError):
        raise
    except Exception as error:  # zipfile and zlib raise of every kind for a damaged file
        raise ModelError(f"the model file is damaged ({error}): copy or train it anew") from None


def _check_end(file: BinaryIO) -> None:
    """Before zipfile reads the list of members: a list of millions takes gigabytes."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - END.size - ZIP64_LOCATOR_BYTES))
    tail = file.read()
    if len(tail) < END.size or not tail[-END.size :].startswith(b"PK\5\6"):
        file.seek(0)
        raise ModelError(_what_else(file.read(8)))
    _, disk, first_disk, here, count, length, offset, comment = END.unpack(tail[-END.size :])
    if count > len(MEMBERS):
        raise ModelError(f"it holds {count:,} members, and a Keras file holds {len(MEMBERS)}")
    if (
        length > MAX_DIRECTORY_BYTES
        or offset + length + END.size != size
        or (disk, first_disk, comment) != (0, 0, 0)
        or here != count
        or tail.startswith(b"PK\6\7")
    ):
        raise ModelError(
            "the model file is damaged (its list of members is not where Keras writes it): copy or "
            "train it anew"
        )


def _what_else(head: bytes) -> str:
    known = {
        b"\x89HDF": "an HDF5 file, as old versions of Keras wrote them",
        b"\x80\4\x95": "a Python pickle, and loading one would run code that it brings along",
        b"\x80\5\x95": "a Python pickle, and loading one would run code that it brings along",
    }
    for magic, what in known.items():
        if head.startswith(magic):
            return (
                f"this is {what}, whatever its name says. Load it in Keras 3 where you trust it, "
                "and save it again with model.save('NAME.keras')"
            )
    return "the model file is damaged (it is no whole zip archive): copy or train it anew"


def _check_members(members: list[zipfile.ZipInfo]) -> None:
    names = [info.orig_filename for info in members]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ModelError(f"it holds {repeated[0]!r} twice")
    for info in members:
        name = info.orig_filename
        if name.startswith("assets"):
            raise ModelError(
                f"it holds the file {name!r} for one of its layers; a network that sees only "
                "pixels needs none: take out the layer that reads it, and save the model again"
            )
        if name.startswith("/") or ".." in name.split("/"):
            raise ModelError(f"it holds {name!r}, a name that leads out of the archive")
    if "config.json" not in names:
        raise ModelError("this is a zip file, but no Keras model is in it")
    for info in members:
        name = info.orig_filename
        if name not in MEMBERS:
            raise ModelError(
                f"it holds {name!r}, which is no part of a Keras file: save the model again with "
                "model.save('NAME.keras')"
            )
        if info.flag_bits & ENCRYPTED:
            raise ModelError(f"its {name} is encrypted: save the model again")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelError(f"its {name} is compressed in a way that Keras does not use")
        if info.file_size > MEMBERS[name]:
            raise ModelError(
                f"its {name} is too large to be one: {info.file_size:,} bytes, and it may have "
                f"{MEMBERS[name]:,}"
            )
        if info.file_size > EXPANSION_FLOOR + MAX_EXPANSION * info.compress_size:
            raise ModelError(
                f"its {name} would inflate from {info.compress_size:,} to {info.file_size:,} "
                "bytes; weights do not shrink like that"
            )


def _check_places(file: BinaryIO, members: list[zipfile.ZipInfo]) -> None:
    """Two members that share bytes are how a small file comes to hold much."""
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ModelError("its members lie over each other: copy or train it anew")
        end = _begin(file, info) + info.compress_size


def _begin(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where a member's content begins."""
    file.seek(info.header_offset)
    signature, name, extra = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
    if signature != b"PK\3\4":
        raise zipfile.BadZipFile("a member is not where it should be")
    return int(info.header_offset + LOCAL_HEADER.size + name + extra)


def _check_content(file: BinaryIO, info: zipfile.ZipInfo) -> None:
    """zipfile stops at the size that the list says, and so does not see that there is more."""
    size, checksum = 0, 0
    for part in _inflated(file, info):
        size += len(part)
        checksum = zlib.crc32(part, checksum)
        if size > info.file_size:
            raise ModelError(
                f"its {info.filename} is larger than the archive says: copy or train it anew"
            )
    if size != info.file_size or checksum != info.CRC:
        raise zipfile.BadZipFile(f"{info.filename} is not as it was written")


def _inflated(file: BinaryIO, info: zipfile.ZipInfo) -> Iterator[bytes]:
    file.seek(_begin(file, info))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left = info.compress_size
    while left and (packed := file.read(min(CHUNK, left))):
        left -= len(packed)
        if info.compress_type == zipfile.ZIP_STORED:
            yield packed
            continue
        while packed:
            yield inflater.decompress(packed, CHUNK)
            packed = inflater.unconsumed_tail
    if info.compress_type != zipfile.ZIP_STORED:
        yield inflater.flush()  # what did not fit into the last chunk: some hundred bytes
