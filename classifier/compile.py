"""A `.keras` file ▸ a LiteRT program: in a process of its own, checked against Keras, cached.

The calling process stays free of TensorFlow. What comes out is a folder in the cache, named by the
digest of the model file:

    model.keras     the model file as it was judged; whatever becomes of the one it was copied from
    contract.json   the contract in force: the model's own, or made from a `Description`
    model.litert    the program; absent if LiteRT cannot take the network
    report.json     how it went, for the log
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from classifier import archive, modelfile
from classifier import contract as contracts
from classifier.contract import Contract, Description
from classifier.durable import SyncError, sync_file, sync_folder
from classifier.errors import CancelledError, ModelError, NoRoomError
from classifier.room import has_room
from classifier.trust import replaceable

log = logging.getLogger(__name__)

# Part of the cache's key: raise it when a program made earlier must not be used any more.
COMPILER_VERSION = 3
TIMEOUT_SECONDS = 900
POLL_SECONDS = 0.2
DRAFT = ".compiling-"  # how the names of unfinished folders in the cache begin
MODEL = "model.keras"
SCRATCH = "scratch"  # in a draft; what libraries leave lying about is gone with it


@dataclass(frozen=True, slots=True)
class Program:
    """A network that is ready to be loaded.

    model: our own copy of the Keras file it was made from. digest: its SHA-256, 64 hex digits.
    litert: the compiled program; None if the network has to run on Keras, and `note` says why.
    """

    model: Path
    digest: str
    contract: Contract
    litert: Path | None
    note: str


def compiled(
    model: Path,
    cache: Path,
    description: Description | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    pin: str | None = None,
) -> Program:
    """The program for a model file, from the cache or made now (some ten seconds, once a model).

    cancelled: asked now and then whether the program is not wanted any more.
    pin: the SHA-256 that the file must have, 64 hex digits: see `modelfile.opened`.

    Raises `ModelError` if the file cannot be used, with what to do about it, `NoRoomError` if the
    disk is too full for it, and `CancelledError`.
    """
    try:
        _refuse_if_others_write(cache)
        with modelfile.opened(model, pin) as (file, digest):
            entry = cache.absolute() / _key(digest, description)
            if not entry.exists():
                log.info("compiling %s: once for each model, some ten seconds", model)
            else:
                try:
                    return kept(digest, entry)
                except (OSError, ValueError, LookupError, TypeError, ModelError) as error:
                    log.warning(
                        "compiling %s again: what was kept of it is damaged (%s)", model, error
                    )
                    shutil.rmtree(entry)
            _compile(file, digest, description, entry, cancelled)
        return kept(digest, entry)
    except ModelError as error:
        raise type(error)(f"{model}: {error}") from None
    except SyncError:  # says that the disk is not to be trusted
        raise
    except OSError as error:
        raise ModelError(f"{cache}: a compiled model cannot be kept here: {error}") from None


def _refuse_if_others_write(cache: Path) -> None:
    """What lies there runs with our rights."""
    how = replaceable(cache)
    if how is None and cache.exists():
        status = cache.stat()
        if status.st_mode & stat.S_IWOTH:
            how = f"every user can put another file in its place: chmod o-w {cache}"
        elif status.st_uid not in (0, os.geteuid()):
            how = "it belongs to another user: run classifyd as that user, or chown it"
    if how is not None:
        raise ModelError(f"it cannot be compiled into {cache}: {how}")


def kept(digest: str, entry: Path) -> Program:
    """What a folder of the cache holds. Raises errors of many kinds if it is not as it was made."""
    report = json.loads((entry / "report.json").read_bytes())
    contract = Contract.from_json((entry / "contract.json").read_bytes())
    model, litert = entry / MODEL, None
    if report["program"] is not None:
        litert = entry / "model.litert"
        if modelfile.digest_of(litert) != report["program"]:
            raise ValueError("model.litert is not as it was written")
    elif modelfile.digest_of(model) != digest:
        raise ValueError(f"{MODEL} is not as it was written")
    return Program(model, digest, contract, litert, report["note"])


def _key(digest: str, description: Description | None) -> str:
    said = [COMPILER_VERSION, asdict(description) if description else None]
    return f"{digest}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]}"


def _compile(
    file: BinaryIO,
    digest: str,
    description: Description | None,
    entry: Path,
    cancelled: Callable[[], bool],
) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with (
        _at_work(entry.parent) as held,
        tempfile.TemporaryDirectory(dir=entry.parent, prefix=DRAFT) as folder,
    ):
        draft = Path(folder)
        try:
            _fill(draft, file, digest, description, cancelled, held)
        except (OSError, ModelError):
            if not has_room(draft):  # asked while all that took up the room is still there
                raise NoRoomError("there is no room to compile it") from None
            raise
        try:
            draft.rename(entry)
        except OSError:
            if not (entry / "report.json").exists():  # else another process was faster
                raise
            return
        draft.mkdir()  # for TemporaryDirectory to remove


@contextlib.contextmanager
def _at_work(cache: Path) -> Iterator[int]:
    """Hold the cache together with all others that compile into it: a file descriptor, which holds
    it until it is closed in every process that has it.

    Who finds nobody else at it clears away first what compilers left that were killed.
    """
    fd = os.open(cache, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for draft in cache.glob(DRAFT + "*"):
                shutil.rmtree(draft, ignore_errors=True)
        fcntl.flock(fd, fcntl.LOCK_SH)  # waits no longer than another one clears away
        yield fd
    finally:
        os.close(fd)


def _fill(
    draft: Path,
    file: BinaryIO,
    digest: str,
    description: Description | None,
    cancelled: Callable[[], bool],
    held: int,
) -> None:
    """Put into a draft all that an entry of the cache holds, and see that it is on the disk."""
    model = draft / MODEL
    modelfile.copy(file, digest, model)
    archive.check(model)
    _check_description(contracts.read(model), description)
    (draft / SCRATCH).mkdir()
    said = json.dumps(asdict(description) if description else None)
    _convert(draft, said, cancelled, held)
    shutil.rmtree(draft / SCRATCH)
    for path in draft.iterdir():
        sync_file(path)
    sync_folder(draft)


def _check_description(own: Contract | None, description: Description | None) -> None:
    if own is not None and description is not None:
        raise ModelError(
            "this model says itself what its classes are called: take `labels:` out of the "
            "configuration"
        )
    if own is None and description is None:
        raise ModelError(
            "this Keras file does not say what its classes are called. Make a copy that says so, "
            "with `classifyd-train describe`; for classifyd alone, naming them under `labels:` in "
            "its configuration will do"
        )


def _convert(draft: Path, said: str, cancelled: Callable[[], bool], held: int) -> None:
    """Run `classifier.convert` in a process of its own, to its end or until it is not wanted.

    held: what `_at_work` gives; the process holds it, too, as it writes into the draft.
    """
    deadline = time.monotonic() + TIMEOUT_SECONDS
    scratch = str(draft / SCRATCH)
    with subprocess.Popen(
        # With -P and this process's own path, no module is taken from the current folder.
        [sys.executable, "-P", "-m", "classifier.convert", str(draft), said, str(os.getpid())],
        pass_fds=[held],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "HOME": scratch,
            "KERAS_HOME": scratch,  # else ~/.keras or even /tmp/.keras decides over Keras
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TMPDIR": scratch,
        },
    ) as process:
        while True:
            try:
                said_by_it, errors = process.communicate(timeout=POLL_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if cancelled() or time.monotonic() > deadline:
                    process.kill()
            except BaseException:
                process.kill()
                raise
    if process.returncode == 0:
        return
    if cancelled():
        raise CancelledError("compiling was given up")
    if process.returncode == 2:
        raise ModelError(said_by_it.strip())
    if time.monotonic() > deadline:
        raise ModelError(f"compiling was not done after {TIMEOUT_SECONDS} s and was stopped")
    last = "\n".join((errors or said_by_it).strip().splitlines()[-5:])
    raise ModelError(f"compiling it failed with exit code {process.returncode}:\n{last}")
