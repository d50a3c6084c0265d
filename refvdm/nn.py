"""The multilayer perceptron and the features that tell a network the time."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import checks
from .autodiff import Array, Tensor, linear
from .autodiff.layer import ACTIVATIONS
from .autodiff.tree import Tree

__all__ = ["MLP", "time_features"]


class MLP:
    """net(theta, x): x @ W1 + b1, activation, ..., last layer linear.

    x (..., n_in) -> (..., n_out). MLP((n_in, hidden, ..., n_out), activation="tanh"), the
    activation one of "identity", "tanh", "silu", "relu". theta is a dict {"W1": (n_in, hidden),
    "b1": (hidden,), "W2": ...} in layer order; x @ W + b, so W is the transpose of torch's weight.
    ValueError for fewer than two sizes, sizes below 1, an unknown activation, and a theta or an x
    of other keys or shapes; TypeError for arrays of anything but floats. Values are not looked at
    here, where nan goes through: who takes the result looks at it, once.

    >>> from refvdm.nn import MLP
    >>> net = MLP((2, 16, 1), activation="silu")
    >>> theta = net.init(np.random.default_rng(0))
    >>> list(theta), net(theta, np.zeros((5, 2))).shape
    (['W1', 'b1', 'W2', 'b2'], (5, 1))
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh"):
        try:
            self.sizes = checks.lengths("sizes", sizes, axes=2)
        except ValueError:
            self.sizes = (0,)
        if 0 in self.sizes:
            raise ValueError(f"MLP: sizes must be at least two positive integers "
                             f"(n_in, ..., n_out), got {sizes!r}")
        self.activation = checks.one_of("MLP: activation", activation, ACTIVATIONS)
        self._shapes: dict[str, tuple] = {}
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:]), start=1):
            self._shapes |= {f"W{layer}": (n_in, n_out), f"b{layer}": (n_out,)}

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """Random parameters: b = 0, W ~ N(0, 1/n_in): unit inputs give unit pre-activations."""
        dtype, theta = float_dtype("MLP", dtype), {}
        rng = checks.generator("MLP.init: rng", rng)
        for layer, (n_in, n_out) in enumerate(zip(self.sizes, self.sizes[1:]), start=1):
            theta[f"W{layer}"] = (rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)).astype(dtype)
            theta[f"b{layer}"] = np.zeros(n_out, dtype)
        return theta

    def __call__(self, theta: Tree, x: Array) -> Array:
        checks.parameters("MLP: theta", theta, self._shapes)
        x = checks.floats("MLP: x", x, (..., self.sizes[0]), finite=False)
        last = len(self.sizes) - 1
        for layer in range(1, last):
            x = linear(x, theta[f"W{layer}"], theta[f"b{layer}"], self.activation)
        return linear(x, theta[f"W{last}"], theta[f"b{last}"])


def float_dtype(who: str, dtype: Any) -> np.dtype:
    """The dtype of parameters: real floats, in the machine's byte order. TypeError for others,
    which would round them to 0.

    >>> from refvdm.nn import float_dtype
    >>> float_dtype("init", np.float32)
    dtype('float32')
    """
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(f"{who}: dtype must be that of real floats, got {dtype!r}") from None
    if found.kind != "f":
        raise TypeError(f"{who}: parameters must be of a float dtype, got {found}")
    return np.dtype(found.type)


def time_features(t: Array, n: int, lowest: float, highest: float,
                  dtype: Any = np.float64) -> Array:
    """[sin(w_1 t), ..., sin(w_m t), cos(w_1 t), ..., cos(w_m t)], m = n/2.

    t (batch,) real or integer, in any unit the frequencies are meant for -> (batch, n); w goes from
    `lowest` to `highest` in equal ratios. Bounded, and smooth in t at every scale between 1/highest
    and 1/lowest. ValueError when n is not even and positive, 0 < lowest <= highest fails, or t is
    not finite; TypeError for a t of anything but real numbers.

    >>> from refvdm.nn import time_features
    >>> time_features(np.array([0.0, np.pi / 2]), 4, 1.0, 2.0).round(12).tolist()
    [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, -1.0]]
    """
    dtype = float_dtype("time_features", dtype)
    try:
        frequencies = _frequencies(n, lowest, highest)
    except TypeError:  # what cannot be a key is no number
        raise TypeError(f"time_features: n, lowest and highest must be numbers, got {n!r}, "
                        f"{lowest!r} and {highest!r}") from None
    if type(t) is Tensor:  # a noise level that is learned; float64, as its schedule
        checks.floats("time_features: t", t, (...,))
        angle = np.expand_dims(t, -1) * frequencies
        return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1)
    angle = checks.reals("time_features: t", t, (...,))[..., None] * frequencies
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=-1).astype(dtype)


@functools.lru_cache(typed=True)  # 4.0 is not 4
def _frequencies(n: int, lowest: float, highest: float) -> np.ndarray:
    if not isinstance(n, (int, np.integer)) or n < 2 or n % 2:
        raise ValueError(f"time_features: n must be even and at least 2, got {n!r}")
    ends = (lowest, highest)
    numbers = all(isinstance(w, (int, float, np.number)) and type(w) is not bool for w in ends)
    if not numbers or not 0 < lowest <= highest < np.inf:
        raise ValueError(f"time_features: expected 0 < lowest <= highest, "
                         f"got {lowest!r} and {highest!r}")
    return np.geomspace(lowest, highest, n // 2)
