"""One image after the other, as tutorials write it. MODEL FOLDER OUTPUT LIMIT.

Says how many images it did in how many seconds, its start and the first image not counted.
"""

import csv
import json
import sys
import time
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
    paths = sorted(Path(folder).rglob("*.jpg"))[:limit]
    with (results / "results.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        for number, path in enumerate(paths):
            if number == 1:
                began = time.perf_counter()
            image = keras.utils.load_img(path, target_size=(32, 32))
            scores = model.predict(np.expand_dims(keras.utils.img_to_array(image), 0), verbose=0)[0]
            label = CLASSES[scores.argmax()]
            plt.imshow(image)
            plt.title(f"{label} {scores.max():.0%}")
            plt.savefig(results / f"{path.stem}.png")
            plt.close()
            writer.writerow([path, label, scores.max()])
    print(json.dumps({"images": len(paths) - 1, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
