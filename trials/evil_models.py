"""Model files that mean harm are refused with a reason, or change nothing.

The guards are `classifier.modelfile` (whose word the file is), `archive` (the zip), `layers` (the
classes in config.json), `weights` (the HDF5 file) and `limits` (of the process that opens it).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from classifier import compile as compiler
from classifier import modelfile
from classifier.convert import convert
from classifier.errors import CancelledError, ModelError
from trials.report import Report, Table

ROOT = Path(__file__).parent.parent
SHIPPED = ROOT / "models" / "image_classifier.keras"
MEGABYTE = 1 << 20
MAX_GROWTH = 20 * MEGABYTE
SECONDS = 120

# What a Lambda layer does where nobody looks at classes: with Keras's safe mode, and without.
LAMBDA = """
import sys
from pathlib import Path
from classifier.engine import load_keras
from classifier.errors import ModelError
import keras
model, marker = map(Path, sys.argv[1:])
try:
    load_keras(model)
except ModelError as error:
    print(error)
print(marker.exists())
load = keras.saving.load_model
keras.saving.load_model = lambda path, compile, safe_mode: load(path, compile, safe_mode=False)
load_keras(model)
print(marker.exists())
"""

# By how much a process grows that is given a bomb; and one that may have 512 MB and just reads it.
BOMB = """
import re, resource, sys, zipfile
from pathlib import Path
from classifier.compile import compiled
from classifier.errors import ModelError
def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search("VmHWM:[^0-9]*([0-9]+)", status)[1])
before = peak()
try:
    compiled(Path(sys.argv[1]), Path(sys.argv[2]))
except ModelError as error:
    print(error)
print(peak() - before)
resource.setrlimit(resource.RLIMIT_DATA, (512 << 20, 512 << 20))
try:
    zipfile.ZipFile(sys.argv[1]).read("model.weights.h5")
except MemoryError:
    print("out of memory")
