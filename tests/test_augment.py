"""Training images are shifted, cut into, and mirrored in every second epoch, by seed and epoch."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.augment import GREY, augmented

INDICES = np.arange(100, 140)
# Every pixel tells its column, its row and its image.
PIXELS = np.stack(
    np.broadcast_arrays(
        np.arange(32)[None, None, :], np.arange(32)[None, :, None], INDICES[:, None, None]
    ),
    axis=-1,
).astype(np.uint8)


def mirrored_ones(epoch: int, *, mirror: bool = True, seed: int = 1) -> np.ndarray:
    """bool (n,), by whether the columns count downwards in the middle."""
    changed = augmented(PIXELS, INDICES, epoch, seed, mirror=mirror, shift=2 / 32)
    changed = changed.astype(int)
    return changed[:, 16, 17, 0] < changed[:, 16, 16, 0]


def test_an_image_is_mirrored_in_every_second_epoch() -> None:
    first, second, third = (mirrored_ones(epoch) for epoch in range(3))
    assert 10 < first.sum() < 30
    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(first, third)
    assert not mirrored_ones(0, mirror=False).any()
    assert not mirrored_ones(1, mirror=False).any()


@pytest.mark.parametrize("furthest", [2, 3])
def test_an_image_is_shifted_by_so_many_pixels_at_most(furthest: int) -> None:
    changed = augmented(PIXELS, INDICES, 0, 1, mirror=False, shift=furthest / 32).astype(int)
    for axis in (0, 1):
        shifts = changed[:, 16, 16, axis] - 16
        assert set(shifts) == set(range(-furthest, furthest + 1))
    np.testing.assert_array_equal(changed[..., 2], PIXELS[..., 2])  # no image becomes another


@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 20)])
def test_one_rectangle_of_every_image_is_cut_out(height: int, width: int) -> None:
    images = np.full((200, height, width, 3), 7, np.uint8)
    cut = augmented(images, np.arange(200), 0, 1, mirror=True, shift=0.1, cutout=0.25) == GREY
    assert (cut.any(axis=(2, 3)).sum(axis=1) == height // 4).all()
    assert (cut.any(axis=(1, 3)).sum(axis=1) == width // 4).all()
    assert (cut.sum(axis=(1, 2, 3)) == height // 4 * (width // 4) * 3).all()
    assert cut.any(axis=(0, 2)).all()  # any row of them
    assert cut.any(axis=(0, 1)).all()  # and any column


def test_the_seed_and_the_epoch_decide() -> None:
    def drawn(epoch: int, seed: int) -> np.ndarray:
        return augmented(PIXELS, INDICES, epoch, seed, mirror=True, shift=2 / 32, cutout=0.3)

    np.testing.assert_array_equal(drawn(3, 1), drawn(3, 1))
    assert not np.array_equal(drawn(3, 1), drawn(5, 1))
    assert not np.array_equal(drawn(3, 1), drawn(3, 2))
