"""Images that have a row already ▸ the queue, for one of the model that is configured now."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

from classifier.compile import Program
from classifier.read import Signature
from daemon.census import Present
from daemon.conditions import parsed
from daemon.fitting import program_of
from daemon.jobs import Sighting
from daemon.journal import Journal
from daemon.lock import holder
from daemon.progress import progress
from daemon.retry import root_of
from daemon.row import escape, shown, word
from daemon.settings import Settings

AT_ONCE = 64  # images
MOST_CHANGES = 100  # lines of the table


class Chosen(NamedTuple):
    """matching: images whose present row meets the conditions. there: those of them that are as
    they were when they were classified. changed: since. gone: with an example."""

    matching: int
    there: list[tuple[Present, Sighting]]
    changed: int
    gone: int
    example: bytes


def reclassify(settings: Settings, conditions: list[str], *, dry_run: bool) -> Iterator[str]:
    """Queue what meets the conditions, or say what would become of it; the report.

    A file gets a row more, if it has none of this model. Raises `ConditionError`, `ModelError` and
    `JournalError`.
    """
    program = program_of(settings)
    name = word(program.digest, 12)
    condition = parsed(conditions, name)
    Journal.open(settings.state, read_only=True).close()  # none is begun for this
    with closing(Journal.open(settings.state)) as journal:
        folders = {os.fsencode(settings.inbox), *journal.folders()}
        chosen = _chosen(list(journal.present(condition.sql, condition.values)), folders)
        yield f"model      {name} ({escape(os.fsencode(settings.model.name))})"
        yield f"matching   {chosen.matching:,} images"
        if chosen.gone:
            such = escape(chosen.example)
            yield f"gone       {chosen.gone:,}: not there any more, such as {such}"
        if chosen.changed:
            yield f"changed    {chosen.changed:,} since then: a scan takes them up by itself"
        if dry_run:
            yield from _forecast(settings, program, chosen.there)
            return
        taken = journal.enqueue_anew([sighting for _, sighting in chosen.there], name)
    who = holder(settings.state)
    does = f"{who}, does them after all others" if who else "`classifyd run` does them"
    yield f"queued     {taken:,}" + (f"; {does}" if taken else "")
    if waiting := len(chosen.there) - taken:
        yield f"waiting    {waiting:,} already"


def _chosen(rows: Sequence[Present], folders: Collection[bytes]) -> Chosen:
    there, changed, gone, example = [], 0, 0, b""
    for row in rows:
        try:
            now = Signature.of(os.lstat(row.path))
        except OSError:
            gone, example = gone + 1, example or row.path
            continue
        if row.signature is not None and row.signature != now:
            changed += 1
        else:
            there.append((row, Sighting(row.path, now, root_of(row.path, folders))))
    return Chosen(len(rows), there, changed, gone, example)


def _forecast(
    settings: Settings, program: Program, there: list[tuple[Present, Sighting]]
) -> Iterator[str]:
    """What the model says of them, and nothing is noted."""
    from classifier.classify import Classifier  # NumPy and OpenCV, which all else does without

    classifier = Classifier.from_program(program, threads=settings.worker_count)
    changes = Counter[tuple[str, str]]()
    with progress() as bar:
        for start in range(0, len(there), AT_ONCE):
            part = there[start : start + AT_ONCE]
            found = classifier.classify(
                [sighting.path for _, sighting in part],
                max_bytes=int(settings.limits.megabytes * 1e6),
                formats=settings.formats,
                roots=[sighting.root for _, sighting in part],
            )
            for (row, _), prediction in zip(part, found, strict=True):
                before = row.label or row.status
                changes[before, prediction.label or "failed"] += 1
            bar.update(start + len(part), len(there), time.monotonic())
    same = sum(count for (before, after), count in changes.items() if before == after)
    yield f"the same   {same:,}"
    moves = [(count, *pair) for pair, count in changes.items() if pair[0] != pair[1]]
    yield f"other      {sum(count for count, *_ in moves):,}" + (", from ▸ to:" if moves else "")
    width = max((len(shown(before)) for _, before, _ in moves), default=0)
    other = max((len(shown(after)) for _, _, after in moves), default=0)
    for count, before, after in sorted(moves, key=lambda move: (-move[0], *move[1:]))[
        :MOST_CHANGES
    ]:
        yield f"           {shown(before):<{width}} ▸ {shown(after):<{other}}  {count:>9,}"
    if len(moves) > MOST_CHANGES:
        yield f"           and {len(moves) - MOST_CHANGES:,} pairs more"
