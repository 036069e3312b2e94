"""Formats by configuration: told by content, allowed or not, measured before they are decoded."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from conftest import Drawing
from daemon_process import Project
from PIL import Image

from classifier.decode import decode
from classifier.errors import ImageError
from classifier.header import DEFAULT_FORMATS, FORMATS, Format, image_format, image_size, listed

# What Pillow calls it, with the options that make another file of it.
KINDS: dict[str, tuple[Format, str, dict[str, Any]]] = {
    "jpeg": ("jpeg", "JPEG", {}),
    "png": ("png", "PNG", {}),
    "webp": ("webp", "WEBP", {}),
    "bmp": ("bmp", "BMP", {}),
    "tiff": ("tiff", "TIFF", {}),
    "tiff, deflate": ("tiff", "TIFF", {"compression": "tiff_deflate"}),
    "tiff, jpeg": ("tiff", "TIFF", {"compression": "jpeg"}),
    "big tiff": ("tiff", "TIFF", {"big_tiff": True}),
    "gif": ("gif", "GIF", {}),
    "jpeg2000": ("jpeg2000", "JPEG2000", {}),
    "jpeg2000 codestream": ("jpeg2000", "JPEG2000", {"no_jp2": True}),
    "avif": ("avif", "AVIF", {}),
}


def encoded(image: Image.Image, kind: str, **more: Any) -> bytes:
    _, name, options = KINDS[kind]
    buffer = io.BytesIO()
    image.save(buffer, name, **options, **more)
    return buffer.getvalue()


def picture(drawing: Drawing, seed: int = 1) -> Image.Image:
    return Image.fromarray(drawing(seed, (64, 48))[:, :, ::-1])


def test_every_format_is_tested() -> None:
    assert {kind for kind, _, _ in KINDS.values()} == FORMATS == set(get_args(Format))


@pytest.mark.parametrize("kind", KINDS)
def test_an_allowed_format_is_read(kind: str, drawing: Drawing) -> None:
    image = picture(drawing)
    data = encoded(image, kind)
    assert image_format(data) == KINDS[kind][0]
    assert image_size(data) == (64, 48)
    got = decode(data, 48, 64, 3, formats=frozenset({KINDS[kind][0]}))
    assert (got.width, got.height) == (64, 48)
    assert np.abs(got.pixels.astype(int) - np.asarray(image)).mean() < 7  # GIF has 256 colours


@pytest.mark.parametrize("kind", KINDS)
def test_a_format_that_is_not_allowed_is_named(kind: str, drawing: Drawing) -> None:
    others = FORMATS - {KINDS[kind][0]}
    with pytest.raises(ImageError, match="image, and `formats:` in config"):
        decode(encoded(picture(drawing), kind), 32, 32, 3, formats=others)


def test_cameras_and_the_web_are_allowed_and_no_others(drawing: Drawing) -> None:
    assert listed(DEFAULT_FORMATS) == "JPEG, PNG, WebP or BMP"
    assert listed({"tiff"}) == "TIFF"
    for kind, (name, _, _) in KINDS.items():
        data = encoded(picture(drawing), kind)
        if name in DEFAULT_FORMATS:
            decode(data, 32, 32, 3)
        else:
            with pytest.raises(ImageError, match=f"is a {listed({name})} image, and"):
                decode(data, 32, 32, 3)


@pytest.mark.parametrize("kind", ["gif", "tiff", "avif", "webp"])
def test_of_several_frames_the_first_is_taken(kind: str, drawing: Drawing) -> None:
    frames = [picture(drawing, seed) for seed in (1, 2, 3)]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    got = decode(data, 48, 64, 3, formats=FORMATS).pixels.astype(int)
    near, far = (np.abs(got - np.asarray(frame)).mean() for frame in frames[:2])
    assert near < 7 < far


def at(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


def tiff_of(data: bytes, width: int, height: int) -> bytes:
    order = "<" if data.startswith(b"II") else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    for entry in range(
        start + 2, start + 2 + 12 * struct.unpack_from(order + "H", data, start)[0], 12
    ):
        (tag,) = struct.unpack_from(order + "H", data, entry)
        if tag in (256, 257):
            side = width if tag == 256 else height
            data = at(data, entry, struct.pack(order + "HHII", tag, 4, 1, side))
    return data


def png_of(data: bytes, width: int, height: int) -> bytes:
    header = data[12:16] + struct.pack(">2I", width, height) + data[24:29]
    return at(data, 12, header + struct.pack(">I", zlib.crc32(header)))


def webp_of(data: bytes, width: int, height: int) -> bytes:
    """A canvas of that size, with a picture in it. It has no more than 24 bits for a side."""
    canvas = b"VP8X\x0a\0\0\0" + bytes(4) + b"".join(
        (side - 1).to_bytes(3, "little") for side in (width, height)
    )  # fmt: skip
    chunks = b"WEBP" + canvas + data[12:]
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


# A file that says that it is of another size.
CLAIMS: dict[str, Callable[[bytes, int, int], bytes]] = {
    "jpeg": lambda data, w, h: at(data, data.index(b"\xff\xc0") + 5, struct.pack(">2H", h, w)),
    "png": png_of,
    "webp": webp_of,
    "bmp": lambda data, w, h: at(data, 18, struct.pack("<2i", w, h)),
    "tiff": tiff_of,
    "gif": lambda data, w, h: at(data, 6, struct.pack("<2H", w, h)),
    "jpeg2000": lambda data, w, h: at(
        at(data, data.index(b"ihdr") + 4, struct.pack(">2I", h, w)),
        data.index(b"\xff\x4f\xff\x51") + 8, struct.pack(">2I", w, h),
    ),
    "avif": lambda data, w, h: at(data, data.index(b"ispe") + 8, struct.pack(">2I", w, h)),
}  # fmt: skip
OF_16_BITS = ("jpeg", "gif")  # their sides cannot be longer than 65,535


@pytest.mark.parametrize("kind", CLAIMS)
def test_too_many_pixels_are_refused_before_they_are_decoded(kind: str, drawing: Drawing) -> None:
    data = CLAIMS[kind](encoded(picture(drawing), kind), 16_000, 15_000)
    assert image_size(data) == (16_000, 15_000)
    with pytest.raises(ImageError, match="more than 100 million pixels"):
        decode(data, 32, 32, 3, formats=FORMATS)


@pytest.mark.parametrize("kind", [kind for kind in CLAIMS if kind not in OF_16_BITS])
def test_a_side_that_is_too_long_is_refused(kind: str, drawing: Drawing) -> None:
    data = CLAIMS[kind](encoded(picture(drawing), kind), 1_000_001, 3)
    assert image_size(data) == (1_000_001, 3)
    with pytest.raises(ImageError, match="a side of more than one million"):
        decode(data, 32, 32, 3, formats=FORMATS)


# The limit that OpenCV has itself, should a file be larger than our reading of its header.
OPENCVS_OWN = """
import sys
from classifier import decode
decode.image_size = lambda data: (1, 1)
try:
    decode.decode(sys.stdin.buffer.read(), 32, 32, 3, formats=frozenset({sys.argv[1]}))
