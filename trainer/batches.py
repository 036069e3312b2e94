"""Samples ▸ batches, as Keras wants them for `fit` and `evaluate`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from trainer.data import THREADS, Samples
from trainer.errors import DataError


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """float32 pixels 0..255 (n, height, width, channels) and int64 labels (n,), batch by batch.

    seed: the order is drawn anew for every epoch; None keeps it as it is.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int | None = None) -> None:
        super().__init__(workers=THREADS)
        self._samples = samples
        self._batch_size = batch_size
        self._random = None if seed is None else np.random.default_rng(seed)
        self._order = np.arange(len(samples.labels))
        self.failure: DataError | None = None  # Keras buries it under its own errors
        self.on_epoch_end()

    def __len__(self) -> int:
        return -(-len(self._order) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        chosen: Any = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        try:
            pixels = self._samples.pixels(chosen)
        except DataError as error:
            self.failure = error
            raise
        return pixels.astype(np.float32), self._samples.labels[chosen]

    def on_epoch_end(self) -> None:
        if self._random is not None:
            self._random.shuffle(self._order)
