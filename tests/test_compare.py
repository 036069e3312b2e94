"""trainer.compare: when is a model worse than another, and when is it only luck?"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from trainer.compare import Comparison, Pairs, chance, compare, table

NAMES = ("cat", "dog")


def compared(
    *counts: tuple[int, int, int, int], significance: float = 0.05, margin: float = 0.02
) -> Comparison:
    """counts: for each class, how many images both, only the old, only the new, no model has
    right."""
    cases = [(True, True), (True, False), (False, True), (False, False)]
    rows = [
        (old, new, label)
        for label, of_class in enumerate(counts)
        for (old, new), count in zip(cases, of_class, strict=True)
        for _ in range(count)
    ]
    old, new, labels = (np.array(column) for column in zip(*rows, strict=True))
    return compare(old, new, labels, NAMES, significance, margin)


def test_chance_counts_all_outcomes() -> None:
    for tosses in range(9):
        outcomes = [sum(outcome) for outcome in product((0, 1), repeat=tosses)]
        for heads in range(tosses + 1):
            share = sum(count >= heads for count in outcomes) / len(outcomes)
            assert chance(heads, tosses) == pytest.approx(share, rel=1e-12)
    assert chance(5100, 10_000) == pytest.approx(0.0233, abs=1e-4)  # by the normal distribution
    assert chance(10_000, 10_000) == 0  # too small for a float, and no error
    assert chance(0, 10_000) == pytest.approx(1)


def test_pairs_are_counted() -> None:
    pairs = compared((5, 4, 3, 2), (1, 0, 0, 0)).total
    assert pairs == Pairs(images=15, both=6, only_old=4, only_new=3)
    assert (pairs.old_right, pairs.new_right, pairs.discordant) == (10, 9, 7)


@pytest.mark.parametrize(
    ("cats", "dogs", "worse", "worse_classes", "doubtful"),
    [
        # Equal, and better.
        ((900, 50, 50, 0), (900, 50, 50, 0), False, (), ()),
        ((500, 0, 400, 100), (900, 0, 0, 100), False, (), ()),
        # Worse all over, but in no class by more than the margin.
        ((900, 15, 0, 85), (900, 15, 0, 85), True, (), ()),
        # One class pays for the other.
        ((800, 100, 10, 90), (800, 10, 100, 90), False, ("cat",), ()),
        # More than the margin, but as good as by chance: 130 of 230, p = 0.03 > 0.05 / 2.
        ((770, 130, 100, 0), (900, 0, 40, 60), False, (), ("cat",)),
        # Few images: p = 0.03 > 0.05 / 2 counts where more than a quarter is lost; 4 can be chance.
        ((5, 5, 0, 0), (0, 0, 10, 0), False, ("cat",), ()),
        ((15, 5, 0, 0), (0, 0, 10, 0), False, (), ("cat",)),
        ((6, 4, 0, 0), (0, 0, 10, 0), False, (), ("cat",)),
        ((4, 6, 0, 0), (0, 0, 10, 0), False, ("cat",), ()),
        # Significant, but within the margin.
        ((9900, 90, 10, 0), (5000, 0, 200, 0), False, (), ()),
    ],
)
def test_what_counts_as_worse(
    cats: tuple[int, int, int, int],
    dogs: tuple[int, int, int, int],
    worse: bool,
    worse_classes: tuple[str, ...],
    doubtful: tuple[str, ...],
) -> None:
    found = compared(cats, dogs)
    assert (found.worse, found.worse_classes, found.doubtful_classes) == (
        worse, worse_classes, doubtful,
    )  # fmt: skip
    assert found.acceptable == (not worse and not worse_classes)
    assert found.can_tell


def test_too_few_images_are_said_to_be_too_few() -> None:
    found = compared((0, 4, 0, 0), (10, 0, 0, 0))
    assert found.acceptable  # 4 of 4: p = 0.06
    assert found.doubtful_classes == ("cat",)
    assert not found.can_tell
    assert compared((0, 4, 0, 0), (10, 0, 0, 0), significance=0.1).worse
    assert not compared((10, 0, 0, 0), (10, 0, 0, 0)).can_tell


def test_a_class_that_is_lost_as_a_whole_is_never_chance() -> None:
    """However many other classes there are: each makes the divided significance smaller."""
    labels = np.repeat(np.arange(30), 6)
    old = np.ones(180, bool)
    found = compare(old, labels > 0, labels, [str(label) for label in range(30)], 0.05, 0.02)
    assert found.worse_classes == ("0",)
    assert not found.acceptable
    # Who allows for more than that may lose more.
    lenient = compared((4, 6, 0, 0), (0, 0, 10, 0), margin=0.6)
    assert lenient.acceptable
    assert not lenient.doubtful_classes


def test_classes_with_too_few_images_to_be_judged_are_known() -> None:
    found = compared((4, 0, 0, 0), (5, 0, 0, 0))
    assert (found.unjudged_classes, found.needed) == (("cat",), 5)
    strict = compared((4, 0, 0, 0), (5, 0, 0, 0), significance=0.01)
    assert (strict.unjudged_classes, strict.needed) == (("cat", "dog"), 7)
    assert [line.split()[-3:] for line in table(found)][2:] == [
        ["too", "few", "images"],
        ["0", "0", "1"],
    ]


def test_equal_models_are_seldom_refused() -> None:
    """Ten classes of a hundred images: in total and by class, at most 0.05 each."""
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(10), 100)
    names = [str(label) for label in range(10)]
    refused = 0
    for _ in range(300):
        old, new = random.random((2, 1000)) < 0.8
        refused += not compare(old, new, labels, names, 0.05, 0.02).acceptable
    assert refused <= 30


def test_the_table() -> None:
    assert [*table(compared((4, 6, 0, 0), (1200, 3, 5, 2)))] == [
        "            images old right new right  only old  only new         p",
        "all          1,220     1,213     1,209         9         5      0.21",
        "cat             10        10         4         6         0     0.016 worse",
        "dog          1,210     1,203     1,205         3         5      0.86",
    ]