except decode.ImageError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", CLAIMS)
def test_opencv_has_the_same_limit(kind: str, drawing: Drawing) -> None:
    data = CLAIMS[kind](encoded(picture(drawing), kind), 200, 100)
    done = subprocess.run(
        [sys.executable, "-c", OPENCVS_OWN, kind], input=data, capture_output=True, check=True,
        env={**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "10000"}, timeout=60,
    )  # fmt: skip
    # Some of these decoders hold the size against the rest of the file first.
    assert done.stdout.decode().startswith(("the image is too large", "the image is incomplete"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_that_ends_too_early_tells_nothing_or_the_truth(
    kind: str, drawing: Drawing
) -> None:
    data = encoded(picture(drawing), kind)
    for length in range(min(len(data), 2000)):
        assert image_size(data[:length]) in (None, (64, 48))


def test_what_does_not_tell_its_size_is_not_decoded(drawing: Drawing) -> None:
    data = encoded(picture(drawing), "avif").replace(b"ispe", b"free")
    with pytest.raises(ImageError, match="incomplete or damaged"):
        decode(data, 32, 32, 3, formats=FORMATS)


@pytest.fixture
def project(tmp_path: Path, compiled_cache: Path) -> Project:
    return Project(tmp_path, compiled_cache, extensions=["any"], thumbnails={"when": "none"})


def test_the_configuration_decides(project: Project, drawing: Drawing) -> None:
    for kind in KINDS:
        (project.inbox / f"{kind}.any").write_bytes(encoded(picture(drawing), kind))
    done = project.classifyd("run", "--once")
    assert done.returncode == 0, done.stderr
    for kind, (name, _, _) in KINDS.items():
        row = project.row_of(f"{kind}.any")
        assert row["status"] == ("classified" if name in DEFAULT_FORMATS else "failed"), row
        assert ("`formats:`" in row["reason"]) == (name not in DEFAULT_FORMATS)

    project.configure(extensions=["any"], formats=[*FORMATS - {"bmp"}])
    for kind in KINDS:
        (project.inbox / f"again {kind}.any").write_bytes(encoded(picture(drawing), kind))
    assert project.classifyd("run", "--once").returncode == 0
    for kind in KINDS:
        row = project.row_of(f"again {kind}.any")
        assert row["status"] == ("failed" if kind == "bmp" else "classified"), row


@pytest.mark.parametrize("wrong", [["JPEG"], ["heic"], [], "jpeg"])
def test_a_wrong_format_is_told(wrong: object, project: Project) -> None:
    project.configure(formats=wrong)
    done = project.classifyd("check")
    assert done.returncode == 2
    assert "formats" in done.stderr
