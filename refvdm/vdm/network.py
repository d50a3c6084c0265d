"""Denoisers that learn: a network, told x_t and the noise level, behind an output that knows what q has done.

A network is anything with init(rng, dtype) -> theta and network(theta, x, level) -> (batch, n_out), x (batch, D), level (batch, F)
features of gamma_t. The noise level reaches it as gamma, never as t: the same network then serves any T.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff import defvjp, linear
from ..nn import MLP, time_features
from .decoder import level_logits
from .schedule import Schedule, Scheduled

LEVEL_FEATURES = 8


def level_features(gamma: Any, dtype: Any) -> np.ndarray:
    """(batch, 8): sines and cosines of gamma, the slowest nearly linear over gamma in [-10, 10], the fastest at a period of 6."""
    return time_features(gamma, LEVEL_FEATURES, 0.1, 1.0, dtype)


class MLPNetwork:
    """x and the level's features side by side through an MLP: D -> n_out."""

    def __init__(self, D: int, n_out: int, hidden: int = 256, layers: int = 3, activation: str = "silu"):
        self.mlp = MLP((D + LEVEL_FEATURES, *[hidden] * layers, n_out), activation)

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> dict:
        """The MLP's parameters, the last layer 0: training starts from the output's own best guess."""
        theta = self.mlp.init(rng, dtype)
        theta[list(theta)[-2]][:] = 0
        return theta

    def __call__(self, theta: dict, x: Any, level: Any) -> Any:
        return self.mlp(theta, np.concatenate([x, level], axis=-1))


class AxialNetwork:
    """For square images: every pixel has a few channels, and layers mix along rows and columns in turn.

    h (batch, side, side, channels); a layer takes each line of the image as one vector (its pixels' channels and the level's
    features) through one dense layer with silu, shared by all lines, adds it to h and turns the image over its diagonal. Two
    layers see the whole image. side² pixels -> n_out numbers each, flattened to (batch, side² n_out).
    """

    def __init__(self, side: int, n_out: int, channels: int = 12, layers: int = 4):
        if layers % 2 or layers < 2:
            raise ValueError(f"AxialNetwork: layers must be even and positive, to end the way up it began, got {layers}")
        self.side, self.n_out, self.channels, self.layers = side, n_out, channels, layers

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> dict:
        """Random parameters, the last layer 0: training starts from the output's own best guess."""
        side, c, e = self.side, self.channels, LEVEL_FEATURES
        theta = {"in": {"W": rng.standard_normal((1, c)), "place": 0.3 * rng.standard_normal((side, side, c)),
                        "E": rng.standard_normal((e, e)) / np.sqrt(e), "e": np.zeros(e)}}
        for i in range(1, self.layers + 1):
            theta[f"line{i}"] = {"W": rng.standard_normal((side * c + e, side * c)) / np.sqrt(side * c + e), "b": np.zeros(side * c)}
        theta["out"] = {"W": np.zeros((c, self.n_out)), "b": np.zeros(self.n_out)}
        return {name: {key: a.astype(dtype) for key, a in part.items()} for name, part in theta.items()}

    def __call__(self, theta: dict, x: Any, level: Any) -> Any:
        n, side, c = np.shape(x)[0], self.side, self.channels
        first = theta["in"]
        level = linear(level, first["E"], first["e"], "silu")
        level = np.broadcast_to(np.expand_dims(level, 1), (n, side, LEVEL_FEATURES))
        h = np.reshape(x, (n, side, side, 1)) * first["W"][0] + first["place"]
        for i in range(1, self.layers + 1):
            layer = theta[f"line{i}"]
            lines = np.concatenate([np.reshape(h, (n, side, side * c)), level], axis=-1)
            h = h + np.reshape(linear(lines, layer["W"], layer["b"], "silu"), (n, side, side, c))
            h = np.swapaxes(h, 1, 2)
        return np.reshape(linear(h, theta["out"]["W"], theta["out"]["b"]), (n, side * side * self.n_out))


