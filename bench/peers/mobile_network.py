"""Make a network of MobileNet's size, for 224x224 pixels, with random weights. OUTPUT."""

import sys
from pathlib import Path

import keras

from classifier import contract as contracts
from classifier.contract import Contract

SIDE, CLASSES = 224, 1000


def main(output: str) -> None:
    keras.utils.set_random_seed(0)
    pixels = keras.Input((SIDE, SIDE, 3))
    body = keras.applications.MobileNetV2(
        (SIDE, SIDE, 3), weights=None, classes=CLASSES, classifier_activation=None
    )
    network = keras.Model(pixels, body(keras.layers.Rescaling(1 / 127.5, -1)(pixels)))
    labels = tuple(f"class {number}" for number in range(CLASSES))
    contracts.write(network, Path(output), Contract(labels, SIDE, SIDE, 3, output="logits"))


if __name__ == "__main__":
    main(sys.argv[1])
