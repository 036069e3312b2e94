"""`python -m trials [NAME...]`: run long trials, and write docs/TRIALS.md from what they report.

A trial is a module in this folder with `run(work: Path, *, short: bool) -> Report`. What each
reported last is kept in docs/trials.json, so one of them can be run anew by itself.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FIGURES, PAGE = ROOT / "docs" / "trials.json", ROOT / "docs" / "TRIALS.md"
sys.path.insert(0, str(ROOT / "tests"))  # for the processes and models that tests start, too

# In the order of the page.
NAMES = (
    "killed", "kill_points", "power_loss", "full_disk", "failed_fsync", "overflow", "prefixes",
    "corruption", "bombs", "guilty", "fuzzing", "names", "evil_models", "two_at_once",
    "link_swap", "agreement", "own_classes", "training_memory",
    "many_rows", "reloads", "shares", "moves", "soak",
    "ray_rows", "ray_kills", "ray_buckets", "ray_overlap",
)  # fmt: skip

INTRODUCTION = """# Trials

Written by `make trial`; `make trial TRIALS="killed bombs"` runs some of them anew. Every one has a
control: the same trial with the guard that it is about taken out, which has to fail. A short form
of each runs in `make test`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="trials", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--short", action="store_true", help="as `make test` runs them; no page")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no such trial: {', '.join(sorted(unknown))}")
    failed = []
    for name in arguments.names or NAMES:
        print(f"{name} ...", flush=True)
        began = time.monotonic()
        try:
            with tempfile.TemporaryDirectory(prefix=f"trial-{name}-") as work:
                run = importlib.import_module(f"trials.{name}").run
                report = run(Path(work), short=arguments.short).to_json()
        except unittest.SkipTest as reason:
            print(f"  skipped: {reason}", flush=True)
            continue
        except Exception:
            traceback.print_exc()
            failed.append(name)
            continue
        print(f"  {report['result']}\n  control: {report['control']}", flush=True)
        if not arguments.short:
            note(name, report | {"seconds": round(time.monotonic() - began)} | circumstances())
    if failed:
        print(f"did not hold: {', '.join(failed)}")
    return 1 if failed else 0


def circumstances() -> dict[str, Any]:
    """When, on what, and of which commit."""
    commit = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"Linux {platform.release().partition('-')[0]} {platform.machine()}, "
        f"{len(os.sched_getaffinity(0))} processors, Python {platform.python_version()}",
    }


def note(name: str, report: dict[str, Any]) -> None:
    """Keep a report, and write the page anew."""
    figures = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    figures[name] = report
    ordered = {known: figures[known] for known in NAMES if known in figures}
    FIGURES.write_text(json.dumps(ordered, indent=1) + "\n")
    PAGE.write_text("\n".join([INTRODUCTION, *(section(*item) for item in ordered.items())]))


def section(name: str, report: dict[str, Any]) -> str:
    lines = [
        f"## {report['title']}",
        "",
        f"- **Done**: {report['done']}",
        f"- **Result**: {report['result']}",
        f"- **Control**: {report['control']}",
        f"- `python -m trials {name}`: {report['seconds']:,} s, {report['date']}, commit "
        f"{report['commit']}, {report['machine']}",
        "",
    ]
    if report["table"]:
        head, rows = report["table"]
        lines += [_row(head), _row(["---"] * len(head)), *map(_row, rows), ""]
    return "\n".join(lines)


def _row(cells: list[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    sys.exit(main())
