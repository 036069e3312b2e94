"""The networks as they are built; in one process of its own, because Keras takes long to load."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import keras, numpy as np
from trainer.muon import Muon
from trainer.network import accurate_network, mirrored, readme_network

random = np.random.default_rng(0)
images = random.integers(0, 256, (64, 32, 32, 3), dtype=np.uint8)
smooth = np.stack([np.cumsum(np.cumsum(i.astype(float) - 128, 0), 1) for i in images])
images = (127 + 60 * smooth / np.abs(smooth).max()).astype(np.uint8)

# The README says so.
assert readme_network(32, 32, 3, 10).count_params() == 122_570

for shape, classes in (((32, 32, 3), 10), ((16, 40, 1), 2)):
    network = accurate_network(*shape, classes)
    assert network.output_shape == (None, classes)
    assert network.layers[-1].activation is keras.activations.linear

network = accurate_network(32, 32, 3, 10, [images[:40], images[40:]])
to_whitened = keras.Model(network.inputs, network.get_layer("whiten").output)
patches = np.asarray(to_whitened(images.astype("float32"))).reshape(-1, 24)
spread = np.cov(patches[:, :12], rowvar=False)
assert np.abs(patches.mean(axis=0)).max() < 0.01
assert np.abs(spread - np.diag(np.diag(spread))).max() < 0.02
assert np.diag(spread).max() < 1.01
np.testing.assert_allclose(patches[:, :12], -patches[:, 12:], atol=1e-4)

both = mirrored(network)
pixels = images.astype("float32")
np.testing.assert_allclose(both(pixels), both(pixels[:, :, ::-1]), atol=1e-4)
assert np.abs(np.asarray(network(pixels)) - np.asarray(network(pixels[:, :, ::-1]))).max() > 1e-3

# One step at the rate r turns a kernel by about r, whatever its size, and its length stays.
network.compile(Muon(0.1, adam_weight_decay=None, weight_decay=None), "mse")
before = {w.path: w.numpy() for w in network.weights}
network.train_on_batch(pixels, random.normal(size=(64, 10)))
for weight in network.weights:
    old, new = before[weight.path], weight.numpy()
    if "whiten" in weight.path:
        np.testing.assert_array_equal(old, new)
    elif new.ndim == 4:
        outputs = new.shape[-1]
        whole = old * outputs**0.5 / np.linalg.norm(old)
        turned = np.linalg.norm(new - whole) / outputs**0.5
        assert 0.05 < turned < 0.13, (weight.path, turned)

# --from: classes are known by their names, wherever they stand.
from trainer.start import Start
old, new = (readme_network(32, 32, 3, classes) for classes in (3, 4))
fresh = new.layers[-1].get_weights()[0]
Start("a.keras", "0" * 64, ("cat", "dog", "owl"), old).give_to(new, ("ant", "cat", "fox", "owl"))
mine, others = old.layers[-1].get_weights()[0], new.layers[-1].get_weights()[0]
np.testing.assert_array_equal(others[:, [1, 3]], mine[:, [0, 2]])
np.testing.assert_array_equal(others[:, [0, 2]], fresh[:, [0, 2]])
np.testing.assert_array_equal(new.layers[1].get_weights()[0], old.layers[1].get_weights()[0])

# No step of the accurate network is decided by one image or two.
from trainer import fit
from trainer.batches import Batches
from trainer.recipe import recipe_for
from trainer.samples import ArraySamples

counts = (4, 9, 40, 41, 44, 45, 49)
some = [ArraySamples(images[:count], np.zeros(count, np.int64)) for count in counts]
assert [len(Batches(one, 10, drop_small=True)) for one in some] == [1, 1, 4, 4, 4, 5, 5]
assert [len(Batches(one, 10)) for one in some] == [1, 1, 4, 5, 5, 5, 5]
for name, steps in (("accurate", 1), ("readme", 2)):
    recipe = recipe_for(41, name)
    assert recipe.batch_size == 32
    assert len(fit._learning(recipe, some[3], 0)) == steps

# An accurate network that goes on after two epochs ends as one that was never interrupted.
import tempfile
from pathlib import Path
from trainer.checkpoint import Progress
fit._xla_is_faster = lambda: False  # it takes longer to compile than this takes to run
labels = np.arange(64) % 2
samples = ArraySamples((images // 2 + 100 * labels[:, None, None, None]).astype(np.uint8), labels)
recipe = recipe_for(64, "accurate", epochs=4, seed=3)


def fitted(progress, checkpoint):
    return fit.fitted(recipe, ("dark", "light"), samples, samples, progress, checkpoint, None)


with tempfile.TemporaryDirectory() as folder:
    checkpoint = Path(folder) / "training.npz"
    whole = Progress({})
    fitted(whole, checkpoint)
    assert whole.epoch == 4
    keep, cut = Progress.save, Progress({})

    def interrupted(self, path):
        keep(self, path)
        if self.epoch == 2:
            raise KeyboardInterrupt

    Progress.save = interrupted
    try:
        fitted(cut, checkpoint)
        raise SystemExit("not interrupted")
    except KeyboardInterrupt:
        Progress.save = keep
    resumed = Progress.load(checkpoint)
    assert resumed.epoch == 2
    sample, fit._sample = fit._sample, None  # filters that are known are not worked out again
    fitted(resumed, checkpoint)
    fit._sample = sample
    assert resumed.epoch == 4
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    moved = max(np.abs(a - b).max() for a, b in zip(cut.weights, resumed.weights, strict=True))
    assert moved > 0.01, moved

    # Of large images fewer are held at once.
    from trainer.train import logits_of

    class Watched(ArraySamples):
        def pixels(self, indices):
            asked.append(len(indices))
            return super().pixels(indices)

    large = Watched(np.zeros((20, 128, 128, 3), np.uint8), np.arange(20) % 2)
    asked = []
    for part in fit._sample(large, recipe_for(20, "accurate", shape=(128, 128, 3))):
        assert len(part)
    assert max(asked) == 16, asked
    asked = []
    recipe = recipe_for(4, shape=(128, 128, 3), epochs=1)
    four = ArraySamples(large.images[:4], large.labels[:4])
    network = fit.fitted(recipe, ("a", "b"), four, large, Progress({}), checkpoint, None)
    assert max(asked) == 16, asked
    asked = []
    assert logits_of(network, large).shape == (20, 2)
    assert max(asked) == 16, asked
print("ok")
"""


def test_the_networks_are_as_they_should_be() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stdout.endswith("\nok\n"), done.stderr[-2000:]
