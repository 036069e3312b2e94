"""What a part has to say: figures, each measured several times, and what they are held against."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Figure:
    """values: one of each repeat, in their order."""

    name: str
    unit: str
    values: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def to_json(self) -> dict[str, Any]:
        median, *values = (float(f"{value:.6g}") for value in (self.median, *self.values))
        return {"name": self.name, "unit": self.unit, "median": median, "values": values}


class Figures:
    """Figures in the order in which they were first heard of."""

    def __init__(self) -> None:
        self._figures: dict[str, tuple[str, list[float]]] = {}

    def add(self, name: str, value: float, unit: str) -> None:
        self._figures.setdefault(name, (unit, []))[1].append(value)

    def ratio(
        self, name: str, over: str, under: str, factor: float = 1, unit: str = "times"
    ) -> None:
        """One figure as a multiple of another, repeat by repeat: a slow minute hits both."""
        pairs = zip(self._figures[over][1], self._figures[under][1], strict=True)
        for first, second in pairs:
            self.add(name, factor * first / second, unit)

    def share(self, name: str, part: str, whole: str) -> None:
        self.ratio(name, part, whole, 100, "%")

    def __iter__(self) -> Iterator[Figure]:
        return (Figure(name, *figure) for name, figure in self._figures.items())


@dataclass(frozen=True)
class Report:
    """One part. done: what was measured on what, and how often. notes: what else to know."""

    title: str
    done: str
    figures: Figures
    notes: Sequence[str] = field(default=())

    def to_json(self) -> dict[str, Any]:
        return {
            "title": self.title,
            "done": self.done,
            "figures": [figure.to_json() for figure in self.figures],
            "notes": list(self.notes),
        }
