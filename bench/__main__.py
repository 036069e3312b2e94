"""`python -m bench [PART...]`: measure, and write docs/BENCHMARKS.md from what was found.

A part is a module in bench/parts. What each found last is kept in docs/benchmarks.json, so one of
them can be run anew by itself.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import images
from bench.circumstances import circumstances
from bench.page import note, number
from bench.setup import ROOT, Setup

# In the order of the page.
PARTS = "small", "thumbnails", "photos", "latency", "start", "scale", "idle", "models"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="real JPEGs, in any folders")
    parser.add_argument("--repeats", type=int, default=5, help="default: 5")
    parser.add_argument("--million", action="store_true", help="`scale` up to a million files")
    parser.add_argument("--short", action="store_true", help="only show that it works, no figures")
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="default: docs; with --short, no page"
    )
    parser.add_argument("--scratch", type=Path, help="where to work; default: the temporary folder")
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"there is no such part: {', '.join(sorted(unknown))}")
    if arguments.data and not images.given(arguments.data):
        parser.error(f"--data {arguments.data}: there is no JPEG in there")
    # A developer's setting, and users' machines have none: all starts would compile the sources.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    output = arguments.output or (None if arguments.short else ROOT / "docs")
    with tempfile.TemporaryDirectory(dir=arguments.scratch, prefix="bench-") as scratch:
        setup = Setup(
            Path(scratch), arguments.data, arguments.repeats, arguments.short, arguments.million
        )
        for name in arguments.parts or PARTS:
            print(f"{name} ...", flush=True)
            report = measured(name, setup)
            print(*map(_line, report["figures"]), *report["notes"], sep="\n", flush=True)
            if output is not None:
                note(output, name, report, PARTS)
    return 0


def measured(name: str, setup: Setup) -> dict[str, Any]:
    """What a part found, and where and how."""
    began = time.monotonic()
    found = importlib.import_module(f"bench.parts.{name}").run(setup).to_json()
    return {
        **found,
        "command": command(name, setup),
        "seconds": round(time.monotonic() - began),
        **circumstances(),
    }


def command(name: str, setup: Setup) -> str:
    """What measures the same again."""
    words = [f"make bench PARTS={name}"]
    words += ["DATA=FOLDER"] if setup.data else []
    words += ["MILLION=1"] if setup.million and name == "scale" else []
    return " ".join(words)


def _line(figure: dict[str, Any]) -> str:
    values = figure["values"]
    spread = f"({number(min(values))} to {number(max(values))})"
    return f"  {figure['name']}: {number(figure['median'])} {figure['unit']} {spread}"


if __name__ == "__main__":
    sys.exit(main())
