"""Samples ▸ batches, as Keras wants them for `fit` and `evaluate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data import THREADS, Samples
from trainer.errors import DataError

# (pixels, their indices, the epoch) ▸ pixels, all uint8 (n, height, width, channels).
Augment = Callable[[NDArray[np.uint8], NDArray[np.int64], int], NDArray[np.uint8]]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """float32 pixels 0..255 (n, height, width, channels) and int64 labels (n,), batch by batch.

    seed: the order is drawn anew for every epoch, from the seed and the epoch; None keeps it.
    augment: changes the pixels of a batch before they are given.
    epoch: the first one, from 0.
    drop_small: a last batch of less than half the size is left out, if there is a whole one.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        seed: int | None = None,
        augment: Augment | None = None,
        epoch: int = 0,
        *,
        drop_small: bool = False,
    ) -> None:
        super().__init__(workers=THREADS)
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._augment = augment
        self._epoch = epoch
        self._drop_small = drop_small
        self._order = np.arange(len(samples.labels))
        self.failure: DataError | None = None  # Keras buries it under its own errors
        self._shuffle()

    def __len__(self) -> int:
        whole, rest = divmod(len(self._order), self._batch_size)
        if self._drop_small and whole and 2 * rest < self._batch_size:
            return whole
        return whole + (rest > 0)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        chosen: Any = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        try:
            pixels = self._samples.pixels(chosen)
        except DataError as error:
            self.failure = error
            raise
        if self._augment is not None:
            pixels = self._augment(pixels, chosen, self._epoch)
        return pixels.astype(np.float32), self._samples.labels[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        if self._seed is not None:
            random = np.random.default_rng((self._seed, self._epoch))
            self._order = random.permutation(len(self._order))
