"""Annotated thumbnails: a picture, its label and confidence, and the runners-up as bars.

All shapes and text are drawn only once; a render copies their pixels together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from daemon.drawing import TextStyle, add_box, canvas, drawn_text

# All lengths are in pixels, all positions from the top left corner. Below the picture is the panel;
# its rows are placed from its own top.
SIZE = 256
MARGIN = 12
INNER = SIZE - 2 * MARGIN
HEADLINE_HEIGHT = 28
BAR_TOP, BAR_HEIGHT = 31, 6
RUNNERS = 3
RUNNERS_TOP, RUNNER_HEIGHT, RUNNER_PITCH = 41, 13, 14
RUNNER_RADIUS = 2
BOTTOM = 5
GAP = 6
PAD = 5  # between the ends of a runner-up's row and its text
CHIP_WIDTH = 54
VERDICT_WIDTH = 108  # of "uncertain >99%"
SHARE_WIDTH = 36

BACKDROP, PANEL, TRACK = "#0e1115", "#1b2027", "#303844"
RUNNER_BAR, RUNNER_TRACK = "#4b5a6d", "#262d37"
BRIGHT = "#f4f6f8"
GLOW, BLACK = "#afadaa", "#000000"  # text as light, added to what it lies on
SURE, MIDDLING, UNSURE, UNCERTAIN = "#3ecf7a", "#f5b433", "#f4693c", "#d9a3ff"
SURE_FROM, MIDDLING_FROM = 0.8, 0.5

# Enlarged this much or more, pixels are shown as what they are: hard squares, all of one size.
HARD_FROM = 3

LONGEST_TEXT = 128  # characters; more never fits, and would only fatten the cache's keys
CACHED_TEXTS = 4096  # of 15 KB at most; a model with 1000 classes needs 3400

# With colours at half the size (4:2:0), as is OpenCV's way: at full size the letters look no
# better, a file is a fifth larger, and encoding it, most of a thumbnail, takes 1.7 times as long.
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


class Look(NamedTuple):
    """What tells one degree of certainty from another; uncertain fills the headline with colour."""

    accent: str
    label: TextStyle
    figure: TextStyle
    label_words: str = "{}"
    figure_words: str = "{}"


LABEL = TextStyle(
    width=INNER - CHIP_WIDTH - GAP,
    height=HEADLINE_HEIGHT,
    baseline=9,
    font_size=15,
    colour=BRIGHT,
    paper=PANEL,
)


def _plain(accent: str) -> Look:
    chip = LABEL._replace(
        width=CHIP_WIDTH, font_size=13, colour=BACKDROP, align="center", chip=accent
    )
    return Look(accent, LABEL, chip)


SURE_LOOK, MIDDLING_LOOK, UNSURE_LOOK = map(_plain, (SURE, MIDDLING, UNSURE))
UNCERTAIN_LOOK = Look(
    accent=UNCERTAIN,
    label=LABEL._replace(width=INNER - VERDICT_WIDTH - GAP, colour=BACKDROP, paper=UNCERTAIN),
    figure=LABEL._replace(
        width=VERDICT_WIDTH, font_size=12, colour=BACKDROP, paper=UNCERTAIN, align="right"
    ),
    label_words="{}?",
    figure_words="uncertain {}",
)
NAME = TextStyle(
    width=INNER - 2 * PAD - SHARE_WIDTH,
    height=RUNNER_HEIGHT,
    baseline=3,
    font_size=11,
    colour=GLOW,
    paper=BLACK,
    bold=False,
)
SHARE = NAME._replace(width=SHARE_WIDTH, align="right")


class Thumbnailer:
    """Draws thumbnails of 256x256 px. Its memory is bounded: texts are kept in an LRU cache."""

    def __init__(self) -> None:
        self._templates = {
            (runners, uncertain): _draw_template(runners, UNCERTAIN if uncertain else PANEL)
            for runners in range(RUNNERS + 1)
            for uncertain in (False, True)
        }
        self._bars = {
            accent: _draw_bar(BAR_HEIGHT, BAR_HEIGHT / 2, accent, TRACK)
            for accent in (SURE, MIDDLING, UNSURE, UNCERTAIN)
        }
        self._runner_bar = _draw_bar(RUNNER_HEIGHT, RUNNER_RADIUS, RUNNER_BAR, RUNNER_TRACK)
        self._text = lru_cache(maxsize=CACHED_TEXTS)(drawn_text)

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
        uncertain: whether the user does not want to rely on it, however high the confidence.
        """
        runners = alternatives[:RUNNERS]
        thumbnail = self._templates[len(runners), uncertain].copy()
        panel = _panel_top(len(runners))
        _place_picture(thumbnail[:panel], picture)

        look = UNCERTAIN_LOOK if uncertain else _look(confidence)
        headline = look.label_words.format(label[:LONGEST_TEXT])
        figure = look.figure_words.format(_percent(confidence))
        right = SIZE - MARGIN
        _paste(thumbnail, self._text(headline, look.label), MARGIN, panel)
        _paste(thumbnail, self._text(figure, look.figure), right - look.figure.width, panel)
        _paste(thumbnail, _cut_bar(self._bars[look.accent], confidence), MARGIN, panel + BAR_TOP)

        for row, (name, share) in enumerate(runners):
            top = panel + RUNNERS_TOP + row * RUNNER_PITCH
            _paste(thumbnail, _cut_bar(self._runner_bar, share), MARGIN, top)
            _overlay(thumbnail, self._text(name[:LONGEST_TEXT], NAME), MARGIN + PAD, top)
            share_left = right - PAD - SHARE.width
            _overlay(thumbnail, self._text(_percent(share), SHARE), share_left, top)
        return cv2.imencode(".jpg", thumbnail, JPEG)[1].tobytes()


