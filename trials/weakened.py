"""`python -m trials.weakened PATCH,... -- run --config FILE`: classifyd without one of its guards.

For the controls of the trials. A patch is the name of a guard below, or `kill:POINT:N`: die by
SIGKILL when that point is reached for the Nth time (see `points`). Worker processes are patched,
too: they are started with `trials.weakened_worker` as their module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from trials.points import GROUP, arm

VARIABLE = "CLASSIFYD_TRIAL_PATCHES"


def claims_are_noted() -> None:
    """A job leaves the queue when it is handed out, not when it is done."""
    from daemon.jobs import Job
    from daemon.journal import Journal

    claim = Journal.claim

    def noting(
        self: Journal, limit: int, in_hand: Collection[Job], *rest: Any, **named: Any
    ) -> list[Job]:
        jobs = claim(self, limit, in_hand, *rest, **named)
        if jobs:
            with self._transaction():
                for job in jobs:
                    self._db.execute("DELETE FROM arrivals WHERE seq = ?", (job.seq,))
                    self._db.execute(
                        "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, NULL)",
                        (job.path, *job.signature),
                    )
        return jobs

    Journal.claim = noting  # type: ignore[method-assign]


def nothing_is_mended() -> None:
    """results.csv is taken for what the journal holds, whatever is in it."""
    from daemon import results
    from daemon.journal import Journal

    compare = results.compare

    def believing(path: Path, journal: Journal, *rest: Any, **named: Any) -> results.Agreement:
        if not path.exists():
            return compare(path, journal, *rest, **named)
        size, last = path.stat().st_size, journal.results()
        return results.Agreement(size, last, size, size, False, True, last)

    results.compare = believing


def published_before_journalled() -> None:
    """Rows go to results.csv first, and into the journal then."""
    from daemon.jobs import Outcome
    from daemon.journal import Journal, Published
    from daemon.results import ResultsFile
    from daemon.row import line

    finish, append = Journal.finish, ResultsFile.append
    put_off: list[Callable[[], object]] = []

    def later(self: Journal, outcomes: Sequence[Outcome], *rest: Any, **named: Any) -> Any:
        put_off.append(lambda: finish(self, outcomes, *rest, **named))
        first = self.results() + 1
        rows = [outcome.row for outcome in outcomes if outcome.row is not None]
        return [Published(first + number, line(row)) for number, row in enumerate(rows)]

    def at_once(self: ResultsFile, rows: Sequence[Published]) -> None:
        append(self, rows)
        while put_off:
            put_off.pop()()

    Journal.finish = later  # type: ignore[method-assign]
    ResultsFile.append = at_once  # type: ignore[method-assign]


def commits_are_not_synced() -> None:
    """The journal is opened as most programs open SQLite with a WAL."""
    from daemon.journal import Journal

    open_journal = Journal.open

    def opened(*arguments: Any, **named: Any) -> Journal:
        journal = open_journal(*arguments, **named)
        journal._db.execute("PRAGMA synchronous = NORMAL")
        return journal

    Journal.open = opened  # type: ignore[method-assign]


def journal_is_not_examined() -> None:
    """What an earlier process left in the WAL stays there, and more is written behind it."""
    from daemon.journal import Journal

    def examine(self: Journal, **_: Any) -> None:  # noqa: ARG001
        return

    Journal.examine = examine  # type: ignore[method-assign]


def all_is_kept() -> None:
    """A leak: every outcome stays in memory, with some more."""
    from daemon.drain import Drain

    tick, kept = Drain.tick, []

    def keeping(self: Drain, *arguments: Any, **named: Any) -> Any:
        outcomes = tick(self, *arguments, **named)
        kept.extend((outcome, bytearray(20_000)) for outcome in outcomes)
        return outcomes

    Drain.tick = keeping  # type: ignore[method-assign]


def moves_are_not_noted() -> None:
    """The name that an image gets is in the journal only once it has got it."""
    from daemon.journal import Journal
    from daemon.moves import Move

    begin, end = Journal.begin_moves, Journal.end_moves

    def nothing(self: Journal, moves: Sequence[Move]) -> None:  # noqa: ARG001
        return

    def afterwards(self: Journal, done: Sequence[Move], *rest: Any) -> None:
        begin(self, done)
        end(self, done, *rest)

    Journal.begin_moves = nothing  # type: ignore[method-assign]
    Journal.end_moves = afterwards  # type: ignore[method-assign]


def moves_replace() -> None:
    """An image is renamed into its folder, whatever has that name there."""
    from daemon import moving
    from daemon.moves import Move

    def chosen(move: Move, hands: moving.Hands, taken: set[bytes]) -> Move:  # noqa: ARG001
        inode = os.stat(move.file, dir_fd=hands.source(move)).st_ino
        hands.target(move)
        return move._replace(name=move.file, inode=inode)

    def rename(near: int, old: bytes, far: int, new: bytes) -> bool:
        os.rename(old, new, src_dir_fd=near, dst_dir_fd=far)
        return True

    moving.chosen, moving.rename_new = chosen, rename


GUARDS: dict[str, Callable[[], None]] = {
    function.__name__: function
    for function in (
        claims_are_noted,
        nothing_is_mended,
        published_before_journalled,
        commits_are_not_synced,
        journal_is_not_examined,
        moves_are_not_noted,
        moves_replace,
        all_is_kept,
    )
}


def patch(names: str) -> None:
    for name in names.split(","):
        if name.startswith("kill:"):
            point, _, count = name.removeprefix("kill:").rpartition(":")
            arm(point, int(count))
        else:
            GUARDS[name]()


def weaken_workers() -> None:
    from daemon.pool import Pool

    init = Pool.__init__

    def weakened(self: Pool, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **(named | {"module": "trials.weakened_worker"}))

    Pool.__init__ = weakened  # type: ignore[method-assign]


def main() -> int:
    from daemon.__main__ import main as classifyd

    names, dashes, *arguments = sys.argv[1:]
    assert dashes == "--"
    os.environ[VARIABLE] = names
    os.environ[GROUP] = str(os.getpgrp())
    weaken_workers()
    patch(names)
    return classifyd(arguments)


if __name__ == "__main__":
    sys.exit(main())
