"""The peer: one image after the other, as tutorials write it. MODEL FOLDER OUTPUT LIMIT."""

import csv
import sys
from pathlib import Path

import keras
import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")  # fmt: skip


def main(model_file: str, folder: str, output: str, limit: int) -> None:
    model = keras.models.load_model(model_file)
    results = Path(output)
    with (results / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for path in sorted(Path(folder).rglob("*.jpg"))[:limit]:
            image = keras.utils.load_img(path, target_size=(32, 32))
            scores = model.predict(np.expand_dims(keras.utils.img_to_array(image), 0), verbose=0)[0]
            label = CLASSES[scores.argmax()]
            plt.imshow(image)
            plt.title(f"{label} {scores.max():.0%}")
            plt.savefig(results / f"{path.stem}.png")
            plt.close()
            writer.writerow([path, label, scores.max()])


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
