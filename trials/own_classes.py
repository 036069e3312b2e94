"""Somebody's own classes: unequal, of all sizes, some files broken, and one command."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

from trials.report import Report, Table
from trials.shapes import draw_classes
from trials.subject import ROOT

SECONDS = 3600
COUNTS = {"circle": 400, "cross": 80, "square": 1000, "star": 40, "triangle": 120}
FEW = {"circle": 80, "cross": 40, "square": 160, "star": 20, "triangle": 40}
BROKEN = 0.03
# The default network has 81% of fresh pictures right, after 240 epochs.
WORDS = ("--network", "accurate")
SHORT_WORDS = ("--epochs", "15")
ACCURACY = 95.0  # percent
GUESSED = 20.0  # five classes, as many of each
EXCHANGED = "circle", "star"


def trainer(work: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *words],
        capture_output=True, text=True, timeout=SECONDS, check=False, cwd=work,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return done


def listed(log: str, model: Path) -> set[Path]:
    """What the training said that it left out: in a file if that is much, else in its log."""
    file = model.with_suffix(".left_out.txt")
    if file.exists():
        lines = file.read_text().splitlines()
    else:
        lines = re.findall(r"^left out: ('.*)$", log, re.MULTILINE)
    return {Path(ast.literal_eval(line[: line.index("': ") + 1])) for line in lines}


def accuracy(work: Path, model: Path, folder: Path) -> float:
    """Of a model on a folder, in percent."""
    said = trainer(work, "evaluate", model, "--data", folder).stdout
    found = re.search(r"accuracy (\d+\.\d+)", said)
    assert found, said
    return float(found[1])


def exchange(folder: Path, one: str, other: str) -> None:
    (folder / one).rename(folder / "aside")
    (folder / other).rename(folder / one)
    (folder / "aside").rename(folder / other)


def run(work: Path, *, short: bool) -> Report:
    counts, each = (FEW, 20) if short else (COUNTS, 200)
    data, fresh, model = work / "shapes", work / "fresh", work / "shapes.keras"
    # The short form is about what is left out and said, not about how good a model can be.
    broken = draw_classes(data, counts, seed=1, broken=BROKEN, plain=short)
    draw_classes(fresh, dict.fromkeys(counts, each), seed=2, plain=short)
    words = SHORT_WORDS if short else WORDS
    done = trainer(work, "train", "--data", data, "--output", model, *words)
    named = listed(done.stderr, model)
    assert named == {*broken}, f"{len(named & {*broken})} of {len(broken)}, {len(named)} named"

    wanted = 1.5 * GUESSED if short else ACCURACY
    found = accuracy(work, model, fresh)
    assert found > wanted, f"{found}% of fresh pictures right"
    table = [(name, count, _damaged(name, broken), each) for name, count in counts.items()]
    exchange(fresh, *EXCHANGED)
    mixed = accuracy(work, model, fresh)
    assert mixed < found - 10, f"{mixed}% with labels exchanged"
    return Report(
        title="Own classes, by one command",
        done=f"{sum(counts.values()):,} pictures of five shapes were drawn, "
        + ("black on white" if short else "in any colours, turned by any angle")
        + ", at any place, from 48 to 400 pixels a side, JPEG and PNG, one in four "
        f"grey, and {len(broken)} of the files spoilt: cut short, emptied, overwritten. Then "
        f"`classifyd-train train --data FOLDER {' '.join(words)}`, and "
        f"`classifyd-train evaluate` on {each * len(counts):,} fresh pictures.",
        result=f"{found:.1f}% of the fresh pictures are right; the {len(broken)} broken files, and "
        "no others, are left out and named.",
        control=f"{' and '.join(EXCHANGED)} have each other's label: {mixed:.1f}%.",
        table=Table(("class", "files", "of these broken", "fresh pictures"), table),
    )


def _damaged(name: str, broken: list[Path]) -> int:
    return sum(path.parent.name == name for path in broken)
