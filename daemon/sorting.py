"""A row ▸ the folder that its image belongs into, by the templates of `after:`."""

from __future__ import annotations

import os
import re
import string
from pathlib import Path
from typing import NamedTuple

FIELDS = ("label", "status", "model", "year", "month", "day")
UNCERTAIN = "uncertain"
MAX_NAME = 200  # bytes of a folder's name; the system allows 255
# What no folder can be called, here or on a share, and what would be hidden or a way elsewhere.
UNSAFE = re.compile(r'[/\\<>:"|?*\x00-\x1f\x7f-\x9f\u2028\u2029\u061c\u200e\u200f\u202a-\u202e'
                    r"\u2066-\u2069\ud800-\udfff]|^[. ]+|[. ]+$")  # fmt: skip


class Answered(NamedTuple):
    """What a template can be filled with. at: when it was classified, UTC, ISO 8601."""

    label: str
    status: str
    model: str
    at: str


class Place(NamedTuple):
    """A folder. root: how many bytes of its name no image decides on; there no link is followed
    after that."""

    folder: bytes
    root: int


class Template:
    """Such as `/srv/sorted/{label}`."""

    def __init__(self, text: str) -> None:
        """Raises `ValueError` if it is none."""
        self._parts: list[tuple[str, str]] = []  # text, and the field after it or ''
        try:
            for literal, field, form, conversion in string.Formatter().parse(text):
                if field is not None and (field not in FIELDS or form or conversion):
                    raise ValueError(f"there is no {{{field}}}; there are {_named(FIELDS)}")
                self._parts.append((literal, field or ""))
        except ValueError as error:
            if str(error).startswith("there is no"):
                raise
            raise ValueError("a brace is not closed; write {{ for one that is meant") from None
        if "\0" in text:
            raise ValueError("no path can hold a NUL")

    @property
    def fields(self) -> frozenset[str]:
        return frozenset(field for _, field in self._parts if field)

    @property
    def root(self) -> str:
        """The folder of all that it can lead to."""
        before = ""
        for literal, field in self._parts:
            before += literal
            if field:
                return before.rpartition("/")[0]
        return before.rstrip("/")

    def place(self, answered: Answered) -> Place:
        values = answered._asdict() | {
            "year": answered.at[:4], "month": answered.at[5:7], "day": answered.at[8:10]
        }  # fmt: skip
        if answered.status == UNCERTAIN and "status" not in self.fields:
            values["label"] = UNCERTAIN
        filled = "".join(
            literal + (folder_name(values[field]) if field else "")
            for literal, field in self._parts
        )
        return Place(os.fsencode(filled.rstrip("/")), len(os.fsencode(self.root)))


def folder_name(text: str) -> str:
    """A text as the name of a folder, or a part of it."""
    safe = UNSAFE.sub("_", text)
    return safe.encode("utf-8")[:MAX_NAME].decode("utf-8", "ignore") or "_"


def absolute(template: str, base: Path) -> str:
    """A template in which everything begins at the root. base: where relative ones begin."""
    braced = str(base).replace("{", "{{").replace("}", "}}")
    return os.path.normpath(os.path.join(braced, os.path.expanduser(template)))  # noqa: PTH111, PTH118


class Sorting:
    """Where the images of an inbox belong."""

    def __init__(self, inbox: bytes, to: str, failed_to: str) -> None:
        """Absolute ones. Raises `ValueError` for what is no template."""
        self._inbox = inbox.rstrip(b"/") + b"/"
        self._to = Template(to)
        self._failed_to = Template(failed_to)

    @property
    def root(self) -> int:
        """How much of an image's path is the inbox."""
        return len(self._inbox) - 1

    def place(self, path: bytes, answered: Answered) -> Place | None:
        """The folder for an image; None if it stays where it is, as it is not of the inbox."""
        if not path.startswith(self._inbox):
            return None
        template = self._failed_to if answered.status == "failed" else self._to
        return template.place(answered)


def _named(fields: tuple[str, ...]) -> str:
    return ", ".join(f"{{{field}}}" for field in fields)
