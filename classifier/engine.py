"""The compiled program, or Keras itself: a uint8 batch ▸ what the network gives for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from classifier.contract import Contract
from classifier.errors import ModelError
from classifier.quiet import quiet
from classifier.scores import Scores

# A batch is cut, or padded, to these, so that memory is laid out once for each size.
BATCH_SIZES = (1, 4, 16, 64)
# Of all images at once: what a network holds of each grows with them, to gigabytes.
MAX_PIXELS = 1 << 18

Batch = NDArray[np.uint8]


class Engine(Protocol):
    """Runs one network."""

    def outputs(self, batch: Batch) -> Scores:
        """uint8 (n, height, width, channels) ▸ float32 (n, outputs), as the network gives them."""
        ...


def scaled(batch: Batch, contract: Contract) -> Scores:
    """The batch as this network wants its pixels, float32."""
    values = batch.astype(np.float32)
    if contract.scaling == "0..1":
        return values / np.float32(255)
    if contract.scaling == "-1..1":
        return values / np.float32(127.5) - np.float32(1)
    return values


def batch_sizes(contract: Contract) -> tuple[int, ...]:
    """How many images the network gets at once: a few sizes, fewer of large images."""
    most = MAX_PIXELS // (contract.height * contract.width)
    return tuple(size for size in BATCH_SIZES if size <= max(1, most))


def _cut(batch: Batch, sizes: tuple[int, ...]) -> Iterator[Batch]:
    """The batch in parts of these sizes, one of which is 1; the largest first."""
    start = 0
    while left := len(batch) - start:
        size = max(size for size in sizes if size <= left)
        yield batch[start : start + size]
        start += size


def _padded(batch: Batch, sizes: tuple[int, ...]) -> Iterator[tuple[Batch, int]]:
    """(images of one of the sizes, how many of them are of the batch); the others are black."""
    for start in range(0, len(batch), sizes[-1]):
        part = batch[start : start + sizes[-1]]
        size = next(size for size in sizes if size >= len(part))
        padding = np.zeros((size - len(part), *batch.shape[1:]), np.uint8)
        yield (np.concatenate([part, padding]) if len(padding) else part), len(part)


class LiteRTEngine:
    """The program that `compile` made. Pixels go in as they are: scaling is compiled in."""

    def __init__(self, program: Path, contract: Contract, threads: int = 1) -> None:
        self._program = str(program)
        self._contract = contract
        self._threads = threads
        self._interpreters: dict[int, tuple[Any, int, int]] = {}

    def _interpreter(self, size: int) -> tuple[Any, int, int]:
        """One for batches of this size, and the numbers of its input and output."""
        if size not in self._interpreters:
            from ai_edge_litert.interpreter import Interpreter

            shape = [size, self._contract.height, self._contract.width, self._contract.channels]
            with quiet():
                interpreter = Interpreter(self._program, num_threads=self._threads)
                tensor = interpreter.get_input_details()[0]["index"]
                interpreter.resize_tensor_input(tensor, shape, strict=True)
                interpreter.allocate_tensors()
            result = interpreter.get_output_details()[0]["index"]
            self._interpreters[size] = interpreter, tensor, result
        return self._interpreters[size]

    def outputs(self, batch: Batch) -> Scores:
        parts = []
        # An image costs as much in a small part as in a large one, and a black one, too.
        for part in _cut(batch, batch_sizes(self._contract)):
            interpreter, tensor, result = self._interpreter(len(part))
            interpreter.set_tensor(tensor, part)
            interpreter.invoke()
            parts.append(interpreter.get_tensor(result))
        return np.concatenate(parts)


class KerasEngine:
    """The network on Keras, for a model that LiteRT cannot take: slower, and larger in memory."""

    def __init__(self, model: Any, contract: Contract) -> None:
        self._model = model
        self._contract = contract

    @classmethod
    def open(cls, path: Path, contract: Contract) -> KerasEngine:
        return cls(load_keras(path), contract)

    def outputs(self, batch: Batch) -> Scores:
        parts = []
        # Keras traces its graph anew for every batch size that it has not seen, and takes long to
        # begin with any.
        for padded, count in _padded(batch, batch_sizes(self._contract)):
            outputs = self._model.predict_on_batch(scaled(padded, self._contract))
            parts.append(np.asarray(outputs)[:count])
        return np.concatenate(parts)


def load_keras(path: Path) -> Any:
    """A Keras model from a file that `convert` has looked at; in safe mode, as a second line."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Or Keras takes its settings from ~/.keras, and from /tmp/.keras if that cannot be written.
    os.environ.setdefault("KERAS_HOME", str(path.parent / "keras"))
    with quiet():
        import keras

    try:
        return keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises of every kind for a file that it cannot take
        if type(error).__name__ in ("MemoryError", "ResourceExhaustedError"):
            raise MemoryError(str(error)) from error
        if "safe_mode" in str(error):  # Keras's own words say how to run it all the same
            raise ModelError(
                "the file brings Python code along (a Lambda layer, as a rule), and that "
                "is never run here. Save the model with layers of Keras's own in its place"
            ) from error
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelError(f"Keras cannot load this model: {first_line}") from error
