"""Format and size of an image by its header. Nothing is decoded, so nothing is believed either."""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import Literal, get_args

from classifier import jpeg

Format = Literal["jpeg", "png", "webp", "bmp", "tiff", "gif", "jpeg2000", "avif"]
FORMATS: frozenset[Format] = frozenset(get_args(Format))  # all that can be told apart, and read
# What cameras, phones and the web make. The decoders of the others see less use, and more flaws.
DEFAULT_FORMATS: frozenset[Format] = frozenset({"jpeg", "png", "webp", "bmp"})
NAMES: dict[Format, str] = {
    "jpeg": "JPEG", "png": "PNG", "webp": "WebP", "bmp": "BMP",
    "tiff": "TIFF", "gif": "GIF", "jpeg2000": "JPEG 2000", "avif": "AVIF",
}  # fmt: skip

# '*' is version 42; '+' is 43, BigTIFF, whose numbers are wider.
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000: the two markers that all of them begin with


def image_format(data: bytes) -> Format | None:
    """The format that the first bytes tell of, whatever the file is called."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith(b"BM"):
        return "bmp"
    if data.startswith(_TIFF):
        return "tiff"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith((b"\0\0\0\x0cjP  \r\n\x87\n", _CODESTREAM)):
        return "jpeg2000"
    if data[4:8] == b"ftyp":
        # What it is, a version, and what else it may be read as.
        brands = data[8 : min(int.from_bytes(data[:4]), 256)]
        if any(brands[at : at + 4] in (b"avif", b"avis") for at in range(0, len(brands), 4)):
            return "avif"
    return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, before EXIF turns it; None where the header does not tell."""
    kind = image_format(data)
    if kind == "jpeg":
        return jpeg.size(data)
    if kind == "tiff":
        return _tiff_size(data)
    if kind == "jpeg2000":
        return _jpeg2000_size(data)
    if kind == "avif":
        return _avif_size(data)
    if len(data) < 30:  # as long as the longest of the headers below
        return None
    if kind == "png":
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if kind == "webp":
        return _webp_size(data)
    if kind == "bmp":
        if data[14] == 12:  # OS/2's short header
            return _little(data[18:20]), _little(data[20:22])
        # A negative height: the rows go from top to bottom.
        return _little(data[18:22]), abs(int.from_bytes(data[22:26], "little", signed=True))
    if kind == "gif":
        return _little(data[6:8]), _little(data[8:10])
    return None


def listed(formats: Collection[Format]) -> str:
    """For a person: 'JPEG, PNG or BMP'."""
    *names, last = (NAMES[known] for known in get_args(Format) if known in formats)
    return f"{', '.join(names)} or {last}" if names else last


def _webp_size(data: bytes) -> tuple[int, int] | None:
    chunk = data[12:16]
    if chunk == b"VP8X":
        return 1 + _little(data[24:27]), 1 + _little(data[27:30])
    if chunk == b"VP8L":
        bits = _little(data[21:25])
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 ":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return None


def _tiff_size(data: bytes) -> tuple[int, int] | None:
    """Of the first page: its directory is a list of tags with their values."""
    order = "<" if data.startswith(b"I") else ">"
    is_big = b"+" in data[:4]
    first, count, entry = map(
        struct.Struct,
        (f"{order}8xQ", f"{order}Q", f"{order}HHQQ")
        if is_big
        else (f"{order}4xI", f"{order}H", f"{order}HHII"),
    )
    found: dict[int, int] = {}
    try:
        (start,) = first.unpack_from(data)
        (entries,) = count.unpack_from(data, start)
        for number in range(min(entries, 1 << 16)):
            at = start + count.size + number * entry.size
            tag, kind, _, value = entry.unpack_from(data, at)
            if tag in (256, 257):  # width and height
                if kind == 3:  # of 16 bits, at the beginning of the value's place
                    (value,) = struct.unpack_from(f"{order}H", data, at + (12 if is_big else 8))
                found.setdefault(tag, value)
    except (struct.error, OverflowError):
        return None
    return (found[256], found[257]) if len(found) == 2 else None


def _jpeg2000_size(data: bytes) -> tuple[int, int] | None:
    at = data.find(_CODESTREAM)
    if at < 0 or len(data) < at + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    return max(right - left, 0), max(bottom - top, 0)


def _avif_size(data: bytes) -> tuple[int, int] | None:
    """The largest of its parts: tiles, a preview and an alpha channel have their sizes, too."""
    sizes = []
    at = data.find(b"ispe")
    while 0 <= at <= len(data) - 16:
        sizes.append(struct.unpack_from(">2I", data, at + 8))
        at = data.find(b"ispe", at + 4)
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
