"""Annotated thumbnails: a picture, its label and confidence, and the runners-up as bars.

Matplotlib draws all shapes and text, each only once; a render copies their pixels together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, get_font
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

# All sizes and positions are in pixels from the top left corner.
SIZE = 256
PICTURE_HEIGHT = 172
MARGIN = 12
INNER = SIZE - 2 * MARGIN
HEADLINE_TOP, HEADLINE_HEIGHT = 179, 20
GAP = 6
CHIP_WIDTH, UNCERTAIN_CHIP_WIDTH = 48, 100
WINNER_TOP, WINNER_HEIGHT = 204, 6
RUNNERS = 3
RUNNER_TOP, RUNNER_HEIGHT = 213, 13
NAME_WIDTH, SHARE_WIDTH = 92, 32
RUNNER_BAR_LEFT = MARGIN + NAME_WIDTH + GAP
RUNNER_BAR_WIDTH = INNER - NAME_WIDTH - SHARE_WIDTH - GAP
RUNNER_BAR_HEIGHT = 4

BACKDROP, PANEL, TRACK = "#0e1115", "#1b2027", "#303844"
BRIGHT, SOFT, RUNNER_BAR = "#f4f6f8", "#aab3bf", "#7d8896"
SURE, MIDDLING, UNSURE, UNCERTAIN = "#3ecf7a", "#f5b433", "#f4693c", "#8d97a5"
SURE_FROM, MIDDLING_FROM = 0.8, 0.5

FONTS = Path(mpl.get_data_path(), "fonts", "ttf")  # matplotlib's own: the same on any machine
CAPITALS = 0.73  # height of a capital over the font's size
MISSING_GLYPH = "\N{REPLACEMENT CHARACTER}"
LONGEST_TEXT = 64  # characters; more never fits, and would only fatten the cache's keys
CACHED_TEXTS = 1024  # of 11 KB at most

# 4:2:0 would smear the coloured figures and save only a tenth of a millisecond.
JPEG = (
    cv2.IMWRITE_JPEG_QUALITY,
    88,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
    cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
)


class TextStyle(NamedTuple):
    """How a text looks and the pixels it may take; hashable, as part of the cache's key."""

    width: int
    height: int
    font_size: int
    colour: str
    bold: bool = True
    align: str = "left"
    suffix: str = ""  # stays when the text is cut
    chip: str = ""  # colour of a rounded box around the text
    hollow: bool = False  # whether that box is an outline


def _label(chip_width: int, colour: str, suffix: str = "") -> TextStyle:
    width = INNER - chip_width - GAP
    return TextStyle(width, HEADLINE_HEIGHT, font_size=15, colour=colour, suffix=suffix)


LABEL = _label(CHIP_WIDTH, BRIGHT)
UNCERTAIN_LABEL = _label(UNCERTAIN_CHIP_WIDTH, SOFT, suffix=" ?")
CHIPS = {
    accent: TextStyle(CHIP_WIDTH, HEADLINE_HEIGHT, 13, BACKDROP, align="center", chip=accent)
    for accent in (SURE, MIDDLING, UNSURE)
} | {
    UNCERTAIN: TextStyle(
        UNCERTAIN_CHIP_WIDTH,
        HEADLINE_HEIGHT,
        font_size=11,
        colour=SOFT,
        align="center",
        chip=UNCERTAIN,
        hollow=True,
    )
}
NAME = TextStyle(NAME_WIDTH, RUNNER_HEIGHT, font_size=10, colour=SOFT, bold=False)
SHARE = TextStyle(SHARE_WIDTH, RUNNER_HEIGHT, 10, SOFT, bold=False, align="right")


