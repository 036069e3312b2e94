"""kill -9 of the whole group of processes at every named point between two steps."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trials.oracle import BrokenPromiseError, Reader, hold, judge
from trials.points import MAIN, MEND, REACHED, WORKER
from trials.report import Report, Table
from trials.subject import Subject

BEFORE, IMAGES = 9, 30  # those that have a row before the daemon is killed; all
SOME = ("work:thumbnail-torn", "mend:truncated")
CONTROLS = (
    ("nothing_is_mended", "append:torn", "results.csv not held against the journal"),
    ("published_before_journalled", "append:after-fsync", "rows published, then journalled"),
)
ONCE = ("examine:", "enqueue:")
AT_ONCE = 2


def trial(work: Path, point: str, count: int, patches: Sequence[str] = ()) -> None:
    """One death, and what is there after the next run. Raises `BrokenPromiseError`."""
    subject = Subject(work / f"{point.replace(':', '-')}-{count}{'-weak' if patches else ''}")
    reader = Reader(subject)
    for number in range(BEFORE):
        subject.put(f"{number}.jpg", number)
    if point in MEND:
        ended = subject.finished("run", "--once", patches=patches)
        assert ended.process.returncode == 0, ended.output
        reader.look()
        _damage(subject)
    for number in range(BEFORE, IMAGES):
        subject.put(f"{number}.jpg", number)
    reached = subject.folder / "reached"
    subject.variables[REACHED] = str(reached)
    ended = subject.finished("run", "--once", patches=[*patches, f"kill:{point}:{count}"])
    assert reached.exists(), f"{point} was not reached {count} times:\n{ended.output}"
    assert ended.process.returncode == -signal.SIGKILL, ended.output
    if point not in MEND:  # there, somebody has damaged it
        reader.look()
    ended = subject.finished("run", "--once", patches=patches)
    words = ended.output.replace(str(subject.folder), "")[-300:].replace("\n", " ").strip()
    hold(ended.process.returncode == 0, f"it does not start again: ...{words}")
    judge(subject, reader.seen)


def _damage(subject: Subject) -> None:
    """Lines are lost at the end, and one in the middle is scribbled on."""
    data = bytearray(subject.csv.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20] = b"?" * 20
    subject.csv.write_bytes(data[:-100])


def run(work: Path, *, short: bool) -> Report:
    points: list[tuple[str, int]] = [(point, 1) for point in SOME]
    controls = CONTROLS[:1] if short else CONTROLS
    if not short:
        # The first time, the second time, and once in the middle of things.
        points = [
            *itertools.product((*MAIN, *WORKER, *MEND), (1,)),
            *((point, 2) for point in (*MAIN, *WORKER) if not point.startswith(ONCE)),
        ]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        weak = [threads.submit(_control, work, *control) for control in controls]
        list(threads.map(lambda item: trial(work, *item), points))
        broken = "; ".join(control.result() for control in weak)
    names = sorted({point for point, _ in points})
    return Report(
        title="kill -9 at every point between two steps of claim, predict, journal, append, mend",
        done=f"{len(points)} times, `run --once` over {IMAGES} images in batches of eight was "
        f"killed, workers included, at one of {len(names)} points, the first or the second time "
        "it came there; in the midst of a write, too. Before the points of mending, results.csv "
        "was cut and scribbled on. Then `run --once`.",
        result="each point was reached; each time the next run gave one row for each image, what "
        "had been read in results.csv stood as before, every named thumbnail is there and "
        "decodes, `verify` agrees",
        control=broken,
        table=Table(("points",), [(", ".join(names),)]),
    )


def _control(work: Path, patch: str, point: str, what: str) -> str:
    try:
        # The second time: in the journal there is a row then.
        trial(work, point, 2, [patch])
    except BrokenPromiseError as error:
        return f"{what}, killed at {point}: {error}"
    raise AssertionError(f"the control held: {what}, and nothing was noticed")
