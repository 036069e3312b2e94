"""Draw the pictures of inbox_example/, one for each class that the shipped model knows.

    python tools/draw_examples.py [FOLDER]

They are drawn, so that they are ours to give away, and they show what the program does: they are
no evidence of how well the model does it. The same library versions give the same bytes.

The numbers are places found by eye; `canvas` says what they are measured in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from canvas import Canvas, band, both, ellipse, outline, polygon, relief, stroke, symmetric, union
from props import cloud, eye, grass, leaves, road, shadow, trees, wheel

FOLDER = Path(__file__).resolve().parent.parent / "inbox_example"


def airplane(c: Canvas) -> None:
    """A white airliner climbing past a few clouds."""
    c.gradient([(0, "#3f83cf"), (60, "#86b7e6"), (100, "#c3dcf0")])
    cloud(c, 22, 84, 46, 0.8)
    cloud(c, 80, 91, 40, 0.7)
    cloud(c, 16, 14, 26, 0.45)

    c.paint(polygon("50,47 62,45 46,25 42,25.5"), "#a9b4c0", 1, 0.3)
    c.paint(polygon("13,49 20,49 14,41 10.5,41"), "#a9b4c0")
    fin = outline("10,49 8,36 6.5,28 11.5,28 17,38 25,47.5 18,51")
    c.paint(fin, "#2f5fa8", 1.5)
    body = outline("5,49 20,46 50,43.5 78,42 87,43 93,47 94.5,50 91,53 80,55 55,56.5 30,55 14,52")
    c.paint(body, "#f1f3f5", 4, 0.32)
    c.paint(body * polygon("0,52.4 100,51.5 100,52.9 0,53.8"), "#2f5fa8")
    for n in range(19):
        c.paint(ellipse(27 + 2.9 * n, 49.2 - 0.06 * n, 0.65, 0.95), "#33475e")
    c.paint(body * polygon("87.5,44.5 91,45.5 92.5,48 88,47.5"), "#22303f")

    near_wing = polygon("42,53.5 62,53 60.5,55.5 31,77 26,77.5 27,75")
    engine = outline("47,60.5 57,58.8 59.5,61.5 58,64.8 48,64.5")
    c.glow(near_wing * body, "#35506b", 1.2, 0.5, body)
    c.paint(engine, "#c6ccd3", 1.5, 0.7)
    c.paint(ellipse(58.4, 61.7, 0.9, 2.3), "#3a4551")
    c.paint(near_wing, "#dfe4e9", 1.6, 0.4)
    c.paint(stroke("44,55,0.35 29,76,0.35"), "#9aa6b3")  # the flaps
    c.paint(polygon("5,50 16,50 9,57 4,57.5"), "#cfd6dd", 1)


def automobile(c: Canvas) -> None:
    """A red car from the side, filling most of the picture."""
    c.gradient([(0, "#bdd2e3"), (50, "#e4e6e2")])
    trees(c, 50, 34, ("#7f9a68", "#587a4c"))
    road(c, 47)
    shadow(c, 50, 79, 48, 5, 0.9)

    body = outline(
        "4,62 5,53 10,48 20,45 27,37 36,28.5 50,26 63,28.5 75,42 88,46 95,52 97,62 96,72 "
        "85,75 50,76 12,75 5,71"
    )
    c.paint(body, "#c81e1e", 6, 0.5)
    c.glow(ellipse(48, 48.5, 42, 1.4), "#ff8d80", 0.8, 0.8, body)
    c.glow(band(70, 80), "#5e0d0d", 1, 1, body)

    glass = outline("27,44.5 32,37 38,32 50,30 61,32 66,37 71,44.5 49,45")
    c.paint(glass, "#27333d", 3, -0.4)
    c.glow(polygon("38,30 45,28 37,46 30,46"), "#b9cad6", 0.6, 0.6, glass)
    c.glow(polygon("60,30 63,30 58,46 55,46"), "#b9cad6", 0.5, 0.4, glass)
    c.paint(polygon("49,29 52,29 53,46 50,46"), "#b01a1a", 0.6)
    for x in (29, 51.5, 72):
        c.paint(stroke([(x, 47, 0.5), (x + 1, 58, 0.5), (x - 0.5, 70, 0.5)]) * body, "#6e0f0f")
    for x in (35, 57.5):
        c.paint(stroke([(x, 52, 1.2), (x + 4, 52, 1.2)]), "#f0c9c4", 0.4)
    c.paint(ellipse(69.5, 45, 2.4, 1.7), "#a31616", 1)  # the mirror

    c.paint(ellipse(93, 54.5, 3.2, 2.6, 30), "#fff6d8", 1)
    c.paint(ellipse(6, 55.5, 1.8, 3, 10), "#ff5a3c", 1)
    c.paint(stroke("85,71,2.4 96.5,69.5,2.4"), "#3a3d42", 1)
    for x in (23, 78):
        c.paint(ellipse(x, 73, 12, 12) * body, "#1c0d0d")
        wheel(c, x, 74, 10.3)


def bird(c: Canvas) -> None:
    """A robin on a branch."""
    c.gradient([(0, "#b9c7a6"), (50, "#a3b58c"), (100, "#7f9468")])
    for x, y, r in c.scatter(22, (0, 0, 4), (100, 100, 11)):
        c.glow(ellipse(x, y, r, r), "#d5dcbc", 2, 0.35)
    branch = c.ruffled(stroke("-4,84,8 30,80,7 65,82,6 104,75,4"), 0.25)
    c.paint(branch, "#6b5138", 2, 0.6)
    c.texture(branch, 8, 1, 0.25)

    c.paint(polygon("24,60 32,66 9,85 4,80"), "#5f4d3b", 1.5)
    body = outline(
        "25,60 32,46 44,36 50,24 60,17 70,18 77,25 78,34 80,46 77,60 67,71 53,76 38,73 28,68"
    )
    body = c.ruffled(body, 0.25, 0.8)
    c.paint(body, "#7b6650")
    belly = outline("40,68 60,60 76,55 70,72 50,78")
    c.glow(belly, "#ece4d4", 2.5, 1, body)
    breast = outline("66,22 78,24 81,44 77,58 66,60 58,48 60,34")
    c.glow(breast, "#d9692a", 2, 1, body)
    c.light(relief(body, 7) * 0.5, body)
    c.hair(body, 120, 2.2, 0.35)

    wing = outline("46,43 57,48 58,58 46,66 28,70 16,74 26,60 36,48")
    c.glow(wing, "#2c2218", 0.8, 0.5, body)
    c.paint(wing, "#6a5642", 3, 0.5)
    for n in range(5):
        x, y = 50 - 2 * n, 51 + 3.6 * n
        tip = (x - 22 + 3 * n, y + 15 - 3 * n, 0.3)
        c.paint(stroke([(x, y, 0.7), (x - 12, y + 8 - n, 0.6), tip]) * wing, "#3e3022")
    c.hair(wing, 145, 3, 0.3, 2500)

    c.paint(polygon("77,25.5 86.5,29 77,31.5"), "#3b3430", 0.8)
    eye(c, 70.5, 26, 2.1, "#2a1b10", 0.7)
    for x in (52, 61):
        c.paint(stroke([(x, 73, 1.4), (x + 1, 80, 1.2)]), "#8a5b3c", 0.5)
        for dx in (-3, 0.5, 4):
            c.paint(stroke([(x + 1, 79.5, 1.3), (x + dx, 82.5, 1)]), "#8a5b3c", 0.5)


def cat(c: Canvas) -> None:
    """The face of a grey tabby."""
    c.gradient([(0, "#b5a596"), (60, "#c9b8a6"), (100, "#a5968a")])
    c.texture(1, 30, 30, 0.12)
    chest = c.ruffled(symmetric("50,72 64,74 78,84 84,105 50,105"), 0.4)
    c.paint(chest, "#67615b", 8)
    c.glow(ellipse(50, 98, 11, 10), "#e6e1d8", 3, 0.9, chest)
    c.hair(chest, 90, 4, 0.4)

    ears = c.ruffled(both(outline("55,27 62,17 72,8 79,5 83,11 85,28 84,48 70,50")), 0.3)
    c.paint(ears, "#5f5952", 3)
    c.glow(both(outline("64,30 69,19 77,11 80,17 80,36 72,36")), "#c99a8e", 1.2, 0.9, ears)
    c.hair(ears, -70, 3, 0.3)
    head = symmetric("50,20 60,21 71,27 81,38 86,52 86,64 77,74 63,81 50,83")
    head = c.ruffled(head, 0.5, 1.2)
    c.glow(ellipse(50, 83, 30, 7), "#2b2622", 2, 0.6, chest)
    c.paint(head, "#7a736b")
    c.glow(ellipse(50, 75, 21, 11), "#efebe4", 3, 1, head)
    stripes = stroke("50,22,2 50,31,2.4 50,39,1"), both(stroke("57,22,2 56,31,2.6 55,38,1"))
    brows = both(stroke("64,24,2 62,31,2.6 61,37,1"))
    cheeks = [both(stroke([(86, y, 1), (78, y, 2.6), (70, y + 2, 0.8)])) for y in (52, 59, 66)]
    c.glow(union(*stripes, brows, *cheeks), "#221d1a", 0.5, 0.85, head)
    c.light(relief(head, 9) * 0.4, head)
    c.hair(head, 90, 2.5, 0.35, 7000)

    c.glow(ellipse(50, 58, 6, 12), "#a49c92", 2.5, 0.8)
    for x in (33.5, 66.5):
        eye(c, x, 50, 6.2, "#a8ab45", 0.45)
    c.paint(c.ruffled(both(ellipse(57, 70, 8, 6.5)), 0.2), "#f4f0ea", 2.5, 0.25)
    c.paint(symmetric("50,61 55.5,62 52,66 50,67"), "#c77f78", 1.2)
    c.paint(both(stroke("50,66,0.7 50,70,0.7 54,74,0.8 59,74,0.5")), "#4a3a36")
    for start, middle, end in ((67, 62, 59), (69.5, 68, 68), (72, 74, 77)):
        whisker = stroke([(61, start, 0.5), (78, middle, 0.45), (95, end, 0.15)])
        c.paint(both(whisker), "#f7f5f0")


def deer(c: Canvas) -> None:
    """A stag in a clearing of the wood."""
    c.gradient([(0, "#6f8757"), (40, "#8c9c66"), (72, "#5d7042")])
    trees(c, 60, 60, ("#66804c", "#557042", "#476137"))
    for x, width in ((7, 6), (45, 2.5), (73, 3), (92, 5)):
        c.glow(stroke([(x, -4, width), (x + 1, 74, width * 1.2)]), "#3f3a2a", 0.6, 0.8)
    grass(c, 70, "#7d8a4c", "#55652f")
    shadow(c, 52, 94, 30, 2.5)

    far_hind = stroke("65,60,10 63,69,6 67,78,3.4 65,87,2.4 64.5,91.5,2.8")
    far_fore = stroke("37,60,8 37.5,70,4.6 38,80,3 38.5,88,2.3 38,91.5,2.8")
    far_legs = union(far_hind, far_fore)
    c.paint(far_legs, "#67472b", 1)
    c.paint(far_legs * band(90.3, 100), "#1c130d")
    antlers = [
        stroke(points)
        for points in (
            "24,26,2 26,18,1.8 34,13,1.5 38,4,0.8",
            "27,17.5,1.4 25,11,1.2 26,5,0.6",
            "33,13.5,1.3 31,9,1 31.5,4,0.6",
            "21,26,2 18,18,1.8 11,13,1.5 9,4,0.8",
            "17.5,17,1.4 18.5,11,1.2 17,5,0.6",
            "12,13.5,1.3 13.5,9,1 12.5,4,0.6",
        )
    ]
    c.paint(union(*antlers), "#d9c49c", 0.7, 0.6)
    c.paint(outline("79,50 83,52 84.5,58 82,62.5 79,59"), "#7a4f2c", 1)
    trunk = outline(
        "78,52 72,45 62,44.5 50,46 40,44 34,38 31,31 28,26 23,23.5 18,25.5 11,31 8.5,34 10,37 "
        "15,38 20,38 23,43 24,51 28,60 36,65 48,66 60,65.5 70,67 77,62 79.5,56"
    )
    hind = stroke("72,58,15 71,67,8 75.5,77,3.8 74,87,2.6 73.5,93,3")
    fore = stroke("31,57,11 30.5,68,5.5 30.5,79,3.2 31,88,2.5 30.5,93,3")
    body = c.ruffled(union(trunk, hind, fore), 0.15)
    c.paint(body, "#8a5c34")
    c.glow(ellipse(50, 66, 18, 3), "#d9bf98", 1.5, 0.8, body)
    c.glow(ellipse(23, 41, 5, 3, 60), "#e3d0b0", 1.2, 0.8, body)
    c.glow(ellipse(79, 57, 2, 5, -10), "#f0e6d4", 0.8, 0.9, body)
    c.light(relief(body, 5) * 0.6, body)
    c.hair(body, 160, 2, 0.25)
    c.paint(union(hind, fore) * band(91.5, 100), "#251b14", 0.6)
    c.glow(ellipse(9, 34, 1.8, 2), "#1d1510", 0.4, 1, body)
    eye(c, 20, 28.5, 1.3, "#1d120a", 0.8)
    c.paint(outline("27,27 33,26 39,21 38,19.5 31,20.5 25,24"), "#7d5430", 1)
    c.glow(stroke("28,25,1.2 32,23.5,1.6 36,21,0.8"), "#d8b692", 0.4, 0.8)


def dog(c: Canvas) -> None:
    """The face of a golden dog with hanging ears."""
    c.gradient([(0, "#a9b79a"), (60, "#8fa37c"), (100, "#748a5e")])
    c.texture(1, 25, 25, 0.1)
    chest = c.ruffled(symmetric("50,72 64,72 76,84 82,105 50,105"), 0.5)
    c.paint(chest, "#d9b77e", 8)
    c.hair(chest, 90, 5, 0.4)
    head = symmetric("50,12.5 62,15 72,26 74,42 69,58 66,72 58,82 50,84")
    head = c.ruffled(head, 0.4)
    c.glow(ellipse(50, 84, 22, 8), "#5e4524", 2.5, 0.6, chest)
    c.paint(head, "#e0bd84")
    c.glow(symmetric("50,18 54,40 64,64 60,80 50,81"), "#f3e2c2", 3, 1, head)
    c.light(relief(head, 9) * 0.4, head)
    c.hair(head, 90, 2.5, 0.25, 6000)
    ears = both(outline("61,17 70,16 80,24 87,40 87,57 81,67 75,63 73,49 70,36 64,26"))
    ears = c.ruffled(ears, 0.4)
    c.glow(ears, "#6b4a22", 1, 0.5, head)
    c.paint(ears, "#b98545", 4, 0.5)
    c.hair(ears, 90, 4, 0.35)
    c.glow(both(stroke("58,34,2 64,34,1.5")), "#b08a52", 0.6, 0.8)
    for x in (38.5, 61.5):
        eye(c, x, 41, 3.8, "#4a2c14", 0.6)

    c.paint(symmetric("50,71 59,73 56,80 50,82"), "#3c1f1c")
    c.paint(symmetric("50,75 55,75 55.5,85 50,90"), "#dd7f83", 2)
    c.paint(stroke("50,76,0.5 50,84,0.4"), "#b95d62")
    c.paint(c.ruffled(both(ellipse(57.5, 68, 9, 7)), 0.2), "#f3e4c8", 3, 0.3)
    c.paint(symmetric("50,55 58,57 57,62 50,67"), "#241c1a", 2, 0.9)
    c.glow(ellipse(47.5, 58, 3, 1), "#cfc6c2", 0.4, 0.7)
    c.paint(stroke("50,66,0.8 50,72,0.8"), "#3c2a24")


def frog(c: Canvas) -> None:
    """A green frog on fallen leaves."""
    c.gradient([(0, "#2f2a20"), (50, "#453a24"), (100, "#332a1d")])
    c.texture(1, 9, 6, 0.22)
    leaves(c, 36)
    shadow(c, 50, 88, 44, 7, 0.75)

    thighs = both(ellipse(81, 70, 15, 19, -22))
    c.paint(thighs, "#656e33", 5, 0.6)
    c.texture(thighs, 2, 2, 0.12)
    toes = [both(stroke([(80, 84, 5), (x, 90, 2.6)])) for x in (80, 87, 93)]
    c.paint(union(*toes), "#76803e", 1)
    body = symmetric("50,25 64,26 77,36 82,48 78,62 74,78 62,87 50,88")
    body = union(body, both(ellipse(69, 26, 9.5, 9.5)))
    c.paint(body, "#76803e")
    c.glow(ellipse(50, 76, 19, 15), "#dcd8b0", 4, 1, body)
    c.glow(ellipse(50, 56, 24, 5), "#8f9a52", 2.5, 0.8, body)
    for x, y, r in c.scatter(40, (20, 18, 0.8), (80, 46, 2.2)):
        c.glow(ellipse(x, y, r * 1.2, r), "#3d5420", 0.4, 0.7, body)
    c.light(relief(body, 8) * 0.5, body)
    c.texture(body, 2, 2, 0.12)
    for x in (31, 69):
        eye(c, x, 25, 6, "#c79a2c", 0.5)
    c.paint(both(ellipse(54, 43, 0.9, 0.7)), "#2d3a18")
    c.paint(both(stroke("50,56,1.3 67,54,1.2 79,47,0.6")), "#36481d")
    c.paint(both(stroke("71,66,9 72,78,6 67,89,5")), "#828b45", 2, 0.6)
    fingers = [both(stroke([(67, 89, 3), (x, 94, 2.4)])) for x in (62, 67, 72)]
    c.paint(union(*fingers), "#828b45", 1)


def horse(c: Canvas) -> None:
    """A brown horse standing in a meadow."""
    c.gradient([(0, "#a9c8e4"), (50, "#dbe6e6")])
    trees(c, 56, 26, ("#86a06a", "#64824e"))
    grass(c, 54, "#9cab5a", "#66803a")
    shadow(c, 46, 92, 34, 3.5)

    far_hind = stroke("31,56,12 34,67,6.5 31,76,4 33,87,3 34,91,4")
    far_fore = stroke("63,56,8 61,68,5 61,78,3.6 60,87,3 61,91,4")
    far_legs = union(far_hind, far_fore)
    c.paint(far_legs, "#4c2c17", 1.5)
    c.paint(far_legs * band(89.5, 100), "#1c130d")
    tail = outline("21,40 16,44 12,56 10,72 14,76 19,64 22,50")
    c.paint(c.ruffled(tail, 0.25), "#24170f", 2)
    c.hair(tail, 100, 6, 0.5, 3000)
    trunk = outline(
        "19,44 26,37.5 36,38 46,40.5 55,37 62,27 69,16.5 75,14 81,18 89,29 90.5,34 86.5,38 "
        "81,36 76.5,35 74.5,42 73,50 67,59 53,61.5 39,60 31,63 22,58 18,50"
    )
    hind = stroke("27,53,16 28,63,9.5 23.5,75,4.6 25,86,3.2 26,91,4.4")
    fore = stroke("67,53,11 67.5,64,6.5 67,74,4.4 67,86,3.2 68,91,4.4")
    body = union(trunk, hind, fore)
    c.paint(body, "#7d4924")
    c.light(relief(body, 5) * 0.6 + relief(body, 1.2) * 0.15, body)
    c.hair(body, 15, 2, 0.15)
    c.paint(union(hind, fore) * band(90, 100), "#251b14", 0.6)
    c.glow(ellipse(88, 34.5, 4.2, 3.6), "#3d2416", 0.9, 0.9, body)
    c.paint(ellipse(88.4, 32.4, 0.7, 0.9, 30), "#160c07")
    c.paint(stroke("85.5,36.6,0.4 89.4,35.8,0.4"), "#20120b")
    c.glow(stroke("79.3,18.3,1.4 83.5,24,1.2 87,29.5,0.7"), "#f2ebe0", 0.3, 0.9, body)
    eye(c, 76.8, 21.2, 1.3, "#1a0f08", 0.8)
    c.paint(outline("71.5,17 71.2,10 73,7 75.7,11 75.8,16"), "#6b3d1e", 1)
    mane = outline("74,13 67,16 59,26 53,36 56,40 61.5,38 65,30 72,20")
    c.paint(c.ruffled(mane, 0.3), "#24170f", 1.5)
    c.hair(mane, 70, 4, 0.5, 3000)


def ship(c: Canvas) -> None:
    """A grey and white ship on a calm sea."""
    c.gradient([(0, "#7fb0dd"), (55, "#d3e3ee")])
    cloud(c, 24, 18, 40, 0.7)
    cloud(c, 82, 30, 34, 0.6)
    sea = band(57, 100)
    c.gradient([(57, "#5f92bd"), (72, "#37709f"), (100, "#1f4d7c")], sea)
    c.texture(sea, 14, 1.6, 0.14)

    c.paint(polygon("22,58 26,46 72,46 72,58"), "#e9edf0", 1.5, 0.3)
    c.paint(polygon("30,47 33,38 64,38 65,47"), "#f4f6f7", 1.5, 0.3)
    c.paint(polygon("48,39 49,30 63,30 64,39"), "#e3e8ec", 1.2, 0.3)
    c.paint(polygon("35,39 35.5,25 44,25 44.5,39"), "#b23a32", 2, 0.5)
    c.paint(polygon("35.4,27.5 35.5,24 44,24 44.1,27.5"), "#23262b")
    c.glow(stroke("40,22,4 32,17,7 20,15,10"), "#8d9298", 2, 0.4)
    for y, first, last in ((42, 35, 62), (51, 28, 70)):
        for x in range(first, last, 4):
            c.paint(ellipse(x, y, 0.9, 1.1), "#34475a")
    c.paint(polygon("50.5,32.5 63,32.5 63.2,35.5 50.4,35.5"), "#2c4257", 0.8)
    c.paint(stroke("56,31,0.9 56,16,0.6"), "#6d7780")
    c.paint(stroke("52,21,0.5 60,21,0.5"), "#6d7780")
    c.paint(stroke("85,53,0.9 85,37,0.6"), "#6d7780")
    c.paint(stroke("85,38,0.25 60,21,0.25"), "#6d7780")

    hull = polygon("6,54 40,56.5 72,56 97,49.5 92,62 87,73 14,73 9,66")
    c.glow(polygon("12,72 89,72 80,86 22,86"), "#1b3d5e", 2.5, 0.6, sea)
    c.paint(hull, "#8b97a3", 4, 0.45)
    c.glow(hull * band(68.5, 75), "#8c2f2a", 0.3, 1, hull)
    c.paint(stroke("7,55,0.8 40,57.5,0.8 72,57,0.8 96.5,50.5,0.8"), "#f0f3f5")
    c.paint(ellipse(88, 58, 1, 1.3), "#3d464f")
    foam = stroke("6,73.5,1 40,74,1.6 80,73.8,2 93,73,1.4")
    c.glow(c.ruffled(foam, 0.8), "#f3f8fb", 0.35, 0.9)


def truck(c: Canvas) -> None:
    """A box truck on a country road."""
    c.gradient([(0, "#a8c6e0"), (50, "#dfe6e8")])
    trees(c, 56, 24, ("#8fa57a", "#6c8759"))
    road(c, 56)
    shadow(c, 50, 83, 48, 4.5, 0.9)

    c.paint(polygon("5,70 92,70 92,76 5,76"), "#2a2b2f", 1)
    box = polygon("3,18 66,18 66,71 3,71")
    c.paint(box, "#e9e7e1", 1, 0.2)
    c.light(relief(box, 12) * 0.12, box)
    for x in range(9, 66, 6):
        c.paint(stroke([(x, 19.5, 0.35), (x, 69.5, 0.35)]), "#cfccc4")
    c.paint(polygon("3,47 66,40 66,50 3,57") * box, "#d8742a")
    c.paint(polygon("3,59 66,52 66,54.5 3,61.5") * box, "#2f5d8c")

    cab = outline(
        "68,71 67.5,50 68.5,34 71,31.5 80,31.5 85,35 90,48 95,52 97,60 96.5,73 90,75 72,75"
    )
    c.paint(cab, "#d8742a", 3, 0.5)
    window = outline("73,37 81,37 84,41 87,50 86,51 73,51")
    c.paint(window, "#2b3a46", 2, -0.4)
    c.glow(polygon("76,36 79,36 77,52 74,52"), "#c5d5df", 0.5, 0.6, window)
    c.paint(stroke("71.5,36,0.4 71.5,72,0.4"), "#8b4717")
    c.paint(stroke("73.5,56,1 76.5,56,1"), "#4a2a12")
    c.paint(polygon("88,42 90.5,42 90.5,49 88,49"), "#26282c", 0.6)
    c.paint(ellipse(95, 62, 1.6, 2.6), "#fff4d0", 0.8)
    c.paint(stroke("91,73,3 97,73,3"), "#3a3d42", 1)
    for x in (16, 30, 82):
        c.paint(ellipse(x, 75, 9, 9) * band(0, 76), "#1d1b1a")
        wheel(c, x, 77, 7.6)


PICTURES: dict[str, Callable[[Canvas], None]] = {
    picture.__name__: picture
    for picture in (airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck)
}


def main(folder: Path) -> None:
    """Draw them all into the folder, made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, picture) in enumerate(PICTURES.items()):
        canvas = Canvas(seed)
        picture(canvas)
        path = folder / f"{name}.jpg"
        path.write_bytes(canvas.jpeg())
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
