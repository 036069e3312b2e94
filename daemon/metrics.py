"""How things are, for Prometheus: served by a thread of its own, computed when somebody asks.

What the journal and the disks say is read anew; what only the process knows is a snapshot that its
loop leaves behind. So a scrape waits for nothing, and nothing waits for a scrape.
"""

from __future__ import annotations

import datetime
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from daemon import health, reasons
from daemon.errors import DaemonError, MetricsError
from daemon.facts import Facts, gather
from daemon.row import shown, word
from daemon.vitals import Signs

STATUSES = ("classified", "failed", "uncertain")
MODES = ("events", "polling")


class Metrics(Collector):
    """All that a scrape gets."""

    def __init__(self, state: Path, results: Path, inbox: Path, signs: Callable[[], Signs]) -> None:
        self._folders = state, results, inbox
        self._signs = signs

    def collect(self) -> Iterator[Metric]:
        signs = self._signs()
        yield _gauge(
            "classifyd_up", "1 at work, 0 while it starts or waits for room on the disk",
            signs.record.is_working,
        )  # fmt: skip
        try:
            facts = gather(*self._folders, time.time(), own=signs.record)
        except (DaemonError, OSError, sqlite3.Error):  # as while the journal is being made
            facts = None
        yield from _of_process(signs)
        if facts is not None:
            yield from _of_facts(facts)

    def describe(self) -> list[Metric]:
        return []  # nothing is collected only to learn the names


@contextmanager
def serving(
    state: Path, results: Path, inbox: Path, address: str, port: int, signs: Callable[[], Signs]
) -> Iterator[None]:
    """Answer scrapes until the end of the block. Raises `MetricsError`."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(Metrics(state, results, inbox, signs))
    try:
        server, thread = start_http_server(port, address, registry)
    except OSError as error:
        raise MetricsError(
            f"metrics: {address}, port {port} cannot be used: {error.strerror}. Name another "
            "`port:` or `address:` under `metrics:` in the configuration, or end what uses it "
            f"(`ss -ltnp 'sport = :{port}'` names it)"
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _of_process(signs: Signs) -> Iterator[Metric]:
    record = signs.record
    info = GaugeMetricFamily(
        "classifyd_model_info", "The model that is at work", labels=["model", "digest"]
    )
    if record.model:
        info.add_metric([word(record.model, 12), record.model], 1)
    yield info
    mode = GaugeMetricFamily(
        "classifyd_watching_mode", "How new files are noticed", labels=["mode"]
    )
    for name in MODES:
        mode.add_metric([name], record.watching == name)
    yield mode
    yield _counter(
        "classifyd_worker_restarts", "Workers that died or hung, since the start",
        record.worker_restarts,
    )  # fmt: skip
    yield _counter("classifyd_scans", "Completed scans of the inbox, since the start", signs.scans)
    yield _gauge(
        "classifyd_last_turn_timestamp_seconds", "When the loop began its last turn", signs.turned
    )
    failed = CounterMetricFamily(
        "classifyd_failed_images", "Images that failed since the start, by kind", labels=["kind"]
    )
    for kind in reasons.NAMES:
        failed.add_metric([kind], signs.failed.get(kind, 0))
    yield failed


def _of_facts(facts: Facts) -> Iterator[Metric]:
    trouble = GaugeMetricFamily(
        "classifyd_trouble", "1 for each kind of trouble that there is", labels=["kind"]
    )
    there = {problem.kind for problem in health.problems(facts)}
    for name in health.NAMES:
        trouble.add_metric([name], name in there)
    yield trouble
    free = GaugeMetricFamily(
        "classifyd_disk_free_bytes", "What is left on the disk", labels=["folder"]
    )
    for disk in facts.disks:
        free.add_metric([shown(str(disk.folder))], disk.free)
    yield free
    queue = facts.queue
    if queue is None:
        return
    images = CounterMetricFamily("classifyd_images", "Rows in results.csv", labels=["status"])
    for status in STATUSES:
        images.add_metric([status], queue.rows.get(status, 0))
    yield images
    waiting = GaugeMetricFamily(
        "classifyd_waiting", "Images that are to be classified", labels=["source"]
    )
    waiting.add_metric(["inbox"], queue.live)
    waiting.add_metric(["backfill"], queue.backfilled)
    waiting.add_metric(["reclassify"], queue.anew)
    yield waiting
    since = _seconds(queue.oldest)
    age = 0.0 if since is None else max(0.0, facts.at - since)
    yield _gauge("classifyd_oldest_waiting_seconds", "For how long the oldest of them waits", age)
    if (last := _seconds(queue.last_row)) is not None:
        yield _gauge("classifyd_last_row_timestamp_seconds", "When the last row was made", last)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _seconds(moment: str | None) -> float | None:
    return None if moment is None else datetime.datetime.fromisoformat(moment).timestamp()
