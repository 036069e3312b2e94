"""Data ▸ a trained model file, its curves and its metrics."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from classifier import contract as contracts
from classifier.contract import Contract
from trainer import plot
from trainer.augment import augmented
from trainer.batches import Batches
from trainer.calibrate import MIN_IMAGES, fit_energy_threshold, fit_temperature
from trainer.checkpoint import Progress, write_whole
from trainer.data import DataSet, Samples, hold_out
from trainer.errors import DataError, TrainerError
from trainer.measure import summary
from trainer.muon import Muon
from trainer.network import accurate_network, mirrored, readme_network
from trainer.recipe import FULL_BATCH, NetworkName, Recipe, held_out_share, recipe_for
from trainer.start import Start

log = logging.getLogger(__name__)

LABEL_SMOOTHING = 0.2  # of the accurate network
KERNEL_RATE, ADAM_RATE = 0.17, 0.007
WHITENING_IMAGES = 2000


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
    _check_writable(output)
    checkpoint = output.with_suffix(".training.npz")
    if checkpoint.exists() and not resume:
        raise TrainerError(
            f"{checkpoint}: a training was interrupted here. Go on with it by --resume, or delete "
            "this file to begin anew"
        )
    data = _without_broken(data)
    images = len(data.train.labels)
    recipe = recipe_for(images, **vars(options), start=None if start is None else start.digest)
    kept, held = hold_out(data.train.labels, data.names, held_out_share(images), recipe.seed)
    training, validation = data.train.subset(kept), data.train.subset(held)
    log.info(
        "%s: %d classes, %d images to learn from, %d held out",
        data.name, len(data.names), len(kept), len(held),
    )  # fmt: skip

    plan = _plan(recipe, data)
    progress = Progress(plan)
    if resume:
        progress = Progress.load(checkpoint)
        progress.check(plan, checkpoint)
        log.info("going on after epoch %d of %d", progress.epoch, recipe.epochs)
    network = _fitted(recipe, data.names, training, validation, progress, checkpoint, start)

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
    }
    if data.test is not None:
        metrics["test"] = summary(logits_of(answering, data.test), data.test.labels, contract)
        print_result(data.name, metrics["test"])
    gist = ("data", "date", "network", "validation", "test")
    contract = replace(contract, evidence={key: metrics[key] for key in gist if key in metrics})

    curves = plot.curves(progress.history, data.name)
    contracts.write(answering, output, contract)
    write_whole(
        output.with_suffix(".metrics.json"), (json.dumps(metrics, indent=1) + "\n").encode()
    )
    write_whole(output.with_suffix(".curves.png"), curves)
    checkpoint.unlink(missing_ok=True)
    return metrics


def _fitted(
    recipe: Recipe,
    names: tuple[str, ...],
    training: Samples,
    validation: Samples,
    progress: Progress,
    checkpoint: Path,
    start: Start | None,
) -> keras.Model:
    """The network with the weights of its best epoch."""
    keras.utils.set_random_seed(recipe.seed)
    network = _new_network(recipe, len(names), training)
    steps = -(-len(training.labels) // recipe.batch_size)
    network.compile(
        optimizer=_optimizer(recipe, steps * recipe.epochs),
        loss=_smoothed_loss if recipe.network == "accurate" else _plain_loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        # XLA saves a fifth of the computing for this network, and nothing for the other.
        jit_compile=recipe.network == "accurate" and keras.backend.backend() != "torch",
    )
    if progress.epoch:
        network.set_weights(progress.weights)
        network.optimizer.build(network.trainable_variables)
        for variable, value in zip(network.optimizer.variables, progress.optimizer, strict=True):
            variable.assign(value)
    elif start is not None:
        start.give_to(network, names)

    def augment(
        pixels: NDArray[np.uint8], indices: NDArray[np.int64], epoch: int
    ) -> NDArray[np.uint8]:
        return augmented(pixels, indices, epoch, recipe.seed, mirror=recipe.mirror)

    learning = Batches(
        training,
        recipe.batch_size,
        seed=recipe.seed,
        augment=augment if recipe.network == "accurate" else None,
        epoch=progress.epoch,
    )
    checking = Batches(validation, 256)
    try:
        network.fit(
            learning,
            validation_data=checking,
            epochs=recipe.epochs,
            initial_epoch=progress.epoch,
            shuffle=False,  # Batches shuffles, by its own seed
            verbose=1 if sys.stdout.isatty() else 2,  # a moving bar, or lines for a log file
            callbacks=[_Keeper(progress, checkpoint, recipe.patience)],
        )
    except Exception:
        if failure := learning.failure or checking.failure:
            raise failure from None
        raise
    network.set_weights(progress.best)
    return network


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the progress after every epoch, and the best weights; ends what gets no better."""

    def __init__(self, progress: Progress, path: Path, patience: int | None) -> None:
        super().__init__()
        self._progress = progress
        self._path = path
        self._patience = patience
        self._began = time.monotonic() - progress.seconds

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
        # Also when a training that had stopped is resumed.
        self.model.stop_training = self._is_over()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        progress = self._progress
        for key, value in (logs or {}).items():
            progress.history.setdefault(key, []).append(round(float(value), 5))
        progress.epoch = epoch + 1
        progress.seconds = time.monotonic() - self._began
        progress.weights = self.model.get_weights()
        progress.optimizer = [np.asarray(variable) for variable in self.model.optimizer.variables]
        # Of two epochs that are right equally often, the surer one.
        reached = [
            (accuracy, -loss)
            for accuracy, loss in zip(
                progress.history["val_accuracy"], progress.history["val_loss"], strict=True
            )
        ]
        if reached[-1] == max(reached):
            progress.best, progress.best_epoch = progress.weights, progress.epoch
        try:
            progress.save(self._path)
        except OSError as error:  # the training is worth more than its checkpoint
            log.warning("no checkpoint of epoch %d: %s; the training goes on", epoch + 1, error)
        if self._is_over():
            log.info("stopped: epoch %d was the best one", progress.best_epoch)
            self.model.stop_training = True

    def _is_over(self) -> bool:
        waited = self._progress.epoch - self._progress.best_epoch
        return self._patience is not None and waited >= self._patience


