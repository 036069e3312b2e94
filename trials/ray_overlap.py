"""A daemon watches the inbox while a cluster's backfill goes through it, with the same state."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from unittest import mock

from classifier.read import Signature
from daemon.deliveries import Delivery
from daemon.journal import Journal
from daemon.row import Row, unescape
from trials.ray_cluster import House, cluster, need_ray, pictures, wait_for
from trials.report import Report
from trials.subject import jpeg

BEFORE, SHORT_BEFORE = 4000, 150  # in the inbox before anybody looks
RATE = 50  # a second, that come in the meantime
NODES = 2


def run(work: Path, *, short: bool) -> Report:
    need_ray()
    before = SHORT_BEFORE if short else BEFORE
    house = House(work / "house", settle_seconds=0.2)
    inbox = house.folder / "inbox"
    pictures(inbox / "old", before, 10)
    come: list[Path] = []
    over = threading.Event()

    def produce() -> None:
        while not over.wait(1 / RATE):
            file = inbox / f"live-{len(come):06}.jpg"
            file.with_suffix(".part").write_bytes(jpeg(len(come)))
            file.with_suffix(".part").rename(file)
            come.append(file)

    with cluster(NODES) as made:
        # The job lists the inbox while nobody watches it; then the daemon comes, and lists it too.
        job = subprocess.Popen(
            house.command("backfill", inbox, "--engine", "ray", "--address", made.address),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_for(lambda: house.parts(), "the listing")
        thread = threading.Thread(target=produce)
        thread.start()
        with house.started("run") as daemon:
            said = job.communicate(timeout=600)[0]
            assert job.returncode == 0, said
            time.sleep(2)
            over.set()
            thread.join()
            total = before + 10 + len(come)
            wait_for(lambda: house.csv.exists() and len(house.rows) >= total, f"{total} rows", 120)
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(30) == 0
    rows = Counter(row["path"] for row in house.rows)
    assert len(rows) == rows.total() == total, (len(rows), rows.total(), total)
    assert "It adds up" in house.run("verify")
    with closing(Journal.open(house.folder / "state")) as journal:
        assert not journal.has_deliveries()
    twice = without_asking(work)
    return Report(
        title="A daemon and a cluster's backfill over one inbox make no row twice",
        done=f"{before + 10:,} images lay in the inbox when the job listed it; then a daemon was "
        f"started on it, and {len(come):,} more came while both worked.",
        result=f"{rows.total():,} rows, one for each image.",
        control=f"With rows taken in whatever stands there, {twice} images of 20 have two.",
    )


def without_asking(work: Path) -> int:
    """How many of 20 images get a second row, if a delivered one is not held against those that
    are there."""
    house = House(work / "control")
    pictures(house.folder / "inbox", 20, 0)
    house.run("run", "--once")
    other = [
        Delivery(
            unescape(row["path"]), Signature(1, 1, 1), 0, False,
            Row(**{**row, "id": row["id"][::-1], "model": "0123456789ab"}),
        )
        for row in house.rows
    ]  # fmt: skip
    with closing(Journal.open(house.folder / "state")) as journal:
        journal.deliver(other)
        with mock.patch.object(Journal, "_row_of", return_value=None):
            _, published = journal.take_in(20, [])
    return len(published)
