"""A `.keras` file ▸ a LiteRT program: in a process of its own, checked against Keras, cached.

The calling process stays free of TensorFlow. What comes out is a folder in the cache, named by the
digest of the model file:

    contract.json   the contract in force: the model's own, or made from a `Description`
    model.litert    the program; absent if LiteRT cannot take the network
    report.json     how it went, for the log
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from classifier import contract as contracts
from classifier.contract import Contract, Description
from classifier.errors import CancelledError, ModelError

log = logging.getLogger(__name__)

# Part of the cache's key: raise it when a program made earlier must not be used any more.
COMPILER_VERSION = 2
TIMEOUT_SECONDS = 900
POLL_SECONDS = 0.2
DRAFT = ".compiling-"  # how the names of unfinished folders in the cache begin


@dataclass(frozen=True, slots=True)
class Program:
    """A network that is ready to be loaded.

    model: the Keras file it was made from. digest: that file's SHA-256, 64 hex digits.
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
) -> Program:
    """The program for a model file, from the cache or made now (some ten seconds, once a model).

    cancelled: asked now and then whether the program is not wanted any more.

    Raises `ModelError` if the file cannot be used, with what to do about it, and `CancelledError`.
    """
    own = contracts.read(model)
    if own is not None and description is not None:
        raise ModelError(
            f"{model}: this model says itself what its classes are called: take `labels:` out of "
            "the configuration"
        )
    if own is None and description is None:
        raise ModelError(
            f"{model}: this Keras file does not say what its classes are called. Name them, and "
            "how its pixels are scaled, under `labels:` in config.yaml"
        )
    digest = contracts.digest(model)
    entry = cache.absolute() / _key(digest, description)
    try:
        try:
            return _kept(model, digest, entry)
        except FileNotFoundError:
            log.info("compiling %s: once for each model, some ten seconds", model)
        except (OSError, ValueError, LookupError, TypeError, ModelError) as error:
            log.warning("compiling %s again: what was kept of it is damaged (%s)", model, error)
            shutil.rmtree(entry)
        _compile(model, digest, description, entry, cancelled)
        return _kept(model, digest, entry)
    except OSError as error:
        raise ModelError(f"{cache}: a compiled model cannot be kept here: {error}") from None


def _kept(model: Path, digest: str, entry: Path) -> Program:
    """What a folder of the cache holds. Raises errors of many kinds if it is not as it was made."""
    report = json.loads((entry / "report.json").read_bytes())
    contract = Contract.from_json((entry / "contract.json").read_bytes())
    litert = None
    if report["program"] is not None:
        litert = entry / "model.litert"
        if contracts.digest(litert) != report["program"]:
            raise ValueError("model.litert is not as it was written")
    return Program(model.absolute(), digest, contract, litert, report["note"])


def _key(digest: str, description: Description | None) -> str:
    said = [COMPILER_VERSION, asdict(description) if description else None]
    return f"{digest[:12]}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]}"


def _compile(
    model: Path,
    digest: str,
    description: Description | None,
    entry: Path,
    cancelled: Callable[[], bool],
) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    _sweep(entry.parent)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=DRAFT) as draft:
        said = json.dumps(asdict(description) if description else None)
        _convert(model, draft, said, cancelled)
        if contracts.digest(model) != digest:
            raise ModelError(f"{model}: the file was replaced while it was compiled: start anew")
        _make_durable(Path(draft))
        try:
            Path(draft).rename(entry)
        except OSError:
            if not (entry / "report.json").exists():  # else another process was faster
                raise
            return
        Path(draft).mkdir()  # for TemporaryDirectory to remove


def _convert(model: Path, draft: str, said: str, cancelled: Callable[[], bool]) -> None:
    """Run `classifier.convert` in a process of its own, to its end or until it is not wanted."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    with subprocess.Popen(
        # With -P and this process's own path, no module is taken from the current folder.
        [sys.executable, "-P", "-m", "classifier.convert", str(model.absolute()), draft, said],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={
            **os.environ,
            "KERAS_BACKEND": "tensorflow",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TF_CPP_MIN_LOG_LEVEL": "2",
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
        raise ModelError(
            f"{model}: compiling was not done after {TIMEOUT_SECONDS} s and was stopped"
        )
    last = "\n".join((errors or said_by_it).strip().splitlines()[-5:])
    raise ModelError(f"{model}: compiling it failed with exit code {process.returncode}:\n{last}")


def _sweep(cache: Path) -> None:
    """Clear away what compilers left that were killed."""
    for draft in cache.glob(DRAFT + "*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - draft.stat().st_mtime > 2 * TIMEOUT_SECONDS:
                shutil.rmtree(draft, ignore_errors=True)


def _make_durable(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
