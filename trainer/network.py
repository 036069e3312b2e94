"""The networks. Keras 3 alone: no backend is named, so they train on TensorFlow, JAX or PyTorch."""

from __future__ import annotations

import keras
from keras import layers


def readme_network(height: int, width: int, channels: int, classes: int) -> keras.Model:
    """The three convolutions of the README: 122,570 parameters at 32x32x3 and ten classes.

    Takes pixel values 0..255, (n, height, width, channels), and scales them itself; gives
    probabilities (n, classes).
    """
    return keras.Sequential(
        [
            keras.Input((height, width, channels)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(classes, activation="softmax"),
        ],
        name="readme",
    )
