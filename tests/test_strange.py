"""Pictures of no class: of any size, the same from the same seed, and not all alike."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from trainer.strange import KINDS, pictures


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 40, 1), (150, 130, 3), (1, 1, 1)])
def test_every_kind_in_any_size(kind: str, shape: tuple[int, int, int]) -> None:
    drawn = [*pictures(kind, 3, *shape)]
    assert [(picture.shape, picture.dtype) for picture in drawn] == [(shape, np.uint8)] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides_the_pictures(kind: str) -> None:
    first, same, other = (
        [hashlib.sha256(p.tobytes()).hexdigest() for p in pictures(kind, 8, 32, 32, 3, seed)]
        for seed in (1, 1, 2)
    )
    assert first == same
    assert not set(first) & set(other)
    assert len(set(first)) == 8


def test_more_of_them_begin_with_the_same() -> None:
    few, more = [*pictures("text", 2, 16, 16, 3)], [*pictures("text", 4, 16, 16, 3)]
    np.testing.assert_array_equal(few, more[:2])


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"flat colour"}))
def test_there_is_something_to_see(kind: str) -> None:
    spread = [float(picture.std(axis=(0, 1)).max()) for picture in pictures(kind, 20, 32, 32, 3)]
    assert np.median(spread) > 15


def test_flat_is_flat() -> None:
    assert all(
        not picture.std(axis=(0, 1)).any() for picture in pictures("flat colour", 5, 9, 9, 3)
    )