def softmax_mean(logits: Any, values: Any) -> Any:
    """sum_k p_k v_k with p = softmax(logits): logits (..., K), values (K,) -> (...,); arrays and Tensors alike.

    One node for what takes most of a digits step outside the network: sums over a short last axis are slow in NumPy, so both
    of them, of e^l and of e^l v, are one product with two columns.
    """
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    sums = np.matmul(e, np.stack([np.ones_like(values), values], axis=1))
    return sums[..., 1] / sums[..., 0], (e, sums)


def _softmax_mean_pull(y_bar, answer, logits, values):
    # dy/dl_k = p_k (v_k - y)
    y, (e, sums) = answer
    logits_bar = values - y[..., None]
    logits_bar *= e
    logits_bar *= (y_bar / sums[..., 0])[..., None]
    return logits_bar


softmax_mean = defvjp(softmax_mean, _softmax_mean_pull, None, saves=True)


class CategoricalDenoiser(Scheduled):
    """For data on K levels: a categorical for each element, p(x_0 = v_k | x_t), and x_0 hat its mean.

        logits_k = log N(x_t; sqrt(abar_t) v_k, 1 - abar_t) + bias_k + network(x_t)_k

    The first part is exact and carries what x_t says of its own element; the bias is one table (D, K), begun at the elements' own
    log frequencies; the network adds what the other elements say. x_t (batch, D). CategoricalDecoder takes the same
    categorical as p(x_0 | x_1).
    """

    def __init__(self, network: Any, schedule: Schedule, levels: Any):
        self.network, self.schedule, self.levels = network, schedule, np.array(levels, np.float64)

    def init(self, rng: np.random.Generator, x_0: Any = None, dtype: Any = np.float32) -> dict:
        """theta = {"network": ..., "bias": (D, K)}; with training data x_0 (n, D) the bias holds log frequencies.

        Those of each element, smoothed with K more counts that are spread as the levels are over all elements: a level that an
        element has never shown stays possible.
        """
        theta = {"network": self.network.init(rng, dtype)}
        if x_0 is not None:
            counts = np.stack([np.sum(x_0 == v, axis=0) for v in self.levels.astype(x_0.dtype)], axis=1)
            K = len(self.levels)
            overall = (np.sum(counts, axis=0) + 1) / (x_0.size + K)
            theta["bias"] = np.log((counts + K * overall) / (len(x_0) + K)).astype(dtype)
        else:
            theta["bias"] = np.zeros(len(self.levels), dtype)
        return theta

    def logits(self, theta: dict, x_t: Any, t: Any) -> Any:
        """(batch, D, K), not normalised."""
        gamma = np.broadcast_to(self.schedule.gamma_at(t), (len(x_t),))
        learned = self.network(theta["network"], x_t, level_features(gamma, x_t.dtype))
        learned = np.reshape(learned, (*np.shape(x_t), len(self.levels)))
        return learned + level_logits(x_t, gamma, self.levels) + theta["bias"]

    def expectation(self, logits: Any) -> Any:
        """x_0 hat = sum_k v_k p_k, (batch, D)."""
        return softmax_mean(logits, self.levels.astype(logits.dtype))

    def __call__(self, theta: dict, x_t: Any, t: Any) -> Any:
        return self.expectation(self.logits(theta, x_t, t))


class RegressionDenoiser(Scheduled):
    """For float data of about unit scale: x_0 hat = sqrt(abar_t) x_t - sqrt(1 - abar_t) network(x_t), the network predicting v.

    At little noise x_0 hat is x_t, at much it is the network's: neither end divides by what vanishes there. x_t (batch, D).
    """

    def __init__(self, network: Any, schedule: Schedule):
        self.network, self.schedule = network, schedule

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> dict:
        """The network's parameters."""
        return self.network.init(rng, dtype)

    def __call__(self, theta: dict, x_t: Any, t: Any) -> Any:
        gamma = np.broadcast_to(self.schedule.gamma_at(t), (len(x_t),))
        v = self.network(theta, x_t, level_features(gamma, x_t.dtype))
        signal, width = self.schedule.scales_at(t, x_t)
        return signal * x_t - width * v
