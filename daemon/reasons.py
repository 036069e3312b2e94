"""Reasons why images fail ▸ a few kinds of them, which a monitor can count."""

from __future__ import annotations

# The beginning of a reason ▸ its kind, a name that stays as it is.
KINDS = (
    ("the file is empty", "empty"),
    ("the content is not", "not_an_image"),
    ("the content is a ", "not_allowed"),
    ("the image is too large", "too_large"),
    ("the image has more than", "too_large"),
    ("the file is larger", "too_large"),
    ("the image is incomplete", "damaged"),
    ("the image is damaged", "damaged"),
    ("decoding took", "too_slow"),
    ("the file cannot be read: that took longer", "too_slow"),
    ("decoding takes more memory", "no_memory"),
    ("there is not enough memory", "no_memory"),
    ("the process that decoded it was killed", "crashed"),
    ("the decoder crashed", "crashed"),
    ("the file was gone", "unreadable"),
    ("a symbolic link", "unreadable"),
    ("the file cannot be", "unreadable"),
    ("not a regular file", "unreadable"),
    ("no file can have this name", "unreadable"),
)
OTHER = "other"
NAMES = tuple(sorted({name for _, name in KINDS} | {OTHER}))


def kind_of(reason: str) -> str:
    """The kind of failure that a row's reason tells of."""
    return next((name for start, name in KINDS if reason.startswith(start)), OTHER)
