"""`python colour_models.py FOLDER`: classifiers of colours that are right or wrong on purpose.

Each answers with the colour that is strongest on average, but for the classes that its name says
it never gives.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from classifier import contract as contracts
from classifier.contract import Contract

CHANNELS = {"red": 0, "green": 1, "blue": 2}


def save(name, labels, shape, never=()):
    network = keras.Sequential(
        [
            keras.Input(shape),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(3),
        ]
    )
    weights = np.zeros((3, 3), "float32")
    for output, label in enumerate(labels):
        weights[CHANNELS[label], output] = 50
    bias = np.array([-1000 if label in never else 0 for label in labels], "float32")
    network.layers[-1].set_weights([weights, bias])
    evidence = {"min_confidence": {"target": 0.99, "value": 0.25}}
    contract = Contract(tuple(labels), *shape, output="logits", evidence=evidence)
    contracts.write(network, Path(sys.argv[1]) / f"{name}.keras", contract)


save("right", ("red", "blue", "green"), (24, 40, 3))
save("never_red", ("blue", "green", "red"), (32, 32, 3), never=("red",))
save("never_green", ("blue", "green", "red"), (32, 32, 3), never=("green",))
