"""A neural ODE's field, NN of 13.8: an MLP of the state, and of the time if asked, and its own
backward pass.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..autodiff import Tensor
from ..autodiff.layer import ACTIVATIONS
from ..autodiff.tree import is_float
from ..nn import MLP


class MLPField:
    """f(z, t, theta) = net(theta, z), or net(theta, [z, t]) with time=True.

    MLPField((n, hidden, ..., n), activation="tanh", time=False): z (..., n) -> (..., n);
    theta = field.init(rng) as for MLP, where time=True gives W1 one row more, the last, for t.
    `vjp` is what LinearisedField calls in place of the engine: the same numbers for less than half
    of the time on small states. ValueError when the first and last size differ.

    >>> from refvdm.ode import MLPField, solve
    >>> field = MLPField((2, 16, 2))
    >>> theta = field.init(np.random.default_rng(0))
    >>> solve(field, np.ones((5, 2)), [0.0, 1.0], theta).zs.shape
    (2, 5, 2)
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", time: bool = False):
        sizes = checks.lengths("MLPField: sizes", sizes)
        time = checks.flag("MLPField: time", time)
        if len(sizes) < 2 or sizes[0] != sizes[-1]:
            raise ValueError(f"MLPField: sizes must begin and end with the size of the state, "
                             f"got {sizes!r}")
        self.net, self.time = MLP((sizes[0] + time, *sizes[1:]), activation), time

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """Random parameters, as MLP.init."""
        return self.net.init(rng, dtype)

    def __call__(self, z: Any, t: Any, theta: dict) -> Any:
        if type(z) is np.ndarray and Tensor not in map(type, (t, *theta.values())):
            return self._up(z, t, theta)[-1][0].reshape(z.shape)
        if self.time:
            z = np.concatenate([z, np.broadcast_to(t, (*z.shape[:-1], 1))], axis=-1)
        return self.net(theta, z)

    def vjp(self, z: np.ndarray, t: np.ndarray, theta: dict,
            a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """f, a ∂f/∂z, a ∂f/∂theta (P,) in ravel order, a ∂f/∂t."""
        backward, n = ACTIVATIONS[self.net.activation][1], z.shape[-1]
        x = self._up(z, t, theta)
        floats = {name: np.asarray(leaf) for name, leaf in theta.items() if is_float(leaf)}
        theta_bar = np.zeros(sum([leaf.size for leaf in floats.values()]), z.dtype)
        bars, start = {}, 0
        for name, leaf in floats.items():
            bars[name] = theta_bar[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
        s = a.reshape(-1, n)  # dL/d(x_{l-1} W_l + b_l), from the last layer down
        for layer in range(len(x) - 1, 0, -1):
            np.add.reduce(s, axis=0, out=bars[f"b{layer}"])
            np.matmul(x[layer - 1][0].T, s, out=bars[f"W{layer}"])
            s = s @ theta[f"W{layer}"].T
            if layer > 1:
                s = backward(s, *x[layer - 1])
        t_bar = s[:, n].sum() if self.time else np.zeros((), z.dtype)
        return x[-1][0].reshape(z.shape), s[:, :n].reshape(z.shape), theta_bar, t_bar

    def _up(self, z: np.ndarray, t: np.ndarray, theta: dict) -> list[tuple]:
        """(x_l, what its pull needs) for l = 0, 1, ...: x_0 = z, or [z, t], and then
        x_l = activation(x_{l-1} W_l + b_l), the last layer linear."""
        forward, last = ACTIVATIONS[self.net.activation][0], len(self.net.sizes) - 1
        rows = z.reshape(-1, z.shape[-1])
        if self.time:
            rows = np.concatenate([rows, np.full((len(rows), 1), t, z.dtype)], axis=1)
        x = [(rows, None)]
        for layer in range(1, last + 1):
            y = x[-1][0] @ theta[f"W{layer}"]
            y += theta[f"b{layer}"]
            x.append(forward(y) if layer < last else (y, None))
        return x
