"""Two models on the same images: is the new one worse? By exact McNemar tests.

The answers are paired, image by image. Where both are right, or both wrong, an image says nothing
about the difference. Of the others, half would speak for either model if both were as good: how
many do speak for the old one is the test (McNemar, 1947, here with exact binomial probabilities).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]
# What nobody would wave through as chance: more than this share of a class's images lost.
GROSS_LOSS = 0.25


@dataclass(frozen=True, slots=True)
class Pairs:
    """How two models answered the same images.

    only_old, only_new: how many only this one of them had right.
    """

    images: int
    both: int
    only_old: int
    only_new: int

    @classmethod
    def of(cls, old: Flags, new: Flags) -> Pairs:
        """old, new: bool (n,), whether each model was right."""
        return cls(
            len(old), int((old & new).sum()), int((old & ~new).sum()), int((new & ~old).sum())
        )

    @property
    def old_right(self) -> int:
        return self.both + self.only_old

    @property
    def new_right(self) -> int:
        return self.both + self.only_new

    @property
    def discordant(self) -> int:
        """How many images tell the models apart."""
        return self.only_old + self.only_new

    @property
    def p(self) -> float:
        """How probable it is that so many of them, or more, speak for the old model if the new one
        is as good."""
        return chance(self.only_old, self.discordant)

    def lost_more_than(self, share: float) -> bool:
        """Whether the new model is right less often by more than this share of all images."""
        return self.only_old - self.only_new > share * self.images


@dataclass(frozen=True, slots=True)
class Comparison:
    """All images, those of each class by its name, and what follows.

    worse: the new model is significantly less often right.
    worse_classes: those in which it lost more than the margin, and significantly so.
    doubtful_classes: those in which it lost more than the margin, but perhaps by chance.
    can_tell: whether there are images enough that a worse model could have been noticed at all.
    needed: so many images a class must have, or not even losing all of them would be significant.
    """

    total: Pairs
    classes: dict[str, Pairs]
    worse: bool
    worse_classes: tuple[str, ...]
    doubtful_classes: tuple[str, ...]
    can_tell: bool
    needed: int

    @property
    def unjudged_classes(self) -> tuple[str, ...]:
        """Those with too few images for any verdict."""
        return tuple(n for n, pairs in self.classes.items() if pairs.images < self.needed)

    @property
    def acceptable(self) -> bool:
        return not (self.worse or self.worse_classes)


def compare(
    old: Flags,
    new: Flags,
    labels: NDArray[np.int64],
    names: Sequence[str],
    significance: float,
    class_margin: float,
) -> Comparison:
    """old, new: bool (n,), whether each model was right. labels: int64 (n,), places in `names`.

    Each class is tested at `significance` divided by their number (Bonferroni): else, of ten
    classes, one would look worse by chance in four comparisons of ten. With the test in total, a
    model that is as good is refused in up to twice `significance`.

    A class that lost more than `GROSS_LOSS` is tested at `significance` itself: with few images a
    class, the divided one is beyond the reach even of a class that is lost as a whole.
    """
    total = Pairs.of(old, new)
    classes = {
        name: Pairs.of(old[labels == label], new[labels == label])
        for label, name in enumerate(names)
    }
    lost = [name for name, pairs in classes.items() if pairs.lost_more_than(class_margin)]
    grossly = max(class_margin, GROSS_LOSS)
    worse = [
        name
        for name in lost
        if classes[name].p <= significance / len(names)
        or (classes[name].lost_more_than(grossly) and classes[name].p <= significance)
    ]
    return Comparison(
        total,
        classes,
        total.p <= significance,
        tuple(worse),
        tuple(name for name in lost if name not in worse),
        chance(total.discordant, total.discordant) <= significance,
        next(images for images in count(1) if chance(images, images) <= significance),
    )


def chance(heads: int, tosses: int) -> float:
    """The probability of at least so many heads in so many tosses of a fair coin."""
    # Logarithms: the binomial coefficients themselves are larger than any float.
    of_any = math.lgamma(tosses + 1) - tosses * math.log(2)
    terms = (
        math.exp(of_any - math.lgamma(number + 1) - math.lgamma(tosses - number + 1))
        for number in range(heads, tosses + 1)
    )
    return min(1.0, math.fsum(terms))


def table(comparison: Comparison) -> Iterator[str]:
    """The counts, a line for all images and one for each class, aligned."""
    width = max(8, *map(len, comparison.classes))
    titles = ("images", "old right", "new right", "only old", "only new", "p")
    yield " ".join(("", " " * (width - 1), *(f"{title:>9}" for title in titles)))
    marks = dict.fromkeys(comparison.unjudged_classes, "too few images")
    marks |= dict.fromkeys(comparison.worse_classes, "worse")
    marks |= dict.fromkeys(comparison.doubtful_classes, "perhaps worse")
    yield _row("all".ljust(width), comparison.total, "worse" if comparison.worse else "")
    for name, pairs in comparison.classes.items():
        yield _row(name.ljust(width), pairs, marks.get(name, ""))


def _row(name: str, pairs: Pairs, mark: str) -> str:
    counts = (pairs.images, pairs.old_right, pairs.new_right, pairs.only_old, pairs.only_new)
    cells = (name, *(f"{count:>9,}" for count in counts), f"{pairs.p:>9.2g}", mark)
    return " ".join(cells).rstrip()


def losses(comparison: Comparison, names: Sequence[str]) -> str:
    """`cat (530 ▸ 412 of 1,000 right), …`: what happened to some classes."""
    return ", ".join(f"{name} ({change(comparison.classes[name])})" for name in names)


def change(pairs: Pairs) -> str:
    """`530 ▸ 412 of 1,000 right`."""
    return f"{pairs.old_right:,} ▸ {pairs.new_right:,} of {pairs.images:,} right"