class Thumbnailer:
    """Draws thumbnails of 256x256 px. Its memory is bounded: texts are kept in an LRU cache."""

    def __init__(self) -> None:
        self._templates = [_draw_template(runners) for runners in range(RUNNERS + 1)]
        self._winner_bars = {
            accent: _draw_bar(INNER, WINNER_HEIGHT, accent, hollow=accent == UNCERTAIN)
            for accent in CHIPS
        }
        self._runner_bar = _draw_bar(RUNNER_BAR_WIDTH, RUNNER_BAR_HEIGHT, RUNNER_BAR)
        self._text = lru_cache(maxsize=CACHED_TEXTS)(_draw_text)

    def render(
        self,
        picture: NDArray[np.uint8],
        label: str,
        confidence: float,
        alternatives: Sequence[tuple[str, float]],
        *,
        uncertain: bool = False,
    ) -> bytes:
        """Give the JPEG file of the thumbnail.

        picture: uint8 (rows, columns, 3), BGR, the longer side at most 256 px.
        confidence and the shares in alternatives: 0..1; the first three alternatives are shown.
        """
        runners = alternatives[:RUNNERS]
        thumbnail = self._templates[len(runners)].copy()
        _place_picture(thumbnail, picture)

        down = _shift(len(runners))
        accent = UNCERTAIN if uncertain else _accent(confidence)
        label_style = UNCERTAIN_LABEL if uncertain else LABEL
        chip = CHIPS[accent]
        figure = f"uncertain {_percent(confidence)}" if uncertain else _percent(confidence)
        headline_top = HEADLINE_TOP + down
        _paste(thumbnail, self._text(label[:LONGEST_TEXT], label_style), MARGIN, headline_top)
        _paste(thumbnail, self._text(figure, chip), SIZE - MARGIN - chip.width, headline_top)
        _fill(thumbnail, self._winner_bars[accent], confidence, MARGIN, WINNER_TOP + down)

        for line, (name, share) in enumerate(runners):
            top = RUNNER_TOP + down + line * RUNNER_HEIGHT
            _paste(thumbnail, self._text(name[:LONGEST_TEXT], NAME), MARGIN, top)
            _fill(thumbnail, self._runner_bar, share, RUNNER_BAR_LEFT, top + 5)
            _paste(thumbnail, self._text(_percent(share), SHARE), SIZE - MARGIN - SHARE_WIDTH, top)
        return cv2.imencode(".jpg", thumbnail, JPEG)[1].tobytes()


def _accent(confidence: float) -> str:
    if confidence >= SURE_FROM:
        return SURE
    return MIDDLING if confidence >= MIDDLING_FROM else UNSURE


def _percent(share: float) -> str:
    """Whole percent, but never a certainty that only rounding made."""
    if 0.995 <= share < 0.9995:
        return ">99%"
    return "<1%" if share < 0.005 else f"{share:.0%}"


def _shift(runners: int) -> int:
    """How far down the panel's content moves to stay centred with less than three runners-up."""
    return (RUNNERS - runners) * RUNNER_HEIGHT // 2


def _place_picture(thumbnail: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    rows, columns = picture.shape[:2]
    scale = min(PICTURE_HEIGHT / rows, SIZE / columns)
    if scale >= 2:
        scale = int(scale)  # equal squares for the few pixels there are
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST if scale >= 2 else cv2.INTER_CUBIC
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    left, top = (SIZE - width) // 2, (PICTURE_HEIGHT - height) // 2
    fitted = cv2.resize(picture, (width, height), interpolation=way)
    thumbnail[top : top + height, left : left + width] = fitted


def _paste(thumbnail: NDArray[np.uint8], drawn: NDArray[np.uint8], left: int, top: int) -> None:
    height, width = drawn.shape[:2]
    thumbnail[top : top + height, left : left + width] = drawn


def _fill(
    thumbnail: NDArray[np.uint8], bar: NDArray[np.uint8], share: float, left: int, top: int
) -> None:
    """Copy as much of the full bar as the share, 0..1, with both its round ends."""
    height, width = bar.shape[:2]
    length = round(min(1.0, max(0.0, share)) * width)
    if length == 0:
        return
    end = height // 2
    body = max(length - end, end)
    _paste(thumbnail, bar[:, :body], left, top)
    _paste(thumbnail, bar[:, -end:], left + body, top)


def _canvas(width: int, height: int, background: str) -> FigureCanvasAgg:
    # At 72 dots per inch a point is a pixel.
    return FigureCanvasAgg(Figure((width / 72, height / 72), dpi=72, facecolor=background))


def _pixels(canvas: FigureCanvasAgg) -> NDArray[np.uint8]:
    """The drawn canvas, uint8 (rows, columns, 3), BGR."""
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, 2::-1].copy()


