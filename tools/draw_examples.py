"""Draw the pictures of inbox_example/, one for each class that the shipped model knows.

    python tools/draw_examples.py [FOLDER]

They are drawn, so that they are ours to give away, and they show what the program does: they are
no evidence of how well the model does it. The same library versions give the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import cv2

from canvas import Canvas, ellipse, outline, polygon, relief, stroke, union

FOLDER = Path(__file__).resolve().parent.parent / "inbox_example"


def cloud(c: Canvas, x: float, y: float, width: float, strength: float = 0.85) -> None:
    """A heap of soft white, darker underneath."""
    puffs = [
        ellipse(x + dx * width, y + dy * width, r * width, r * width * 0.6)
        for dx, dy, r in ((-0.3, 0.05, 0.2), (-0.08, -0.03, 0.24), (0.16, 0, 0.22), (0.36, 0.06, 0.15))
    ]
    shape = c.ruffled(union(*puffs), 1.2, 6)
    c.glow(shape, "#ffffff", 1.6, strength)


def trees(c: Canvas, base: float, height: float, codes: tuple[str, ...]) -> None:
    """A line of leafy trees far away, out of focus."""
    for code in codes:
        for x, size in c.scatter(9, (-5, 0.6), (105, 1.1)):
            crown = ellipse(x, base - height * size / 2, height * 0.45, height * size / 2)
            c.glow(c.ruffled(crown, 1.5, 4), code, 0.8)


def grass(c: Canvas, horizon: float, far: str, near: str) -> None:
    """A meadow, its blades longer the nearer they are."""
    field = polygon([(0, horizon), (100, horizon), (100, 100), (0, 100)])
    c.gradient([(horizon, far), (100, near)], field)
    c.texture(field, 12, 3, 0.1)
    c.hair(field, -90, 2.5, 0.35, 6000)


def shadow(c: Canvas, x: float, y: float, rx: float, ry: float, strength: float = 0.6) -> None:
    """The soft dark patch under whatever stands there."""
    c.glow(ellipse(x, y, rx, ry), "#10120c", ry * 0.5, strength)


def eye(c: Canvas, x: float, y: float, r: float, iris: str, slit: float = 0.55) -> None:
    """A round eye; `slit` is the width of the pupil against the iris."""
    c.glow(ellipse(x, y, r * 1.25, r * 1.2), "#1a1410", r * 0.12)
    c.paint(ellipse(x, y, r, r), iris, r * 0.5, -0.25)
    c.paint(ellipse(x, y, r * slit, r * 0.72), "#080606")
    c.paint(ellipse(x - r * 0.3, y - r * 0.35, r * 0.22, r * 0.22), "#ffffff")


def airplane(c: Canvas) -> None:
    """A white airliner climbing past a few clouds."""
    c.gradient([(0, "#3f83cf"), (60, "#86b7e6"), (100, "#c3dcf0")])
    cloud(c, 22, 82, 46, 0.8)
    cloud(c, 80, 90, 40, 0.7)
    cloud(c, 16, 14, 26, 0.45)

    far_wing = polygon([(50, 47), (60, 45), (46, 25), (42, 25.5)])
    c.paint(far_wing, "#a9b4c0", 1, 0.3)
    far_tail = polygon([(13, 49), (19, 49), (14, 41), (11, 41)])
    c.paint(far_tail, "#a9b4c0")

    fin = outline([(10, 49), (8, 36), (6.5, 28), (11.5, 28), (17, 38), (25, 47.5), (18, 51)])
    c.paint(fin, "#2f5fa8", 1.5)
    body = outline(
        [(5, 49), (20, 46), (50, 43.5), (78, 42), (87, 43), (93, 47), (94.5, 50), (91, 53)]
        + [(80, 55), (55, 56.5), (30, 55), (14, 52)]
    )
    c.paint(body, "#f1f3f5", 4, 0.32)
    c.paint(body * polygon([(0, 53), (100, 51.5), (100, 53), (0, 54.4)]), "#2f5fa8")
    for n in range(19):
        c.paint(ellipse(27 + 2.9 * n, 49.2 - 0.06 * n, 0.65, 0.95), "#33475e")
    c.paint(body * polygon([(87.5, 44.5), (91, 45.5), (92.5, 48), (88, 47.5)]), "#22303f")

    engine = outline([(52, 63), (62, 61.5), (64, 64), (62.5, 67), (53, 66.5)])
    near_wing = polygon([(44, 54), (62, 53.5), (60, 56), (30, 77), (25, 77.5), (26, 75.5)])
    c.glow(near_wing, "#35506b", 1, 0.35)
    c.paint(engine, "#d3d8dd", 1.5)
    c.paint(ellipse(63, 64.2, 0.9, 2.2), "#3a4551")
    c.paint(near_wing, "#d9dee4", 1.4, 0.4)
    c.paint(polygon([(5, 50), (15, 50), (9, 57), (4, 57.5)]), "#cfd6dd", 1)


def automobile(c: Canvas) -> None:
    """A red car from the side, filling most of the picture."""
    c.gradient([(0, "#c9d8e2"), (50, "#e4e6e2")])
    trees(c, 46, 34, ("#6d8a5c", "#587a4c"))
    road = polygon([(0, 46), (100, 46), (100, 100), (0, 100)])
    c.gradient([(46, "#a9a8a4"), (100, "#77767a")], road)
    c.texture(road, 6, 1.5, 0.07)
    shadow(c, 50, 77, 48, 6, 0.85)

    body = outline(
        [(4, 62), (5, 53), (10, 48), (20, 45), (27, 37), (36, 28.5), (50, 26), (63, 28.5)]
        + [(75, 42), (88, 46), (95, 52), (97, 62), (96, 72), (85, 75), (50, 76), (12, 75), (5, 71)]
    )
    c.paint(body, "#c81e1e", 6, 0.55)
    c.glow(body * ellipse(48, 48, 42, 1.6), "#ff8d80", 0.8, 0.8)
    c.paint(body * polygon([(0, 70), (100, 70), (100, 80), (0, 80)]), "#7e1212", 2)

    glass = outline([(27, 44.5), (32, 37), (38, 32), (50, 30), (61, 32), (66, 37), (71, 44.5), (49, 45)])
    c.paint(glass, "#27333d", 3, -0.4)
    c.glow(glass * polygon([(36, 30), (44, 28), (36, 46), (29, 46)]), "#b9cad6", 0.6, 0.6)
    c.paint(polygon([(49, 29), (52, 29), (53, 46), (50, 46)]), "#b01a1a", 0.6)
    for x in (29, 51.5, 72):
        c.paint(stroke([(x, 47, 0.5), (x + 1, 58, 0.5), (x - 0.5, 70, 0.5)]), "#6e0f0f")
    for x in (35, 57.5):
        c.paint(stroke([(x, 52, 1.2), (x + 4, 52, 1.2)]), "#f0c9c4")

    c.paint(ellipse(93, 54.5, 3.2, 2.6, 30), "#fff6d8", 1)
    c.paint(ellipse(6, 55.5, 2, 3, 10), "#ff5a3c", 1)
    c.paint(stroke([(84, 71, 2.4), (96.5, 69.5, 2.4)]), "#3a3d42", 1)
    for x in (23, 78):
        c.paint(ellipse(x, 73, 12, 12) * body, "#1c0d0d")
        c.paint(ellipse(x, 74, 10.3, 10.3), "#17171a", 2, 0.8)
        c.paint(ellipse(x, 74, 6.2, 6.2), "#c2c6cb", 2)
        c.paint(ellipse(x, 74, 1.6, 1.6), "#4b4f55")
        for dx, dy in ((0, -4), (3.8, -1.2), (2.4, 3.2), (-2.4, 3.2), (-3.8, -1.2)):
            c.paint(ellipse(x + dx, 74 + dy, 1.1, 1.1), "#3a3d42")


def bird(c: Canvas) -> None:
    """A robin on a mossy branch."""
    c.gradient([(0, "#b9c7a6"), (50, "#a3b58c"), (100, "#7f9468")])
    for x, y, r in c.scatter(22, (0, 0, 4), (100, 100, 11)):
        c.glow(ellipse(x, y, r, r), "#d5dcbc", 2, 0.35)

    branch = stroke([(-4, 84, 8), (30, 80, 7), (65, 82, 6), (104, 75, 4)])
    c.paint(c.ruffled(branch, 0.5), "#6b5138", 2, 0.6)
    c.texture(branch, 8, 1.5, 0.25)

    tail = polygon([(24, 60), (32, 66), (9, 85), (4, 80)])
    c.paint(tail, "#5f4d3b", 1.5)
    body = outline(
        [(25, 60), (32, 46), (44, 36), (50, 24), (60, 17), (70, 18), (77, 25), (78, 34)]
        + [(80, 46), (77, 60), (67, 71), (53, 76), (38, 73), (28, 68)]
    )
    body = c.ruffled(body, 0.5)
    c.paint(body, "#7b6650")
    c.glow(outline([(40, 68), (60, 60), (76, 55), (70, 72), (50, 78)]) * body, "#ece4d4", 2.5)
    breast = outline([(66, 22), (78, 24), (81, 44), (77, 58), (66, 60), (58, 48), (60, 34)])
    c.glow(breast * body, "#d9692a", 2)
    c.tint(relief(body, 7) * 0.5, body)
    c.hair(body, 120, 2.2, 0.4)

    wing = outline([(46, 43), (57, 48), (58, 58), (46, 66), (28, 70), (16, 74), (26, 60), (36, 48)])
    c.glow(wing, "#2c2218", 0.8, 0.5)
    c.paint(wing, "#6a5642", 3, 0.5)
    for n in range(5):
        x, y = 50 - 2 * n, 51 + 3.6 * n
        feather = stroke([(x, y, 0.7), (x - 12, y + 8 - n, 0.6), (x - 22 + 3 * n, y + 15 - 3 * n, 0.3)])
        c.paint(feather * wing, "#3e3022")
    c.hair(wing, 145, 3, 0.3, 2500)

    c.paint(polygon([(77, 25.5), (86.5, 29), (77, 31.5)]), "#3b3430", 0.8)
    eye(c, 70.5, 26, 2.1, "#2a1b10", 0.7)
    for x in (52, 61):
        c.paint(stroke([(x, 73, 1.4), (x + 1, 80, 1.2)]), "#8a5b3c", 0.5)
        for dx in (-3, 0.5, 4):
            c.paint(stroke([(x + 1, 79.5, 1.3), (x + dx, 82.5, 1)]), "#8a5b3c", 0.5)


PICTURES: dict[str, Callable[[Canvas], None]] = {
    picture.__name__: picture for picture in (airplane, automobile, bird)
}


def main(folder: Path) -> None:
    """Draw them all."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, picture) in enumerate(PICTURES.items()):
        canvas = Canvas(seed)
        picture(canvas)
        path = folder / f"{name}.jpg"
        path.write_bytes(canvas.jpeg())
        print(path)


if __name__ == "__main__":
    cv2.setNumThreads(1)  # so that no sum depends on how many cores there are
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
