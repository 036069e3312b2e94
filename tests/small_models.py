"""`python small_models.py FOLDER SHIPPED`: makes Keras models of every kind that tests need.

For NAME.keras, NAME.images.npy holds uint8 images and NAME.answers.npy what Keras itself says of
them, so that no test has to import it. SHIPPED is a finished model; only its answers are written.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

from classifier import contract as contracts
from classifier.contract import Contract

folder, shipped = Path(sys.argv[1]), sys.argv[2]
keras.utils.set_random_seed(7)


def small(*middle, shape=(32, 32, 3), outputs=3, activation="softmax"):
    """A linear classifier on the pixels, with whatever is to be tried between."""
    head = [layers.Flatten(), layers.Dense(outputs, activation=activation)]
    return keras.Sequential([keras.Input(shape), *middle, *head])


def save(name, network, scale=None):
    network.save(str(folder / f"{name}.keras"))
    if scale is not None:
        answer(name, network, scale)


def answer(name, network, scale):
    shape = (70, *network.inputs[0].shape[1:])
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    np.save(folder / f"{name}.images.npy", images)
    answers = network.predict(scale(images.astype("float32")), batch_size=70, verbose=0)
    np.save(folder / f"{name}.answers.npy", answers)


def as_it_is(pixels):
    return pixels


def unit(pixels):
    return pixels / 255


def centred(pixels):
    return pixels / 127.5 - 1


answer("shipped", keras.saving.load_model(shipped, compile=False), as_it_is)

conv = layers.Conv2D(4, 3, activation="relu")
save("unscaled", small(conv), unit)
save("centred", small(layers.Conv2D(4, 3, activation="relu")), centred)
save("grey", small(layers.Rescaling(1 / 255), shape=(28, 28, 1)), as_it_is)
save("logits", small(layers.Rescaling(1 / 255), activation=None), as_it_is)
save("slow", small(
    layers.Rescaling(1 / 255), layers.Conv2D(64, 3, activation="relu"),
    layers.Conv2D(1024, 3, activation="relu"), layers.GlobalAveragePooling2D(keepdims=True),
    shape=(64, 64, 3),
))  # fmt: skip
save("sigmoid", small(layers.Rescaling(1 / 255), outputs=1, activation="sigmoid"), as_it_is)
save("oblong", small(layers.Rescaling(1 / 255), shape=(24, 40, 3)), as_it_is)
# LiteRT has no bicubic resize.
bicubic = [layers.Rescaling(1 / 255), layers.Resizing(8, 8, interpolation="bicubic")]
save("bicubic", small(*bicubic), as_it_is)

# Those that must be refused.
save("one_sigmoid_each", small(layers.Rescaling(1 / 255), activation="sigmoid"))
save("lambda", small(layers.Lambda(lambda pixels: pixels / 255)))
save("any_size", keras.Sequential([keras.Input((None, None, 3)), layers.GlobalMaxPooling2D(),
                                   layers.Dense(3, activation="softmax")]))  # fmt: skip
save("never_built", keras.Sequential([layers.Flatten(), layers.Dense(3)]))
one_by_one = keras.Input(batch_shape=(1, 32, 32, 3))
save("batch_of_one", keras.Sequential([one_by_one, layers.Flatten(), layers.Dense(3)]))
pictures = keras.Input((32, 32, 3))
save("picture_to_picture", keras.Model(pictures, layers.Conv2D(3, 1)(pictures)))
both = [layers.Dense(3)(layers.Flatten()(pictures)) for _ in range(2)]
save("two_heads", keras.Model(pictures, both))
contract = Contract(("cat", "dog", "owl"), 40, 24, 3)  # the other way round
contracts.write(small(shape=(24, 40, 3)), folder / "turned.keras", contract)
damaged = bytearray((folder / "logits.keras").read_bytes())
damaged[len(damaged) // 2] ^= 0xFF
(folder / "damaged.keras").write_bytes(damaged)

# A white image makes a logit overflow, and no other image does.
overflows = keras.Sequential(
    [keras.Input((32, 32, 3)), layers.GlobalAveragePooling2D(), layers.Dense(3)]
)
first_class_only = np.array([[5e35, 0, 0]] * 3, "float32")
overflows.layers[-1].set_weights([first_class_only, np.zeros(3)])
save("overflows", overflows)
