"""Bytes ▸ a pixel array of the model's size, or an error that says why not.

Training and serving both come through here, so a model is asked about what it was taught on.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

# OpenCV reads this when it is imported, and then refuses by the header, before it takes memory.
MAX_PIXELS = 100_000_000
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image, UnidentifiedImageError  # noqa: E402

from classifier.errors import ImageError  # noqa: E402

cv2.setNumThreads(
    1
)  # one process a core is how this scales; threads inside would only get in the way

# A decoded picture is never scaled down below this on its longer side before the model's own
# resize: the same pixels reach the network whether or not somebody wants a picture to look at.
PICTURE_SIDE = 256
# Below this many bytes, decoding whole is cheaper than asking first how large the picture is.
LARGE_FILE_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Decoded:
    """One image, ready for the model.

    pixels: uint8 (height, width, channels) of the model's input, RGB or grey.
    picture: uint8 (rows, columns, 3), BGR, longer side at most PICTURE_SIDE; None if not asked for.
    width, height: of the image itself, in pixels, as a viewer would show it.
    """

    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None
    width: int
    height: int


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


def decode(
    data: bytes, height: int, width: int, channels: int, *, with_picture: bool = False
) -> Decoded:
    """Decode an encoded image and resize it to (height, width), shape (height, width, channels).

    EXIF orientation is applied, alpha dropped, 16 bits become 8, CMYK becomes RGB, and an animation
    gives its first frame. The image is stretched, not cropped: what a camera trap must not miss
    stands at the edge as often as in the middle.

    Raises `ImageError` for anything that is not one whole image of an allowed format and size.
    """
    if image_format(data) is None:
        raise ImageError(
            "the content is not a JPEG, PNG, WebP or BMP image, whatever its name says"
        )
    flags, size = cv2.IMREAD_COLOR, None
    if len(data) >= LARGE_FILE_BYTES:
        flags, size = _scaled_flags(data, height, width)
    try:
        # From bytes, not from the path: imread gives a grey patch for a JPEG that ends too early.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "PIXELS" in str(error) or "MAX_IMAGE" in str(error):
            limit = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]) / 1e6
            raise ImageError(f"the image has more than {limit:g} million pixels") from None
        raise ImageError("the image is damaged") from None
    if image is None:
        raise ImageError("the image is incomplete or damaged")
    rows, columns = image.shape[:2]
    if size is None:
        size = (columns, rows)
    elif (size[0] > size[1]) != (columns > rows):
        size = (size[1], size[0])  # EXIF turned it

    pixels = cv2.resize(image, (width, height), interpolation=_interpolation(image, height, width))
    if channels == 1:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[:, :, np.newaxis]
    else:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    picture = fit(image, PICTURE_SIDE) if with_picture else None
    return Decoded(_uint8(pixels), picture, *size)


def fit(image: NDArray[np.uint8] | cv2.typing.MatLike, side: int) -> NDArray[np.uint8]:
    """A picture whose longer side is at most `side` pixels; a small one is left as it is."""
    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    if scale >= 1:
        return _uint8(image)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    return _uint8(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _scaled_flags(data: bytes, height: int, width: int) -> tuple[int, tuple[int, int]]:
    """How far the JPEG decoder may scale down while it decodes, and the true (width, height).

    At least twice the model's input is left for the area resize, and PICTURE_SIDE.
    """
    try:
        with Image.open(io.BytesIO(data)) as header:
            columns, rows = header.size
            is_jpeg = header.format in ("JPEG", "MPO")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise ImageError("the image is damaged: its header cannot be read") from None
    except Image.DecompressionBombError:
        limit = int(os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]) / 1e6
        raise ImageError(f"the image has more than {limit:g} million pixels") from None
    if is_jpeg:
        for factor, flags in (
            (8, cv2.IMREAD_REDUCED_COLOR_8),
            (4, cv2.IMREAD_REDUCED_COLOR_4),
            (2, cv2.IMREAD_REDUCED_COLOR_2),
        ):
            shorter, longer = sorted((columns // factor, rows // factor))
            if shorter >= 2 * max(height, width) and longer >= PICTURE_SIDE:
                return flags, (columns, rows)
    return cv2.IMREAD_COLOR, (columns, rows)


def _interpolation(image: cv2.typing.MatLike, height: int, width: int) -> int:
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def _uint8(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    assert image.dtype == np.uint8
    return image  # type: ignore[return-value]