def _plan(recipe: Recipe, data: DataSet) -> dict[str, Any]:
    """All that decides over a training, as JSON would give it back."""
    labels = hashlib.sha256(data.train.labels.astype("<i8").tobytes()).hexdigest()
    return {**asdict(recipe), "classes": [*data.names], "labels of the training images": labels}


def _new_network(recipe: Recipe, classes: int, training: Samples) -> keras.Model:
    if recipe.network == "readme":
        return readme_network(*recipe.shape, classes)
    count = len(training.labels)
    chosen = np.random.default_rng(recipe.seed).permutation(count)[:WHITENING_IMAGES]
    return accurate_network(*recipe.shape, classes, training.pixels(np.sort(chosen)))


def _optimizer(recipe: Recipe, steps: int) -> keras.Optimizer:
    if recipe.network == "readme":
        return keras.optimizers.Adam()
    # Smaller batches tell less of the way, so that shorter steps are taken.
    rate = KERNEL_RATE * (recipe.batch_size / FULL_BATCH) ** 0.5
    falling = keras.optimizers.schedules.PolynomialDecay(rate, steps, end_learning_rate=0.0)
    return Muon(
        falling,
        momentum=0.6,
        ns_steps=3,
        weight_decay=None,
        adam_weight_decay=None,
        adam_lr_ratio=ADAM_RATE / KERNEL_RATE,
        adam_beta_1=0.85,
        adam_beta_2=0.95,
        epsilon=1e-8,
    )


_plain_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _smoothed_loss(labels: Any, logits: Any) -> Any:
    classes = logits.shape[-1]
    one_hot = keras.ops.one_hot(keras.ops.cast(keras.ops.reshape(labels, (-1,)), "int32"), classes)
    return keras.losses.categorical_crossentropy(
        one_hot, logits, from_logits=True, label_smoothing=LABEL_SMOOTHING
    )


def logits_of(network: keras.Model, samples: Samples) -> NDArray[np.float32]:
    """float32 (n, classes)."""
    batches = Batches(samples, 256)
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
        log.info("confidences are not calibrated: that takes %d held-out images", MIN_IMAGES)
        return contract
    return replace(
        contract,
        temperature=round(fit_temperature(logits, labels), 4),
        energy_threshold=round(fit_energy_threshold(logits), 4),
    )


def print_result(name: str, result: dict[str, Any]) -> None:
    print(  # noqa: T201
        f"{name}, {result['images']:,} test images: loss {result['loss']:.4f}, "
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
