"""`imread` and resize, as photos are read everywhere: each decoded whole.

PROCESSOR NUMBER COUNT FOLDER HEIGHT WIDTH: see `processes.on_every_processor`.
"""

import json
import os
import sys
import time
from pathlib import Path

import cv2

cv2.setNumThreads(1)


def main(folder: str, number: int, count: int, height: int, width: int) -> None:
    paths = sorted(Path(folder).glob("*.jpg"))[number::count]
    print("ready", flush=True)
    sys.stdin.readline()
    began = time.perf_counter()
    for path in paths:
        image = cv2.imread(str(path))
        cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    print(json.dumps({"images": len(paths), "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    main(sys.argv[4], *map(int, (*sys.argv[2:4], *sys.argv[5:7])))
