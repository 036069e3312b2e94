"""Nodes and the driver of a job are killed in the midst of it: it goes on, every image once."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from trials.noting_worker import FOLDER, WAIT
from trials.ray_cluster import House, cluster, differences, need_ray, pictures
from trials.report import Report, Table

IMAGES, SHORT_IMAGES = 10_000, 600
BROKEN = 20
NODES = 3
MOST_TWICE = 0.05
# Each image takes so much longer, or the job is over before anything can be killed.
WAIT_SECONDS = 0.01


def run(work: Path, *, short: bool) -> Report:
    need_ray()
    images = SHORT_IMAGES if short else IMAGES
    pictures(work / "pictures", images, BROKEN)
    local = House(work / "local")
    local.run("backfill", work / "pictures")

    nodes = House(work / "nodes")
    seen = Seen(nodes)
    with cluster(NODES) as made, nodes.started(*command(work, made.address)) as job:
        for share in (0.3, 0.6)[: 1 if short else 2]:
            nodes.wait_for_share(share)
            made.remove_node(made.worker_nodes.copy().pop(), allow_graceful=False)
        assert job.wait(900) == 0, (nodes.folder / "log").read_text()
    found = differences(nodes.rows, local.rows)
    assert not found, found
    nodes_twice = seen.twice(images + BROKEN)

    driver = House(work / "driver")
    share, rows_kept = killed_driver(work, driver, images + BROKEN, forget=False)
    found = differences(driver.rows, local.rows)
    assert not found, found
    assert share <= MOST_TWICE or short, f"{share:.1%} of the images were decoded twice"
    for house in (nodes, driver):
        assert "It adds up" in house.run("verify")

    control = House(work / "control")
    without, _ = killed_driver(work, control, images + BROKEN, forget=True)
    assert without > MOST_TWICE, without
    return Report(
        title="Nodes and the driver of a cluster's backfill may be killed",
        done=f"{images + BROKEN:,} images on a head and {NODES} nodes. Two nodes were killed, at "
        "30% and 60%. In another job the driver was killed (SIGKILL) at 50%, and the command run "
        "again.",
        result=f"Both times one row for every image, as the local engine makes it; {rows_kept:,} "
        "files of rows were there when the driver died.",
        control=f"With the files of rows deleted before the second run, {without:.1%} were decoded "
        "twice.",
        table=Table(
            ("killed", "images decoded twice"),
            [("two nodes", f"{nodes_twice:.1%}"), ("the driver", f"{share:.1%}")],
        ),
    )


def command(work: Path, address: str) -> list[object]:
    return [
        "backfill", work / "pictures", "--engine", "ray", "--address", address, "--batch", "32",
    ]  # fmt: skip


def killed_driver(work: Path, house: House, total: int, *, forget: bool) -> tuple[float, int]:
    """The share of images that were decoded twice, and how many rows there were at the kill."""
    seen = Seen(house)
    with cluster(NODES) as made:
        with house.started(*command(work, made.address)) as job:
            house.wait_for_share(0.5)
            job.send_signal(signal.SIGKILL)
            job.wait()
        (folder,) = house.folder.glob("results/parquet/job-*")
        kept = len(list((folder / "rows").iterdir()))
        if forget:
            for file in (folder / "rows").iterdir():
                file.unlink()
        house.run(*command(work, made.address))
    return seen.twice(total), kept


class Seen:
    """Counts how often each image was decoded, by what the worker processes note."""

    def __init__(self, house: House) -> None:
        self._folder = house.folder / "seen"
        self._folder.mkdir()
        os.environ[FOLDER] = str(self._folder)  # the nodes' as well, which start after this
        os.environ[WAIT] = str(WAIT_SECONDS)

    def twice(self, total: int) -> float:
        """The share of images that were decoded more than once."""
        counts = Counter[str]()
        for file in self._folder.iterdir():
            counts.update(file.read_text().split())
        assert len(counts) == total, (len(counts), total)
        return sum(count > 1 for count in counts.values()) / total
