"""The settings ▸ the plain values that the stages are given."""

from __future__ import annotations

import os
from collections.abc import Callable

from classifier.compile import Program, compiled
from classifier.errors import ModelError, NoRoomError
from daemon.drain import Pace
from daemon.errors import DiskFullError
from daemon.folders import inbox_names
from daemon.journal import Journal
from daemon.messages import Plan
from daemon.retention import Keep
from daemon.settings import Settings
from daemon.signals import Signals
from daemon.storage import full
from daemon.succession import Crew
from daemon.troubles import Troubles
from daemon.watch import Watcher


def program_of(settings: Settings, cancelled: Callable[[], bool] = lambda: False) -> Program:
    """The model of the settings, compiled.

    Raises `ModelError`, `DiskFullError`, and `CancelledError` if asked.
    """
    try:
        program = compiled(
            settings.model,
            settings.state / "models",
            settings.description,
            cancelled,
            pin=settings.model_sha256,
        )
    except ModelError as error:
        if isinstance(error, NoRoomError) or full([settings.state]):
            raise DiskFullError(settings.state) from None
        raise
    if settings.unknown and program.contract.energy_threshold is None:
        raise ModelError(
            f"{settings.model}: it cannot tell what is none of its classes. Set `unknown: false` "
            "in the configuration, or train a model with classifyd-train on 250 images or more"
        )
    return program


def crew_of(settings: Settings, program: Program) -> Crew:
    """The workers."""
    limits = settings.limits
    plan = Plan(
        program=program,
        results=settings.results,
        scratch=settings.state,
        thumbnails=settings.thumbnails.when,
        min_confidence=settings.min_confidence,
        unknown=settings.unknown,
        max_bytes=int(limits.megabytes * 1e6),
        max_pixels=int(limits.megapixels * 1e6),
        image_seconds=limits.image_seconds,
        formats=settings.formats,
    )
    return Crew(plan, settings.worker_count, limits.image_seconds, limits.worker_images)


def pace_of(settings: Settings) -> Pace:
    """How fast."""
    return Pace(settings.batch.size, settings.batch.wait_seconds, settings.settle_seconds)


def keep_of(settings: Settings) -> Keep:
    """Which thumbnails."""
    megabytes = settings.retention.thumbnails_megabytes
    size = None if megabytes is None else int(megabytes * 1e6)
    return Keep(settings.retention.thumbnails_days, size)


def watcher_of(
    settings: Settings,
    folder: bytes,
    journal: Journal,
    signals: Signals,
    *,
    observe: bool,
    troubles: Troubles | None = None,
) -> Watcher:
    """Eyes on a folder. observe: False for a single scan."""
    return Watcher(
        folder,
        frozenset(os.fsencode(extension) for extension in settings.extensions),
        settings.settle_seconds,
        settings.rescan_seconds,
        journal.unseen,
        signals.wake,
        observe=observe,
        troubles=troubles,
        watch=settings.watch,
        poll_seconds=settings.poll_seconds,
        # A backfilled folder that the inbox is in.
        apart=() if folder == os.fsencode(settings.inbox) else inbox_names(settings.inbox),
    )
