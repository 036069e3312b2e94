"""A recipe and training images ▸ a network with the weights of its best epoch."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.augment import augmented
from trainer.batches import Batches
from trainer.checkpoint import Progress
from trainer.data import Samples
from trainer.errors import TrainerError
from trainer.muon import Muon
from trainer.network import new_network
from trainer.recipe import FULL_BATCH, Recipe, images_at_once
from trainer.start import Start

log = logging.getLogger(__name__)

LABEL_SMOOTHING = 0.2  # of the accurate network
KERNEL_RATE, ADAM_RATE = 0.17, 0.007
WHITENING_IMAGES = 2000


def fitted(
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
    begun = bool(progress.epoch) or start is not None
    # The first filters of the accurate network, where the weights do not come from elsewhere.
    sample = None if begun or recipe.network == "readme" else _sample(training, recipe)
    network = new_network(recipe.network, recipe.shape, len(names), sample)
    learning = _learning(recipe, training, progress.epoch)
    network.compile(
        optimizer=_optimizer(recipe, len(learning) * recipe.epochs),
        loss=_smoothed_loss if recipe.network == "accurate" else _plain_loss,
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=recipe.network == "accurate" and _xla_is_faster(),
    )
    if progress.epoch:
        network.set_weights(progress.weights)
        network.optimizer.build(network.trainable_variables)
        for variable, value in zip(network.optimizer.variables, progress.optimizer, strict=True):
            variable.assign(value)
        progress.optimizer = []
    elif start is not None:
        start.give_to(network, names)

    if progress.epoch < recipe.epochs and not gets_no_better(progress, recipe.patience):
        _fit(network, recipe, learning, validation, progress, checkpoint)
    network.set_weights(progress.best)
    return network


def _xla_is_faster() -> bool:
    """For the accurate network; it gives the other one nothing.

    A step by TensorFlow takes a fifth less with it on processors with AVX2, and a third more on
    those with AVX-512, which TensorFlow's own convolutions know to use.
    """
    if keras.backend.backend() != "tensorflow":
        return bool(keras.backend.backend() == "jax")
    try:
        return " avx512f " not in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


def _learning(recipe: Recipe, training: Samples, epoch: int) -> Batches:
    """What the network learns from, from an epoch on."""

    def augment(
        pixels: NDArray[np.uint8], indices: NDArray[np.int64], epoch: int
    ) -> NDArray[np.uint8]:
        return augmented(
            pixels,
            indices,
            epoch,
            recipe.seed,
            mirror=recipe.mirror,
            shift=recipe.shift,
            cutout=recipe.cutout,
        )

    return Batches(
        training,
        recipe.batch_size,
        seed=recipe.seed,
        augment=augment if recipe.shift else None,
        epoch=epoch,
        # Muon turns kernels as far by a few images as by a whole batch.
        drop_small=recipe.network == "accurate",
    )


def _fit(
    network: keras.Model,
    recipe: Recipe,
    learning: Batches,
    validation: Samples,
    progress: Progress,
    checkpoint: Path,
) -> None:
    checking = Batches(validation, images_at_once(recipe.shape))
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


class _Keeper(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Keeps the progress after every epoch, and the best weights; ends what gets no better."""

    def __init__(self, progress: Progress, path: Path, patience: int | None) -> None:
        super().__init__()
        self._progress = progress
        self._path = path
        self._patience = patience
        self._began = time.monotonic() - progress.seconds

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        progress = self._progress
        for key, value in (logs or {}).items():
            progress.history.setdefault(key, []).append(round(float(value), 5))
        progress.epoch = epoch + 1
        progress.seconds = time.monotonic() - self._began
        progress.weights = self.model.get_weights()
        progress.optimizer = [variable.numpy() for variable in self.model.optimizer.variables]
        if not math.isfinite(progress.history["val_loss"][-1]):
            self._path.unlink(missing_ok=True)  # from there it would only go astray again
            raise TrainerError(
                f"the training went astray in epoch {progress.epoch}: its loss is no number. Try "
                "another --seed"
            )
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
            log.warning(
                "%s: no checkpoint of epoch %d: %s; the training goes on",
                self._path, epoch + 1, error.strerror or error,
            )  # fmt: skip
        progress.optimizer = []  # some copies of the weights, and the optimizer has it
        if gets_no_better(progress, self._patience):
            log.info("stopped: epoch %d was the best one", progress.best_epoch)
            self.model.stop_training = True


def gets_no_better(progress: Progress, patience: int | None) -> bool:
    return patience is not None and progress.epoch - progress.best_epoch >= patience


def _sample(training: Samples, recipe: Recipe) -> Iterator[NDArray[np.uint8]]:
    """uint8 (n, height, width, channels): `WHITENING_IMAGES` at random, some at a time."""
    count = len(training.labels)
    chosen = np.random.default_rng(recipe.seed).permutation(count)[:WHITENING_IMAGES]
    chosen.sort()
    size = images_at_once(recipe.shape)
    for start in range(0, len(chosen), size):
        yield training.pixels(chosen[start : start + size])


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
