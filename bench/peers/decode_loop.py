"""Reading, decoding, resizing to the model's size, and nothing else: half of the limit.

PROCESSOR NUMBER COUNT FOLDER HEIGHT WIDTH SECONDS: see `processes.on_every_processor`.
"""

import json
import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np

cv2.setNumThreads(1)


def main(folder: str, number: int, count: int, height: int, width: int, seconds: float) -> None:
    paths = [str(path) for path in sorted(Path(folder).glob("*.jpg"))[number::count]]
    print("ready", flush=True)
    sys.stdin.readline()
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        for path in paths[:64]:
            with open(path, "rb") as file:  # noqa: PTH123
                data = file.read()
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            if image.shape[:2] != (height, width):
                way = cv2.INTER_AREA if image.shape[0] >= height else cv2.INTER_LINEAR
                cv2.resize(image, (width, height), interpolation=way)
        done += len(paths[:64])
        paths = paths[64:] + paths[:64]
    print(json.dumps({"images": done, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    main(sys.argv[4], *map(int, (*sys.argv[2:4], *sys.argv[5:7])), float(sys.argv[7]))
