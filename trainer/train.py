"""Data ▸ a trained model file, its curves and its metrics."""

from __future__ import annotations

import datetime
import json
import logging
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from classifier import contract as contracts
from classifier.contract import Contract
from trainer import plot
from trainer.batches import Batches
from trainer.data import DataSet, Samples, hold_out
from trainer.errors import DataError, TrainerError
from trainer.network import readme_network

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults are those of the README's network."""

    epochs: int = 10
    batch_size: int = 32
    held_out: float = 0.05  # of the training images, for validation
    seed: int = 1


def train(
    data: DataSet, shape: tuple[int, int, int], output: Path, recipe: Recipe
) -> dict[str, Any]:
    """Train, save to `output`, and give the metrics, which are also written beside it as JSON.

    Nothing is written before the training is done: until then `output` holds the old model.
    """
    keras.utils.set_random_seed(recipe.seed)
    # What would fail at the end fails now, before hours of training.
    contract = Contract(data.names, *shape)
    _check_writable(output)
    data = _without_broken(data)
    kept, held = hold_out(data.train.labels, data.names, recipe.held_out, recipe.seed)
    training, validation = data.train.subset(kept), data.train.subset(held)
    log.info(
        "%s: %d classes, %d images to learn from, %d held out",
        data.name, len(data.names), len(kept), len(held),
    )  # fmt: skip

    network = readme_network(*shape, classes=len(data.names))
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.monotonic()
    learning = Batches(training, recipe.batch_size, seed=recipe.seed)
    checking = Batches(validation, 256)
    try:
        history = network.fit(
            learning,
            validation_data=checking,
            epochs=recipe.epochs,
            shuffle=False,  # Batches shuffles, by its own seed
            verbose=1 if sys.stdout.isatty() else 2,  # a moving bar, or lines for a log file
        )
    except Exception:
        if failure := learning.failure or checking.failure:
            raise failure from None
        raise
    metrics: dict[str, Any] = {
        "data": data.name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "network": network.name,
        "parameters": network.count_params(),
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "seed": recipe.seed,
        "training_images": len(kept),
        "validation_images": len(held),
        "training_seconds": round(time.monotonic() - started),
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
        "history": {
            key: [round(float(v), 5) for v in values] for key, values in history.history.items()
        },
    }
    if data.test is not None:
        metrics["test"] = evaluate_network(network, data.test)
        print_result(data.name, len(data.test.labels), metrics["test"])

    evidence: dict[str, Any] = {
        key: metrics[key] for key in ("data", "date", "test") if key in metrics
    }
    curves = plot.curves(metrics["history"], data.name)
    contracts.write(_bare(network), output, replace(contract, evidence=evidence))
    _write(output.with_suffix(".metrics.json"), (json.dumps(metrics, indent=1) + "\n").encode())
    _write(output.with_suffix(".curves.png"), curves)
    return metrics


def evaluate_network(network: Any, samples: Samples) -> dict[str, float]:
    """Loss and accuracy of a compiled Keras network."""
    loss, accuracy = network.evaluate(Batches(samples, 256), verbose=0)
    return {"loss": round(float(loss), 4), "accuracy": round(float(accuracy), 4)}


def print_result(name: str, images: int, result: dict[str, float]) -> None:
    print(  # noqa: T201
        f"{name}, {images:,} test images: loss {result['loss']:.4f}, "
        f"accuracy {100 * result['accuracy']:.2f}%"
    )


def _without_broken(data: DataSet) -> DataSet:
    train, test = data.train.readable(), data.test and data.test.readable()
    for part, samples in (("training", train), ("test", test)):
        if samples is not None and (gone := set(range(len(data.names))) - {*samples.labels}):
            names = ", ".join(data.names[label] for label in sorted(gone))
            raise DataError(f"none of the {part} images of these classes can be read: {names}")
    return replace(data, train=train, test=test)


def _check_writable(output: Path) -> None:
    if output.is_dir():
        raise TrainerError(f"{output}: this is a folder; the model needs the name of a file")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise TrainerError(f"{output}: the model could not be written here: {error}") from None


def _bare(network: Any) -> Any:
    """The network without its optimizer's state: two thirds of a file, of no use in serving."""
    bare = network.__class__.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare


def _write(path: Path, content: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as folder:
        draft = Path(folder) / path.name
        draft.write_bytes(content)
        draft.replace(path)
