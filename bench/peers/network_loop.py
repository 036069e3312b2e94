"""The compiled network, run with one thread on pixels that lie there, and nothing else.

PROCESSOR NUMBER COUNT PROGRAM BATCH SECONDS: see `processes.on_every_processor`.
"""

import json
import os
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(program: str, batch: int, seconds: float) -> None:
    interpreter = Interpreter(program, num_threads=1)
    tensor = interpreter.get_input_details()[0]
    shape = [batch, *tensor["shape"][1:]]
    interpreter.resize_tensor_input(tensor["index"], shape, strict=True)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    interpreter.set_tensor(tensor["index"], pixels)
    interpreter.invoke()
    print("ready", flush=True)
    sys.stdin.readline()
    done, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        interpreter.invoke()
        done += batch
    print(json.dumps({"images": done, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    main(sys.argv[4], int(sys.argv[5]), float(sys.argv[6]))
