"""Images that crash the decoder, make it hang, eat memory, and worse: they harm nobody else.

No such image is known for the libraries we use, so what a decoder with a hole might do is put into
the workers of this trial alone; see `guilty_worker`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from trials.guilty_worker import LOOSE, mark
from trials.report import Report, Table
from trials.subject import MODEL, ROOT, compiled_cache

if TYPE_CHECKING:
    from daemon_process import Project

SECONDS = 580  # for the longest run

LATE = r"decoding took longer than 1 s"
DIED = r"the decoder crashed on this image \({}\)"
# What is asked for: what it does, and why it fails.
DEEDS = {
    "crash": ("reads at address 0", DIED.format("SIGSEGV")),
    "abort": ("calls `abort`", DIED.format("SIGABRT")),
    "hang": ("sleeps", LATE),
    "spin": ("computes without end", LATE),
    "print": ("prints without end", LATE),
    "eat": ("takes all the memory it gets", "decoding takes more memory than a worker may have"),
    "kill": ("kills the main process, then itself", DIED.format("SIGABRT")),
    "sigio": ("has the kernel kill the main process, then ends itself", DIED.format("SIGABRT")),
    "scribble": ("writes over results.csv, then ends itself", DIED.format("SIGABRT")),
}
SHORT = ("crash", "hang")
KILLING = ("kill", "sigio")  # the main process
OTHERS = {True: 12, False: 500}
BATCH = {True: 4, False: 16}

DAEMON = """
import sys
sys.argv[0] = "classifyd"
from daemon import __main__, pool
pool.Pool.__init__.__defaults__ = ("trials.guilty_worker",)
sys.exit(__main__.main())
"""
# One process for everything: what a script would do.
ALONE = """
import sys
from trials.guilty_worker import spoil_decoder
from classifier.classify import Classifier
spoil_decoder()
classifier = Classifier.open(sys.argv[1], sys.argv[2])
paths = sys.argv[3:]
for path in paths:
    (prediction,) = classifier.classify([path])
    print(prediction.label, flush=True)
"""


def fill(inbox: Path, others: int, deeds: tuple[str, ...]) -> None:
    """The guilty ones among the others."""
    from trials.link_swap import jpeg

    for number in range(others):
        (inbox / f"{number:04}.jpg").write_bytes(jpeg(number))
    for place, deed in enumerate(deeds, 1):
        after = others * place // (len(deeds) + 1)
        (inbox / f"{after:04}_{deed}.jpg").write_bytes(mark(jpeg(place), deed))


def run_daemon(project: Project, *, loose: bool = False) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TRIAL_RESULTS": str(project.csv)}
    if loose:
        environment[LOOSE] = "yes"
    return subprocess.run(
        [sys.executable, "-c", DAEMON, "run", "--once", "--config", str(project.config)],
        env=environment, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip


def made(folder: Path, others: int, batch: int, deeds: tuple[str, ...]) -> Project:
    from daemon_process import Project

    folder.mkdir()
    limits = {"image_seconds": 1, "megapixels": 10, "megabytes": 10}
    project = Project(folder, compiled_cache(), limits=limits, batch={"size": batch})
    fill(project.inbox, others, deeds)
    return project


def without_confinement(work: Path) -> str:
    """Workers alone do not keep a decoder from the rest of the machine."""
    for deed in KILLING:
        killed = made(work / f"loose_{deed}", 20, 16, (deed,))
        assert run_daemon(killed, loose=True).returncode == -signal.SIGKILL, deed
    scribbled = made(work / "scribbled", 20, 16, ("scribble",))
    run_daemon(scribbled, loose=True)
    copies = damaged(scribbled)
    assert any(b"nothing to see here" in copy.read_bytes() for copy in copies)
    return (
        f" With workers that are not confined, each of {len(KILLING)} images killed the main "
        f"process, and one wrote over results.csv, which had to be mended {len(copies)} times."
    )


def damaged(project: Project) -> list[Path]:
    """The copies that were kept of a results.csv that somebody else had changed."""
    return list(project.results.glob("results.csv.damaged*"))


def run(work: Path, *, short: bool) -> Report:
    deeds = SHORT if short else tuple(DEEDS)
    others = OTHERS[short]
    project = made(work / "isolated", others, BATCH[short], deeds)
    done = run_daemon(project)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = project.rows
    assert Counter(row["path"] for row in rows) == {
        str(path): 1 for path in project.inbox.iterdir()
    }, "not one row for each image"
    failed = {row["path"]: row["reason"] for row in rows if row["status"] == "failed"}
    assert len(failed) == len(deeds), failed
    reasons = {}
    for path, reason in failed.items():
        deed = path.rpartition("_")[2].removesuffix(".jpg")
        assert re.fullmatch(DEEDS[deed][1], reason), f"{deed}: {reason}"
        reasons[deed] = reason
    assert not damaged(project), "results.csv was written over"
    verified = project.classifyd("verify")
    assert verified.returncode == 0, verified.stdout

    paths = sorted(map(str, project.inbox.iterdir()))
    alone = subprocess.run(
        [sys.executable, "-c", ALONE, str(MODEL), str(compiled_cache()), *paths],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    classified = len(alone.stdout.split())
    assert alone.returncode < 0, "the control lived through all images"
    assert classified < others, "the control lost nothing"
    control = (
        f"in one process without workers, {classified} of {others} were classified before the "
        "first guilty one ended it."
    )
    if not short:
        control += without_confinement(work)

    return Report(
        title="One bad image harms nobody",
        done=f"{len(deeds)} images of which each makes the decoder do harm, among {others} others; "
        f"two workers, batches of {BATCH[short]}, one second for an image.",
        result=f"{len(rows):,} rows, one for each image: the {len(deeds)} failed, each with its "
        f"reason, and the {others} others were classified.",
        control=control,
        table=Table(
            ["the decoder", "reason in results.csv"],
            [[DEEDS[deed][0], reasons[deed]] for deed in deeds],
        ),
    )
