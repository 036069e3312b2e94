"""What several pictures share: skies and grounds, eyes and wheels."""

from __future__ import annotations

import numpy as np
from canvas import Canvas, band, ellipse, relief, stroke, union


def cloud(c: Canvas, x: float, y: float, width: float, strength: float = 0.85) -> None:
    """A heap of soft white, darker underneath; `width` is all of it."""
    puffs = (-0.3, 0.05, 0.2), (-0.08, -0.03, 0.24), (0.16, 0, 0.22), (0.36, 0.06, 0.15)
    shapes = [
        ellipse(x + width * dx, y + width * dy, width * r, width * r * 0.6) for dx, dy, r in puffs
    ]
    heap = c.ruffled(union(*shapes), 1.2, 6)
    c.glow(heap, "#ffffff", 1.6, strength)
    c.light(relief(heap, width / 8) * 0.08)


def trees(c: Canvas, base: float, height: float, codes: tuple[str, ...]) -> None:
    """Leafy trees far away, out of focus: a row of each colour, the furthest first."""
    for code in codes:
        for x, size in c.scatter(9, (-5, 0.6), (105, 1.1)):
            crown = ellipse(x, base - height * size / 2, height * 0.45, height * size / 2)
            crown = c.ruffled(crown, 1.5, 4)
            c.glow(crown, code, 0.8)
            c.light(relief(crown, height / 8) * 0.1, crown)
    c.texture(band(base - height, base), 4, 3, 0.04)


def grass(c: Canvas, horizon: float, far: str, near: str) -> None:
    """A meadow up to the horizon."""
    meadow = band(horizon, 100)
    c.gradient([(horizon, far), (100, near)], meadow)
    c.texture(meadow, 12, 3, 0.1)
    c.hair(meadow, -90, 2.5, 0.35, 6000)


def road(c: Canvas, horizon: float) -> None:
    """Asphalt up to the horizon."""
    asphalt = band(horizon, 100)
    c.gradient([(horizon, "#adaaa4"), (100, "#727175")], asphalt)
    c.texture(asphalt, 6, 1.5, 0.07)


def leaves(c: Canvas, count: int) -> None:
    """Dead leaves, strewn all over the picture."""
    for x, y, degrees, size, age in c.scatter(count, (0, 0, 0, 9, 0), (100, 100, 180, 15, 1)):
        dx, dy = size * np.cos(np.radians(degrees)), size * np.sin(np.radians(degrees))
        # Two ellipses, moved apart sideways, overlap in a shape with two points.
        one = ellipse(x - 0.55 * dy, y + 0.55 * dx, size, size * 0.8, degrees)
        other = ellipse(x + 0.55 * dy, y - 0.55 * dx, size, size * 0.8, degrees)
        c.paint(one * other, "#6a4c28" if age < 0.5 else "#4a3c24", 1.5, 0.5)
        rib = (x - 0.6 * dx, y - 0.6 * dy, 0.5), (x + 0.6 * dx, y + 0.6 * dy, 0.3)
        c.paint(stroke(rib), "#352a18")


def shadow(c: Canvas, x: float, y: float, rx: float, ry: float, strength: float = 0.6) -> None:
    """The soft dark patch under whatever stands there."""
    c.glow(ellipse(x, y, rx, ry), "#10120c", ry * 0.5, strength)


def eye(c: Canvas, x: float, y: float, r: float, iris: str, pupil: float) -> None:
    """A round eye; `pupil` is its width against the iris."""
    c.glow(ellipse(x, y, r * 1.25, r * 1.2), "#1a1410", r * 0.12)
    c.paint(ellipse(x, y, r, r), iris, r * 0.5, -0.25)
    c.paint(ellipse(x, y, r * pupil, r * 0.72), "#080606")
    c.paint(ellipse(x - r * 0.3, y - r * 0.35, r * 0.22, r * 0.22), "#ffffff")


def wheel(c: Canvas, x: float, y: float, r: float) -> None:
    """A tyre and its rim, seen from the side."""
    c.paint(ellipse(x, y, r, r), "#17171a", 2, 0.8)
    c.paint(ellipse(x, y, r * 0.6, r * 0.6), "#c2c6cb", 2)
    c.paint(ellipse(x, y, r * 0.16, r * 0.16), "#4b4f55")
    for dx, dy in ((0, -0.4), (0.38, -0.12), (0.24, 0.32), (-0.24, 0.32), (-0.38, -0.12)):
        c.paint(ellipse(x + dx * r, y + dy * r, r * 0.11, r * 0.11), "#3a3d42")
