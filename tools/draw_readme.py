"""docs/thumbnails.jpg, the picture in README: real thumbnails of inbox_example, sure and unsure."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from classifier.classify import Classifier
from daemon.thumbnail import Thumbnailer

HOME = Path(__file__).resolve().parent.parent
MIN_CONFIDENCE = 0.8
GAP = 8  # pixels


def pictures() -> list[NDArray[np.uint8]]:
    """An easy one, a tiny one, one in the dark, one that is half cut off; uint8 BGR."""

    def example(name: str) -> NDArray[np.uint8]:
        return np.asarray(cv2.imread(str(HOME / "inbox_example" / f"{name}.jpg")), np.uint8)

    ship, car = example("ship"), example("automobile")
    return [
        example("cat"),
        np.asarray(cv2.resize(ship, (32, 32), interpolation=cv2.INTER_AREA), np.uint8),
        example("airplane") // 2,
        car[:, : car.shape[1] * 2 // 3],
    ]


def main() -> None:
    classifier = Classifier.open(HOME / "models" / "image_classifier.keras")
    thumbnailer = Thumbnailer()
    shown = []
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures()):
            path = Path(folder, f"{number}.png")
            cv2.imwrite(str(path), picture)
            (found,) = classifier.classify([path], with_pictures=True)
            assert found.picture is not None
            thumbnail = thumbnailer.render(
                found.picture,
                found.label,
                found.confidence,
                found.alternatives,
                uncertain=found.confidence < MIN_CONFIDENCE,
            )
            shown.append(cv2.imdecode(np.frombuffer(thumbnail, np.uint8), cv2.IMREAD_COLOR))
    gap = np.full((shown[0].shape[0], GAP, 3), 255, np.uint8)
    strip = np.hstack([part for image in shown for part in (image, gap)][:-1])
    cv2.imwrite(str(HOME / "docs" / "thumbnails.jpg"), strip, (cv2.IMWRITE_JPEG_QUALITY, 92))


if __name__ == "__main__":
    main()
