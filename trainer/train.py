"""Data ▸ a trained model file, its curves and its metrics."""

from __future__ import annotations

import datetime
import json
import logging
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from classifier import contract as contracts
from classifier.contract import Contract
from trainer import plot
from trainer.batches import Batches
from trainer.data import DataSet, FileSamples, Samples, hold_out
from trainer.errors import DataError
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
    data = _without_broken(data)
    kept, held = hold_out(data.train.labels, recipe.held_out, recipe.seed)
    training, validation = data.train.subset(kept), data.train.subset(held)
    log.info(
        "%s: %d classes, %d images to learn from, %d held out",
        data.name, len(data.names), len(kept), len(held),
    )  # fmt: skip

    network = readme_network(*shape, classes=len(data.names))
    network.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    started = time.monotonic()
    history = network.fit(
        Batches(training, recipe.batch_size, seed=recipe.seed),
        validation_data=Batches(validation, 256),
        epochs=recipe.epochs,
        shuffle=False,  # Batches shuffles, by its own seed
    )
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
    contracts.write(_bare(network), output, Contract(data.names, *shape, evidence=evidence))
    _write(output.with_suffix(".metrics.json"), (json.dumps(metrics, indent=1) + "\n").encode())
    _write(output.with_suffix(".curves.png"), plot.curves(metrics["history"], data.name))
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
    train, test = (
        _readable(samples) if isinstance(samples, FileSamples) else samples
        for samples in (data.train, data.test)
    )
    if train is None:
        raise AssertionError  # a data set always has a training part
    missing = [name for i, name in enumerate(data.names) if not (train.labels == i).any()]
    if missing:
        raise DataError(f"no image of these classes can be read: {', '.join(missing)}")
    return replace(data, train=train, test=test)


def _readable(samples: FileSamples) -> FileSamples:
    broken = samples.broken()
    for index, reason in broken:
        log.warning("left out: %s: %s", ascii(str(samples.paths[index]))[1:-1], reason)
    bad = [index for index, _ in broken]
    return samples.subset(np.setdiff1d(np.arange(len(samples.paths)), bad)) if bad else samples


def _bare(network: Any) -> Any:
    """The network without its optimizer's state: two thirds of a file, of no use in serving."""
    bare = network.__class__.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.replace(path)
