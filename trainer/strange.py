"""Pictures of no class at all: noise, text, charts and the like, drawn anew from a seed.

What a model says of them shows whether it notices that it has been given something strange. They
are drawn for this alone: no image set has to be fetched, and no model was trained on them.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

EACH = 200  # pictures of every kind
SIDE = 128  # pixels of the square they are drawn in, before they get the model's size
FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
ORBIT_STEPS = 24
ESCAPED = 4.0

Random = np.random.Generator
Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]


def pictures(
    kind: str, count: int, height: int, width: int, channels: int, seed: int = 0
) -> Iterator[Picture]:
    """`count` pictures of one of the KINDS, uint8 (height, width, channels), RGB or grey.

    The same arguments give the same pictures, whatever was drawn before.
    """
    random = np.random.default_rng([seed, *kind.encode()])
    for _ in range(count):
        picture = KINDS[kind](random, height, width)
        if picture.shape[:2] != (height, width):
            shrinks = picture.shape[0] > height or picture.shape[1] > width
            how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
            picture = _bytes(cv2.resize(picture, (width, height), interpolation=how))
        if channels == 1:
            picture = _bytes(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[:, :, np.newaxis]
        yield picture


def _noise(random: Random, height: int, width: int) -> Picture:
    """Every value for itself, in the model's own size: shrunk noise would be plain grey."""
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _smooth_noise(random: Random, height: int, width: int) -> Picture:
    cells = int(random.integers(2, 12))
    coarse = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return _bytes(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


def _flat(random: Random, height: int, width: int) -> Picture:
    return np.full((height, width, 3), _colour(random), np.uint8)


def _gradient(random: Random, height: int, width: int) -> Picture:
    """From one colour to another, along a line or away from a point."""
    rows, columns = _places(height, width)
    if random.random() < 0.5:
        ramp = _across(random, rows, columns)
    else:
        ramp = np.hypot(rows - random.uniform(-1, 1), columns - random.uniform(-1, 1))
    return _blend(ramp, _colour(random), _colour(random))


def _stripes(random: Random, height: int, width: int) -> Picture:
    """Hard or soft bands at any angle."""
    rows, columns = _places(height, width)
    waves = np.sin(_across(random, rows, columns) * random.uniform(6, 40))
    return _blend(
        np.sign(waves) if random.random() < 0.5 else waves, _colour(random), _colour(random)
    )


def _checkerboard(random: Random, height: int, width: int) -> Picture:
    rows, columns = _places(height, width)
    fields = random.uniform(1, 6, 2)
    dark = (np.floor(rows * fields[0]) + np.floor(columns * fields[1])) % 2
    return _blend(dark, _colour(random), _colour(random))


def _text(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """Lines of random letters on light or dark paper."""
    canvas, ink = _paper(random)
    scale = float(random.uniform(0.35, 1.1))
    font = int(random.choice(FONTS))
    letters = [*string.ascii_letters, *string.digits, " ", " ", " "]
    for baseline in range(int(30 * scale), SIDE + 8, int(34 * scale)):
        line = "".join(random.choice(letters, 24))
        cv2.putText(canvas, line, (4, baseline), font, scale, ink, 1 + (scale > 0.7), cv2.LINE_AA)
    return canvas


def _shapes(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """Discs, boxes and triangles in plain colours."""
    canvas = _canvas(_colour(random))
    for _ in range(int(random.integers(1, 6))):
        centre = random.integers(0, SIDE, 2)
        size = int(random.integers(10, 48))
        corners = int(random.choice([3, 4, 6, 40]))  # forty look round
        turn = random.uniform(0, 2 * np.pi)
        angles = turn + np.arange(corners) * 2 * np.pi / corners
        edge = centre + size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cv2.fillPoly(canvas, [edge.astype(np.int32)], _colour(random), cv2.LINE_AA)
    return canvas


def _scribble(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """One winding line on paper, of random harmonics."""
    canvas, ink = _paper(random)
    turns = np.linspace(0, 2 * np.pi, 300)
    waves = np.arange(1, int(random.integers(3, 10)))
    phases = random.uniform(0, 2 * np.pi, (2, len(waves), 1))
    sizes = random.normal(0, 1, (2, len(waves), 1))
    line = (sizes * np.sin(turns * waves[:, np.newaxis] + phases)).sum(axis=1)
    line *= random.uniform(0.6, 1.1) * SIDE / 2 / np.abs(line).max()
    points = (line.T + SIDE / 2).astype(np.int32)
    cv2.polylines(canvas, [points], True, ink, int(random.integers(1, 4)), cv2.LINE_AA)
    return canvas


def _chart(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """Axes with bars or a line, as in a report."""
    canvas, ink = _paper(random)
    left, bottom, top = 16, SIDE - 16, 12
    for y in range(top, bottom, 20):
        cv2.line(canvas, (left, y), (SIDE - 6, y), (190, 190, 190), 1)
    count = int(random.integers(4, 13))
    places = np.linspace(left + 8, SIDE - 14, count).astype(int).tolist()
    values = random.integers(top, bottom, count).tolist()
    colour = _colour(random)
    if random.random() < 0.5:
        half = max(1, 32 // count)
        for x, y in zip(places, values, strict=True):
            cv2.rectangle(canvas, (x - half, y), (x + half, bottom), colour, -1)
    else:
        line = np.array([*zip(places, values, strict=True)], np.int32)
        cv2.polylines(canvas, [line], False, colour, 2, cv2.LINE_AA)
    cv2.polylines(
        canvas, [np.array([(left, 6), (left, bottom), (SIDE - 4, bottom)], np.int32)], False, ink, 2
    )
    return canvas


def _code(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """Black and white modules with a quiet zone, in a square or as bars."""
    modules = int(random.integers(11, 30))
    shape = (modules, modules) if random.random() < 0.5 else (1, modules)
    dark = random.integers(0, 2, shape, dtype=np.uint8) * np.uint8(255)
    margin = int(random.integers(6, 20))
    inner = cv2.resize(dark, (SIDE - 2 * margin,) * 2, interpolation=cv2.INTER_NEAREST)
    canvas = _canvas((255, 255, 255))
    canvas[margin:-margin, margin:-margin] = inner[:, :, np.newaxis]
    return canvas


def _fractal(random: Random, height: int, width: int) -> Picture:  # noqa: ARG001
    """A Julia set: how long each point of the plane takes to run away."""
    rows, columns = _places(SIDE, SIDE)
    zoom = random.uniform(0.6, 1.6)
    points = zoom * (columns + 1j * rows)
    angle = random.uniform(0, 2 * np.pi)
    constant = 0.7885 * np.exp(1j * angle)  # this far from 0, most sets are rich in form
    steps = np.zeros(points.shape)
    for _ in range(ORBIT_STEPS):
        near = np.abs(points) < ESCAPED
        points = np.where(near, points**2 + constant, points)
        steps += near
    return _blend(np.sqrt(steps), _colour(random), _colour(random))


KINDS: dict[str, Callable[[Random, int, int], Picture]] = {
    "noise": _noise,
    "smooth noise": _smooth_noise,
    "flat colour": _flat,
    "gradient": _gradient,
    "stripes": _stripes,
    "checkerboard": _checkerboard,
    "text": _text,
    "shapes": _shapes,
    "scribble": _scribble,
    "chart": _chart,
    "code": _code,
    "fractal": _fractal,
}


def _places(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of every pixel, float64 (height, width), from -1 to 1."""
    rows, columns = np.meshgrid(
        np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    return rows, columns


def _across(
    random: Random, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How far every pixel is along a direction."""
    angle = random.uniform(0, 2 * np.pi)
    result: NDArray[np.float64] = rows * np.sin(angle) + columns * np.cos(angle)
    return result


def _blend(values: NDArray[np.float64], first: Colour, second: Colour) -> Picture:
    """Values (height, width) as colours: the lowest is the first, the highest the second."""
    span = values.max() - values.min()
    share = ((values - values.min()) / (span or 1.0))[:, :, np.newaxis]
    return _bytes(np.array(first) * (1 - share) + np.array(second) * share)


def _paper(random: Random) -> tuple[Picture, Colour]:
    """A canvas of nearly white and a dark ink, or the other way round."""
    paper, ink = random.integers(225, 256, 3), random.integers(0, 90, 3)
    if random.random() < 0.25:
        paper, ink = 255 - paper, 255 - ink
    red, green, blue = ink.tolist()
    return np.full((SIDE, SIDE, 3), paper, np.uint8), (red, green, blue)


def _canvas(colour: Colour) -> Picture:
    return np.full((SIDE, SIDE, 3), colour, np.uint8)


def _colour(random: Random) -> Colour:
    red, green, blue = random.integers(0, 256, 3).tolist()
    return red, green, blue


def _bytes(values: Any) -> Picture:
    return np.asarray(values).astype(np.uint8)
