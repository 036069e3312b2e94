"""Image files with something wrong in them, drawn by chance, the same ones for the same seed."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)  # bytes that programs stumble over
MAX_BYTES = 60_000


def seeds() -> dict[str, list[bytes]]:
    """Whole files of every format and of many kinds, by extension."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(0)
    coarse = [Image.fromarray(chance.integers(0, 256, (6, 6, 3), np.uint8)) for _ in range(3)]
    sizes = ((33, 47), (64, 64), (160, 90))
    pictures = [picture.resize(size) for picture, size in zip(coarse, sizes, strict=True)]
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    kinds: list[tuple[str, str, dict[str, object]]] = [
        ("jpg", "RGB", {"quality": 80}),
        ("jpg", "RGB", {"quality": 95, "subsampling": 0, "exif": exif}),
        ("jpg", "RGB", {"progressive": True}),
        ("jpg", "RGB", {"quality": 70, "restart_marker_blocks": 3}),
        ("jpg", "L", {"optimize": True}),
        ("jpg", "CMYK", {}),
        ("png", "RGB", {}),
        ("png", "RGBA", {"compress_level": 0}),
        ("png", "P", {}),
        ("png", "I;16", {}),
        ("png", "1", {}),
        ("webp", "RGB", {"quality": 80}),
        ("webp", "RGBA", {"lossless": True}),
        ("webp", "RGB", {"save_all": True, "append_images": [pictures[0]]}),
        ("bmp", "RGB", {}),
        ("bmp", "P", {}),
    ]
    names = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}
    found: dict[str, list[bytes]] = {extension: [] for extension in names}
    for extension, mode, options in kinds:
        for picture in pictures[:1] if "append_images" in options else pictures:
            file = io.BytesIO()
            picture.convert("L" if mode == "I;16" else mode).convert(mode).save(
                file, names[extension], **options
            )
            found[extension].append(file.getvalue())
    return found


def _flip(chance: random.Random, data: bytearray) -> None:
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _edge(chance: random.Random, data: bytearray) -> None:
    data[chance.randrange(len(data))] = chance.choice(EDGES)


def _head(chance: random.Random, data: bytearray) -> None:
    """Sizes, counts and types stand at the beginning."""
    for _ in range(chance.choice((1, 2, 4))):
        data[chance.randrange(min(len(data), 64))] = chance.randrange(256)


def _cut(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice((1, 4, 100, len(data)))]


def _insert(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    data[at:at] = chance.randbytes(chance.choice((1, 4, 100)))


def _repeat(chance: random.Random, data: bytearray) -> None:
    at = chance.randrange(len(data))
    part = data[at : at + chance.choice((2, 16, 500, 5000))]
    data[at:at] = part * chance.choice((1, 3, 10))


def _overwrite(chance: random.Random, data: bytearray) -> None:
    at, count = chance.randrange(len(data)), chance.choice((4, 32, 200))
    data[at : at + count] = bytes([chance.choice(EDGES)]) * count


def _number(chance: random.Random, data: bytearray) -> None:
    """Four bytes become a number that is too large, or negative."""
    at = chance.randrange(len(data))
    order = chance.choice("<>")
    data[at : at + 4] = struct.pack(f"{order}I", chance.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF)))


DEEDS: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _flip, _flip, _edge, _head, _cut, _insert, _repeat, _overwrite, _number,
)  # fmt: skip


def mutated(chance: random.Random, whole: list[bytes]) -> bytes:
    """One of the whole files of a format, with one to four things done to it."""
    data = bytearray(chance.choice(whole))
    if chance.random() < 0.1:  # the head of one, the tail of another
        other = chance.choice(whole)
        data = data[: chance.randrange(len(data))] + other[chance.randrange(len(other)) :]
    for _ in range(chance.choice((1, 1, 2, 4))):
        chance.choice(DEEDS)(chance, data)
        if not data:
            return b""
    # A wrong checksum would keep every PNG from the code behind it.
    if data.startswith(b"\x89PNG") and chance.random() < 0.8:
        data = _with_checksums(data)
    return bytes(data[:MAX_BYTES])


def _with_checksums(data: bytearray) -> bytearray:
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4
    return data
