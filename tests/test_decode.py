"""classifier.decode: a whole image of an allowed format and size, or an error that says why not."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import Drawing
from numpy.typing import NDArray
from PIL import Image, ImageOps

from classifier.decode import PICTURE_SIDE, Decoded, decode, reduction
from classifier.errors import ImageError
from classifier.header import image_size

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "progressive jpeg": ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"quality": 100}),
    "lossless webp": ("WEBP", {"lossless": True}),
    "bmp": ("BMP", {}),
}


def decoded(data: bytes, **options: Any) -> Decoded:
    return decode(data, 32, 32, 3, **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def photo(bgr: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(bgr[:, :, ::-1])


def far(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean distance, in steps of 0..255."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_gives_the_drawn_picture(kind: str, drawing: Drawing) -> None:
    image = drawing(1, (64, 48))
    got = decoded(encoded(photo(image), KINDS[kind][0], **KINDS[kind][1]))
    expected = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    assert (got.width, got.height) == (64, 48)
    assert got.pixels.shape == (32, 32, 3)
    assert far(got.pixels, expected) < 3


@pytest.mark.parametrize("kind", KINDS)
def test_no_proper_prefix_is_an_image(
    kind: str, drawing: Drawing, capfd: pytest.CaptureFixture[str]
) -> None:
    data = encoded(photo(drawing(1, (40, 30))), KINDS[kind][0], **KINDS[kind][1])
    middle = range(64, len(data) - 64, 1 + len(data) // 200)
    for length in (*range(64), *middle, *range(len(data) - 64, len(data))):
        with pytest.raises(ImageError):
            decoded(data[:length])
    # The error is all that OpenCV says: an inbox of broken files must not fill the log twice.
    assert "imgcodecs" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"this is a text\n" * 99,
        b"BMW is a make of cars " * 99,
        b"\xff\xd8\xff",
        b"\xff\xd8\xff" + b"\xff" * 999,
        b"8BPS\0\1" + b"\0" * 999,
        b"RIFF\0\0\0\0WAVE" + b"\0" * 99,
    ],
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    with pytest.raises(ImageError):
        decoded(data)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "TGA"])
def test_formats_that_are_not_offered_are_refused(kind: str, drawing: Drawing) -> None:
    with pytest.raises(ImageError, match="not a JPEG, PNG, WebP or BMP"):
        decoded(encoded(photo(drawing()), kind))


@pytest.mark.parametrize(
    ("kind", "mode"),
    [(kind, mode) for kind in KINDS for mode in ("RGB", "L", "RGBA")
     if not ("jpeg" in kind and mode == "RGBA")],
)  # fmt: skip
def test_the_header_tells_the_size(kind: str, mode: str, drawing: Drawing) -> None:
    image = photo(drawing(1, (301, 77))).convert(mode)
    assert image_size(encoded(image, KINDS[kind][0], **KINDS[kind][1])) == (301, 77)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, drawing: Drawing) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(drawing(1, (64, 48))), "JPEG", quality=95, exif=exif)
    seen = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    got = decoded(data)
    assert (got.width, got.height) == seen.size
    assert far(got.pixels, decoded(encoded(seen, "PNG")).pixels) < 2


def test_cmyk(drawing: Drawing) -> None:
    data = encoded(photo(drawing(1)).convert("CMYK"), "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert far(decoded(data).pixels, expected) < 3


def test_sixteen_bits_become_eight() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    data = cv2.imencode(".png", ramp)[1].tobytes()
    assert np.abs(decoded(data).pixels[:, :, 0] - ramp / 257).max() <= 1


def test_alpha_is_dropped(drawing: Drawing) -> None:
    image = photo(drawing(1))
    see_through = image.copy()
    see_through.putalpha(Image.linear_gradient("L").resize((32, 32)))
    got = decoded(encoded(see_through, "PNG")).pixels
    np.testing.assert_array_equal(got, decoded(encoded(image, "PNG")).pixels)


def test_grey_in_and_grey_out(drawing: Drawing) -> None:
    image = photo(drawing(1))
    grey = encoded(image.convert("L"), "PNG")
    three = decoded(grey).pixels
    np.testing.assert_array_equal(three[:, :, 0], three[:, :, 2])
    one = decode(encoded(image, "PNG"), 32, 32, 1).pixels
    assert one.shape == (32, 32, 1)
    assert far(one[:, :, 0], three[:, :, 0]) < 1


@pytest.mark.parametrize("size", [(1, 1), (5000, 2), (2, 5000), (33, 31)])
def test_odd_shapes(size: tuple[int, int], drawing: Drawing) -> None:
    got = decoded(encoded(photo(drawing(1, size)), "PNG"), with_picture=True)
    assert (got.width, got.height) == size
    assert got.pixels.shape == (32, 32, 3)
    assert got.picture is not None
    assert min(got.picture.shape[:2]) >= 1
    assert max(got.picture.shape[:2]) == min(max(size), PICTURE_SIDE)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (64, 48), (20, 10)])
def test_pixels_are_written_where_they_are_wanted(
    size: tuple[int, int], channels: int, drawing: Drawing
) -> None:
    data = encoded(photo(drawing(1, size)), "JPEG")
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    how = cv2.INTER_LINEAR if size[0] < 32 else cv2.INTER_AREA
    scaled = cv2.resize(whole, (32, 32), interpolation=how)
    to = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGR2GRAY
    expected = cv2.cvtColor(scaled, to).reshape(32, 32, channels)
    batch = np.full((3, 32, 32, channels), 7, np.uint8)
    decode(data, 32, 32, channels, into=batch[1])
    np.testing.assert_array_equal(batch[1], expected)
    np.testing.assert_array_equal(decode(data, 32, 32, channels).pixels, expected)
    assert (batch[[0, 2]] == 7).all()


@pytest.mark.parametrize("size", [(20, 10), (300, 500), (1600, 1200)])
def test_asking_for_a_picture_does_not_change_the_pixels(
    size: tuple[int, int], drawing: Drawing
) -> None:
    data = encoded(photo(drawing(1, size)), "JPEG")
    without, with_picture = decoded(data), decoded(data, with_picture=True)
    assert without.picture is None
    np.testing.assert_array_equal(without.pixels, with_picture.pixels)


def test_a_photo_is_scaled_down_while_it_is_decoded(drawing: Drawing) -> None:
    size = (4000, 3000)
    data = encoded(photo(drawing(1, size)), "JPEG")
    assert reduction(*size, 32, 32) == 8
    got = decoded(data)
    assert (got.width, got.height) == size
    whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    expected = cv2.resize(whole, (32, 32), interpolation=cv2.INTER_AREA)[:, :, ::-1]
    assert far(got.pixels, expected.astype(np.uint8)) < 1


@pytest.mark.parametrize("size", [(2100, 1400), (2400, 2395), (2400, 2400)])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_large_photo_has_the_size_that_a_viewer_shows(
    size: tuple[int, int], orientation: int, drawing: Drawing
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photo(drawing(1, size)), "JPEG", exif=exif)
    got = decoded(data, with_picture=True)
    assert (got.width, got.height) == (size if orientation == 1 else size[::-1])
    assert got.picture is not None
    assert max(got.picture.shape[:2]) == PICTURE_SIDE


@pytest.mark.parametrize(
    ("size", "side", "factor"),
    [
        ((4000, 3000), 32, 8),
        ((4000, 3000), 224, 4),  # twice the model's input is left
        ((640, 480), 32, 2),  # and a picture to show
        ((500, 400), 32, 1),
        ((4000, 60), 32, 1),
        ((4000, 3999), 32, 1),  # scaled, it would be a square: which side was the longer one?
    ],
)
def test_how_far_a_photo_is_scaled_down(size: tuple[int, int], side: int, factor: int) -> None:
    assert reduction(*size, side, side) == factor


def bomb(side: int) -> bytes:
    """A PNG of side x side black pixels, a bit each: a small file of a large image."""

    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(name + content).to_bytes(4)
        return len(content).to_bytes(4) + name + content + checksum

    header = side.to_bytes(4) * 2 + bytes([1, 0, 0, 0, 0])
    pixels = zlib.compress(bytes((1 + (side + 7) // 8) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        [chunk(b"IHDR", header), chunk(b"IDAT", pixels), chunk(b"IEND", b"")]
    )


REFUSE = """
import resource, sys
{first}
from classifier.decode import decode
from classifier.errors import ImageError
data = sys.stdin.buffer.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode(data, 32, 32, 3)
except ImageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


