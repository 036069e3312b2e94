"""Thumbnails, judged by their pixels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from daemon import thumbnail
from daemon.drawing import TextStyle, drawn_text
from daemon.thumbnail import INNER, LABEL, MARGIN, NAME, PAD, Thumbnailer

RUNNERS = [("dog", 0.2), ("frog", 0.1), ("ship", 0.05)]
PANEL_TOP = 168  # of a thumbnail with three runners-up
JPEG_NOISE = 24  # of 255
JPEG_BLOCK = 8  # how far an edge may be felt
RED, GREEN = (0, 0, 255), (0, 255, 0)


@pytest.fixture(scope="module")
def thumbnailer() -> Thumbnailer:
    return Thumbnailer()


def plain(rows: int, columns: int, colour: tuple[int, int, int] = RED) -> NDArray[np.uint8]:
    return np.full((rows, columns, 3), colour, np.uint8)


def decoded(jpeg: bytes) -> NDArray[np.int16]:
    """Signed, for differences."""
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return image.astype(np.int16)


def bgr(colour: str) -> tuple[int, ...]:
    return tuple(round(255 * channel) for channel in reversed(to_rgb(colour)))


def matches(pixels: NDArray[np.int16], colour: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.asarray((abs(pixels - np.array(colour)) <= JPEG_NOISE).all(axis=-1))


def test_is_a_jpeg_of_256_by_256(thumbnailer: Thumbnailer) -> None:
    jpeg = thumbnailer.render(plain(32, 32), "cat", 0.9, RUNNERS)
    assert jpeg.startswith(b"\xff\xd8\xff")
    assert decoded(jpeg).shape == (256, 256, 3)


@pytest.mark.parametrize(
    ("rows", "columns", "left", "top", "width", "height"),
    [
        (256, 192, 65, 0, 126, 168),  # a portrait photo fills the height
        (192, 256, 16, 0, 224, 168),
        (20, 256, 0, 74, 256, 20),  # a panorama fills the width
        (256, 20, 121, 0, 13, 168),
        (128, 128, 44, 0, 168, 168),
        (32, 32, 48, 4, 160, 160),  # five times, not five and a quarter
        (28, 28, 44, 0, 168, 168),
        (1, 256, 0, 83, 256, 1),
    ],
)
def test_picture_is_centred_and_undistorted(
    thumbnailer: Thumbnailer, rows: int, columns: int, left: int, top: int, width: int, height: int
) -> None:
    image = decoded(thumbnailer.render(plain(rows, columns), "cat", 0.9, RUNNERS))
    expected = np.zeros((PANEL_TOP, 256), bool)
    expected[top : top + height, left : left + width] = True
    assert ((image[:PANEL_TOP, :, 2] > 128) == expected).all()


def test_picture_gets_the_room_of_absent_runners_up(thumbnailer: Thumbnailer) -> None:
    image = decoded(thumbnailer.render(plain(100, 100), "good", 0.9, [("bad", 0.1)]))
    assert matches(image[2:194, 32:224], RED).all()  # but for its edge, where colours run


def test_small_picture_keeps_hard_pixels(thumbnailer: Thumbnailer) -> None:
    board = np.indices((32, 32)).sum(axis=0) % 2 * 255
    picture = np.stack([board] * 3, axis=2).astype(np.uint8)
    image = decoded(thumbnailer.render(picture, "board", 0.9, RUNNERS))
    expected = picture.repeat(5, axis=0).repeat(5, axis=1)
    assert abs(image[4:164, 48:208] - expected).max() <= 2 * JPEG_NOISE


def test_colours_and_sides_are_not_swapped(thumbnailer: Thumbnailer) -> None:
    picture = plain(168, 168, RED)
    picture[84:, :84] = GREEN
    image = decoded(thumbnailer.render(picture, "cat", 0.9, RUNNERS))[:PANEL_TOP, 44:212]
    assert (matches(image, GREEN) == (picture == GREEN).all(axis=-1)).mean() > 0.98
    assert (matches(image, RED) == (picture == RED).all(axis=-1)).mean() > 0.98


@pytest.mark.parametrize(
    ("confidence", "uncertain", "accent"),
    [
        (0.8, False, thumbnail.SURE),
        (0.79, False, thumbnail.MIDDLING),
        (0.5, False, thumbnail.MIDDLING),
        (0.49, False, thumbnail.UNSURE),
        (0.95, True, thumbnail.UNCERTAIN),
        (0.3, True, thumbnail.UNCERTAIN),
    ],
)
def test_accent_tells_how_sure_it_is(
    thumbnailer: Thumbnailer, confidence: float, uncertain: bool, accent: str
) -> None:
    jpeg = thumbnailer.render(plain(32, 32), "cat", confidence, RUNNERS, uncertain=uncertain)
    panel = decoded(jpeg)[PANEL_TOP:]
    accents = (thumbnail.SURE, thumbnail.MIDDLING, thumbnail.UNSURE, thumbnail.UNCERTAIN)
    assert [a for a in accents if matches(panel, bgr(a)).sum() > 200] == [accent]
    headline = matches(panel[: thumbnail.HEADLINE_HEIGHT], bgr(accent))
    assert headline[:, [0, -1]].all() == uncertain  # filled from edge to edge


@pytest.mark.parametrize("share", [0.0, 0.004, 0.101, 0.333, 0.5, 0.55, 0.999, 1.0])
def test_bars_share_one_scale(thumbnailer: Thumbnailer, share: float) -> None:
    image = decoded(thumbnailer.render(plain(32, 32), "", share, [("", share), ("", 0), ("", 0)]))
    winner = image[PANEL_TOP + 34, MARGIN : MARGIN + INNER]
    runner = image[PANEL_TOP + 47, MARGIN : MARGIN + PAD + NAME.width]  # as far as its figure
    filled = ~matches(winner, bgr(thumbnail.TRACK))
    assert filled.sum() == pytest.approx(share * INNER, abs=2)
    assert matches(runner, bgr(thumbnail.RUNNER_BAR)).sum() == pytest.approx(
        min(share * INNER, len(runner)), abs=2
    )


def test_percent_claims_no_certainty_that_is_none() -> None:
    shares = [0, 0.0099, 0.01, 0.101, 0.55, 0.994, 0.995, 0.9999, 1.0]
    assert " ".join(map(thumbnail._percent, shares)) == "<1% <1% 1% 10% 55% 99% >99% >99% 100%"


@pytest.mark.parametrize("style", [LABEL, thumbnail.UNCERTAIN_LOOK.label, NAME])
def test_long_text_is_cut_with_an_ellipsis(style: TextStyle) -> None:
    drawn = drawn_text("abc" * 40, style)

    def fits(text: str) -> bool:
        with_more_room = drawn_text(text, style._replace(width=2 * style.width))
        inside, beyond = np.split(with_more_room, [style.width], axis=1)
        return bool((inside == drawn).all() and (beyond == beyond[0, 0]).all())

    assert sum(fits(("abc" * 40)[:length] + "…") for length in range(60)) == 1


FORMATS = ["$x^2$", r"$\frac{1$", "_a_", "{0!r}", "%s"]
CONTROLS = ["", " ", "a\nb", "tab\tcr\r", "\0\x1b[31m", "\u202eabc", "\ud800", "w" * 999]
SCRIPTS = ["猫", "🐱 cat", "e\u0301", "חתול", "قطة"]


@pytest.mark.parametrize("text", FORMATS + CONTROLS + SCRIPTS, ids=lambda text: ascii(text[:9]))
@pytest.mark.parametrize("uncertain", [False, True])
def test_odd_text_stays_in_its_place(thumbnailer: Thumbnailer, text: str, uncertain: bool) -> None:
    """Any warning is an error here, one of a missing glyph too."""

    def draw(text: str) -> NDArray[np.int16]:
        runners = [(text, 0.0)] * 3
        return decoded(thumbnailer.render(plain(32, 32), text, 0.9, runners, uncertain=uncertain))

    changed = abs(draw(text) - draw("")).max(axis=-1) > JPEG_NOISE
    assert changed.any() == bool(text.strip())
    changed[PANEL_TOP:, MARGIN - JPEG_BLOCK : MARGIN + PAD + NAME.width + JPEG_BLOCK] = False
    assert not changed.any()


def test_newline_is_a_space_and_math_is_text_and_joiners_are_invisible() -> None:
    for text, same in [("a\r\nb", "a b"), ("a\u200cb", "ab")]:
        assert (drawn_text(text, NAME) == drawn_text(same, NAME)).all()
    assert (drawn_text("$a$", NAME) != drawn_text("a", NAME)).any()


def test_same_input_gives_the_same_bytes(thumbnailer: Thumbnailer) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (192, 256, 3), np.uint8)
    before = picture.copy()
    first, second = (thumbnailer.render(picture, "cat", 0.9, RUNNERS) for _ in range(2))
    assert first == second == Thumbnailer().render(picture, "cat", 0.9, RUNNERS)
    assert (picture == before).all()


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnail, "CACHED_TEXTS", 8)
    small = Thumbnailer()
    for number in range(30):
        small.render(plain(32, 32), f"class {number}", number / 30, [(f"other {number}", 0.1)])
    assert small._text.cache_info().currsize == 8


def test_needs_neither_display_nor_pyplot_nor_home(tmp_path: Path) -> None:
    code = (
        "import sys; from daemon.thumbnail import Thumbnailer; Thumbnailer();"
        "sys.exit(bool({'matplotlib.pyplot', 'tkinter'} & sys.modules.keys()))"
    )
    environment = {"MPLCONFIGDIR": str(tmp_path), "HOME": "/nonexistent"}
    root = Path(thumbnail.__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, timeout=60, check=True)
