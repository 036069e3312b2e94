"""Drawn pictures of five shapes, of any size and colour and on any ground, as classes to learn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

NAMES = ("circle", "cross", "square", "star", "triangle")
SIDES = 48, 400  # of a picture, in pixels
SCALES = 0.22, 0.45  # from a shape's centre to its corners, as a part of the shorter side
CONTRAST = 70  # at least, between shape and ground, in grey levels
FINE = 4  # shapes are drawn so many times larger, and scaled down, for smooth edges


def outline(name: str, turn: float) -> NDArray[np.float64]:
    """float64 (corners, 2), around 0, with the farthest corner at 1."""
    if name == "cross":
        arm = 0.3
        quarter = np.array([(1, -arm), (1, arm), (arm, arm)]) / np.hypot(1, arm)
        corners = [quarter @ _turned(k * np.pi / 2) for k in range(4)]
        return np.concatenate(corners) @ _turned(turn)
    count = {"circle": 64, "square": 4, "star": 10, "triangle": 3}[name]
    angles = np.arange(count) * 2 * np.pi / count
    radii = np.where(np.arange(count) % 2, 0.42, 1.0) if name == "star" else np.ones(count)
    corners = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    turned: NDArray[np.float64] = corners @ _turned(turn)
    return turned


def _turned(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def picture(name: str, random: np.random.Generator, *, plain: bool = False) -> NDArray[np.uint8]:
    """uint8 (rows, columns, 3), BGR, or (rows, columns), grey, one in four.

    plain: black on white and upright, which few examples are enough for.
    """
    rows, columns = (int(side) for side in random.integers(*SIDES, 2, endpoint=True))
    rows = int(np.clip(rows, columns // 2, 2 * columns))
    # A ground of soft light and dark, and a colour that stands out against it.
    corners = random.integers(0, 256, 3) + random.integers(-30, 31, (2, 2, 3))
    ground = cv2.resize(corners.astype(np.float32), (columns, rows))
    while True:
        colour = random.integers(0, 256, 3)
        if abs(int(colour.mean()) - float(ground.mean())) > CONTRAST:
            break
    turn, noise = random.uniform(0, 2 * np.pi), random.uniform(0, 12)
    if plain:
        ground, colour, turn, noise = np.full_like(ground, 255), np.zeros(3), 0.0, 0.0
    shorter = min(rows, columns)
    radius = random.uniform(*SCALES) * shorter
    place = [random.uniform(radius, side - radius) for side in (columns, rows)]
    points = outline(name, turn) * radius + place
    mask = np.zeros((rows * FINE, columns * FINE), np.uint8)
    cv2.fillPoly(mask, [np.round(points * FINE).astype(np.int32)], 255)
    share = cv2.resize(mask, (columns, rows), interpolation=cv2.INTER_AREA)[..., None] / 255
    image = ground * (1 - share) + colour * share
    image = image + random.normal(0, noise, image.shape)
    whole = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.cvtColor(whole, cv2.COLOR_BGR2GRAY) if random.random() < 0.25 else whole  # type: ignore[return-value]


def draw(
    folder: Path, name: str, count: int, random: np.random.Generator, *, plain: bool
) -> list[Path]:
    """JPEG and PNG files, half of each."""
    folder.mkdir(parents=True)
    files = []
    for number in range(count):
        path = folder / f"{number:04}{'.png' if number % 2 else '.jpg'}"
        image = picture(name, random, plain=plain)
        path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
        files.append(path)
    return files


def break_some(files: list[Path], share: float, random: np.random.Generator) -> list[Path]:
    """Spoil this share of the files, at least one of them, each in the next of four ways."""
    count = max(1, round(share * len(files)))
    chosen = [files[int(i)] for i in sorted(random.permutation(len(files))[:count])]
    for path, spoilt in zip(chosen, _spoilt(chosen), strict=True):
        path.write_bytes(spoilt)
    return chosen


def _spoilt(files: list[Path]) -> Iterator[bytes]:
    for number, path in enumerate(files):
        data = path.read_bytes()
        yield (data[: len(data) // 2], b"", b"<html>404 Not Found</html>", bytes(len(data)))[
            number % 4
        ]


def draw_classes(
    folder: Path, counts: dict[str, int], seed: int, broken: float = 0, *, plain: bool = False
) -> list[Path]:
    """`folder/<shape>/…`; those of the files that are broken, so large a share of each class."""
    random = np.random.default_rng(seed)
    spoilt: list[Path] = []
    for name, count in counts.items():
        files = draw(folder / name, name, count, random, plain=plain)
        if broken:
            spoilt += break_some(files, broken, random)
    return spoilt
