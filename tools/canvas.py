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

cv2.setNumThreads(1)  # so that no sum depends on how many cores there are

FINAL_SIDE = 480
SIDE = 2 * FINAL_SIDE  # painted twice as large: the shrinking at the end smooths every edge
UNIT = SIDE / 100  # pixels in one percent
SUBPIXEL_BITS = 4
SUBPIXELS = UNIT * (1 << SUBPIXEL_BITS)  # OpenCV's fixed-point steps in one percent
LIGHT = (-0.5, -0.85)  # where the light comes from, seen from any point of the picture

Array = NDArray[np.float32]
WHITE = np.float32(255)
# Places, written as in SVG: "10,20 30,40". Strokes add a width: "10,20,3 30,40,1".
Points = str | Sequence[tuple[float, ...]]


def _array(points: Points) -> Array:
    if isinstance(points, str):
        points = [tuple(map(float, point.split(","))) for point in points.split()]
    return np.array(points, np.float32)


def _colour(code: str) -> Array:
    """'#rrggbb' ▸ float32 (3,) RGB of 0..1."""
    return np.frombuffer(bytes.fromhex(code[1:]), np.uint8).astype(np.float32) / WHITE


def _curve(points: Array, steps: int) -> Array:
    """A smooth (Catmull-Rom) curve from the second point to the last but one."""
    t = np.linspace(0, 1, steps, endpoint=False, dtype=np.float32)[:, np.newaxis]
    pieces = []
    for a, b, c, d in zip(points, points[1:], points[2:], points[3:], strict=False):
        square, cube = 2 * a - 5 * b + 4 * c - d, d - a + 3 * (b - c)
        pieces.append(b + (t * (c - a) + t**2 * square + t**3 * cube) / 2)
    return np.concatenate([*pieces, points[-2:-1]])


def _filled(corners: Array) -> Array:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    fixed = (corners * SUBPIXELS).round().astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / WHITE


def polygon(points: Points) -> Array:
    """The mask of a shape with straight sides."""
    return _filled(_array(points))


def band(top: float, bottom: float) -> Array:
    """The mask of everything between two heights."""
    return polygon([(0, top), (100, top), (100, bottom), (0, bottom)])


def outline(points: Points) -> Array:
    """The mask of a shape with a smooth edge through the points."""
    p = _array(points)
    return _filled(_curve(np.concatenate([p[-1:], p, p[:2]]), steps=14))


def symmetric(points: Points) -> Array:
    """As `outline`, from the right half alone, whose first and last points are on the middle."""
    right = _array(points)
    left = right[-2:0:-1] * (-1, 1) + (100, 0)
    return outline(np.concatenate([right, left]).tolist())


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float = 0) -> Array:
    """The mask of an ellipse about (x, y), turned clockwise."""
    t = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    turn = np.radians(degrees)
    dx, dy = rx * np.cos(t), ry * np.sin(t)
    across, down = dx * np.cos(turn) - dy * np.sin(turn), dx * np.sin(turn) + dy * np.cos(turn)
    return _filled(np.stack([x + across, y + down], axis=1).astype(np.float32))


