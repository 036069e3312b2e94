"""`model!=current and confidence<0.6` ▸ a condition on rows, for SQLite."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from daemon.errors import ConditionError

CURRENT = "current"  # the model that is configured now
STATUSES = ("classified", "uncertain", "failed")
PART = re.compile(r"\s*(\w+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?")
# What may stand before an operator, with the operators that make sense there.
EQUAL, ORDER = ("=", "!="), ("=", "!=", "<", "<=", ">", ">=")
FIELDS = {
    "model": EQUAL, "label": EQUAL, "status": EQUAL, "confidence": ORDER, "date": ORDER,
    "folder": EQUAL,
}  # fmt: skip
# A label or a folder may have the word in its name.
AND = re.compile(rf"\s+and\s+(?=(?:{'|'.join(FIELDS)})\s*(?:!=|<=|>=|=|<|>))")
ALLOWED = (
    "Allowed are model=current or the digits of one, label=, status= (classified, uncertain, "
    "failed) and folder=, each also with !=; confidence and date (UTC, as 2026-01-31 or 2026-01), "
    "also with < <= > >=; several joined by ` and `"
)


class Condition(NamedTuple):
    """sql: on columns of `results`, called r. values: for its question marks."""

    sql: str
    values: tuple[object, ...]


def parsed(texts: list[str], current: str) -> Condition:
    """All of the texts have to hold.

    current: the digits that name the model that is configured. Raises `ConditionError`.
    """
    parts = [_part(part, current) for text in texts for part in AND.split(text)]
    return Condition(
        " AND ".join(part.sql for part in parts),
        tuple(value for part in parts for value in part.values),
    )


def _part(text: str, current: str) -> Condition:
    match = PART.fullmatch(text)
    if match is None or match[1] not in FIELDS or not match[3]:
        raise ConditionError(f"{text!r} is no condition. {ALLOWED}")
    field, operator, value = match.groups()
    if operator not in FIELDS[field]:
        raise ConditionError(f"{text!r}: {field} has no order, so = and != only. {ALLOWED}")
    if field == "model":
        return Condition(f"r.model {operator} ?", (current if value == CURRENT else value,))
    if field == "status" and value not in STATUSES:
        raise ConditionError(f"{text!r}: a status is one of {', '.join(STATUSES)}")
    if field == "confidence":
        try:
            return Condition(f"r.confidence {operator} ?", (float(value),))
        except ValueError:
            raise ConditionError(f"{text!r}: a confidence is a number, 0..1") from None
    if field == "date":
        if not DATE.fullmatch(value):
            raise ConditionError(f"{text!r}: a date is 2026-01-31, 2026-01 or 2026, in UTC")
        return Condition(f"substr(r.classified_at, 1, {len(value)}) {operator} ?", (value,))
    if field == "folder":
        inside = os.fsencode(os.path.abspath(value)).rstrip(b"/") + b"/"  # noqa: PTH100 - no links
        return Condition(f"substr(r.path, 1, {len(inside)}) {operator} ?", (inside,))
    return Condition(f"r.{field} {operator} ?", (value,))
