"""Muon for the kernels of convolutions, Adam for all else."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


class Muon(keras.optimizers.Muon):  # type: ignore[misc]  # Keras has no types
    """Keras's Muon, which takes matrices alone, for kernels (rows, columns, inputs, outputs).

    A kernel is a matrix (rows * columns * inputs, outputs) to it. As batch normalisation follows,
    its length has no meaning; it is brought to sqrt(outputs) at every step, so that the learning
    rate says by how much a kernel turns, from the first step to the last.

    The method: K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    """

    def _should_use_adamw(self, variable: Any) -> bool:
        return len(variable.shape) != 4

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        nesterov = gradient + self.momentum * m
        outputs = variable.shape[-1]
        turned = self.zeropower_via_newtonschulz5(
            ops.reshape(nesterov, (-1, outputs)), self.ns_steps
        )
        length = ops.sqrt(ops.sum(ops.square(variable))) + 1e-7
        whole = variable * (outputs**0.5 / length)
        self.assign(variable, whole - lr * ops.reshape(turned, variable.shape))
