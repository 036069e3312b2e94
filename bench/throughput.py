"""`make bench`: classifyd against a script as tutorials write it, as whole processes, in one run.

Prints images a second with their spread, and the ratio, start-up included: the tutorial's is spread
over fewer images than ours, so the ratio says what a user waits for, not which loop is faster.
FOLDER (make bench DATA=FOLDER) gives real images; without it, small ones are made from
inbox_example. Every guarantee and thumbnails are on.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

HOME = Path(__file__).resolve().parent.parent
MODEL = HOME / "models" / "image_classifier.keras"
SIDE = 32  # pixels


def draw(folder: Path, count: int) -> None:
    """Small JPEGs, all different: parts of the example pictures, brighter or darker."""
    random = np.random.default_rng(0)
    pictures = [cv2.imread(str(path)) for path in sorted((HOME / "inbox_example").glob("*.jpg"))]
    for number in range(count):
        picture = pictures[number % len(pictures)]
        rows, columns = (random.integers(0, size // 4) for size in picture.shape[:2])
        part = cv2.resize(picture[rows:, columns:], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        shade = part * random.uniform(0.7, 1.2) + random.normal(0, 2, part.shape)
        pixels = np.clip(shade, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"{number:05}.jpg"), pixels)


def ours(images: Path, scratch: Path) -> int:
    """Classify a folder from scratch, the compiled model cached; the number of rows."""
    work = Path(tempfile.mkdtemp(dir=scratch))
    (work / "config.yaml").write_text(
        f"inbox: {images}\nresults: results\nstate: state\nmodel: {MODEL}\n"
    )
    (work / "state").mkdir()
    (work / "state" / "models").symlink_to(scratch / "models")
    command = [sys.executable, "-m", "daemon", "backfill", str(images)]
    subprocess.run(
        [*command, "--config", str(work / "config.yaml")], check=True, capture_output=True
    )
    rows = (work / "results" / "results.csv").read_bytes().count(b"\r\n") - 1
    assert len(list((work / "results" / "thumbnails").rglob("*.jpg"))) == rows
    return rows


def tutorial(images: Path, scratch: Path, limit: int) -> int:
    """The peer over the first `limit` images; how many it did."""
    work = tempfile.mkdtemp(dir=scratch)
    script = str(Path(__file__).with_name("tutorial.py"))
    command = [sys.executable, script, str(MODEL), str(images), work, str(limit)]
    subprocess.run(command, check=True, capture_output=True)
    return len(list(Path(work).glob("*.png")))


def rate(work: Callable[[], int]) -> float:
    """Images a second."""
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=5000, help="to draw without a folder")
    parser.add_argument("--tutorial-images", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        images = arguments.folder
        if images is None:
            images = scratch / "images"
            images.mkdir()
            draw(images, arguments.images)
        from classifier.compile import compiled

        compiled(MODEL, scratch / "models")
        rates: dict[str, list[float]] = {"classifyd": [], "tutorial": []}
        for _ in range(arguments.repeats):  # in turn, so that a slow minute hits both
            rates["classifyd"].append(rate(lambda: ours(images, scratch)))
            rates["tutorial"].append(
                rate(lambda: tutorial(images, scratch, arguments.tutorial_images))
            )
    for name, values in rates.items():
        spread = f"{min(values):,.1f} to {max(values):,.1f}"
        print(f"{name:<10} {statistics.median(values):>8,.1f} images a second ({spread})")
    ratio = statistics.median(rates["classifyd"]) / statistics.median(rates["tutorial"])
    print(f"{'ratio':<10} {ratio:>8,.0f}")


if __name__ == "__main__":
    main()