# Keras imports OpenCV; a limit that OpenCV reads as it is imported would come too late then.
@pytest.mark.parametrize("first", ["", "import cv2"])
def test_a_decompression_bomb_is_refused_before_it_takes_memory(first: str) -> None:
    data = bomb(30_000)
    assert len(data) < 1 << 20
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENCV")}
    done = subprocess.run(
        [sys.executable, "-c", REFUSE.format(first=first)],
        input=data, capture_output=True, check=True, env=environment,
    )  # fmt: skip
    said, grown_kib = done.stdout.decode().splitlines()
    assert "more than 100 million pixels" in said
    assert int(grown_kib) < 50 << 10  # whole, it takes 2.7 GB


def test_a_jpeg_is_measured_before_it_is_scaled_down(drawing: Drawing) -> None:
    data = encoded(photo(drawing(1, (64, 64))), "JPEG")
    frame = data.index(b"\xff\xc0")
    side = (20_000).to_bytes(2)  # 400 million pixels; an eighth of it either way is but 6 million
    with pytest.raises(ImageError, match="more than 100 million pixels"):
        decoded(data[: frame + 5] + side + side + data[frame + 9 :])


@pytest.mark.parametrize(("side", "said"), [(31, ""), (32, "more than 0.001 million pixels")])
def test_the_pixel_limit_can_be_set(side: int, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSE.format(first="")],
        input=bomb(side), capture_output=True, check=True,
        env={**os.environ, "OPENCV_IO_MAX_IMAGE_PIXELS": "1000"},
    )  # fmt: skip
    *refusal, _ = done.stdout.decode().splitlines()
    assert bool(refusal) == bool(said)
    assert said in "".join(refusal)
