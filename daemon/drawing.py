"""Shapes and text ▸ pixels. Each is drawn once and kept by whoever asked.

FreeType, as matplotlib brings it along, makes the letters; of matplotlib nothing else is loaded, as
that takes half a second.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.ft2font import FT2Font, LoadFlags
from numpy.typing import NDArray

FONTS = Path(mpl.get_data_path(), "fonts", "ttf")  # matplotlib's own: the same on any machine
MISSING_GLYPH = "\N{REPLACEMENT CHARACTER}"
CHIP_HEIGHT = 20
SUBPIXELS = 64  # FreeType's unit of length: so many to a pixel
JOINERS = "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"  # invisible, but shape Persian or Hindi

# FreeType's bitmap begins where the ink does, between two pixels perhaps, and some letters come to
# stand a pixel too far to the left for it. It begins here if something invisible stands there.
START = "\N{ZERO WIDTH NON-JOINER}"

Pixels = NDArray[np.uint8]  # (rows, columns, 3), BGR
Mask = NDArray[np.uint8]  # (rows, columns), how much of each pixel is covered
Box = tuple[int, int, int, int]  # left, top, width, height


class TextStyle(NamedTuple):
    """How a text looks and the pixels it may take; hashable, as part of a cache's key."""

    width: int
    height: int
    baseline: int  # above the bottom edge
    font_size: int  # pixels
    colour: str
    paper: str
    bold: bool = True
    align: str = "left"
    chip: str = ""  # colour of a rounded box around the text


def bgr(colour: str) -> NDArray[np.float32]:
    """A colour as #rrggbb ▸ float32 (3,), 0..255."""
    return np.array([*bytes.fromhex(colour.removeprefix("#"))][::-1], np.float32)


def canvas(width: int, height: int, background: str) -> Pixels:
    """An area of one colour."""
    return np.full((height, width, 3), bgr(background), np.uint8)


def add_box(onto: Pixels, colour: str, box: Box, radius: float = 0) -> None:
    """Draw a box, with round corners of this radius."""
    left, top, width, height = box
    # Of every pixel's centre, the distance to the edge; within half a pixel of it, it is a mixture.
    across, down = (
        np.abs(np.arange(length) + 0.5 - length / 2) - (length / 2 - radius)
        for length in (width, height)
    )
    corner = np.hypot(np.maximum(across, 0), np.maximum(down, 0)[:, None])
    edge = corner + np.minimum(np.maximum(across, down[:, None]), 0) - radius
    _blend(onto[top : top + height, left : left + width], colour, np.clip(0.5 - edge, 0, 1))


def drawn_text(text: str, style: TextStyle) -> Pixels:
    """The text on one line, cut to its place: (style.height, style.width, 3)."""
    drawn = canvas(style.width, style.height, style.paper)
    if style.chip:
        top = (style.height - CHIP_HEIGHT) // 2
        add_box(drawn, style.chip, (0, top, style.width, CHIP_HEIGHT), CHIP_HEIGHT / 2)
    font = _font(style.bold)
    font.set_size(style.font_size, 72)  # at 72 dots per inch a point is a pixel

    def width_of(shown: str) -> float:
        font.set_text(START + shown, flags=LoadFlags.DEFAULT)
        return font.get_width_height()[0] / SUBPIXELS

    def shortened(length: int) -> str:
        return text[:length].rstrip(" _-") + "…"

    # Characters without a glyph would make FreeType warn, and a line break make two lines.
    text = "".join(c if _drawable(font, c) else MISSING_GLYPH for c in " ".join(text.split()))
    if width_of(text) > style.width:
        lengths = range(1, len(text))
        text = shortened(
            bisect_left(lengths, True, key=lambda n: width_of(shortened(n)) > style.width)
        )
    free = style.width - width_of(text)
    font.draw_glyphs_to_bitmap()
    letters = font.get_image()
    left = round({"left": 0, "center": free / 2, "right": free}[style.align])
    left -= -font.get_bitmap_offset()[0] // SUBPIXELS
    # The bitmap has one row to spare at its end.
    bottom = style.height - style.baseline + font.get_descent() // SUBPIXELS + 1
    _blend(drawn, style.colour, _placed(letters, left, bottom, drawn.shape[:2]))
    return drawn


@cache
def _font(bold: bool) -> FT2Font:
    return FT2Font(FONTS / ("DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"))


def _drawable(font: FT2Font, character: str) -> bool:
    shown = character.isprintable() or character in JOINERS
    return shown and font.get_char_index(ord(character)) != 0


def _placed(letters: Mask, left: int, bottom: int, shape: tuple[int, int]) -> Mask:
    """The letters in an area of this shape, where what juts out is cut off."""
    top = bottom - letters.shape[0]
    mask = np.zeros(shape, np.uint8)
    into = mask[max(0, top) : max(0, bottom), max(0, left) : left + letters.shape[1]]
    ink = letters[max(0, -top) :, max(0, -left) :]
    into[:] = ink[: into.shape[0], : into.shape[1]]
    return mask


def _blend(onto: Pixels, colour: str, share: Mask | NDArray[np.float64]) -> None:
    """Mix a colour in. share: (rows, columns), 0..1, or as bytes 0..255."""
    part = (share / 255 if share.dtype == np.uint8 else share)[..., None]
    onto[:] = np.rint(onto + part * (bgr(colour) - onto)).astype(np.uint8)
