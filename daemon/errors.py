"""What can go wrong in this package. Every message tells a user what to do."""

from __future__ import annotations

from pathlib import Path


class DaemonError(Exception):
    """Base of all errors of this package. `exit_code` is what the command ends with."""

    exit_code = 1


class SettingsError(DaemonError):
    """The configuration is wrong; the message holds every mistake, each with its place."""

    exit_code = 2


class ConditionError(DaemonError):
    """A condition on rows is not one."""

    exit_code = 2


class UnknownImageError(DaemonError):
    """Nothing is known of it."""


class MetricsError(DaemonError):
    """The metrics cannot be served as the configuration has it."""

    exit_code = 2


class NotAllowedError(DaemonError):
    """The user of this command may not look into the folders."""


class ClusterError(DaemonError):
    """A cluster cannot do what it is asked for; the message names the node."""


class LockHeldError(DaemonError):
    """Another process works on this state folder."""

    exit_code = 3

    def __init__(self, folder: Path, who: str) -> None:
        super().__init__(
            f"{folder}: {who} is at work on this state folder. Stop it first, or give this one a "
            "`state:` folder of its own"
        )
        self.who = who


class LockLostError(DaemonError):
    """The lock of a folder was moved or deleted."""

    exit_code = 3

    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"{folder}: this folder, or the lock in it, was moved or deleted while classifyd was "
            "at work. Nothing more is written. What is done stays done: put the folder back, or "
            "name the new place in config.yaml, and start again"
        )


class ResultsHeldError(DaemonError):
    """Another process, with another state folder, writes to this results folder."""

    exit_code = 3


class JournalError(DaemonError):
    """The journal cannot be used."""


class NoJournalError(JournalError):
    """Nobody has begun one yet."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no journal yet: nothing was classified so far")
        self.path = path


class OldJournalError(JournalError):
    """It was made by an older classifyd."""


class JournalDamagedError(JournalError):
    """The journal is not as it was written."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path}: the journal is damaged ({what}). No row was touched. See whether the disk "
            "is sound; then `classifyd rebuild` makes a new journal from results.csv and keeps "
            "this one aside"
        )


class StorageError(DaemonError):
    """Results could not be written to the disk."""


class NotDurableError(StorageError):
    """A write did not reach the disk for sure. Whoever goes on after that builds on sand."""

    exit_code = 4


class DiskFullError(StorageError):
    """There is no room. It may come back, and nothing has failed until then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"the disk of {folder} is full: make room. Nothing is lost")
        self.folder = folder


class PoolError(DaemonError):
    """The worker processes do not come up."""
