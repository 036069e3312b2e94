"""A row is one line, and its cells come back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.row import FORMULA, HEADER, Row, escape, line, row_id, shown, unescape

ROW = Row("0" * 20, "/in/a.jpg", "cat", "0.9000", "dog:0.10", "classified", "", 32, 32, 929,
          "ab" * 32, "0123456789ab", "2026-01-01T00:00:00.000+00:00",
          "2026-01-01T00:00:01.000+00:00", "thumbnails/2026-01-01/x.jpg")  # fmt: skip

names = st.binary(min_size=1, max_size=300).filter(lambda name: b"\0" not in name)


def read_back(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@given(names)
def test_every_name_comes_back(name: bytes) -> None:
    assert unescape(escape(name)) == name


@given(names)
def test_every_row_is_one_line_for_every_reader(name: bytes) -> None:
    data = line(ROW._replace(path=escape(b"/in/" + name)))
    assert data.endswith(b"\r\n")
    assert len(data.decode().splitlines()) == 1  # str.splitlines knows U+2028 and its like
    (cells,) = read_back(data)
    assert unescape(cells[1]) == b"/in/" + name


@pytest.mark.parametrize("code", [0x1B, 0x85, 0x9B, 0x061C, 0x200E, 0x2028, 0x202E, 0x2069, 0xFFFF])
def test_what_moves_a_cursor_turns_the_writing_round_or_gets_lost_is_escaped(code: int) -> None:
    name = f"a{chr(code)}b".encode()
    assert escape(name).isascii()
    assert escape(name).isprintable()
    assert unescape(escape(name)) == name


@pytest.mark.parametrize("start", FORMULA)
def test_a_formula_is_defused(start: str) -> None:
    (cells,) = read_back(line(ROW._replace(label=start + "SUM(A1)")))
    assert cells[2] == "'" + start + "SUM(A1)"


@pytest.mark.parametrize("start", [quotes + sign for sign in "=+-@" for quotes in ("", '"', '""')])
def test_nor_is_there_one_for_a_reader_who_splits_at_semicolons(start: str) -> None:
    """A spreadsheet does so where decimals have commas. A path comes back as it was."""
    name = b"/in/a;" + start.encode() + b"SUM(A1).jpg"
    whole = line(ROW._replace(path=escape(name), label=f"a;{start}SUM(A1)"))
    text = whole.decode()
    cells = [cell for row in csv.reader(io.StringIO(text), delimiter=";") for cell in row]
    assert not [cell for cell in cells if cell.lstrip('"').startswith(FORMULA)]
    assert unescape(read_back(whole)[0][1]) == name


def test_the_header_names_the_columns_that_users_rely_on() -> None:
    assert HEADER == (
        b"id,path,label,confidence,alternatives,status,reason,width,height,bytes,sha256,model,"
        b"seen_at,classified_at,thumbnail\r\n"
    )


def test_what_is_not_known_is_an_empty_cell() -> None:
    (cells,) = read_back(line(ROW._replace(width=None, height=None)))
    assert cells[7:9] == ["", ""]


def test_an_id_depends_on_all_that_makes_a_row_another_one() -> None:
    ids = {
        row_id(b"/a", "content", "model"),
        row_id(b"/b", "content", "model"),
        row_id(b"/a", "other", "model"),
        row_id(b"/a", "content", "other"),
        row_id(b"/a", "content", "model", attempt=1),
    }
    assert len(ids) == 5
    # It stands in users' files: it must never come out otherwise.
    assert row_id(b"/a", "content", "model") == "21bb5036bfe48a837b28"


def test_whatever_is_logged_does_nothing_to_a_terminal() -> None:
    assert shown("a\x1b[2J\r\nb\u202e\x85\udcff ä\\") == "a\\x1b[2J\\x0d\nb\\u202e\\u0085\\xff ä\\"
