"""trainer.split: what is held out; the same share of every class, copies on one side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import DrawImage
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.calibrate import MIN_IMAGES
from trainer.data import load_folder
from trainer.duplicates import warn_of_learnt
from trainer.errors import DataError
from trainer.recipe import MAX_HELD_OUT, held_out_share
from trainer.split import hold_out


def named(count: int) -> list[str]:
    return [f"class {label}" for label in range(count)]


def test_the_same_share_of_every_class_is_held_out() -> None:
    labels = np.array([0] * 40 + [1] * 100 + [2] * 3)
    kept, held = hold_out(labels, named(3), 0.1, seed=1)
    assert np.bincount(labels[held]).tolist() == [4, 10, 1]
    assert sorted([*kept, *held]) == list(range(143))
    assert held.tolist() != hold_out(labels, named(3), 0.1, seed=2)[1].tolist()


@pytest.mark.parametrize("sizes", [[5000] * 10, [40, 100, 3], [100, 50, 150]])
def test_without_copies_chance_alone_decides(sizes: Sequence[int]) -> None:
    """As it always did: on what was held out for the models that come along, they were measured."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    random, expected = np.random.default_rng(1), []
    for label, size in enumerate(sizes):
        drawn = random.permutation(np.flatnonzero(labels == label))
        expected += drawn[: max(1, round(size * 0.05))].tolist()
    distinct = np.arange(len(labels), dtype=np.uint64)[::-1]
    for digests in (None, distinct):
        kept, held = hold_out(labels, named(len(sizes)), 0.05, 1, digests)
        assert held.tolist() == sorted(expected)
        assert kept.tolist() == sorted({*range(len(labels))} - {*expected})


@settings(deadline=None)  # how fast it is does not matter here
@given(st.lists(st.integers(2, 40), min_size=2, max_size=60), st.integers(0, 9))
def test_250_images_are_enough_to_calibrate(sizes: list[int], seed: int) -> None:
    """Whatever the sizes of their classes are."""
    enough = round(MIN_IMAGES / MAX_HELD_OUT)
    sizes[0] += max(0, enough - sum(sizes))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    share = held_out_share(len(labels))
    _, held = hold_out(labels, named(len(sizes)), share, seed)
    assert len(held) >= MIN_IMAGES
    counts = np.bincount(labels[held], minlength=len(sizes))
    assert np.all(counts >= 1)
    assert np.all(np.abs(counts - np.maximum(1, np.array(sizes) * share)) < 1)


def test_small_classes_are_not_all_rounded_down() -> None:
    labels = np.repeat(np.arange(22), 12)
    _, held = hold_out(labels, named(22), MAX_HELD_OUT, seed=1)
    assert len(held) == 53  # a fifth of 264; each rounded for itself makes 44
    assert {*np.bincount(labels[held])} == {2, 3}


def test_copies_are_on_one_side() -> None:
    labels = np.repeat([0, 1, 2], 100)
    digests = np.arange(300, dtype=np.uint64)
    digests[:100] //= 4  # every image four times
    digests[150:200] = digests[100:150]
    digests[200:220] = digests[100:120]  # in two classes
    for seed in range(20):
        kept, held = hold_out(labels, named(3), 0.2, seed, digests)
        assert not {*digests[kept]} & {*digests[held]}
        counts = np.bincount(labels[held])
        assert np.all((counts >= 20) & (counts < 35)), counts
        assert sorted([*kept, *held]) == list(range(300))


def test_something_is_left_to_learn_from() -> None:
    """Where a class consists of copies, and no split keeps them together."""
    labels = np.repeat([0, 1, 2], [6, 2, 10])
    digests = np.array([1] * 6 + [2] * 2 + [3] * 7 + [4, 5, 6], np.uint64)
    for seed in range(20):
        _, held = hold_out(labels, named(3), 0.2, seed, digests)
        assert np.bincount(labels[held]).tolist() == [1, 1, 2]
        assert 3 not in digests[held]


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(
        DataError, match=r"class b: readable images in it: 1; at least two .* Add some"
    ):
        hold_out(np.array([0, 0, 1]), ("a", "b"), 0.1, seed=1)


def test_what_is_held_out_and_learnt_is_told(
    tmp_path: Path, draw_image: DrawImage, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(4):
        draw_image(tmp_path / "cat" / f"{number}.png", number)
        draw_image(tmp_path / "dog" / f"{number}.png", 9)
    train = load_folder(tmp_path, (32, 32, 3)).train.readable()
    kept, held = (
        train.subset(part) for part in hold_out(train.labels, ("cat", "dog"), 0.2, 1, train.digests)
    )
    warn_of_learnt(kept, held)
    assert [record.getMessage() for record in caplog.records] == [
        "1 held-out images are learnt from, too, byte for byte, as their class consists of "
        "copies; so the validation accuracy is too good"
    ]
