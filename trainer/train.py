"""Data ▸ a trained model file, its curves and its metrics."""

from __future__ import annotations

import datetime
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from classifier import contract as contracts
from classifier.contract import Contract
from classifier.durable import write_whole
from classifier.scores import to_probabilities
from trainer import plot
from trainer.batches import Batches
from trainer.calibrate import MIN_IMAGES, fit_energy_threshold, fit_temperature
from trainer.checkpoint import Progress
from trainer.data import DataSet, Samples
from trainer.duplicates import warn_of_learnt
from trainer.errors import TrainerError
from trainer.fit import fitted
from trainer.full_disk import model_bytes, warn_of_little_room, when_there_is_room
from trainer.measure import summary, threshold_for_precision
from trainer.network import mirrored, new_network
from trainer.place import CHECKPOINT, CURVES, LEFT_OUT, METRICS, claimed
from trainer.recipe import (
    FEW,
    MAX_HELD_OUT,
    NetworkName,
    Recipe,
    held_out_share,
    images_at_once,
    recipe_for,
)
from trainer.screening import LISTED
from trainer.split import hold_out
from trainer.start import Start

Result = TypeVar("Result")
log = logging.getLogger(__name__)

TARGET_PRECISION = 0.99
FORMAT = 4  # of a checkpoint; another one when networks or their training change


@dataclass(frozen=True)
class Options:
    """What the user said; None where the recipe decides."""

    network: NetworkName = "readme"
    shape: tuple[int, int, int] = (32, 32, 3)
    epochs: int | None = None
    seed: int = 1
    patience: int | None = None
    mirror: bool = True


