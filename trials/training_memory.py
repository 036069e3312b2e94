"""How much memory a training takes, by the number of its images, their size, and the network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from trials.bombs import memory
from trials.pictures import drawn, encoded
from trials.report import Report, Table
from trials.subject import ROOT

SECONDS = 7200
DISTINCT = 300  # pictures; each has many names, as hard links take no room on the disk
CLASSES = 5
FEW, MOST_KEPT, MANY = 20_000, 80_000, 200_000  # files; pixels of the second just fit
SHORT_FEW, SHORT_MANY = 2_000, 12_000
# The accurate network holds 500 images of 32x32 at every one of its layers.
TOTAL_MB, GROWTH_MB = {"readme": 1500, "accurate": 2500}, 150
LARGER = (("accurate", 32), ("accurate", 64), ("readme", 256))  # network, side in pixels
SOME = 2_500  # files, from which the accurate network takes as many first filters as it ever does
SHORT_GROWTH_MB = 8  # for names, labels and digests of 10,000 more; their pixels are 31
READ_ALL = """
import sys, numpy as np
from pathlib import Path
import trainer.screening
from trainer.data import load_folder
trainer.screening.KEPT_BYTES = {kept}
train = load_folder(Path(sys.argv[1]), (32, 32, 3)).readable().train
order = np.random.default_rng(0).permutation(len(train.labels))
for start in range(0, len(order), 32):
    train.pixels(order[start : start + 32])
