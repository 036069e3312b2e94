"""A process at work is seen from outside: by its record, and by metrics if they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from daemon.lock import StateLock
from daemon.record import RecordFile
from daemon.signals import Signals
from daemon.troubles import Troubles
from daemon.vitals import Vitals


@contextmanager
def visible(
    lock: StateLock,
    troubles: Troubles,
    signals: Signals,
    results: Path,
    inbox: Path,
    metrics: tuple[str, int] | None,
) -> Iterator[Vitals]:
    """Until the end of the block, and then how it ended.

    lock: of the state folder, held. metrics: the address and the port to serve them on.

    Raises `MetricsError`.
    """
    with closing(RecordFile(lock.folder)) as file, ExitStack() as stack:
        vitals = Vitals(file, lock, troubles)
        try:
            if metrics is not None:
                from daemon.metrics import serving  # takes memory, and is seldom asked for

                stack.enter_context(
                    serving(lock.folder, results, inbox, *metrics, lambda: vitals.signs)
                )
            yield vitals
        except BaseException as error:
            vitals.end(str(error) or type(error).__name__)
            raise
        vitals.end(f"stopped by {signals.last}" if signals.stops else "it was done")
