"""Ray Data: images read and batches predicted by actors, one a processor. MODEL FOLDER OUTPUT."""

import sys
from typing import Any

import numpy as np
import ray

BATCH = 256


class Answer:
    """The model in an actor."""

    def __init__(self, model_file: str) -> None:
        import keras

        self._model = keras.models.load_model(model_file)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        scores = self._model.predict_on_batch(np.asarray(batch["image"], np.float32))
        best = scores.argmax(axis=1)
        return {"path": batch["path"], "label": best, "score": scores.max(axis=1)}


def main(model_file: str, folder: str, output: str, height: int, width: int, cores: int) -> None:
    # More than the actors take, or nothing is left for those who read.
    ray.init(num_cpus=2 * cores, include_dashboard=False, log_to_driver=False)
    images = ray.data.read_images(folder, size=(height, width), mode="RGB", include_paths=True)
    answers = images.map_batches(
        Answer,
        fn_constructor_args=(model_file,),
        batch_size=BATCH,
        compute=ray.data.ActorPoolStrategy(size=cores),
    )
    answers.write_csv(output)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:7]))
