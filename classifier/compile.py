"""A `.keras` file ▸ a LiteRT program: in a process of its own, checked against Keras, cached.

The calling process stays free of TensorFlow. What comes out is a folder in the cache, named by the
digest of the model file:

    contract.json   the contract in force: the model's own, or made from a `Description`
    model.litert    the program; absent if LiteRT cannot take the network
    report.json     how it went, for the log
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from classifier import contract as contracts
from classifier.contract import Contract, Description
from classifier.errors import ModelError

# Part of the cache's key: raise it when a program made earlier must not be used any more.
COMPILER_VERSION = 1
PROBE_IMAGES = 64
# How far a probability may lie from Keras's own: float32 sums in another order, and no more.
TOLERANCE = 1e-4
TIMEOUT_SECONDS = 900


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


def compiled(model: Path, cache: Path, description: Description | None = None) -> Program:
    """The program for a model file, from the cache or made now (some ten seconds, once a model).

    Raises `ModelError` if the file cannot be used, with what to do about it.
    """
    own = contracts.read(model)
    if own is not None:
        description = None
    elif description is None:
        raise ModelError(
            f"{model}: this Keras file does not say what its classes are called. Name them, and "
            "how its pixels are scaled, under `labels:` in config.yaml"
        )
    digest = contracts.digest(model)
    entry = cache / _key(digest, description)
    if not (entry / "report.json").exists():
        _compile(model, description, entry)
    program = entry / "model.litert"
    try:
        contract = Contract.from_json((entry / "contract.json").read_bytes())
        report = json.loads((entry / "report.json").read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{entry}: the compiled model is damaged ({error}): delete it") from None
    litert = program if program.exists() else None
    return Program(model.absolute(), digest, contract, litert, report["note"])


def _key(digest: str, description: Description | None) -> str:
    said = [COMPILER_VERSION, asdict(description) if description else None]
    return f"{digest[:12]}-{hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]}"


def _compile(model: Path, description: Description | None, entry: Path) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".compiling-") as draft:
        said = json.dumps(asdict(description) if description else None)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "classifier.compile", str(model.absolute()), draft, said],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_SECONDS,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow"},
            )
        except subprocess.TimeoutExpired:
            raise ModelError(
                f"{model}: compiling was not done after {TIMEOUT_SECONDS} s and was stopped"
            ) from None
        if done.returncode == 2:
            raise ModelError(done.stdout.strip())
        if done.returncode != 0:
            last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise ModelError(
                f"{model}: compiling it failed with exit code {done.returncode}:\n{last}"
            )
        _make_durable(Path(draft))
        try:
            Path(draft).rename(entry)
        except OSError:
            if not (entry / "report.json").exists():  # else another process was faster
                raise
            return
        Path(draft).mkdir()  # for TemporaryDirectory to remove


def _make_durable(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# From here on: the process of its own. Keras and TensorFlow are imported inside.


def _main(model: Path, draft: Path, description: Description | None) -> None:
    """Compile `model` into the folder `draft`. Raises `ModelError` if the file cannot be used."""
    from classifier.engine import load_keras

    network = load_keras(model)
    contract = contracts.read(model) or _contract_from(network, description, model)
    _check_fit(network, contract, model)
    note = _to_litert(network, contract, draft)
    (draft / "contract.json").write_text(contract.to_json(), encoding="utf-8")
    (draft / "report.json").write_text(json.dumps({"note": note}), encoding="utf-8")


def _shapes(network: Any, model: Path) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """The network's input and output shapes; it must be a plain classifier of images."""
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise ModelError(
            f"{model}: a classifier has one input and one output, this network has more"
        )
    input_shape, output_shape = tuple(network.inputs[0].shape), tuple(network.outputs[0].shape)
    if len(input_shape) != 4 or None in input_shape[1:]:
        raise ModelError(
            f"{model}: the network's input is {input_shape}; it must be (None, height, width, "
            "channels) with every size but the first one fixed"
        )
    if len(output_shape) != 2 or output_shape[1] is None:
        raise ModelError(
            f"{model}: the network's output is {output_shape}; it must be (None, classes)"
        )
    return input_shape, output_shape


