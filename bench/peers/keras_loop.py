"""Keras with all processors, on batches that lie there, and nothing else. MODEL BATCH SECONDS."""

import json
import sys
import time

import keras
import numpy as np


def main(model_file: str, batch: int, seconds: float) -> None:
    model = keras.models.load_model(model_file, compile=False)
    shape = (batch, *model.input_shape[1:])
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    for _ in range(2):  # the first lays out its graph
        model.predict_on_batch(pixels)
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        model.predict_on_batch(pixels)
        done += batch
    print(json.dumps({"images": done, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
