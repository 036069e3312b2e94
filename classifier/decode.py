"""Bytes ▸ a pixel array of the model's size, or an error that says why not.

Training and serving both come through here, so a model is asked about what it was taught on.
"""

from __future__ import annotations

import os
from typing import NamedTuple

# OpenCV reads it too, but only when it is imported, and that may have been before (Keras does).
MAX_PIXELS = int(os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", "100000000"))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from numpy.typing import NDArray  # noqa: E402

from classifier import jpeg  # noqa: E402
from classifier.errors import ImageError  # noqa: E402
from classifier.header import (  # noqa: E402
    DEFAULT_FORMATS,
    NAMES,
    Format,
    image_format,
    image_size,
    listed,
)
from classifier.quiet import Overheard, pass_on  # noqa: E402

# One process a core is how this scales; threads inside would only get in the way.
cv2.setNumThreads(1)
if "OPENCV_LOG_LEVEL" not in os.environ:
    # Not a line on stderr for every damaged file: the error that is raised says it.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# A decoded picture is never scaled down below this on its longer side before the model's own
# resize: the same pixels reach the network whether or not somebody wants a picture to look at.
PICTURE_SIDE = 256
# How far the JPEG decoder can scale down while it decodes: most of the cost of a photo goes away.
REDUCED = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4,
           2: cv2.IMREAD_REDUCED_COLOR_2}  # fmt: skip
MAX_SIDE = 1_000_000  # OpenCV and libpng have the same limit, but not the same words for it
_TOO_LARGE = (
    f"the image is too large: more than {MAX_PIXELS / 1e6:g} million pixels, or a side of more "
    "than one million"
)


class Decoded(NamedTuple):
    """One image, ready for the model.

    pixels: uint8 (height, width, channels) of the model's input, RGB or grey.
    picture: uint8 (rows, columns, 3), BGR, longer side at most PICTURE_SIDE; None if not asked for.
    width, height: of the image itself, in pixels, as a viewer would show it.
    """

    pixels: NDArray[np.uint8]
    picture: NDArray[np.uint8] | None
    width: int
    height: int


def decode(
    data: bytes,
    height: int,
    width: int,
    channels: int,
    *,
    with_picture: bool = False,
    formats: frozenset[Format] = DEFAULT_FORMATS,
    into: NDArray[np.uint8] | None = None,
) -> Decoded:
    """Decode an encoded image and resize it to (height, width), shape (height, width, channels).

    EXIF orientation is applied, alpha dropped, 16 bits become 8, CMYK becomes RGB, and of several
    frames or pages the first is taken. The image is stretched, not cropped: what a camera trap must
    not miss stands at the edge as often as in the middle.

    formats: those that are allowed, told by the content.
    into: where the pixels are written to, C-contiguous; otherwise they get a new array.

    Raises `ImageError` for anything that is not one whole image of an allowed format and size.
    """
    if not data:
        raise ImageError("the file is empty")
    kind = image_format(data)
    if kind is None:
        raise ImageError(f"the content is not a {listed(formats)} image, whatever its name says")
    if kind not in formats:
        raise ImageError(
            f"the content is a {NAMES[kind]} image, and `formats:` in config.yaml does not allow it"
        )
    promised = image_size(data)
    if promised is None:  # what may be of any size is not decoded
        raise ImageError("the image is incomplete or damaged")
    if promised[0] * promised[1] > MAX_PIXELS or max(promised) > MAX_SIDE:
        raise ImageError(_TOO_LARGE)
    flags, size = cv2.IMREAD_COLOR, None
    if kind == "jpeg":
        factor = reduction(*promised, height, width)
        if factor > 1:
            flags, size = REDUCED[factor], promised
    image = _decoded_jpeg(data, flags) if kind == "jpeg" else _decoded(data, flags)
    rows, columns = image.shape[:2]
    if size is None:
        size = (columns, rows)
    elif (size[0] > size[1]) != (columns > rows):
        size = (size[1], size[0])  # EXIF turned it

    scaled = image
    if (rows, columns) != (height, width):
        how = _interpolation(image, height, width)
        scaled = cv2.resize(image, (width, height), interpolation=how)
    pixels = np.empty((height, width, channels), np.uint8) if into is None else into
    if channels == 1:
        cv2.cvtColor(scaled, cv2.COLOR_BGR2GRAY, dst=pixels[:, :, 0])
    else:
        cv2.cvtColor(scaled, cv2.COLOR_BGR2RGB, dst=pixels)
    picture = fit(image, PICTURE_SIDE) if with_picture else None
    return Decoded(pixels, picture, *size)


def _decoded_jpeg(data: bytes, flags: int) -> cv2.typing.MatLike:
    """A JPEG that is whole: libjpeg makes a picture of a damaged one, too."""
    if jpeg.too_many_scans(data):
        raise ImageError(
            f"the image has more than {jpeg.MAX_SCANS} scans: it would take too long to decode"
        )
    stderr = Overheard()
    try:
        with stderr:
            image = _decoded(data, flags)
    finally:
        heard = jpeg.heard(stderr.words)
        pass_on(heard.rest)
    if heard.damage:
        raise ImageError(f"the image is damaged: {heard.damage}")
    if heard.harmless and (mended := jpeg.without_harmless(data)) != data:
        return _decoded_jpeg(mended, flags)
    return image


def _decoded(data: bytes, flags: int) -> cv2.typing.MatLike:
    try:
        # From bytes, not from the path: imread gives a grey patch for a JPEG that ends too early.
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise ImageError(_TOO_LARGE) from None
        if error.code == cv2.Error.StsNoMem:
            raise ImageError("there is not enough memory to decode the image") from None
        raise ImageError("the image is damaged") from None
    if image is None:
        raise ImageError("the image is incomplete or damaged")
    return image


def fit(image: NDArray[np.uint8] | cv2.typing.MatLike, side: int) -> NDArray[np.uint8]:
    """A picture whose longer side is at most `side` pixels; a small one is left as it is."""
    rows, columns = image.shape[:2]
    scale = side / max(rows, columns)
    if scale >= 1:
        return _uint8(image)
    size = max(1, round(columns * scale)), max(1, round(rows * scale))
    return _uint8(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def reduction(columns: int, rows: int, height: int, width: int) -> int:
    """How many times smaller the JPEG decoder may make an image of columns x rows pixels.

    At least twice the model's input is left for the area resize, and PICTURE_SIDE.
    """
    if max(columns, rows) <= PICTURE_SIDE:
        return 1
    for factor in REDUCED:
        scaled = -(-columns // factor), -(-rows // factor)
        if (
            min(scaled) >= 2 * max(height, width)
            and max(scaled) >= PICTURE_SIDE
            # Which side is the longer one must still be seen, to know whether EXIF turned it.
            and (columns == rows) == (scaled[0] == scaled[1])
        ):
            return factor
    return 1


def _interpolation(image: cv2.typing.MatLike, height: int, width: int) -> int:
    shrinks = image.shape[0] >= height and image.shape[1] >= width
    return cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR


def _uint8(image: cv2.typing.MatLike) -> NDArray[np.uint8]:
    assert image.dtype == np.uint8
    return image  # type: ignore[return-value]
