"""What is logged, and how it looks: nothing in a message passes for a line of ours."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from daemon import logs
from daemon.logs import FOLD_SECONDS, Folding, Form, quoted

EVIL = 'a "quoted" \\ name\nlevel=error msg="forged"\x1b[31m\u202e'
PAIR = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))')


def record(
    message: str, *arguments: object, level: int = logging.WARNING, at: float = 1e9
) -> logging.LogRecord:
    made = logging.LogRecord("daemon.watch", level, __file__, 1, message, arguments, None)
    made.created = at
    return made


def parsed(line: str) -> dict[str, str]:
    """As any reader of logfmt does it."""
    return {
        key: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text) if text else plain
        for key, text, plain in PAIR.findall(line)
    }


def test_for_people() -> None:
    assert Form("text").format(record("failed: %s", "a")) == (
        "2001-09-09T01:46:40Z WARNING failed: a"
    )


def test_as_key_and_value() -> None:
    assert Form("logfmt").format(record("failed: %s", "a")) == (
        'ts=2001-09-09T01:46:40Z level=warning logger=daemon.watch msg="failed: a"'
    )


@pytest.mark.parametrize("in_journal", [False, True])
def test_a_message_is_one_line_and_says_what_was_said(in_journal: bool) -> None:
    said = 'a "quoted" \\ name\nlevel=error msg="forged"\\x1b[31m\\u202e'
    line = Form("logfmt", in_journal=in_journal).format(record("%s", EVIL))
    assert "\n" not in line
    assert line.isprintable()
    assert parsed(line.removeprefix("<4>"))["msg"] == said
    assert parsed(line.removeprefix("<4>"))["level"] == "warning"
    line = Form("json", in_journal=in_journal).format(record("%s", EVIL))
    assert "\n" not in line
    assert line.isprintable()
    assert json.loads(line.removeprefix("<4>"))["msg"] == said


def test_a_plain_word_needs_no_quotes() -> None:
    assert [quoted(value) for value in ("a.b:1/2+3-4_5", "", "a b", 'a"')] == [
        "a.b:1/2+3-4_5", '""', '"a b"', '"a\\""',
    ]  # fmt: skip


def test_the_journal_gets_priorities_and_no_time() -> None:
    form = Form("text", in_journal=True)
    assert form.format(record("one\ntwo", level=logging.ERROR)) == "<3>ERROR   one\n<3>two"
    assert form.format(record("one", level=logging.INFO)) == "<6>INFO    one"
    assert "ts" not in json.loads(Form("json", in_journal=True).format(record("x"))[3:])


def test_what_comes_again_and_again_is_folded() -> None:
    stream = io.StringIO()
    folding = Folding(stream)
    folding.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    for second in range(100):
        folding.emit(record("no room in %s", "/a", at=1e9 + second / 2))
    folding.emit(record("rows: 1", level=logging.INFO, at=1e9 + 51))
    folding.emit(record("rows: 1", level=logging.INFO, at=1e9 + 52))  # twice one row, no repetition
    folding.emit(record("no room in %s", "/b", at=1e9 + 53))
    folding.emit(record("no room in %s", "/a", at=1e9 + FOLD_SECONDS + 1))
    folding.fold(1e9 + 10 * FOLD_SECONDS)
    folding.emit(record("no room in %s", "/a", at=1e9 + 20 * FOLD_SECONDS))
    assert stream.getvalue().splitlines() == [
        "WARNING no room in /a",
        "INFO rows: 1",
        "INFO rows: 1",
        "WARNING no room in /b",
        "WARNING repeated 99 times in 61 s: no room in /a",
        "WARNING repeated 1 times in 539 s: no room in /a",
        "WARNING no room in /a",  # after so long, it is news again
    ]


def test_at_the_end_nothing_is_kept_back() -> None:
    stream = io.StringIO()
    folding = Folding(stream)
    for number in range(logs.MAX_FOLDED + 1):  # no more than so many are remembered
        folding.emit(record("%d", number))
        folding.emit(record("%d", number))
    assert len(folding._folds) == logs.MAX_FOLDED
    folding.close()
    assert stream.getvalue().count("repeated 1 times") == logs.MAX_FOLDED + 1


PROGRAM = """
import logging, sys
from daemon import logs
logs.set_up(sys.argv[1])
logging.getLogger("daemon").warning("no %s", "events")
logs.complain("it ends\\nhere", sys.argv[1])
"""


def said(path: Path, form: str, *, in_journal: bool) -> str:
    with path.open("w") as file:
        status = os.fstat(file.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"} if in_journal else {}
        subprocess.run(
            [sys.executable, "-c", PROGRAM, form],
            stderr=file, env=os.environ | stream, check=True, timeout=60,
        )  # fmt: skip
    return path.read_text()


def test_a_stream_is_known_for_what_it_is(tmp_path: Path) -> None:
    assert said(tmp_path / "log", "auto", in_journal=True) == (
        '<4>level=warning logger=daemon msg="no events"\n<3>classifyd: \n<3>  it ends\n<3>  here\n'
    )
    plain = said(tmp_path / "log", "json", in_journal=False).splitlines()
    assert [json.loads(line)["msg"] for line in plain] == ["no events", "it ends\nhere"]
    master, terminal = os.openpty()
    with open(terminal, "w") as stream:
        assert logs.chosen("auto", stream) == "text"
        assert not logs.is_journal(stream)
    os.close(master)