"""


def run(work: Path, *, short: bool) -> Report:
    from evil_files import EVIL, members_of

    good = members_of(SHIPPED)
    ran = _lambda_without_guards(work / "lambda", good)
    rows, refused = [], 0
    for number, (name, evil) in enumerate(EVIL.items()):
        if evil.slow and short:
            continue
        folder = work / f"evil-{number}"
        folder.mkdir()
        reason = _refusal(evil.make(folder, good), folder / "cache", evil.pin, in_process=short)
        assert evil.reason in reason, f"{name}: {reason!r} instead of {evil.reason!r}"
        rows.append((name, reason))
        refused += 1
    assert refused >= 20
    growth = _bomb(work / "bomb", good)
    controls = [
        _swapped(work / "swapped", good),
        _foreign_numbers(work / "foreign", good),
        _open_to_everybody(work / "open", good),
        _pipe(work / "pipe"),
        "a process that may have 512 MB runs out of memory when it just reads the bomb",
        ran(),
    ]
    return Report(
        title="Evil models: refused with a reason, and the process that is asked stays small",
        done=f"{refused} model files of as many kinds were given to the compiler; one was replaced "
        "by another just after it was checked",
        result=f"all were refused with the reason below; 10 MB that inflate to 10 GB made the main "
        f"process grow by {growth / MEGABYTE:.1f} MB; of the replaced file, the bytes that were "
        "checked went on",
        control="; ".join(controls),
        table=Table(("model", "said"), rows),
    )


def _refusal(model: Path, cache: Path, pin: str | None, *, in_process: bool) -> str:
    """Why a model is refused; '' if it is not.

    in_process: without a process of its own for the converter, which is quicker; nothing else is
        different as long as the refusal comes before Keras.
    """
    converter: Any = compiler._convert
    if in_process:

        def converter(draft: Path, said: str, cancelled: Callable[[], bool], held: int) -> None:  # noqa: ARG001
            convert(draft / compiler.MODEL, draft, None)

    try:
        with patch.object(compiler, "_convert", converter):
            compiler.compiled(model, cache, pin=pin)
    except ModelError as error:
        assert "tensorflow" not in sys.modules
        return str(error).replace(f"{model}: ", "").replace(str(model.parent), "FOLDER")
    return ""


def _swapped(folder: Path, good: dict[str, bytes]) -> str:
    """Another file takes the place of the model as soon as it was checked."""
    from evil_files import lambda_layer, with_layer, written

    folder.mkdir()
    model, evil = folder / "model.keras", written(folder, with_layer(good, lambda_layer()))
    converted = []

    def swap_first(draft: Path, said: str, cancelled: Callable[[], bool], held: int) -> None:  # noqa: ARG001
        shutil.copy(evil, model)
        converted.append(modelfile.digest_of(draft / compiler.MODEL))
        raise CancelledError

    def no_copy(file: Any, expected: str, target: Path) -> None:  # noqa: ARG001
        target.symlink_to(model)

    with patch.object(compiler, "_convert", swap_first):
        for copy in (modelfile.copy, no_copy):
            shutil.copy(SHIPPED, model)
            with patch.object(modelfile, "copy", copy), suppress(CancelledError):
                compiler.compiled(model, folder / "cache")
    assert converted[0] == modelfile.digest_of(SHIPPED)
    assert converted[1] == modelfile.digest_of(evil), "without the copy, too, nothing was swapped"
    return "without the copy, Keras is given the file that took the checked one's place"


def _foreign_numbers(folder: Path, good: dict[str, bytes]) -> str:
    """HDF5 gives the bytes of another file to whoever reads such weights without looking first."""
    import h5py
    from evil_files import EVIL, SECRET, members_of

    names = ("external HDF5 link", "external HDF5 storage", "virtual HDF5 dataset")
    for name in names:
        (folder / name).mkdir(parents=True)
        weights = folder / name / "model.weights.h5"  # on disk, as Keras has it if memory is low
        weights.write_bytes(members_of(EVIL[name].make(folder / name, good))[weights.name])
        with h5py.File(weights) as file:
            assert bytes(int(value) for value in file["odd"][:]) == SECRET, name
    return "h5py reads a foreign file through the external link, storage and virtual dataset"


def _open_to_everybody(folder: Path, good: dict[str, bytes]) -> str:
    from evil_files import EVIL

    for name in ("everybody may write it", "everybody may replace it"):
        (folder / name).mkdir(parents=True)
        model = EVIL[name].make(folder / name, good)
        with patch.object(modelfile, "_refuse_if_others_write"), modelfile.opened(model):
            pass
        with modelfile.opened(model, pin=modelfile.digest_of(model)):
            pass
    return "without the look at permissions, and with the right pin, files open to all are taken"


def _pipe(folder: Path) -> str:
    import os

    folder.mkdir()
    os.mkfifo(folder / "pipe.keras")
    with suppress(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", f"open({str(folder / 'pipe.keras')!r})"], timeout=1)
        raise AssertionError("opening a pipe did not wait")
    return "a plain open() of the pipe waits for ever"


def _bomb(folder: Path, good: dict[str, bytes]) -> int:
    """By how many bytes the main process grows."""
    from evil_files import bomb

    folder.mkdir()
    model = bomb(folder, good)
    assert 5 * MEGABYTE < model.stat().st_size < 20 * MEGABYTE
    said, grown, control = _python(BOMB, model, folder / "cache").stdout.splitlines()
    assert "too large" in said
    assert int(grown) < MAX_GROWTH, f"grew by {grown} bytes"
    assert control == "out of memory"
    return int(grown)


def _lambda_without_guards(folder: Path, good: dict[str, bytes]) -> Callable[[], str]:
    """Started now, as Keras takes seconds; the result is waited for in what is returned."""
    from evil_files import lambda_layer, with_layer, written

    folder.mkdir()
    marker = folder / "marker"
    touch = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    model = written(folder, with_layer(good, lambda_layer(touch)))
    process = subprocess.Popen(
        [sys.executable, "-c", LAMBDA, model, marker],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip

    def result() -> str:
        try:
            said = process.communicate(timeout=SECONDS)[0].splitlines()
        finally:
            process.kill()
        assert len(said) == 3, said
        assert "brings Python code along" in said[0]
        assert said[1] == "False"
        assert said[2] == "True", "the Lambda did not run without the guards"
        return (
            "without the list of classes, Keras's safe mode refuses the Lambda; without both, its "
            "code runs"
        )

    return result


def _python(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
