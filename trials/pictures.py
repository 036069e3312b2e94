"""Small pictures in every format, and what accidents and attackers make of them."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIZE = 24, 20


def drawn(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """Soft colours and a sharp disc."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    cv2.circle(picture, (size[0] // 2, size[1] // 2), min(size) // 4, (250, 240, 10), -1)
    return Image.fromarray(picture)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_preview(image: Image.Image) -> bytes:
    """A JPEG that has, in its EXIF, a smaller one of itself, and is to be turned."""
    preview = encoded(image.resize((8, 6)), "JPEG")
    # Two directories, little-endian: the orientation; where the preview is, and its length.
    first = b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0" + (26).to_bytes(4, "little")
    second = b"\x02\0" + b"".join(
        tag + b"\x04\0\x01\0\0\0" + value.to_bytes(4, "little")
        for tag, value in ((b"\x01\x02", 56), (b"\x02\x02", len(preview)))
    )
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + second + bytes(4) + preview
    return encoded(image, "JPEG", exif=exif)


def jpegs_and_pngs() -> dict[str, bytes]:
    """Ten files, each of another kind."""
    image = drawn()
    noise = np.random.default_rng(0).integers(0, 65536, SIZE[::-1]).astype(np.uint16)
    return {
        "baseline.jpg": encoded(image, "JPEG"),
        "progressive.jpg": encoded(image, "JPEG", progressive=True),
        "preview.jpg": with_preview(image),
        "grey.jpg": encoded(image.convert("L"), "JPEG"),
        "restarts.jpg": encoded(image.convert("CMYK"), "JPEG", restart_marker_blocks=1),
        "colours.png": encoded(image, "PNG"),
        "palette.png": encoded(image.quantize(16), "PNG"),
        "grey.png": encoded(image.convert("L"), "PNG"),
        "alpha.png": encoded(image.convert("RGBA"), "PNG"),
        "sixteen_bits.png": cv2.imencode(".png", noise)[1].tobytes(),
    }


FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "JPEG, baseline": ("JPEG", {}),
    "JPEG, progressive": ("JPEG", {"progressive": True}),
    "PNG": ("PNG", {}),
    "WebP, lossy": ("WEBP", {}),
    "WebP, lossless": ("WEBP", {"lossless": True}),
    "BMP": ("BMP", {}),
}
# That are read only if the configuration allows them.
MORE_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "TIFF": ("TIFF", {}),
    "TIFF, deflated": ("TIFF", {"compression": "tiff_deflate"}),
    "GIF": ("GIF", {}),
    "JPEG 2000": ("JPEG2000", {}),
    "AVIF": ("AVIF", {}),
}


Mutation = Callable[[np.random.Generator, bytearray], None]


def _place(random: np.random.Generator, data: bytearray) -> int:
    return int(random.integers(len(data)))


def flip_bits(random: np.random.Generator, data: bytearray) -> None:
    for _ in range(random.integers(1, 9)):
        data[_place(random, data)] ^= 1 << int(random.integers(8))


def overwrite(random: np.random.Generator, data: bytearray) -> None:
    """A run of other bytes, or of one byte."""
    at, length = _place(random, data), int(random.integers(1, 33))
    value = random.bytes(length) if random.random() < 0.5 else random.bytes(1) * length
    data[at : at + length] = value[: len(data) - at]


def remove(random: np.random.Generator, data: bytearray) -> None:
    at = _place(random, data)
    del data[at : at + int(random.integers(1, 65))]


def insert(random: np.random.Generator, data: bytearray) -> None:
    at = _place(random, data)
    data[at:at] = random.bytes(int(random.integers(1, 65)))


ACCIDENTS: Sequence[Mutation] = (flip_bits, overwrite, remove, insert)


def corrupted(random: np.random.Generator, data: bytes) -> bytes:
    """One accident at a random place; never the same bytes again."""
    while True:
        changed = bytearray(data)
        ACCIDENTS[random.integers(len(ACCIDENTS))](random, changed)
        if changed != data:
            return bytes(changed)


def extreme(random: np.random.Generator, data: bytearray) -> None:
    """A number at the end of its range, mostly in the header."""
    width = int(random.choice([1, 2, 4]))
    values = (0, 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, (1 << 8 * width) - 1)
    limit = min(len(data), 64) if random.random() < 0.7 else len(data)
    at = int(random.integers(limit))
    value = values[random.integers(len(values))].to_bytes(width, "little")
    data[at : at + width] = value[: len(data) - at]


def repeat(random: np.random.Generator, data: bytearray) -> None:
    """A piece stands somewhere else, too; sometimes many times."""
    at, other = _place(random, data), _place(random, data)
    piece = data[at : at + int(random.integers(1, 257))]
    data[other:other] = piece * int(random.choice([1, 1, 2, 50]))


def swap(random: np.random.Generator, data: bytearray) -> None:
    at, other, length = _place(random, data), _place(random, data), int(random.integers(1, 65))
    one, two = data[at : at + length], data[other : other + length]
    data[at : at + len(two)], data[other : other + len(one)] = two, one


def cut(random: np.random.Generator, data: bytearray) -> None:
    del data[_place(random, data) :]


ATTACKS: Sequence[Mutation] = (*ACCIDENTS, extreme, extreme, repeat, swap, cut)


def mutated(random: np.random.Generator, seeds: Sequence[bytes]) -> bytes:
    """One to six changes to one of the seeds, sometimes with a piece of another one in it.

    The checksums of a PNG are mended half of the time: otherwise nothing gets past them.
    """
    data = bytearray(seeds[random.integers(len(seeds))])
    if random.random() < 0.1:
        other = seeds[random.integers(len(seeds))]
        at = int(random.integers(len(other)))
        place = _place(random, data)
        data[place:place] = other[at : at + int(random.integers(1, 513))]
    for _ in range(random.integers(1, 7)):
        if not data:
            break
        ATTACKS[random.integers(len(ATTACKS))](random, data)
    return with_checksums(bytes(data)) if random.random() < 0.5 else bytes(data)


def with_checksums(data: bytes) -> bytes:
    """A PNG whose checksums are right again; anything else as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    mended, at = bytearray(data), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(mended)
