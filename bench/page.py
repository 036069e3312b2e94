"""benchmarks.json and the page that is written from it; a part that is run anew changes its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIGURES, PAGE = "benchmarks.json", "BENCHMARKS.md"

INTRODUCTION = """# Benchmarks

Written by `make bench`; `make bench PARTS="small idle" DATA=FOLDER` measures some parts anew, with
the JPEGs of a folder; without one, images are drawn. In each part everything is measured in turn on
one machine, as many times as the last column says; a line gives the median, and between what it
lay. Absolute figures are those of this machine: look at the ratios, which are taken repeat by
repeat. All guarantees are on.
"""


def note(folder: Path, name: str, report: dict[str, Any], order: Sequence[str]) -> None:
    """Keep what a part has measured, and write the page anew. order: of the parts on it."""
    file = folder / FIGURES
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known[name] = report
    ordered = {part: known[part] for part in order if part in known}
    file.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    page = "\n".join([INTRODUCTION, *map(_section, ordered.values())])
    (folder / PAGE).write_text(page, encoding="utf-8")


def _section(report: dict[str, Any]) -> str:
    changed = ", with changes" if report["changed"] else ""
    lines = [
        f"## {report['title']}",
        "",
        report["done"],
        "",
        *(line for note in report["notes"] for line in (note, "")),
        f"`{report['command']}`: {report['seconds']:,} s, {report['date']}, commit "
        f"{report['commit']}{changed}. {report['machine']}. {report['versions']}.",
        "",
        "| | median | from | to | | repeats |",
        "| --- | ---: | ---: | ---: | --- | ---: |",
        *map(_row, report["figures"]),
        "",
    ]
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    values = figure["values"]
    shown = " | ".join(map(number, (figure["median"], min(values), max(values))))
    return f"| {figure['name']} | {shown} | {figure['unit']} | {len(values)} |"


def number(value: float) -> str:
    """Three digits, or all of a larger one that stand before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == 0 else f"{value:.3g}"
