"""What a trial has to say: what was done, how often, what came of it, and the control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Figures in rows, under a head."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Report:
    """One trial that held. A trial that does not hold raises `AssertionError` instead.

    title: what is promised. done: what was done, how often. result: what came of it, in figures.
    control: the guard that was taken out, and how the same trial failed without it; a trial whose
        control does not fail proves nothing and raises, too.
    """

    title: str
    done: str
    result: str
    control: str
    table: Table | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
