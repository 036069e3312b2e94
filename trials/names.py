"""Names that were chosen to harm whoever reads them, all the way to a spreadsheet."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import SkipTest
from xml.etree import ElementTree

from trials.evil_names import make
from trials.patched import patched_project
from trials.report import Report, Table
from trials.subject import MODEL, ROOT, compiled_cache

if TYPE_CHECKING:
    from daemon_process import Project

SECONDS = 900
READERS = ("pandas", "duckdb")
BIDI = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# A model's classes can have such names, too; a file's name begins with the inbox's.
LABELS = ("=1+1", "@SUM(1+1)", "+1+2", "-1+1", "=cmd|' /C calc'!A0", '=HYPERLINK("http://a")',
          "@A1", "+A1", "-A1", "= 1")  # fmt: skip
# Names and cells are written as they are.
PLAIN = f"""
import functools, re, sys
sys.path.insert(0, {str(ROOT)!r})
import daemon.answers, daemon.jobs, daemon.pool, daemon.row
plain = lambda path: path.decode("utf-8", "replace")
for module in [m for name, m in sys.modules.items() if name.startswith("daemon")]:
    if hasattr(module, "escape"):
        module.escape = plain
daemon.row._defused = lambda cell: cell
daemon.answers.CONTROL = re.compile("(?!)")  # else such rows would be refused
daemon.service.Pool = functools.partial(daemon.pool.Pool, module="trials.plain_worker")
"""
ODF = "{urn:oasis:names:tc:opendocument:xmlns:%s:1.0}"
TABLE, OFFICE, TEXT = ODF % "table", ODF % "office", ODF % "text"


def classified(project: Project) -> tuple[str, list[int], list[list[str]]]:
    """Classify what is in the inbox, look at it with `status`, on a terminal that has few letters,
    and `verify`, and take files for folders; what was said, the exit codes, and the cells as
    Python's csv reads them."""
    said, codes = [], []
    folders = sorted((project.inbox / "good").iterdir())  # as `backfill UPLOADS/*` would be given
    for words in (["run", "--once"], ["status"], ["verify"], ["backfill", *folders]):
        done = subprocess.run(
            project.command(*words), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=SECONDS, check=False,
            env={**os.environ, "PYTHONIOENCODING": "latin-1" if words == ["status"] else "utf-8"},
        )  # fmt: skip
        text = done.stdout + done.stderr
        said.append(text.decode("latin-1" if words == ["status"] else "utf-8"))
        codes.append(done.returncode)
    with project.csv.open(newline="", encoding="utf-8") as file:
        return "".join(said), codes, list(csv.reader(file))


def check_names(rows: list[list[str]], wanted: set[bytes]) -> None:
    from daemon.row import unescape

    names = [unescape(row[1]) for row in rows[1:]]
    assert len(names) == len(wanted), f"{len(names)} rows of {len(wanted)} files"
    assert set(names) == wanted, f"no name of a file: {(set(names) - wanted).pop()!r}"


def check_codes(codes: list[int], words: str) -> None:
    assert codes == [0, 0, 0, 2], f"the commands ended with {codes}: {words[-2000:]}"


def check_lines(project: Project, rows: list[list[str]]) -> None:
    text = project.csv.read_bytes().decode()
    lines = text.splitlines()  # at everything that any program takes for the end of a line
    assert len(lines) == len(rows), f"{len(lines)} lines for {len(rows)} rows"
    assert {len(row) for row in rows} == {15}