def _add_box(
    canvas: FigureCanvasAgg,
    colour: str,
    box: tuple[int, int, int, int],
    *,
    radius: float = 0,
    hollow: bool = False,
) -> None:
    """box: left, top, width and height."""
    left, top, width, height = box
    inset = 0.5 if hollow else 0  # matplotlib draws an outline astride the edge
    patch = FancyBboxPatch(
        (left + inset, canvas.figure.bbox.height - top - height + inset),
        width - 2 * inset,
        height - 2 * inset,
        boxstyle=f"round,pad=0,rounding_size={radius - inset}" if radius else "square,pad=0",
        facecolor=PANEL if hollow else colour,
        edgecolor=colour if hollow else "none",
        linewidth=1,
        transform=IdentityTransform(),
    )
    canvas.figure.add_artist(patch)


def _draw_template(runners: int) -> NDArray[np.uint8]:
    canvas = _canvas(SIZE, SIZE, BACKDROP)
    _add_box(canvas, PANEL, (0, PICTURE_HEIGHT, SIZE, SIZE - PICTURE_HEIGHT))
    down = _shift(runners)
    winner = (MARGIN, WINNER_TOP + down, INNER, WINNER_HEIGHT)
    _add_box(canvas, TRACK, winner, radius=WINNER_HEIGHT / 2)
    for line in range(runners):
        top = RUNNER_TOP + down + line * RUNNER_HEIGHT + 5
        track = (RUNNER_BAR_LEFT, top, RUNNER_BAR_WIDTH, RUNNER_BAR_HEIGHT)
        _add_box(canvas, TRACK, track, radius=RUNNER_BAR_HEIGHT / 2)
    return _pixels(canvas)


def _draw_bar(width: int, height: int, colour: str, *, hollow: bool = False) -> NDArray[np.uint8]:
    canvas = _canvas(width, height, TRACK)
    _add_box(canvas, colour, (0, 0, width, height), radius=height / 2, hollow=hollow)
    return _pixels(canvas)


def _draw_text(text: str, style: TextStyle) -> NDArray[np.uint8]:
    """The text on the panel's colour, uint8 (style.height, style.width, 3), BGR."""
    canvas = _canvas(style.width, style.height, PANEL)
    if style.chip:
        box = (0, 0, style.width, style.height)
        _add_box(canvas, style.chip, box, radius=style.height / 2, hollow=style.hollow)
    file = FONTS / ("DejaVuSans-Bold.ttf" if style.bold else "DejaVuSans.ttf")
    font = FontProperties(fname=file, size=style.font_size)
    # Characters without a glyph would make matplotlib warn, and a line break make two lines.
    known = get_font(str(file)).get_charmap()
    text = "".join(
        c if c.isprintable() and ord(c) in known else MISSING_GLYPH for c in " ".join(text.split())
    )

    def fits(shown: str) -> bool:
        width, _, _ = canvas.get_renderer().get_text_width_height_descent(shown, font, False)
        return bool(width <= style.width)

    shown = text + style.suffix
    while text and not fits(shown):
        text = text[:-1].rstrip(" _-")
        shown = f"{text}…{style.suffix}"
    canvas.figure.text(
        {"left": 0.0, "center": 0.5, "right": 1.0}[style.align],
        round((style.height - CAPITALS * style.font_size) / 2) / style.height,
        shown,
        color=style.colour,
        fontproperties=font,
        horizontalalignment=style.align,
        parse_math=False,
        usetex=False,
    )
    return _pixels(canvas)