"""
# As if there were no limit to what is kept.
KEEP_ALL = """
import sys, trainer.screening
trainer.screening.KEPT_BYTES = 1 << 40
from trainer.__main__ import main
sys.exit(main())
"""
# As if large images were no larger than small ones.
ALWAYS_256 = """
import sys, trainer.recipe
trainer.recipe.images_at_once = lambda shape: trainer.recipe.AT_ONCE
from trainer.__main__ import main
sys.exit(main())
"""


def fill(folder: Path, count: int) -> None:
    """Have so many small JPEG files in it, in class folders."""
    pictures = folder.parent / "pictures"
    if not pictures.exists():
        pictures.mkdir()
        for seed in range(DISTINCT):
            side = 40 + seed % 50
            (pictures / f"{seed}").write_bytes(encoded(drawn(seed, (side, 64)), "JPEG"))
    for label in range(CLASSES):
        (folder / f"class {label}").mkdir(parents=True, exist_ok=True)
    there = sum(1 for _ in folder.glob("*/*"))
    for number in range(there, count):
        path = folder / f"class {number % CLASSES}" / f"IMG_{number:06}.jpg"
        # Every class has pictures of its own: 300 is a multiple of 5.
        os.link(pictures / f"{number % DISTINCT}", path)


def peak(command: Sequence[str | Path], folder: Path) -> float:
    """The most memory that the processes of a command had, each at its own worst moment, in MB."""
    log = folder / "log"
    peaks: dict[int, float] = {}
    with log.open("wb") as file, subprocess.Popen(
        [sys.executable, *command], stdout=file, stderr=subprocess.STDOUT, cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:  # fmt: skip
        deadline = time.monotonic() + SECONDS
        while process.poll() is None:
            for pid in family(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), memory(pid))
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.05)
    assert process.returncode == 0, log.read_text()[-2000:]
    return sum(peaks.values())


def family(pid: int) -> list[int]:
    """A process and all that it started."""
    found = [pid]
    for parent in found:  # grows meanwhile
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with suppress(FileNotFoundError, ProcessLookupError):  # gone again
                found += map(int, children.read_text().split())
    return found


def run(work: Path, *, short: bool) -> Report:
    data = work / "data"
    return reading(work, data) if short else training(work, data)


def reading(work: Path, data: Path) -> Report:
    """Without a network: what the images alone take. Nothing is kept, and then everything."""
    peaks = {}
    for count in (SHORT_FEW, SHORT_MANY):
        fill(data, count)
        peaks[count] = peak(["-c", READ_ALL.format(kept=0), data], work)
    growth = peaks[SHORT_MANY] - peaks[SHORT_FEW]
    assert growth < SHORT_GROWTH_MB, f"it grew by {growth:.1f} MB"
    kept = peak(["-c", READ_ALL.format(kept=1 << 40), data], work) - peaks[SHORT_FEW]
    assert kept > SHORT_GROWTH_MB, f"with all pixels kept it grew by {kept:.1f} MB only"
    return Report(
        title="Memory of a training",
        done=f"{SHORT_FEW:,} and {SHORT_MANY:,} images are read twice, without a network.",
        result=f"It grows by {growth:.1f} MB.",
        control=f"all decoded pixels are kept: it grows by {kept:.1f} MB.",
    )


def training(work: Path, data: Path) -> Report:
    peaks, rows = {}, []
    for count in (FEW, MOST_KEPT, MANY):
        peaks[count], row = trained(work, data, count)
        rows.append(row)
    growth = peaks[MANY] - peaks[FEW]
    assert growth < GROWTH_MB, f"it grew by {growth:,.0f} MB"
    kept = trained(work, data, MANY, command=["-c", KEEP_ALL])[0] - peaks[FEW]
    assert kept > GROWTH_MB, f"with all pixels kept it grew by {kept:,.0f} MB only"
    highest = {"readme": max(peaks.values()), "accurate": 0.0}
    for network, side in LARGER:
        found, row = trained(work, work / "some", SOME, network, side)
        rows.append(row)
        highest[network] = max(highest[network], found)
    for network, most in highest.items():
        assert most < TOTAL_MB[network], f"{network}: {most:,.0f} MB"
    at_once = trained(work, work / "some", SOME, *LARGER[-1], ["-c", ALWAYS_256])[0]
    assert at_once > TOTAL_MB["readme"], f"with 256 images at once it took {at_once:,.0f} MB only"
    return Report(
        title="Memory of a training: not more for more images, and bounded for large ones",
        done="`classifyd-train train --epochs 1` with its default network on folders of "
        f"{FEW:,}, {MOST_KEPT:,} and {MANY:,} small JPEG files: {DISTINCT} pictures under many "
        "names each (hard links). Peak memory: VmHWM of all its processes, added up. Pixels are "
        f"kept where they take 256 MB at most, so those of {MOST_KEPT:,} are, and of {MANY:,} not. "
        f"Then with `--network` and `--input-size`, {SOME:,} files.",
        result=f"{peaks[FEW]:,.0f} MB with {FEW:,} files, {peaks[MANY]:,.0f} MB with {MANY:,}, and "
        f"never more than {highest['readme']:,.0f} MB; the accurate network takes "
        f"{highest['accurate']:,.0f} MB.",
        control=f"all decoded pixels are kept: from {FEW:,} to {MANY:,} files it grows by "
        f"{kept:,.0f} MB. 256 images are looked at together whatever their size: "
        f"{at_once:,.0f} MB.",
        table=Table(("network", "input size", "files", "peak memory", "seconds"), rows),
    )


def trained(
    work: Path,
    data: Path,
    count: int,
    network: str = "readme",
    side: int = 32,
    command: Sequence[str] = ("-m", "trainer"),
) -> tuple[float, tuple[object, ...]]:
    """The peak memory of one epoch, in MB, and its row of the table."""
    fill(data, count)
    began = time.monotonic()
    found = peak(
        [*command, "train", "--epochs", "1", "--network", network, "--input-size", str(side),
         "--data", data, "--output", work / "m.keras"],
        work,
    )  # fmt: skip
    seconds = round(time.monotonic() - began)
    said = (work / "log").read_text()
    parts = re.search(r"5 classes, (\d+) images to learn from, (\d+) held out", said)
    assert parts, said[-2000:]
    assert sum(map(int, parts.groups())) == count, parts[0]
    return found, (network, side, f"{count:,}", f"{found:,.0f} MB", seconds)
