"""A daemon that has nothing to do: what does it take of a processor and a disk?"""

from __future__ import annotations

import time

from bench import images
from bench.report import Figures, Report
from bench.setup import Setup
from bench.subject import Subject
from bench.usage import cpu, family, memory, written

PATIENCE_SECONDS = 120.0


def run(setup: Setup) -> Report:
    count, seconds, settle = (20, 1.0, 0.5) if setup.short else (1_000, 60.0, 5.0)
    folder = images.small(setup, count, settled=False)
    count = len(list(folder.iterdir()))
    subject = Subject.started_before(setup, folder)
    figures = Figures()
    with subject.running() as pid:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not subject.csv.exists() or subject.csv.read_bytes().count(b"\n") < count + 1:
            assert time.monotonic() < deadline, subject.log
            time.sleep(0.1)
        time.sleep(settle)
        for _ in range(setup.repeats):
            members = family(pid)
            busy, sent, began = cpu(members), written(members), time.monotonic()
            time.sleep(seconds)
            share = (cpu(members) - busy) / (time.monotonic() - began)
            figures.add("processor", 100 * share, "% of one")
            figures.add("written to disks", written(members) - sent, "bytes")
            figures.add("memory of all processes", memory(members), "MB")
    subject.check(count)
    subject.remove()
    return Report(
        title="Idle",
        done=f"A daemon with its defaults that has done the {count:,} images of its inbox, "
        f"workers included, looked at for {seconds:g} s each time; a rescan falls into that.",
        figures=figures,
    )