def check_words(words: str) -> None:
    """No character that moves a cursor, colours, rings, or turns the line around."""
    found = {sign for sign in words if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp")}
    found |= BIDI.intersection(words)
    assert found <= {"\n"}, f"said: {sorted(found)}"


def check_pandas(project: Project, rows: list[list[str]]) -> None:
    import pandas as pd

    plain = pd.read_csv(project.csv)
    assert list(plain.columns) == rows[0]
    assert list(plain["path"]) == [row[1] for row in rows[1:]], "pandas reads other paths"
    assert list(plain["id"]) == [row[0] for row in rows[1:]], "pandas reads other ids"
    exact = pd.read_csv(project.csv, dtype=str, keep_default_na=False)
    assert exact.to_numpy().tolist() == rows[1:], "pandas reads other cells"


def check_duckdb(project: Project, rows: list[list[str]]) -> None:
    import duckdb

    with duckdb.connect() as database:
        plain = database.read_csv(str(project.csv))
        assert plain.columns == rows[0], f"DuckDB reads other columns: {plain.columns}"
        found = plain.select("id, path").fetchall()
        assert found == [(row[0], row[1]) for row in rows[1:]], "DuckDB reads other paths"
        exact = database.read_csv(str(project.csv), all_varchar=True).fetchall()
        cells = [["" if cell is None else cell for cell in row] for row in exact]
        assert cells == rows[1:], "DuckDB reads other cells"


def as_spreadsheet(source: Path, work: Path) -> list[list[ElementTree.Element]]:
    """The cells of a CSV file, as LibreOffice opens it."""
    subprocess.run(
        ["soffice", f"-env:UserInstallation=file://{work}/office", "--headless", "--convert-to",
         "fods", "--infilter=CSV:44,34,76,1", "--outdir", work, source],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    rows = []
    for _, row in ElementTree.iterparse((work / source.name).with_suffix(".fods")):
        if row.tag == f"{TABLE}table-row":
            cells = []
            for cell in row.iter(f"{TABLE}table-cell"):
                # Empty ones beside each other are told as one; a row ends in a thousand of them.
                times = int(cell.get(f"{TABLE}number-columns-repeated", "1"))
                cells += [cell] * min(times, 15)
            rows.append(cells)
    return [row for row in rows if any(len(cell) for cell in row)]


def formulas(cells: list[list[ElementTree.Element]]) -> int:
    return sum(f"{TABLE}formula" in cell.attrib for row in cells for cell in row)


def check_spreadsheet(project: Project, rows: list[list[str]], work: Path) -> None:
    """No formula; and what is text stays text, and as it was."""
    cells = as_spreadsheet(project.csv, work)
    assert not formulas(cells), f"LibreOffice shows {formulas(cells)} formulas"
    assert len(cells) == len(rows), f"LibreOffice shows {len(cells)} rows of {len(rows)}"
    for row, shown in zip(rows, cells, strict=True):
        for column in (0, 1, 2, 4, 5, 10):  # id, path, label, alternatives, status, sha256
            if row[column]:
                kind = shown[column].get(f"{OFFICE}value-type")
                assert kind == "string", f"a {kind} in LibreOffice: {row[column]!r}"
        assert _text(shown[1]) == row[1], f"{_text(shown[1])!r} in LibreOffice: {row[1]!r}"


def _text(cell: ElementTree.Element) -> str:
    """The text of a cell: runs of spaces are an element of their own there."""
    parts = []
    for element in cell.iter():
        if element.tag == f"{TEXT}s":
            parts.append(" " * int(element.get(f"{TEXT}c", "1")))
        if element.tag != f"{TABLE}table-cell":
            parts += [element.text or ""]
            if element.tag != f"{TEXT}p":
                parts += [element.tail or ""]
    return "".join(parts)


def model_with_labels(folder: Path) -> Path:
    """The shipped model with other names for its classes."""
    target = folder / "evil.keras"
    with zipfile.ZipFile(MODEL) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.infolist():
            data = source.read(member)
            if member.filename == "contract.json":
                data = json.dumps(json.loads(data) | {"labels": LABELS}).encode()
            copy.writestr(member, data)
    target.chmod(0o644)
    return target


def broken(checks: dict[str, Callable[[], None]]) -> list[str]:
    """Which checks do not hold."""
    names = []
    for name, check in checks.items():
        try:
            check()
        except Exception:  # some readers give up
            names.append(name)
    return names


def run(work: Path, *, short: bool) -> Report:
    has = {name: importlib.util.find_spec(name) is not None for name in READERS}
    has["soffice"] = not short and shutil.which("soffice") is not None
    cache = compiled_cache()
    settings = {"thumbnails": {"when": "none"}, "log_level": "debug"}
    if has["soffice"]:
        settings["model"] = str(model_with_labels(work))
    held, counts = {}, {}
    for name, patch in (("guarded", ""), ("control", PLAIN)):
        (work / name).mkdir()
        project = patched_project(work / name, cache, patch, **settings)
        wanted = make(project.inbox, short=short or name == "control")
        shutil.copytree(ROOT / "inbox_example", project.inbox / "examples")  # one of each class
        wanted |= {bytes(path) for path in (project.inbox / "examples").glob("*.jpg")}
        words, codes, rows = classified(project)
        (work / name / "sheet").mkdir()
        sheet = work / name / "sheet"
        checks: dict[str, Callable[[], None]] = {
            "exit codes": lambda codes=codes, words=words: check_codes(codes, words),
            "names": lambda rows=rows, wanted=wanted: check_names(rows, wanted),
            "one line for each row": lambda project=project, rows=rows: check_lines(project, rows),
            "log and output": lambda words=words: check_words(words),
        }
        if has["pandas"]:
            checks["pandas"] = lambda project=project, rows=rows: check_pandas(project, rows)
        if has["duckdb"]:
            checks["DuckDB"] = lambda project=project, rows=rows: check_duckdb(project, rows)
        if has["soffice"]:
            checks["LibreOffice"] = lambda project=project, rows=rows, sheet=sheet: (
                check_spreadsheet(project, rows, sheet)
            )
        counts[name] = len(wanted)
        if name == "guarded":
            for check in checks.values():
                check()
        held[name] = broken(checks)
    assert {"names", "one line for each row", "log and output"} <= set(held["control"])
    found = 0
    if has["soffice"]:
        found = formulas(as_spreadsheet(work / "control" / "results" / "results.csv", work))
        assert found, "without the guard, LibreOffice shows no formula"
    if missing := [name for name in READERS if not has[name]]:
        raise SkipTest(f"{' and '.join(missing)} not installed (`make trial` does); the rest held")
    return Report(
        title="Names of files",
        done=f"{counts['guarded']:,} files in one inbox: every byte but `/` at the beginning, in "
        "the middle and at the end of a name"
        + (", some pairs of bytes" if short else ", every pair of bytes")
        + ", names of 255 bytes, paths of 4,095, formulas, line ends, quotes, escape sequences, "
        "bidirectional controls, names that are not UTF-8; whole and broken images, and files that "
        "are passed over; log level `debug`; a model with formulas for class names.",
        result="One line and one row for each; `unescape` gives every name back. csv, pandas and "
        "DuckDB read the same cells"
        + (", LibreOffice shows all names and no formula" if has["soffice"] else "")
        + ". No control character in the log, `status` (in Latin-1), `verify` and what `backfill` "
        "complains of but the line end.",
        control=f"escaping and defusing taken out, {counts['control']:,} files; what did not hold: "
        + ", ".join(held["control"])
        + (f"; LibreOffice shows {found} formulas" if has["soffice"] else "; LibreOffice not run")
        + ".",
        table=Table(
            ["Read by", "with", "gives"],
            [
                ["csv", "`newline=''`", "all cells"],
                ["pandas", "`pd.read_csv(path)`", "the same rows, ids and paths"],
                ["pandas", "`dtype=str, keep_default_na=False`", "all cells"],
                ["DuckDB", "`read_csv(path)`", "the same rows, ids and paths"],
                ["DuckDB", "`all_varchar=True`", "all cells"],
            ],
        ),
    )