def _contract_from(network: Any, description: Description | None, model: Path) -> Contract:
    if description is None:
        raise ModelError(f"{model}: this Keras file carries no contract")
    (_, height, width, channels), (_, outputs) = _shapes(network, model)
    output = description.output
    if output is None:
        activation = getattr(getattr(network.layers[-1], "activation", None), "__name__", "softmax")
        if activation == "sigmoid" and outputs == 1:
            output = "sigmoid"
        else:
            output = "logits" if activation == "linear" else "softmax"
    if height is None or width is None or channels is None:
        raise AssertionError  # _shapes has seen to it
    try:
        return Contract(description.labels, height, width, channels, description.scaling, output)
    except ModelError as error:
        raise ModelError(f"{model}: {error}") from None


def _check_fit(network: Any, contract: Contract, model: Path) -> None:
    (_, *size), (_, outputs) = _shapes(network, model)
    promised = [contract.height, contract.width, contract.channels]
    if size != promised:
        raise ModelError(
            f"{model}: the contract promises an input of {promised} (height, width, channels), "
            f"the network takes {size}"
        )
    if outputs != contract.outputs:
        raise ModelError(
            f"{model}: there are {len(contract.labels)} class names "
            f"({', '.join(contract.labels[:3])}, ...), but the network has {outputs} outputs"
        )


def _to_litert(network: Any, contract: Contract, draft: Path) -> str:
    """Write model.litert into `draft` if it agrees with Keras; the report says how it went."""
    import numpy as np

    from classifier.engine import KerasEngine, LiteRTEngine

    target = draft / "model.litert"
    try:
        target.write_bytes(_converted(network, contract))
        probe = _probe(contract)
        expected = KerasEngine(network, contract).probabilities(probe)
        got = LiteRTEngine(target, contract).probabilities(probe)
    except ModelError:
        raise
    except Exception as error:  # whatever LiteRT cannot take still runs on Keras
        target.unlink(missing_ok=True)
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"LiteRT cannot take this network, it runs on Keras: {first_line[:200]}"
    difference = float(np.abs(expected - got).max())
    if not difference <= TOLERANCE:  # written so that a NaN is a difference too
        target.unlink()
        return (
            f"LiteRT's answers differ from Keras's by {difference:.2g}, more than {TOLERANCE:g}: "
            "it runs on Keras"
        )
    return f"LiteRT agrees with Keras within {difference:.1g} on {len(probe)} probe images"


def _probe(contract: Contract) -> Any:
    """Pictures that reach all of the network: smooth ones of every contrast, and noise."""
    import numpy as np

    random = np.random.default_rng(0)
    shape = (contract.height, contract.width, contract.channels)
    noise = random.integers(0, 256, (PROBE_IMAGES // 2, *shape), dtype=np.uint8)
    rows, columns = np.mgrid[0 : contract.height, 0 : contract.width]
    waves = []
    for _ in range(PROBE_IMAGES - len(noise)):
        frequency = random.uniform(-0.5, 0.5, (2, contract.channels))
        phase = random.uniform(0, 6.3, contract.channels)
        contrast = random.uniform(10, 127)
        angle = rows[..., None] * frequency[0] + columns[..., None] * frequency[1] + phase
        waves.append((127.5 + contrast * np.sin(angle)).astype(np.uint8))
    return np.concatenate([noise, np.stack(waves)])


def _converted(network: Any, contract: Contract) -> bytes:
    import keras
    import tensorflow as tf

    shape = [None, contract.height, contract.width, contract.channels]

    def serve(pixels: Any) -> Any:
        values = tf.cast(pixels, tf.float32)
        if contract.scaling == "0..1":
            values = values / 255.0
        elif contract.scaling == "-1..1":
            values = values / 127.5 - 1.0
        return network(values, training=False)

    with tempfile.TemporaryDirectory() as folder:
        archive = keras.export.ExportArchive()
        archive.track(network)
        archive.add_endpoint("serve", serve, [tf.TensorSpec(shape, tf.uint8)])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        program: bytes = converter.convert()
        return program


if __name__ == "__main__":
    said = json.loads(sys.argv[3])
    if said is not None:
        said = Description(**{**said, "labels": tuple(said["labels"])})
    # Only this process's own words go to stdout: the parent shows them to the user.
    speech = os.dup(1)
    os.dup2(2, 1)
    try:
        _main(Path(sys.argv[1]), Path(sys.argv[2]), said)
    except ModelError as error:
        os.write(speech, str(error).encode())
        sys.exit(2)
