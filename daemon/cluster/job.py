"""`classifyd backfill --engine ray`: list, classify on a cluster, publish; and go on after any end.

A job has a folder under `--output`, named by what it is asked to do, and is in one of three states:

    listing     the manifest is being written; after a crash it is written anew
    running     Ray Data works through the manifest, part by part; those with rows are done
    done        all rows are there as Parquet, and enter the journal, which takes none twice
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from classifier.compile import Program
from daemon.backfill import backfill, checked
from daemon.cluster import manifest, rows
from daemon.cluster.node import Order, Seer
from daemon.cluster.nodes import Size, joined, look_at_all, sized
from daemon.cluster.sources import Bucket, is_url
from daemon.cluster.storage import (
    Shared,
    Storage,
    opened_storage,
    read_json,
    tables,
    write_json,
)
from daemon.errors import ClusterError
from daemon.fitting import crew_of, program_of
from daemon.folders import inbox_names, prepare
from daemon.jobs import timestamp
from daemon.journal import Journal
from daemon.messages import Plan
from daemon.progress import progress
from daemon.row import shown
from daemon.settings import Settings
from daemon.walk import Found, walk

log = logging.getLogger(__name__)

WORKER = "daemon.worker"  # what an actor's process runs
MODEL, STATE = "model", "job.json"
RAISED = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt): (.+)$", re.MULTILINE)
GO_ON = "Run the same command again to go on."


class Options(NamedTuple):
    """What the command line says. batch: images that an actor is given at once."""

    address: str = "auto"
    output: str | None = None
    keep_parquet: bool = False
    thumbnails: bool = False
    actors: int | None = None
    cpus: float = 1.0
    gpus: float = 0.0
    batch: int = 64


class Done(NamedTuple):
    """How it ended. rows: by status. unsettled: images that changed whenever they were looked at.
    where: the folder of Parquet files, if they were kept."""

    rows: Counter[str]
    ignored: Counter[str]
    known: int
    unsettled: int
    where: str


def run(settings: Settings, sources: Sequence[str], options: Options) -> Done:
    """Classify all that is in the sources and new. Raises `DaemonError` with how to go on."""
    folders = checked(settings, [Path(source) for source in sources if not is_url(source)])
    urls = [source.rstrip("/") for source in sources if is_url(source)]
    prepare(settings.state, settings.results)
    program = program_of(settings)
    output = opened_storage(options.output or str(settings.results / "parquet"))
    plan = _plan(settings, program, options)
    job = output.beneath(_name(plan, settings, [*map(os.fsdecode, folders), *urls]))
    state = read_json(job, STATE) or {"phase": "listing"}
    if state["phase"] == "listing":
        state = _listed(settings, job, _found(settings, folders, urls), program, options)
    if state["phase"] == "running":
        if state["images"]:
            with joined(options.address):
                size = sized(options.actors, options.cpus, options.gpus)
                _look(settings, output, folders, urls, options)
                model = job.beneath(f"{MODEL}/{program.model.parent.name}")
                order = Order(
                    plan, job, model, tuple(urls), state["seen_at"], options.batch,
                    settings.limits.image_seconds, settings.limits.worker_images, WORKER,
                )  # fmt: skip
                state["unsettled"] = _classify(order, size, state["images"])
        state["phase"] = "done"
        write_json(job, STATE, state)
    counts = Counter[str]()
    for part in tables(job, rows.FOLDER, ["status"]):
        counts.update(part.column("status").to_pylist())
    where = f"{job.place}/{rows.FOLDER}"
    if not options.keep_parquet:
        _publish(settings, job, [*folders])
        job.delete()
        where = ""
    return Done(counts, Counter(state["ignored"]), state["known"], state.get("unsettled", 0), where)


def _plan(settings: Settings, program: Program, options: Options) -> Plan:
    plan = crew_of(settings, program).plan
    return plan if options.thumbnails else plan._replace(thumbnails="none")


def _name(plan: Plan, settings: Settings, sources: Sequence[str]) -> str:
    """The same for the same work alone, whoever asks for it and when."""
    asked = [
        sorted(sources), plan.program.digest, plan.thumbnails, plan.min_confidence, plan.unknown,
        plan.max_bytes, plan.max_pixels, sorted(plan.formats), sorted(settings.extensions),
    ]  # fmt: skip
    return f"job-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}"


def _found(
    settings: Settings, folders: Sequence[bytes], urls: Sequence[str]
) -> Iterator[tuple[Found, int]]:
    """All that the sources hold, with how much of its name is that of its source."""
    extensions = frozenset(map(os.fsencode, settings.extensions))
    for folder in folders:
        inbox = os.fsencode(settings.inbox)
        apart = () if folder == inbox else inbox_names(settings.inbox)
        for found in walk(folder, extensions, apart):
            yield found, len(folder)
    for url in urls:
        for found in Bucket(url).walk(extensions):
            yield found, len(url)


def _listed(
    settings: Settings,
    job: Storage,
    found: Iterator[tuple[Found, int]],
    program: Program,
    options: Options,
) -> dict[str, Any]:
    """Write the model and the manifest."""
    job.delete()
    model = job.beneath(f"{MODEL}/{program.model.parent.name}")
    for folder in (f"{MODEL}/{program.model.parent.name}", manifest.FOLDER, rows.FOLDER):
        job.make(folder)
    for path in program.model.parent.iterdir():
        if path.is_file():
            model.write(path.name, path.read_bytes())
    listed = manifest.Listed(0, 0, Counter())
    spoke = time.monotonic()
    # What is kept as Parquet has no part in the journal.
    with closing(Journal.open(settings.state)) as journal:
        for listed in manifest.write(job, found, None if options.keep_parquet else journal):
            if time.monotonic() - spoke > 10:
                log.info("listed %s images so far", f"{listed.images:,}")
                spoke = time.monotonic()
    log.info("listed: %s new images, %s known", f"{listed.images:,}", f"{listed.known:,}")
    state = {
        "phase": "running", "images": listed.images, "known": listed.known,
        "ignored": dict(listed.ignored), "seen_at": timestamp(),
    }  # fmt: skip
    write_json(job, STATE, state)
    return state


def _look(
    settings: Settings, output: Storage, folders: Sequence[bytes], urls: Sequence[str],
    options: Options,
) -> None:  # fmt: skip
    """See that the cluster sees what it has to. Raises `ClusterError`."""
    marked = [Path(output.place)] if isinstance(output, Shared) else []
    if options.thumbnails:
        marked.append(settings.results)
    look_at_all([os.fsdecode(folder) for folder in folders], marked, urls)


def _classify(order: Order, size: Size, total: int) -> int:
    """Ray Data: parts of the manifest ▸ actors ▸ rows. How many images did not hold still.

    What is done is told by the rows that are there, file by file. Ray Data's own checkpoints know
    images, not parts, and write behind the work. Raises `ClusterError`; what is done stays done.
    """
    # It says much that is no user's business.
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.data\.")
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    done = {*order.job.names(rows.FOLDER)}
    parts = [name for name in order.job.names(manifest.FOLDER) if name not in done]
    if not parts:
        return 0
    before = sum(map(len, tables(order.job, rows.FOLDER, ["number"])))
    log.info("%s images, %s of them done; %d actors", f"{total:,}", f"{before:,}", size.actors)
    counts = Counter[str]()
    try:
        with progress() as shown_at:
            # A part is the unit of scheduling.
            items = [{"part": name} for name in parts]
            work = ray.data.from_items(items, override_num_blocks=len(parts)).map_batches(
                Seer,
                fn_constructor_args=(order,),
                batch_size=1,
                batch_format="pyarrow",
                compute=ActorPoolStrategy(size=min(size.actors, len(parts))),
                num_cpus=size.cpus,
                num_gpus=size.gpus,
            )
            for some in work.iter_batches(batch_size=None, batch_format="pyarrow"):
                for row in some.to_pylist():
                    counts[row["status"]] += row["images"]
                shown_at.update(before + counts.total(), total, time.monotonic())
    except KeyboardInterrupt:
        raise ClusterError(f"stopped before the end. {GO_ON}") from None
    except (RayError, OSError, RuntimeError) as error:
        log.debug("where it happened:", exc_info=True)
        raise ClusterError(f"{_cause(error)}. {GO_ON}") from None
    return counts["unsettled"]


def _cause(error: Exception) -> str:
    """What went wrong on a node: what Ray says of it begins with where, and ends with advice."""
    text = str(error).strip()
    found = RAISED.search(text)
    return shown(found[1] if found else text.partition("\n")[0] or type(error).__name__)


def _publish(settings: Settings, job: Storage, folders: Sequence[bytes]) -> None:
    """Rows ▸ journal ▸ results.csv, here or by the daemon that is at work."""
    with closing(Journal.open(settings.state)) as journal:
        for folder in folders:
            journal.note_folder(folder)
        for part in tables(job, rows.FOLDER):
            journal.deliver(rows.deliveries(part))
    done = backfill(settings, [])
    if not done.complete:
        raise ClusterError(f"stopped while rows were published. {GO_ON}")