def train(
    data: DataSet,
    output: Path,
    options: Options,
    *,
    start: Start | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train, save to `output`, and give the metrics, which are also written beside it as JSON.

    start: a model whose weights to begin with. resume: go on from the checkpoint beside `output`.

    Nothing is written to `output` before the training is done: until then it holds the old model.
    """
    # What would fail at the end fails now, before hours of training.
    contract = Contract(data.names, *options.shape, output="logits")
    with claimed(output):
        return _train(data, output, options, contract, start, resume=resume)


def _train(
    data: DataSet,
    output: Path,
    options: Options,
    contract: Contract,
    start: Start | None,
    *,
    resume: bool,
) -> dict[str, Any]:
    if output.exists():
        log.info("%s is replaced when the training is done", output)
    checkpoint = output.with_suffix(CHECKPOINT)
    if checkpoint.exists() and not resume:
        raise TrainerError(
            f"{checkpoint}: a training was interrupted here. Go on with it by --resume, or delete "
            "this file to begin anew"
        )
    progress = Progress.load(checkpoint) if resume else None
    # What can be known without the images is looked after before they are read.
    blank = new_network(options.network, options.shape, len(data.names))
    if start is not None:
        start.check(blank)
    if progress is not None:
        progress.check(_told(options, data, start), checkpoint)
    warn_of_little_room(output, blank.count_params())
    data = data.readable()
    images = len(data.train.labels)
    recipe = recipe_for(images, **vars(options), start=None if start is None else start.digest)
    kept, held = hold_out(
        data.train.labels, data.names, held_out_share(images), recipe.seed, data.train.digests
    )
    training, validation = data.train.subset(kept), data.train.subset(held)
    log.info(
        "%s: %d classes, %d images to learn from, %d held out",
        data.name, len(data.names), len(kept), len(held),
    )  # fmt: skip
    warn_of_learnt(training, validation)

    if recipe.network == "readme" and images < FEW:
        log.info("of so few images, --network accurate learns more; it takes longer")

    plan = _plan(recipe, data)
    if progress is None:
        progress = Progress(plan)
    else:
        progress.check(plan, checkpoint)
        log.info("going on after epoch %d of %d", progress.epoch, recipe.epochs)
    _write_left_out(data, output)
    network = fitted(recipe, data.names, training, validation, progress, checkpoint, start)

    answering = _bare(network)
    if recipe.network == "accurate" and recipe.mirror:
        answering = mirrored(answering)
    held_logits = logits_of(answering, validation)
    contract = _calibrated(contract, held_logits, validation.labels)
    metrics = {
        "data": data.name,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        **asdict(recipe),
        "parameters": network.count_params(),
        "training_images": len(kept),
        "validation_images": len(held),
        "training_seconds": round(progress.seconds),
        "best_epoch": progress.best_epoch,
        "temperature": contract.temperature,
        "energy_threshold": contract.energy_threshold,
        "keras": f"{keras.__version__} on {keras.backend.backend()}",
        "history": progress.history,
        "validation": summary(held_logits, validation.labels, contract),
        "min_confidence": _suggested(contract, held_logits, validation.labels),
    }
    if data.test is not None:
        metrics["test"] = summary(logits_of(answering, data.test), data.test.labels, contract)
    gist = ("data", "date", "network", "validation", "min_confidence", "test")
    contract = replace(contract, evidence={key: metrics[key] for key in gist if key in metrics})

    def saved(path: Path, size: int, write: Callable[[], Result]) -> Result:
        return when_there_is_room(path, size, checkpoint, write)

    # The model first: nothing that is drawn or said may cost it.
    size = model_bytes(network.count_params())
    if not saved(output, size, lambda: contracts.write(answering, output, contract)):
        log.warning(
            "%s: the old file's owner and group could not be kept: see to it that the service can "
            "read the new one",
            output,
        )
    for suffix, content in (
        (METRICS, (json.dumps(metrics, indent=1) + "\n").encode()),
        (CURVES, plot.curves(progress.history, data.name)),
    ):
        path = output.with_suffix(suffix)
        saved(path, len(content), partial(write_whole, path, content))
    checkpoint.unlink(missing_ok=True)
    if "test" in metrics:
        print_result(data.name, metrics["test"])
    return metrics


def _told(options: Options, data: DataSet, start: Start | None) -> dict[str, Any]:
    """The part of a plan that is known before any image is."""
    height, width, channels = options.shape
    told = {
        "format": FORMAT,
        "network": options.network,
        "height": height,
        "width": width,
        "channels": channels,
        "seed": options.seed,
        "mirror": options.mirror,
        "start": None if start is None else start.digest,
        "classes": [*data.names],
    }
    where_told = {"epochs": options.epochs, "patience": options.patience}
    return told | {key: value for key, value in where_told.items() if value is not None}


def _plan(recipe: Recipe, data: DataSet) -> dict[str, Any]:
    """All that decides over a training, as JSON would give it back."""
    plan = {"format": FORMAT, **asdict(recipe), "classes": [*data.names]}
    return {**plan, "images": data.train.fingerprint}


def logits_of(network: keras.Model, samples: Samples) -> NDArray[np.float32]:
    """float32 (n, classes)."""
    batches = Batches(samples, images_at_once(network.input_shape[1:]))
    try:
        logits: NDArray[np.float32] = network.predict(batches, verbose=0)
    except Exception:
        if batches.failure:
            raise batches.failure from None
        raise
    return logits


def _calibrated(
    contract: Contract, logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> Contract:
    if len(labels) < MIN_IMAGES:
        log.info(
            "confidences are not calibrated: that takes %d held-out images, so %d in all",
            MIN_IMAGES, round(MIN_IMAGES / MAX_HELD_OUT),
        )  # fmt: skip
        return contract
    return replace(
        contract,
        temperature=round(fit_temperature(logits, labels), 4),
        energy_threshold=round(fit_energy_threshold(logits), 4),
    )


def _suggested(
    contract: Contract, logits: NDArray[np.float32], labels: NDArray[np.int64]
) -> dict[str, Any] | None:
    """The `min_confidence` at which held-out answers have `TARGET_PRECISION`, if there is one."""
    probabilities = to_probabilities(logits, contract)
    right = probabilities.argmax(axis=1) == labels
    point = threshold_for_precision(probabilities.max(axis=1), right, TARGET_PRECISION)
    if point is None or len(labels) < MIN_IMAGES:
        return None
    coverage = round(point.coverage, 4)
    return {"target": TARGET_PRECISION, "value": point.min_confidence, "coverage": coverage}


def print_result(name: str, result: dict[str, Any]) -> None:
    print(  # noqa: T201
        f"{name}, {result['images']:,} test images: loss {result['loss']:.4f}, "
        f"accuracy {100 * result['accuracy']:.2f}%"
    )


def _write_left_out(data: DataSet, output: Path) -> None:
    """All that was left out, beside the model, where it is too much to be listed in the log; else
    no such list, not even an older one."""
    file = output.with_suffix(LEFT_OUT)
    lines = [f"{path!r}: {reason}\n" for path, reason in data.left_out]
    if len(lines) <= LISTED:
        file.unlink(missing_ok=True)
    else:
        write_whole(file, "".join(lines).encode())
        log.warning("left out: all %s are listed in %s", f"{len(lines):,}", file)


def _bare(network: Any) -> Any:
    """The network without its optimizer's state: two thirds of a file, of no use in serving."""
    bare = network.__class__.from_config(network.get_config())
    bare.set_weights(network.get_weights())
    return bare
