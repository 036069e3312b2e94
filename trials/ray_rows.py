"""On a cluster of three nodes and a head: the rows that the local engine makes, to the letter."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from trials.ray_cluster import House, cluster, differences, need_ray, pictures
from trials.report import Report, Table
from trials.subject import ROOT

IMAGES, SHORT_IMAGES = 10_000, 200
BROKEN, SHORT_BROKEN = 200, 10
NODES, SHORT_NODES = 3, 1


def run(work: Path, *, short: bool) -> Report:
    need_ray()
    images, broken = (SHORT_IMAGES, SHORT_BROKEN) if short else (IMAGES, BROKEN)
    pictures(work / "pictures", images, broken)
    local, ray = House(work / "local"), House(work / "ray")
    began = time.monotonic()
    local.run("backfill", work / "pictures")
    alone = time.monotonic() - began
    nodes = SHORT_NODES if short else NODES
    with cluster(nodes) as made:
        began = time.monotonic()
        ray.run("backfill", work / "pictures", "--engine", "ray", "--address", made.address)
        together = time.monotonic() - began
        again = ray.run("backfill", work / "pictures", "--engine", "ray", "--address", made.address)
    assert f"known      {images + broken:,}" in again, again
    found = differences(ray.rows, local.rows)
    assert not found, found
    reasons = Counter(row["reason"] for row in ray.rows if row["status"] == "failed")
    assert reasons.total() == broken, reasons
    assert "It adds up" in ray.run("verify")
    assert "It adds up" in local.run("verify")
    other = House(work / "other", model=str(ROOT / "models" / "accurate_classifier.keras"))
    other.run("backfill", work / "pictures")
    control = differences(other.rows, local.rows)
    assert control["label"] > 0, control
    return Report(
        title="A cluster makes the rows that one machine makes",
        done=f"{images:,} images and {broken:,} broken ones, by the local engine and by Ray on a "
        f"head and {nodes} nodes, all on this machine. Then once more.",
        result=f"{len(ray.rows):,} rows each, none differs in path, label, status, reason, digest, "
        f"id or model, no confidence by more than 1e-4. {broken:,} failed. The second time: none.",
        control=f"With another model, {control['label']:,} labels differ.",
        table=Table(
            ("engine", "seconds, with its start"),
            [("local", f"{alone:.1f}"), (f"Ray, {nodes} nodes", f"{together:.1f}")],
        ),
    )