def stroke(points: Points) -> Array:
    """The mask of a limb or a line: smooth through (x, y, width), with round ends."""
    p = _array(points)
    longest = float(np.abs(np.diff(p[:, :2], axis=0)).max()) * UNIT
    path = _curve(np.concatenate([p[:1], p, p[-1:]]), steps=int(longest) + 1)  # a disc each pixel
    mask = np.zeros((SIDE, SIDE), np.uint8)
    for x, y, width in (path * SUBPIXELS).round().astype(int).tolist():
        radius = max(width // 2, 8)  # at least half a pixel
        cv2.circle(mask, (x, y), radius, 255, cv2.FILLED, cv2.LINE_AA, SUBPIXEL_BITS)
    return mask.astype(np.float32) / WHITE


def union(*masks: Array) -> Array:
    """The mask of everything that is in any of them."""
    return reduce(np.maximum, masks)


def both(mask: Array) -> Array:
    """A shape and its mirror image: two ears, two paws."""
    return union(mask, mask[:, ::-1])


def blurred(mask: Array, radius: float) -> Array:
    """Gaussian blur by a radius in percent; a wide one is done small, where it is cheap."""
    sigma = radius * UNIT
    shrink = max(1, int(sigma / 4))
    small = cv2.resize(mask, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT)
    grown = cv2.resize(small, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    if shrink > 1:  # without this the grid of small pixels shows in the shading
        grown = cv2.GaussianBlur(grown, (0, 0), shrink)
    return np.asarray(grown, np.float32)


def relief(mask: Array, depth: float) -> Array:
    """How far each point of a rounded body faces the light (> 0) or turns from it (< 0).

    The blurred mask is taken as the body's height: its slope is steep near the edge, and none in
    the middle, further than `depth` percent from it.
    """
    down, across = np.gradient(blurred(mask, depth))
    facing = -(across * LIGHT[0] + down * LIGHT[1])
    return np.asarray(facing * 2.5 * depth * UNIT, np.float32)  # 2.5: about 1 at the edge


class Canvas:
    """A square picture that masks are painted on. The same seed gives the same picture."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._pixels: Array = np.zeros((SIDE, SIDE, 3), np.float32)  # RGB of 0..1

    def scatter(self, count: int, low: Sequence[float], high: Sequence[float]) -> Array:
        """Random rows between the corners `low` and `high`."""
        return self._rng.uniform(low, high, (count, len(high))).astype(np.float32)

    def noise(self, width: float, height: float) -> Array:
        """Smooth noise, about -1..1, of grains about (width, height) percent, and finer ones."""
        total = np.zeros((SIDE, SIDE), np.float32)
        for octave in range(4):
            cells = [min(SIDE, max(2, round(100 / size * 2**octave))) for size in (height, width)]
            grains = self._rng.standard_normal(cells, np.float32)
            grown = cv2.resize(grains, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
            total += np.asarray(grown, np.float32) * 0.5**octave
        return total / 1.6

    def ruffled(self, mask: Array, amount: float, grain: float = 1.5) -> Array:
        """The mask with an uneven edge, as of fur or leaves."""
        y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
        shift_x, shift_y = (self.noise(grain, grain) * amount * UNIT for _ in range(2))
        places = x + shift_x, y + shift_y
        moved = cv2.remap(mask, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.float32)

    def paint(self, mask: Array, code: str, depth: float = 0, shade: float = 0.45) -> None:
        """Fill a shape: flat, or rounded with shading that reaches `depth` percent inwards."""
        self._blend(_colour(code), mask)
        if depth:
            self.light(relief(mask, depth) * shade, mask)

    def glow(
        self, mask: Array, code: str, radius: float, strength: float = 1, within: Array | float = 1
    ) -> None:
        """Fill a shape with its edge blurred: patches of fur, shadows, distant things."""
        self._blend(_colour(code), blurred(mask, radius) * strength * within)

    def gradient(self, stops: Sequence[tuple[float, str]], mask: Array | float = 1) -> None:
        """Fill with colours from top to bottom, each (y, colour)."""
        heights, codes = zip(*stops, strict=True)
        rows = np.linspace(0, 100, SIDE)
        channels = np.stack([_colour(code) for code in codes]).T
        ramp = np.stack([np.interp(rows, heights, channel) for channel in channels], axis=1)
        self._blend(ramp[:, np.newaxis].astype(np.float32), np.full((SIDE, SIDE), mask, np.float32))

    def light(self, brightness: Array, mask: Array | float = 1) -> None:
        """Make brighter (> 0) or darker (< 0) where the mask is."""
        self._pixels = self._pixels * (1 + brightness * mask)[:, :, np.newaxis]

    def texture(self, mask: Array | float, width: float, height: float, strength: float) -> None:
        """Uneven brightness, of grains about (width, height): bark, water, skin."""
        self.light(self.noise(width, height) * strength, mask)

    def hair(
        self, mask: Array, degrees: float, length: float, strength: float, count: int = 5000
    ) -> None:
        """Light and dark hairs, lying along a direction (0 is to the right, 90 down)."""
        layer = np.full((SIDE, SIDE), 128, np.uint8)  # 128: no change
        for x, y, lean, grey in self.scatter(count, (0, 0, -0.4, 40), (100, 100, 0.4, 216)):
            turn = np.radians(degrees) + lean
            end = x + length * np.cos(turn), y + length * np.sin(turn)
            ends = (np.array([(x, y), end]) * SUBPIXELS).astype(int).tolist()
            cv2.line(layer, ends[0], ends[1], float(grey), 2, cv2.LINE_AA, SUBPIXEL_BITS)
        self.light((layer.astype(np.float32) / np.float32(128) - 1) * strength, mask)

    def jpeg(self, quality: int = 88) -> bytes:
        """The finished picture, with a camera's slight blur and grain, as a JPEG file."""
        small = cv2.resize(self._pixels, (FINAL_SIDE, FINAL_SIDE), interpolation=cv2.INTER_AREA)
        small = cv2.GaussianBlur(small, (0, 0), 0.6)
        grain = self._rng.standard_normal((FINAL_SIDE, FINAL_SIDE, 1), np.float32) * 0.01
        rgb = (np.clip(small + grain, 0, 1) * 255).round().astype(np.uint8)
        bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return data.tobytes()

    def _blend(self, over: Array, mask: Array) -> None:
        self._pixels = self._pixels + (over - self._pixels) * mask[:, :, np.newaxis]