def _look(confidence: float) -> Look:
    if confidence >= SURE_FROM:
        return SURE_LOOK
    return MIDDLING_LOOK if confidence >= MIDDLING_FROM else UNSURE_LOOK


def _percent(share: float) -> str:
    """Whole percent, but neither nothing nor a certainty that only rounding made."""
    if 0.995 <= share < 1:
        return ">99%"
    return "<1%" if share < 0.01 else f"{share:.0%}"


def _panel_top(runners: int) -> int:
    """Where the panel begins: what it does not need is the picture's."""
    return SIZE - RUNNERS_TOP - runners * RUNNER_PITCH - BOTTOM


def _place_picture(space: NDArray[np.uint8], picture: NDArray[np.uint8]) -> None:
    """Put the picture into the middle of the space, as large as it can be."""
    rows, columns = picture.shape[:2]
    scale = min(space.shape[0] / rows, space.shape[1] / columns)
    way = cv2.INTER_CUBIC  # good enough for shrinking, which is never to less than half
    if scale >= HARD_FROM:
        scale, way = int(scale), cv2.INTER_NEAREST
    height, width = max(1, round(rows * scale)), max(1, round(columns * scale))
    fitted = cv2.resize(picture, (width, height), interpolation=way)
    top, left = (space.shape[0] - height) // 2, (space.shape[1] - width) // 2
    space[top : top + height, left : left + width] = fitted


def _paste(onto: NDArray[np.uint8], drawn: NDArray[np.uint8], left: int, top: int) -> None:
    height, width = drawn.shape[:2]
    onto[top : top + height, left : left + width] = drawn


def _overlay(onto: NDArray[np.uint8], text: NDArray[np.uint8], left: int, top: int) -> None:
    """Add the text's light to what is there: it is as clear on the end of a bar as beside it."""
    height, width = text.shape[:2]
    under = onto[top : top + height, left : left + width]
    cv2.add(under, text, dst=under)


def _cut_bar(bar: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """As much of the full bar as the share, 0..1, with both its round ends."""
    height, width = bar.shape[:2]
    length = round(min(1.0, max(0.0, share)) * width)
    body = max(0, length - height // 2)
    return np.hstack((bar[:, :body], bar[:, width - length + body :]))


def _draw_template(runners: int, banner: str) -> NDArray[np.uint8]:
    """What thumbnails with as many runners-up have in common."""
    drawn = canvas(SIZE, SIZE, BACKDROP)
    top = _panel_top(runners)
    add_box(drawn, PANEL, (0, top, SIZE, SIZE - top))
    add_box(drawn, banner, (0, top, SIZE, HEADLINE_HEIGHT))
    add_box(drawn, TRACK, (MARGIN, top + BAR_TOP, INNER, BAR_HEIGHT), BAR_HEIGHT / 2)
    for row in range(runners):
        row_top = top + RUNNERS_TOP + row * RUNNER_PITCH
        add_box(drawn, RUNNER_TRACK, (MARGIN, row_top, INNER, RUNNER_HEIGHT), RUNNER_RADIUS)
    return drawn


def _draw_bar(height: int, radius: float, colour: str, track: str) -> NDArray[np.uint8]:
    drawn = canvas(INNER, height, track)
    add_box(drawn, colour, (0, 0, INNER, height), radius)
    return drawn
