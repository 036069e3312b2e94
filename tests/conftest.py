"""What tests of every package start from: drawn images, the shipped model, small Keras models.

Nothing here imports TensorFlow: where Keras is needed it runs in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from classifier.compile import compiled

ROOT = Path(__file__).parent.parent


class Drawing(Protocol):
    def __call__(self, seed: int = 0, size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]: ...


class DrawImage(Protocol):
    def __call__(
        self, path: Path, seed: int = 0, size: tuple[int, int] = (32, 32), quality: int = 90
    ) -> Path: ...


def _drawing(seed: int = 0, size: tuple[int, int] = (32, 32)) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    width, height = size
    coarse = random.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    centre = int(random.integers(0, width)), int(random.integers(0, height))
    colour = tuple(int(value) for value in random.integers(0, 256, 3))
    cv2.circle(image, centre, max(1, min(size) // 4), colour, -1)
    return image.astype(np.uint8)


def _draw_image(
    path: Path, seed: int = 0, size: tuple[int, int] = (32, 32), quality: int = 90
) -> Path:
    parameters = {".jpg": [cv2.IMWRITE_JPEG_QUALITY, quality], ".webp": [cv2.IMWRITE_WEBP_QUALITY,
                  quality]}.get(path.suffix.lower(), [])  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(path.suffix, _drawing(seed, size), parameters)[1]
    path.write_bytes(encoded.tobytes())
    return path


@pytest.fixture(scope="session")
def drawing() -> Drawing:
    """`drawing(seed, size)`: a BGR picture of soft colours and a disc; size is (width, height)."""
    return _drawing


@pytest.fixture(scope="session")
def draw_image() -> DrawImage:
    """`draw_image(path, seed, size, quality)` writes such a picture; the suffix is the format."""
    return _draw_image


@pytest.fixture(scope="session")
def shipped_model() -> Path:
    return ROOT / "models" / "image_classifier.keras"


@pytest.fixture(scope="session")
def compiled_cache(shipped_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of compiled models that holds the shipped one: compiling it takes many seconds.

    Give it to `Classifier.open`, or copy it to STATE/models for the daemon.
    """
    cache = tmp_path_factory.mktemp("compiled")
    compiled(shipped_model, cache)
    return cache


@pytest.fixture(scope="session")
def small_models(shipped_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small `.keras` files, and what Keras says of some images: see small_models.py."""
    folder = tmp_path_factory.mktemp("small_models")
    script = Path(__file__).with_name("small_models.py")
    done = subprocess.run(
        [sys.executable, script, folder, shipped_model], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder
