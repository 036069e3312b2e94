"""Files that were damaged by accident: no crash, and how much of it is noticed, for each format.

`python -m trials.corruption FORMAT COUNT` damages COUNT copies of pictures of a format and prints
what became of them; the trial runs it in a process for each format, that may crash.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np

from trials.pictures import FORMATS, MORE_FORMATS, corrupted, drawn, encoded
from trials.report import Report, Table
from trials.subject import ROOT

COUNT = {True: 30, False: 1000}  # of each format
SECONDS = 900
SIZE = 64, 48
KINDS = FORMATS | MORE_FORMATS
PICTURES = 5


def pixels(data: bytes) -> bytes | None:
    """All that the decoder makes of an image; None if it refuses it."""
    from classifier.decode import decode
    from classifier.errors import ImageError
    from classifier.header import FORMATS as EVERY

    try:
        image = decode(data, SIZE[1], SIZE[0], 3, formats=EVERY)
    except ImageError:
        return None
    return repr((image.width, image.height)).encode() + image.pixels.tobytes()


def unheard(data: bytes) -> bytes | None:
    """The same, whatever libjpeg says."""
    from classifier import jpeg

    with mock.patch.object(jpeg, "heard", return_value=jpeg.Heard("", False, b"")):
        return pixels(data)


def damaged(name: str, count: int) -> Counter[str]:
    """What became of so many damaged copies."""
    kind, options = KINDS[name]
    seeds = [encoded(drawn(seed, SIZE), kind, **options) for seed in range(PICTURES)]
    wholes = [pixels(seed) for seed in seeds]
    assert None not in wholes
    random = np.random.default_rng(5)
    found: Counter[str] = Counter()
    for number in range(count):
        data, whole = corrupted(random, seeds[number % PICTURES]), wholes[number % PICTURES]
        for judge, what in ((pixels, ""), (unheard, "unheard ")):
            if what and kind != "JPEG":
                continue
            seen = judge(data)
            end = "failed" if seen is None else "same" if seen == whole else "other"
            found[what + end] += 1
    return found


def in_a_process(name: str, count: int) -> Counter[str]:
    done = subprocess.run(
        [sys.executable, "-m", "trials.corruption", name, str(count)],
        capture_output=True, timeout=SECONDS, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, f"{name}: exit code {done.returncode}: {done.stderr[-2000:]!r}"
    return Counter(json.loads(done.stdout))


def run(work: Path, *, short: bool) -> Report:  # noqa: ARG001
    count = COUNT[short]
    rows, unnoticed, more = [], 0, 0
    kinds = FORMATS if short else KINDS
    for name in kinds:
        found = in_a_process(name, count)
        assert found["failed"] + found["same"] + found["other"] == count
        rows.append((name, found["failed"], found["same"], found["other"]))
        if KINDS[name][0] == "JPEG":
            unnoticed += found["other"]
            more += found["unheard other"] - found["other"]
    assert more > 0, "as many are noticed without libjpeg's warnings: this trial shows nothing"
    return Report(
        title="Damaged files: no crash, and what is noticed of the damage",
        done=f"In each of {len(kinds)} formats, {count:,} copies of pictures were damaged at a "
        "random place: up to eight bits flipped anywhere, up to 32 bytes overwritten, or up to 64 "
        "bytes taken out or put in. Then they were decoded.",
        result="No crash, and no error but that of an image that cannot be read. How many failed, "
        "how many gave the very pixels of the whole file (what was hit is not needed for them), "
        "and how many gave other pixels:",
        control=f"Without an ear for libjpeg's warnings, {more:,} more damaged JPEGs give other "
        f"pixels unnoticed, beside the {unnoticed:,} in the table.",
        table=Table(("format", "failed", "same pixels", "other pixels, unnoticed"), rows),
    )


if __name__ == "__main__":
    print(json.dumps(damaged(sys.argv[1], int(sys.argv[2]))))
