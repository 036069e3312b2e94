"""The compiler itself: `python -m classifier.convert FOLDER DESCRIPTION PARENT`, run by `compile`.

FOLDER holds model.keras, and is where the program goes. PARENT is the id of the process that runs
it, with which it ends. It is a process of its own because it imports TensorFlow, which nothing else
here needs, and because it is the first to look into a model that may come from anywhere: see
`limits`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classifier import archive, layers, modelfile, weights
from classifier import contract as contracts
from classifier.compile import MODEL, TIMEOUT_SECONDS
from classifier.contract import Contract, Description
from classifier.engine import KerasEngine, LiteRTEngine, load_keras
from classifier.errors import ModelError
from classifier.limits import limit_this_process, memory_for
from classifier.parent import die_with_parent
from classifier.scores import to_probabilities

PROBE_IMAGES = 64
# How far a probability may lie from Keras's own: float32 sums in another order, and no more.
TOLERANCE = 1e-4
# How far from 1 probabilities may add up to, and be called that; float32 sums of many classes.
SUM_TOLERANCE = 1e-3


def convert(model: Path, draft: Path, description: Description | None) -> None:
    """Compile `model` into the folder `draft`. Raises `ModelError` if the file cannot be used."""
    layers.check(_member(model, "config.json"))
    weights.check(_member(model, "model.weights.h5"))
    network = load_keras(model)
    contract = contracts.read(model) or _contract_from(network, description)
    _check_fit(network, contract)
    probe = _probe(contract)
    outputs = KerasEngine(network, contract).outputs(probe)
    if contract.output == "logits":
        _check_logits(outputs)
    expected = to_probabilities(outputs, contract)
    _check_probabilities(expected)
    note = _to_litert(network, contract, probe, expected, draft)
    (draft / "contract.json").write_text(contract.to_json(), encoding="utf-8")
    program = draft / "model.litert"
    digest = modelfile.digest_of(program) if program.exists() else None
    report = {"note": note, "program": digest}
    (draft / "report.json").write_text(json.dumps(report), encoding="utf-8")


def _member(model: Path, name: str) -> bytes:
    content = archive.member(model, name)
    if content is None:
        raise ModelError(f"no {name} is in it: save the model again with model.save('NAME.keras')")
    return content


def _shapes(network: Any) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """The network's input and output shapes; it must be a plain classifier of images."""
    # A network that never saw its input has neither.
    inputs, outputs = getattr(network, "inputs", None), getattr(network, "outputs", None)
    if not inputs or not outputs or len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            "a classifier has one input and one output of known shape, and this network has not"
        )
    input_shape, output_shape = tuple(inputs[0].shape), tuple(outputs[0].shape)
    if len(input_shape) != 4 or input_shape[0] is not None or None in input_shape[1:]:
        raise ModelError(
            f"the network's input is {input_shape}; it must be (None, height, width, "
            "channels) with every size but the first one fixed"
        )
    if len(output_shape) != 2 or output_shape[1] is None:
        raise ModelError(f"the network's output is {output_shape}; it must be (None, classes)")
    return input_shape, output_shape


def _contract_from(network: Any, description: Description | None) -> Contract:
    if description is None:
        raise ModelError("this Keras file carries no contract")
    (_, height, width, channels), (_, outputs) = _shapes(network)
    output = description.output
    if output is None:
        activation = getattr(getattr(network.layers[-1], "activation", None), "__name__", "softmax")
        if activation == "sigmoid" and outputs == 1:
            output = "sigmoid"
        else:
            output = "logits" if activation == "linear" else "softmax"
    if height is None or width is None or channels is None:
        raise AssertionError  # _shapes has seen to it
    return Contract(description.labels, height, width, channels, description.scaling, output)


def _check_fit(network: Any, contract: Contract) -> None:
    (_, *size), (_, outputs) = _shapes(network)
    promised = [contract.height, contract.width, contract.channels]
    if size != promised:
        raise ModelError(
            f"the contract promises an input of {promised} (height, width, channels), "
            f"the network takes {size}"
        )
    if outputs != contract.outputs:
        raise ModelError(
            f"there are {len(contract.labels)} class names "
            f"({contracts.first(contract.labels)}), but the network has {outputs} outputs"
        )


def _check_logits(outputs: NDArray[np.float32]) -> None:
    """float32 (n, classes). Probabilities that are taken for logits make all answers unsure: no
    confidence could come near 1, and nobody would know why."""
    outputs = outputs[np.isfinite(outputs).all(axis=1)]
    sums = outputs.sum(axis=1, dtype=np.float64)
    if len(outputs) and outputs.min() >= 0 and np.abs(sums - 1).max() <= SUM_TOLERANCE:
        raise ModelError(
            "the network gives probabilities, not logits: its outputs are never negative, and add "
            "up to 1 for every image. Say `softmax` in place of `logits` (`output:` under "
            "`labels:` in the configuration, or `describe --output-kind`)"
        )


def _check_probabilities(answers: NDArray[np.float32]) -> None:
    """A NaN is let pass: it concerns one image, and `classify` reports it."""
    answers = answers[np.isfinite(answers).all(axis=1)]
    off = float(np.abs(answers.sum(axis=1) - 1).max(initial=0))
    lowest = float(answers.min(initial=0))
    if off > 0.01 or lowest < -0.01:
        raise ModelError(
            "the network's answers are not probabilities that add up to 1. If it gives "
            "logits, say so (`output: logits` under `labels:` in the configuration, or `describe "
            "--output-kind logits`); a network that answers for every class apart (one sigmoid "
            "each) cannot be used"
        )


def _to_litert(
    network: Any,
    contract: Contract,
    probe: NDArray[np.uint8],
    expected: NDArray[np.float32],
    draft: Path,
) -> str:
    """Write model.litert into `draft` if it agrees with Keras; the report says how it went."""
    target = draft / "model.litert"
    try:
        target.write_bytes(_converted(network, contract, draft))
        got = to_probabilities(LiteRTEngine(target, contract).outputs(probe), contract)
    except (OSError, MemoryError):  # these say nothing about the network
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


def _probe(contract: Contract) -> NDArray[np.uint8]:
    """Pictures that reach all of the network: smooth ones of every contrast, and noise."""
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


def _converted(network: Any, contract: Contract, draft: Path) -> bytes:
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

    with tempfile.TemporaryDirectory(dir=draft) as folder:
        archive = keras.export.ExportArchive()
        archive.track(network)
        archive.add_endpoint("serve", serve, [tf.TensorSpec(shape, tf.uint8)])
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["serve"])
        program: bytes = converter.convert()
        return program


def main(draft: Path, said: Any) -> int:
    """Compile under limits; 2, and the reason on stdout, if the model is refused."""
    model = draft / MODEL
    memory = memory_for(model.stat().st_size)
    limit_this_process(memory, TIMEOUT_SECONDS)
    if said is not None:
        said = Description(**{**said, "labels": tuple(said["labels"])})
    # Only this process's own words go to stdout: the parent shows them to the user.
    speech = os.dup(1)
    os.dup2(2, 1)
    try:
        convert(model, draft, said)
    except ModelError as error:
        reason = str(error)
    except MemoryError:
        reason = (
            f"the network needs more memory than the {memory / 1e9:.1f} GB that a file of its size "
            "may take here: train a smaller one"
        )
    else:
        return 0
    os.write(speech, reason.encode(errors="replace"))
    return 2


if __name__ == "__main__":
    die_with_parent(int(sys.argv[3]))
    sys.exit(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
