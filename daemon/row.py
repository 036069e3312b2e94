"""One row of results.csv: its fields, its id, its exact bytes."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from typing import NamedTuple

THUMBNAILS = "thumbnails"  # the folder beside results.csv
# What a spreadsheet takes for the start of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")
# What turns a line of text into something else.
CONTROL = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # control characters
    r"\u2028\u2029"  # ends of lines and paragraphs
    r"\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # those that turn the writing round
    r"\ufffe\uffff"  # no characters: they get lost in a spreadsheet
    r"\ud800-\udfff]"  # bytes that are not UTF-8
)
# A backslash starts an escape, so it has to be escaped itself for the way back to be clear. And a
# spreadsheet that takes a semicolon for the end of a cell would find a formula after it, in quotes
# or without.
UNSAFE = re.compile(rf"\\|{CONTROL.pattern}|;(?=\"*[=+\-@])")
SEPARATED = re.compile(r';(?="*[=+\-@])')
# Of cells with a comma before each: what may have to be quoted or defused. A few signs that hardly
# ever occur are looked for anywhere, as that is quicker.
SPECIAL = ('"', "\n", "\r", "\t", "=", "@", ",+", ",-", ";+", ";-")
# Hex digits that read as a decimal number.
NUMBER = re.compile("[0-9]+(e[0-9]+)?")
ID = re.compile("[0-9a-f]{20,64}")
ESCAPED = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4}))")


class Row(NamedTuple):
    """The columns of results.csv, in their order. Texts are as they will be read back."""

    id: str
    path: str
    label: str
    confidence: str
    alternatives: str
    status: str  # classified, uncertain or failed
    reason: str
    width: int | None  # pixels
    height: int | None
    bytes: int | None
    sha256: str
    model: str  # the first 12 hex digits of the model file's SHA-256
    seen_at: str  # UTC, ISO 8601
    classified_at: str
    thumbnail: str  # relative to the results folder; empty if there is none


HEADER = (",".join(Row._fields) + "\r\n").encode()


def line(row: Row) -> bytes:
    """The row as RFC 4180 has it, UTF-8, with its line end: always exactly one line."""
    texts = ["" if cell is None else str(cell) for cell in row]
    joined = "," + ",".join(texts)
    # Nearly all rows are plain, and the writer below takes five times as long.
    if joined.count(",") == len(texts) and not any(map(joined.__contains__, SPECIAL)):
        return f"{joined[1:]}\r\n".encode()
    buffer = io.StringIO()
    csv.writer(buffer).writerow(map(_defused, texts))
    return buffer.getvalue().encode()


def row_id(path: bytes, content: str, model: str, attempt: int = 0) -> str:
    """20 hex digits (80 bits), seldom more, for this path with this content under this model.

    The same work done twice gives the same id, so a crash between doing and noting it cannot make
    two rows or two thumbnails of one image. attempt counts how often a user asked to try again.
    """
    parts = (path, content.encode(), model.encode(), b"%d" % attempt)
    return word(hashlib.sha256(b"\0".join(parts)).hexdigest(), 20)


def word(digits: str, length: int) -> str:
    """The beginning of hex digits: so many, or some more until no reader takes them for a number.

    One in 4,000 of 20 digits would be one, such as 67051143882419677e43, and of 12 digits one in
    140: a spreadsheet and pandas round it, or make it infinite.
    """
    while NUMBER.fullmatch(digits, 0, length) and length < len(digits):
        length += 1
    return digits[:length]


def escape(path: bytes) -> str:
    r"""A file's name as text that is safe in a cell, a log and a terminal.

    Bytes that are not UTF-8 and control characters become \xNN or \uNNNN, a backslash two.
    """
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text and ";" not in text:
        return text
    return UNSAFE.sub(_escaped, text)


def is_clean(text: str) -> bool:
    """Whether nothing in it could turn a line of text into something else."""
    return text.isprintable() or not CONTROL.search(text)


def shown(text: str) -> str:
    """Text from anywhere, for a log or a terminal: only line ends do there what they do."""
    return "\n".join(CONTROL.sub(_escaped, line) for line in text.split("\n"))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    # \x is for single bytes; characters past ASCII have two bytes and are named by their number
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def unescape(text: str) -> bytes:
    """The bytes that `escape` was given."""

    def plain(match: re.Match[str]) -> str:
        byte, code = match.groups()
        if byte is not None:
            return bytes([int(byte, 16)]).decode("utf-8", "surrogateescape")
        return chr(int(code, 16)) if code is not None else "\\"

    return os.fsencode(ESCAPED.sub(plain, text))


def cells(line: bytes) -> Row:
    """What stands in a line, every cell a text. Raises `ValueError` if that is not one row."""
    try:
        (found,) = csv.reader([line.decode()], strict=True)
        return Row(*found)  # type: ignore[arg-type]
    except (TypeError, csv.Error):
        raise ValueError("this is no row") from None


def parsed(line: bytes) -> Row:
    """The row of a line, every cell a text. Raises `ValueError` for one that is not as ours are."""
    row = cells(line)
    if not ID.fullmatch(row.id) or not 0 <= float(row.confidence or 0) <= 1:
        raise ValueError("this is no row of ours")
    return row


def is_ours(row: Row, attempts: int) -> bool:
    """Whether classifyd wrote this very row, as its id says, and nobody changed what stands for it.

    attempts: up to which one to look. Of a file that was never read it cannot be told.
    """
    path = unescape(row.path)
    return bool(row.sha256) and any(
        row.id == row_id(path, row.sha256, row.model, attempt) for attempt in range(attempts + 1)
    )


def _defused(cell: str) -> str:
    cell = SEPARATED.sub(";'", cell)  # of a path it is escaped, and read back as it was
    return f"'{cell}" if cell.startswith(FORMULA) else cell
