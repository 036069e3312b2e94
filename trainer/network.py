"""The networks. Keras 3 alone: no backend is named, so they train on TensorFlow, JAX or PyTorch.

All take pixel values 0..255, (n, height, width, channels), scale them inside, and give logits,
(n, classes).
"""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from trainer.recipe import NetworkName
from trainer.whitening import whitening

WIDTHS = (64, 256, 256)  # channels of the accurate network's three stages
PATCH = 2  # pixels, the side of its first filters
# Pixel values become -2..2.
_SCALE, _CENTRE = 1 / 63.75, -2.0


def new_network(
    name: NetworkName,
    shape: tuple[int, int, int],
    classes: int,
    sample: Iterable[NDArray[np.uint8]] | None = None,
) -> keras.Model:
    """One of the networks for (height, width, channels). sample: as `accurate_network` takes it."""
    if name == "readme":
        return readme_network(*shape, classes)
    return accurate_network(*shape, classes, sample)


def readme_network(height: int, width: int, channels: int, classes: int) -> keras.Model:
    """The three convolutions of the README: 122,570 parameters at 32x32x3 and ten classes."""
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
            layers.Dense(classes),
        ],
        name="readme",
    )


def accurate_network(
    height: int,
    width: int,
    channels: int,
    classes: int,
    sample: Iterable[NDArray[np.uint8]] | None = None,
) -> keras.Model:
    """A small residual network: 2 million parameters and 236 MFLOP at 32x32x3.

    The layout follows what K. Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (2024),
    found to need least computing: first filters that whiten patches of the training images and stay
    as they are, then three stages, each of which halves the picture.

    sample: uint8 (n, height, width, channels), some at a time: training images to take the first
    filters from. None where the network is given all its weights anyway.
    """
    patch = PATCH * PATCH * channels
    pixels = keras.Input((height, width, channels))
    x = layers.Rescaling(_SCALE, _CENTRE)(pixels)
    whiten = layers.Conv2D(2 * patch, PATCH, trainable=False, name="whiten")
    x = _normalised(whiten(x))
    for number, stage in enumerate(WIDTHS, 1):
        x = _convolution(stage, f"stage{number}_widen")(x)
        x = _normalised(layers.MaxPooling2D(2)(x))
        inner = _normalised(_convolution(stage, f"stage{number}_residual")(x))
        x = layers.Add()([x, inner])
    x = layers.GlobalMaxPooling2D()(x)
    logits = layers.Dense(classes, use_bias=False, name="head")(x)
    network = keras.Model(pixels, logits, name="accurate")
    if sample is not None:
        scaled = (images.astype(np.float32) * _SCALE + _CENTRE for images in sample)
        whiten.set_weights(whitening(scaled, PATCH, channels))
    return network


def mirrored(network: keras.Model) -> keras.Model:
    """A network that answers with the mean over an image and its mirror image."""
    pixels = keras.Input(network.input_shape[1:])
    both = [network(pixels), network(keras.ops.flip(pixels, axis=2))]
    return keras.Model(pixels, layers.Average()(both), name="mirrored")


def _convolution(filters: int, name: str) -> layers.Layer:
    return layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)


def _normalised(x: keras.KerasTensor) -> keras.KerasTensor:
    # Few steps are trained: the moving averages must follow quickly.
    x = layers.BatchNormalization(scale=False, momentum=0.6, epsilon=1e-5)(x)
    return layers.Activation("gelu")(x)
