"""Training images are shifted a little and mirrored in every second epoch, by seed and epoch."""

from __future__ import annotations

import numpy as np

from trainer.augment import augmented

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
    changed = augmented(PIXELS, INDICES, epoch, seed, mirror=mirror).astype(int)
    return changed[:, 16, 17, 0] < changed[:, 16, 16, 0]


def test_an_image_is_mirrored_in_every_second_epoch() -> None:
    first, second, third = (mirrored_ones(epoch) for epoch in range(3))
    assert 10 < first.sum() < 30
    np.testing.assert_array_equal(first, ~second)
    np.testing.assert_array_equal(first, third)
    assert not mirrored_ones(0, mirror=False).any()
    assert not mirrored_ones(1, mirror=False).any()


def test_an_image_is_shifted_by_two_pixels_at_most() -> None:
    changed = augmented(PIXELS, INDICES, 0, 1, mirror=False).astype(int)
    for axis in (0, 1):
        shifts = changed[:, 16, 16, axis] - 16
        assert set(shifts) == {-2, -1, 0, 1, 2}
    np.testing.assert_array_equal(changed[..., 2], PIXELS[..., 2])  # no image becomes another


def test_the_seed_and_the_epoch_decide() -> None:
    def drawn(epoch: int, seed: int) -> np.ndarray:
        return augmented(PIXELS, INDICES, epoch, seed, mirror=True)

    np.testing.assert_array_equal(drawn(3, 1), drawn(3, 1))
    assert not np.array_equal(drawn(3, 1), drawn(5, 1))
    assert not np.array_equal(drawn(3, 1), drawn(3, 2))
