"""Keras's own way to classify a folder, in batches and without thumbnails. MODEL FOLDER OUTPUT."""

import csv
import sys
from pathlib import Path

import keras

BATCH = 256  # faster than its default of 32


def main(model_file: str, folder: str, output: str) -> None:
    model = keras.models.load_model(model_file)
    images = keras.utils.image_dataset_from_directory(
        folder, labels=None, shuffle=False, image_size=model.input_shape[1:3],
        batch_size=BATCH, verbose=False,
    )  # fmt: skip
    scores = model.predict(images, verbose=0)
    with (Path(output) / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for path, row in zip(images.file_paths, scores, strict=True):
            writer.writerow([path, row.argmax(), row.max()])


if __name__ == "__main__":
    main(*sys.argv[1:4])
