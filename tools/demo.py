"""`make demo`: classify inbox_example with the shipped model, and show the rows as a table."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent
RESULTS = HOME / "results" / "results.csv"
COLUMNS = ("image", "label", "confidence", "alternatives")


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells, the first one the titles, as aligned lines."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()
        if row is rows[0]:
            yield "  ".join("-" * width for width in widths)


def main() -> int:
    command = [sys.executable, "-m", "daemon", "run", "--once", "--config", "config.yaml"]
    done = subprocess.run(command, cwd=HOME)
    if done.returncode:
        return done.returncode
    with RESULTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cells = [
        (
            Path(row["path"]).name,
            row["label"],
            row["confidence"],
            row["alternatives"] + row["reason"],
        )
        for row in sorted(rows, key=lambda row: row["path"])
    ]
    print()
    print(*table([COLUMNS, *cells]), sep="\n")
    right = sum(Path(name).stem == label for name, label, *_ in cells)
    print(
        f"\n{len(rows)} rows, {right} labels as the files are called\n"
        f"rows:       {RESULTS}\n"
        f"thumbnails: {RESULTS.parent / 'thumbnails'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
