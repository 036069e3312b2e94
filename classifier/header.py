"""Format and size of an image by its header. Nothing is decoded, so nothing is believed either."""

from __future__ import annotations

from classifier import jpeg


def image_format(data: bytes) -> str | None:
    """The format that the first bytes tell of, whatever the file is called."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WebP"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels, before EXIF turns it; None where the header does not tell."""
    kind = image_format(data)
    if kind == "JPEG":
        return _jpeg_size(data)
    if len(data) < 30:  # as long as the longest of the headers below
        return None
    if kind == "PNG":
        return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
    if kind == "WebP":
        return _webp_size(data)
    if kind == "BMP":
        if data[14] == 12:  # OS/2's short header
            return _little(data[18:20]), _little(data[20:22])
        # A negative height: the rows go from top to bottom.
        return _little(data[18:22]), abs(int.from_bytes(data[22:26], "little", signed=True))
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    for marker, start, _ in jpeg.segments(data):
        if marker in jpeg.FRAMES and start + 5 <= len(data):
            height, width = data[start + 1 : start + 3], data[start + 3 : start + 5]
            return int.from_bytes(width), int.from_bytes(height)
    return None


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


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
