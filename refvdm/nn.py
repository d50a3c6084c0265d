"""The multilayer perceptron and the features that tell a network the time."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .autodiff import Array, Tensor, linear
from .autodiff.layer import ACTIVATIONS
from .autodiff.tree import Tree


class MLP:
    """net(theta, x): x @ W1 + b1, activation, ..., last layer linear.

    x (..., n_in) -> (..., n_out). MLP((n_in, hidden, ..., n_out), activation="tanh"), the
    activation one of "identity", "tanh", "silu", "relu". theta is a dict {"W1": (n_in, hidden),
    "b1": (hidden,), "W2": ...} in layer order; x @ W + b, so W is the transpose of torch's weight.
    ValueError for fewer than two sizes, sizes below 1, or an unknown activation.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh"):
        if len(sizes) < 2 or not all(isinstance(n, (int, np.integer)) and n > 0 for n in sizes):
            raise ValueError(f"MLP: sizes must be at least two positive integers "
                             f"(n_in, ..., n_out), got {sizes!r}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"MLP: activation must be one of {', '.join(ACTIVATIONS)}, "
                             f"got {activation!r}")
        self.sizes, self.activation = tuple(int(n) for n in sizes), activation

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """Random parameters: b = 0, W ~ N(0, 1/n_in): unit inputs give unit pre-activations."""
        if np.dtype(dtype).kind != "f":
            raise TypeError(f"MLP: parameters must be of a float dtype, got {np.dtype(dtype)}")
        theta = {}
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:]), start=1):
            theta[f"W{layer}"] = (rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)).astype(dtype)
            theta[f"b{layer}"] = np.zeros(n_out, dtype)
        return theta

    def __call__(self, theta: Tree, x: Array) -> Array:
        last = len(self.sizes) - 1
        for layer in range(1, last):
            x = linear(x, theta[f"W{layer}"], theta[f"b{layer}"], self.activation)
        return linear(x, theta[f"W{last}"], theta[f"b{last}"])


def time_features(t: Array, n: int, lowest: float, highest: float,
                  dtype: Any = np.float64) -> Array:
    """[sin(w_1 t), ..., sin(w_m t), cos(w_1 t), ..., cos(w_m t)], m = n/2.

    t (batch,) real or integer, in any unit the frequencies are meant for -> (batch, n); w goes from
    `lowest` to `highest` in equal ratios. Bounded, and smooth in t at every scale between 1/highest
    and 1/lowest. ValueError when n is not even and positive or 0 < lowest <= highest fails.
    """
    if type(t) is Tensor:  # a noise level that is learned; float64, as its schedule
        angle = np.expand_dims(t, -1) * _frequencies(n, lowest, highest)
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    angle = np.asarray(t, np.float64)[..., None] * _frequencies(n, lowest, highest)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1).astype(dtype)


@functools.cache
def _frequencies(n: int, lowest: float, highest: float) -> np.ndarray:
    if n < 2 or n % 2:
        raise ValueError(f"time_features: n must be even and at least 2, got {n}")
    if not 0 < lowest <= highest:
        raise ValueError(f"time_features: expected 0 < lowest <= highest, "
                         f"got {lowest} and {highest}")
    return np.geomspace(lowest, highest, n // 2)
