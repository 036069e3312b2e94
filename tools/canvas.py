"""A small painter in NumPy and OpenCV: soft-edged shapes, shaded as if lit from the upper left.

Every length and place is in percent of the picture's side, x to the right and y down. A shape is a
*mask*, float32 (SIDE, SIDE) of 0..1, so that shapes join with `union` and cut with `*`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

FINAL_SIDE = 480
SIDE = 2 * FINAL_SIDE  # painted twice as large: the shrinking at the end smooths every edge
UNIT = SIDE / 100  # pixels in one percent
SUBPIXEL_BITS = 4
LIGHT = (-0.5, -0.85)  # where the light comes from, seen from any point of the picture

Array = NDArray[np.float32]
Points = Sequence[tuple[float, float]]


def colour(code: str) -> Array:
    """'#rrggbb' ▸ float32 (3,) RGB of 0..1."""
    return np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)], np.float32) / 255


def curve(points: Sequence[Sequence[float]], *, closed: bool, steps: int = 14) -> Array:
    """A smooth (Catmull-Rom) curve through points of any dimension, as many close points."""
    p = np.asarray(points, np.float32)
    p = np.concatenate([p[-1:], p, p[:2]] if closed else [p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, np.newaxis]
    pieces = [
        b + t * (c - a) / 2 + t**2 * (a - 2.5 * b + 2 * c - d / 2) + t**3 * (d - a + 3 * (b - c)) / 2
        for a, b, c, d in zip(p[:-3], p[1:-2], p[2:-1], p[3:], strict=True)
    ]
    return np.concatenate([*pieces, p[-2:-1]])


def polygon(points: Points | Array) -> Array:
    """The mask of a shape with straight sides."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    corners = np.asarray(points, np.float32) * UNIT * (1 << SUBPIXEL_BITS)
    cv2.fillPoly(mask, [corners.round().astype(np.int32)], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def outline(points: Points) -> Array:
    """The mask of a shape with a smooth edge through the points."""
    return polygon(curve(points, closed=True))


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> Array:
    """The mask of an ellipse about (x, y), turned clockwise."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    turn = np.radians(degrees)
    dx, dy = rx * np.cos(t), ry * np.sin(t)
    across, down = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
    return polygon(np.stack([x + across, y + down], axis=1).astype(np.float32))


def stroke(points: Sequence[tuple[float, float, float]]) -> Array:
    """The mask of a limb or a line: smooth through (x, y, width) points, with round ends."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    path = curve(points, closed=False, steps=40) * UNIT * (1 << SUBPIXEL_BITS)
    for x, y, width in path.round().astype(int).tolist():
        radius = max(width // 2, 8)  # at least half a pixel
        cv2.circle(mask, (x, y), radius, 255, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / 255


def union(*masks: Array) -> Array:
    """The mask of everything that is in any of them."""
    return reduce(np.maximum, masks)


def blurred(image: Array, radius: float) -> Array:
    """Gaussian blur by a radius in percent; a wide one is done small, where it is cheap."""
    sigma = radius * UNIT
    shrink = max(1, int(sigma / 4))
    small = cv2.resize(image, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC), np.float32)


def relief(mask: Array, depth: float) -> Array:
    """How far each point of a rounded body faces the light (> 0) or turns from it (< 0).

    The blurred mask is taken as the body's height: its slope is steep near the edge, and none in
    the middle, further than `depth` percent from it.
    """
    height = blurred(mask, depth)
    down, across = np.gradient(height)
    facing = -(across * LIGHT[0] + down * LIGHT[1])
    return np.asarray(facing * 2.5 * depth * UNIT, np.float32)  # 2.5: about 1 at the edge


class Canvas:
    """A square picture that masks are painted on. The same seed gives the same picture."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self.pixels: Array = np.zeros((SIDE, SIDE, 3), np.float32)

    def noise(self, width: float, height: float) -> Array:
        """Smooth noise, about -1..1, of grains about (width, height) percent, and finer ones."""
        total = np.zeros((SIDE, SIDE), np.float32)
        for octave in range(4):
            cells = [max(2, round(100 / size * 2**octave)) for size in (height, width)]
            grains = self._rng.standard_normal([min(n, SIDE) for n in cells], np.float32)
            grown = cv2.resize(grains, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            total += np.asarray(grown, np.float32) * 0.5**octave
        return total / 1.6

    def scatter(self, count: int, low: Points | tuple[float, ...], high: tuple[float, ...]) -> Array:
        """Random rows between the corners `low` and `high`."""
        return self._rng.uniform(low, high, (count, len(high))).astype(np.float32)

    def gradient(self, stops: Sequence[tuple[float, str]], mask: Array | None = None) -> None:
        """Colours from top to bottom, each (y, colour)."""
        rows = np.linspace(0, 100, SIDE)
        columns = np.array([colour(code) for _, code in stops])
        heights = [y for y, _ in stops]
        ramp = np.stack([np.interp(rows, heights, channel) for channel in columns.T], axis=1)
        self.blend(ramp[:, np.newaxis].astype(np.float32), 1 if mask is None else mask)

    def blend(self, over: Array, mask: Array | float) -> None:
        """Lay colours over the picture where the mask is."""
        alpha = mask[:, :, np.newaxis] if isinstance(mask, np.ndarray) else mask
        self.pixels = self.pixels + (over - self.pixels) * alpha

    def tint(self, brightness: Array, mask: Array | float = 1) -> None:
        """Make brighter (> 0) or darker (< 0) where the mask is."""
        self.pixels = self.pixels * (1 + brightness * mask)[:, :, np.newaxis]

    def paint(self, mask: Array, code: str, depth: float = 0, shade: float = 0.45) -> None:
        """Fill a shape: flat, or rounded with shading that reaches `depth` percent inwards."""
        self.blend(colour(code), mask)
        if depth:
            self.tint(relief(mask, depth) * shade, mask)

    def glow(self, mask: Array, code: str, radius: float, strength: float = 1) -> None:
        """A shape with its edge blurred: patches of fur, shadows, distant things."""
        self.blend(colour(code), blurred(mask, radius) * strength)

    def texture(self, mask: Array | float, width: float, height: float, strength: float) -> None:
        """Uneven brightness: grass, bark, water, hide."""
        self.tint(self.noise(width, height) * strength, mask)

    def hair(
        self, mask: Array, degrees: float, length: float, strength: float, count: int = 5000
    ) -> None:
        """Light and dark hairs, lying along a direction (0 is to the right, 90 down)."""
        layer = np.full((SIDE, SIDE), 128, np.uint8)
        turn = np.radians(degrees)
        for x, y, lean, value in self.scatter(count, (0, 0, -0.4, 40), (100, 100, 0.4, 216)):
            start = np.array([x, y])
            end = start + length * np.array([np.cos(turn + lean), np.sin(turn + lean)])
            a, b = ((p * UNIT * (1 << SUBPIXEL_BITS)).astype(int).tolist() for p in (start, end))
            cv2.line(layer, a, b, float(value), 2, cv2.LINE_AA, SUBPIXEL_BITS)
        self.tint((layer.astype(np.float32) / 128 - 1) * strength, mask)

    def ruffled(self, mask: Array, amount: float, grain: float = 1.5) -> Array:
        """The mask with an uneven edge, as of fur or leaves."""
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        shift_x, shift_y = (self.noise(grain, grain) * amount * UNIT for _ in range(2))
        moved = cv2.remap(mask, x + shift_x, y + shift_y, cv2.INTER_LINEAR)
        return np.asarray(moved, np.float32)

    def jpeg(self, quality: int = 88) -> bytes:
        """The finished picture, with a camera's slight blur and grain, as a JPEG file."""
        small = cv2.resize(self.pixels, (FINAL_SIDE, FINAL_SIDE), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.6)
        grain = self._rng.standard_normal((FINAL_SIDE, FINAL_SIDE, 1), np.float32) * 0.012
        rgb = (np.clip(small + grain, 0, 1) * 255).round().astype(np.uint8)
        done, data = cv2.imencode(
            ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        assert done
        return data.tobytes()
