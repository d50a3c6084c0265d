"""A neural ODE's field: an MLP of the state, and of the time if asked, with its backward pass written by hand."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..autodiff.rules import ACTIVATIONS
from ..nn import MLP


class MLPField:
    """f(z, t, theta) = net(theta, z), or net(theta, [z, t]) with time=True.

    MLPField((n, hidden, ..., n), activation="tanh", time=False): z (..., n) -> (..., n); theta = field.init(rng) as for MLP, where
    time=True gives W1 one row more, the last, for t. `vjp` is what LinearisedField calls in place of the engine: the same numbers
    for a third of the time on small states. ValueError when the first and last size differ.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "tanh", time: bool = False):
        if len(sizes) < 2 or sizes[0] != sizes[-1]:
            raise ValueError(f"MLPField: sizes must begin and end with the size of the state, got {sizes!r}")
        self.net, self.time = MLP((sizes[0] + time, *sizes[1:]), activation), time

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        return self.net.init(rng, dtype)

    def __call__(self, z: Any, t: Any, theta: dict) -> Any:
        if self.time:
            z = np.concatenate([z, np.broadcast_to(t, (*z.shape[:-1], 1))], axis=-1)
        return self.net(theta, z)

    def vjp(self, z: np.ndarray, t: np.ndarray, theta: dict, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict, np.ndarray]:
        """f, a df/dz, a df/dtheta, a df/dt: layers up, layers down."""
        forward, backward = ACTIVATIONS[self.net.activation]
        last, n = len(self.net.sizes) - 1, z.shape[-1]
        W = [theta[f"W{layer}"] for layer in range(1, last + 1)]
        # up: x_l = activation(x_{l-1} W_l + b_l), the last layer linear
        x, inputs, outputs = z.reshape(-1, n), [], []
        for layer in range(1, last + 1):
            inputs.append(x)
            x = x @ (W[0][:n] if layer == 1 else W[layer - 1])
            x += theta[f"b{layer}"] + t * W[0][n] if layer == 1 and self.time else theta[f"b{layer}"]
            if layer < last:
                outputs.append(forward(x))
                x = outputs[-1][0]
        # down: s_l = dL/d(x_{l-1} W_l + b_l), from the last layer's, a
        s, theta_bar, t_bar = a.reshape(-1, n), {}, np.zeros((), z.dtype)
        for layer in range(last, 0, -1):
            W_bar, b_bar = inputs[layer - 1].T @ s, s.sum(axis=0)
            if layer == 1 and self.time:
                t_bar = b_bar @ W[0][n]
                W_bar = np.concatenate([W_bar, t * b_bar[None]])
            theta_bar[f"W{layer}"], theta_bar[f"b{layer}"] = W_bar, b_bar
            s = s @ (W[0][:n] if layer == 1 else W[layer - 1]).T
            if layer > 1:
                s = backward(s, *outputs[layer - 2])
        theta_bar = {name: theta_bar[name] for name in theta}
        return x.reshape(z.shape), s.reshape(z.shape), theta_bar, t_bar
