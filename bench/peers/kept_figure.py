"""matplotlib as it is advised where speed matters: one figure, kept. FOLDER OUTPUT LIMIT.

Thumbnails alone, of made-up answers. Says how many it did in how many seconds, the first one not
counted.
"""

import json
import sys
import time
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

CLASSES = "airplane", "bird", "cat", "deer"


def main(folder: str, output: str, limit: int) -> None:
    figure = Figure((2.56, 2.56), dpi=100)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.25, 0.8, 0.65))
    axes.set_axis_off()
    picture = axes.imshow(np.zeros((32, 32, 3), np.uint8))
    title = axes.set_title("")
    below = figure.text(0.1, 0.05, "")
    paths = sorted(Path(folder).glob("*.jpg"))[:limit]
    for number, path in enumerate(paths):
        if number == 1:
            began = time.perf_counter()
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        picture.set_data(image[:, :, ::-1])
        title.set_text(f"{CLASSES[number % 4]} {50 + number % 50}%")
        runners = range(number + 1, number + 4)
        below.set_text("\n".join(f"{CLASSES[n % 4]} {n % 17}%" for n in runners))
        canvas.draw()
        drawn = np.asarray(canvas.buffer_rgba())[:, :, 2::-1]
        cv2.imwrite(str(Path(output) / f"{path.stem}.jpg"), drawn)
    print(json.dumps({"images": len(paths) - 1, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:3], int(sys.argv[3]))
