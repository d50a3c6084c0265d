"""Denoisers that learn, the θ of 13.29: a network, told x_t and the noise level, behind an output
that knows what q has done.

The noise level reaches the network as features of gamma_t, never as t: so one network serves any T.
"""
from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from .. import checks
from ..autodiff import Array, defvjp, linear
from ..autodiff.tree import Tree
from ..nn import MLP, float_dtype
from .decoder import level_logits, rising
from .schedule import LEVEL_FEATURES, Schedule, Scheduled


class Network(Protocol):
    """What the denoisers below learn with: any object with these two methods.

    >>> from refvdm.vdm import Schedule
    >>> from refvdm.vdm.network import RegressionDenoiser
    >>> class Linear:
    ...     def init(self, rng, dtype=np.float32):
    ...         return {"W": np.zeros((2, 2), dtype)}
    ...     def __call__(self, theta, x, level):
    ...         return x @ theta["W"]
    >>> denoiser = RegressionDenoiser(Linear(), Schedule.cosine(10))
    >>> denoiser(denoiser.init(None, np.float64), np.ones((3, 2)), 5).shape
    (3, 2)
    """

    def init(self, rng: np.random.Generator, dtype: Any = np.float32, /) -> Tree:
        """Random parameters theta, any tree."""

    def __call__(self, theta: Tree, x: Array, level: Array, /) -> Array:
        """(batch, n_out) from x (batch, D) and level (batch, 8), made by Schedule.features_at."""


class MLPNetwork:
    """x and the level's features side by side through an MLP: D -> n_out.

    >>> from refvdm.vdm.network import MLPNetwork
    >>> network = MLPNetwork(2, 6, hidden=16)
    >>> theta = network.init(np.random.default_rng(0), np.float64)
    >>> network(theta, np.zeros((5, 2)), np.zeros((5, 8))).shape
    (5, 6)
    """

    def __init__(self, D: int, n_out: int, hidden: int = 256, layers: int = 3,
                 activation: str = "silu"):
        D = checks.integer("MLPNetwork: D", D)
        n_out = checks.integer("MLPNetwork: n_out", n_out)
        hidden = checks.integer("MLPNetwork: hidden", hidden)
        layers = checks.integer("MLPNetwork: layers", layers, 0)
        self.mlp = MLP((D + LEVEL_FEATURES, *[hidden] * layers, n_out), activation)

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> dict:
        """The MLP's parameters, the last layer 0: training starts from the output's own best
        guess."""
        dtype = float_dtype("MLPNetwork", dtype)
        theta = self.mlp.init(checks.generator("MLPNetwork: rng", rng), dtype)
        theta[list(theta)[-2]][:] = 0
        return theta

    def __call__(self, theta: dict, x: Array, level: Array) -> Array:
        return self.mlp(theta, np.concatenate([x, level], axis=-1))


class AxialNetwork:
    """For square images: every pixel has a few channels, and layers mix along rows and columns in
    turn. side² pixels -> n_out numbers each, flattened to (batch, side² n_out).

    h (batch, side, side, channels) is what a layer works on. It takes each line of the image as one
    vector, its pixels' channels and the level's features, through one dense layer with silu that
    all lines share; adds the result to h; and swaps rows and columns. That is for what neighbours
    say of each other. Where there is so much noise that only the whole image says something, a
    small MLP of two hidden layers that sees all of it is better: h begins as the pixel itself plus
    what the MLP makes of the image. ValueError unless layers is even and positive.

    >>> from refvdm.vdm.network import AxialNetwork
    >>> network = AxialNetwork(side=4, n_out=3)
    >>> theta = network.init(np.random.default_rng(0), np.float64)
    >>> network(theta, np.zeros((5, 16)), np.zeros((5, 8))).shape
    (5, 48)
    """

    def __init__(self, side: int, n_out: int, channels: int = 12, layers: int = 4,
                 hidden: int = 128):
        self.side = checks.integer("AxialNetwork: side", side)
        self.n_out = checks.integer("AxialNetwork: n_out", n_out)
        self.channels = checks.integer("AxialNetwork: channels", channels)
        self.layers = checks.integer("AxialNetwork: layers", layers, 0)
        if layers % 2 or layers < 2:
            raise ValueError("AxialNetwork: layers must be even and positive, to end the way up it "
                             f"began, got {layers}")
        hidden = checks.integer("AxialNetwork: hidden", hidden)
        c, e, n_line = self.channels, LEVEL_FEATURES, self.side * self.channels
        self.whole = MLP((self.side**2 + e, hidden, hidden, self.side * n_line), "silu")
        self._shapes: dict[str, dict] = {
            "in": {"W": (1, c), "E": (e, e), "e": (e,)},
            "whole": self.whole._shapes,
            **{f"line{i}": {"W": (n_line + e, n_line), "b": (n_line,)}
               for i in range(1, self.layers + 1)},
            "out": {"W": (c, self.n_out), "b": (self.n_out,)}}

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> dict:
        """Random parameters, the last layer 0: training starts from the output's own best guess."""
        dtype = float_dtype("AxialNetwork", dtype)
        normal = checks.generator("AxialNetwork: rng", rng).standard_normal
        c, e = self.channels, LEVEL_FEATURES
        n_line, n_in = self.side * c, self.side * c + e
        whole = self.whole.init(rng)
        # the last bias is what tells one place from another
        whole |= {"W3": 0.3 * whole["W3"], "b3": 0.3 * normal(self.side * n_line)}
        theta = {"in": {"W": normal((1, c)), "E": normal((e, e)) / np.sqrt(e), "e": np.zeros(e)},
                 "whole": whole}
        for i in range(1, self.layers + 1):
            theta[f"line{i}"] = {"W": normal((n_in, n_line)) / np.sqrt(n_in), "b": np.zeros(n_line)}
        theta["out"] = {"W": np.zeros((c, self.n_out)), "b": np.zeros(self.n_out)}
        return {name: {key: a.astype(dtype) for key, a in part.items()}
                for name, part in theta.items()}

    def __call__(self, theta: dict, x: Array, level: Array) -> Array:
        self._check(theta, x, level)
        n, side, c = len(x), self.side, self.channels
        first = theta["in"]
        level = linear(level, first["E"], first["e"], "silu")
        whole = self.whole(theta["whole"], np.concatenate([x, level], axis=-1))
        level = np.broadcast_to(np.expand_dims(level, 1), (n, side, LEVEL_FEATURES))
        h = np.reshape(x, (n, side, side, 1)) * first["W"][0]
        h = h + np.reshape(whole, (n, side, side, c))
        for i in range(1, self.layers + 1):
            layer = theta[f"line{i}"]
            lines = np.concatenate([np.reshape(h, (n, side, side * c)), level], axis=-1)
            h = h + np.reshape(linear(lines, layer["W"], layer["b"], "silu"), (n, side, side, c))
            h = np.swapaxes(h, 1, 2)
        out = linear(h, theta["out"]["W"], theta["out"]["b"])
        return np.reshape(out, (n, side * side * self.n_out))

    def _check(self, theta: Any, x: Any, level: Any) -> None:
        checks.floats("AxialNetwork: x", x, ("batch", self.side**2))
        checks.floats("AxialNetwork: level", level, (len(x), LEVEL_FEATURES))
        checks.keys("AxialNetwork: theta", theta, self._shapes)
        for name, shapes in self._shapes.items():
            checks.parameters(f"AxialNetwork: theta[{name!r}]", theta[name], shapes)


def softmax_mean(logits: Array, values: Array) -> Any:
    """Σ_k p_k v_k with p = softmax(logits): logits (..., K), values (K,) -> (...,); arrays and
    Tensors alike.

    One node, for what takes most of a digits step outside the network. Sums over a short last axis
    are slow in NumPy, so both of them, of e^l and of e^l v, are one product with two columns.
    """
    e = np.exp(logits - np.max(logits, axis=-1, keepdims=True))
    sums = np.matmul(e, np.stack([np.ones_like(values), values], axis=1))
    return sums[..., 1] / sums[..., 0], (e, sums)


def _softmax_mean_pull(y_bar: Array, answer: tuple, logits: Array, values: Array) -> Array:
    # ∂y/∂l_k = p_k (v_k - y)
    y, (e, sums) = answer
    logits_bar = values - y[..., None]
    logits_bar *= e
    logits_bar *= (y_bar / sums[..., 0])[..., None]
    return logits_bar


softmax_mean = defvjp(softmax_mean, _softmax_mean_pull, None, saves=True)


class CategoricalDenoiser(Scheduled):
    """For data on K levels: a categorical for each element, p(x_0 = v_k | x_t), and x̂_0 its mean.

        logits_k = log N(x_t; √ᾱ_t v_k, 1 - ᾱ_t) + bias_k + network(x_t)_k

    The first part is exact and carries what x_t says of its own element. The bias is one table
    (D, K), begun at the elements' own log frequencies. The network adds what the other elements
    say. x_t (batch, D). CategoricalDecoder takes the same categorical as p(x_0 | x_1).

    >>> from refvdm.vdm import Schedule
    >>> from refvdm.vdm.network import CategoricalDenoiser, MLPNetwork
    >>> levels = np.array([-1.0, 0.0, 1.0])
    >>> denoiser = CategoricalDenoiser(MLPNetwork(2, 6, hidden=16), Schedule.cosine(10), levels)
    >>> theta = denoiser.init(np.random.default_rng(0), dtype=np.float64)
    >>> denoiser.logits(theta, np.zeros((5, 2)), 10).shape
    (5, 2, 3)
    """

    def __init__(self, network: Network, schedule: Schedule, levels: Any):
        self.network, self.schedule = _network_and_schedule(self, network, schedule)
        self.levels = rising("CategoricalDenoiser: levels", levels)

    def init(self, rng: np.random.Generator, x_0: Any = None, dtype: Any = np.float32) -> dict:
        """theta = {"network": ..., "bias": ...}. With training data x_0 (n, D) the bias (D, K)
        holds log frequencies, else it is zeros (K,).

        The frequencies are those of each element, smoothed with K more counts that are spread as
        the levels are over all elements: a level that an element has never shown stays possible.
        """
        theta, K = {"network": self.network.init(rng, dtype)}, len(self.levels)
        if x_0 is None:
            return theta | {"bias": np.zeros(K, dtype)}
        x_0 = checks.floats("CategoricalDenoiser: x_0", x_0, ("n", "D"))
        levels = self.levels.astype(x_0.dtype)
        counts = np.stack([np.sum(x_0 == v, axis=0) for v in levels], axis=1)
        if counts.sum() != x_0.size:
            raise ValueError("CategoricalDenoiser: x_0 must hold levels only, got "
                             f"{x_0.size - counts.sum()} other numbers")
        overall = (np.sum(counts, axis=0) + 1) / (x_0.size + K)
        bias = np.log((counts + K * overall) / (len(x_0) + K))
        return theta | {"bias": bias.astype(dtype)}

    def logits(self, theta: dict, x_t: Array, t: Any) -> Array:
        """(batch, D, K), not normalised."""
        x_t = _asked(self, x_t, t, ("batch", "D"))
        self._check_bias(checks.keys("CategoricalDenoiser: theta", theta, ("network", "bias")), x_t)
        gamma = np.broadcast_to(self.schedule.gamma_at(t), (len(x_t),))
        learned = self.network(theta["network"], x_t, self.schedule.features_at(t, x_t))
        (n, D), K = x_t.shape, len(self.levels)
        learned = checks.returned("the network", learned, (n, D * K), t)
        learned = np.reshape(learned, (n, D, K))
        return learned + level_logits(x_t, gamma, self.levels) + theta["bias"]

    def _check_bias(self, theta: dict, x_t: Array) -> None:
        K, bias = len(self.levels), checks.floats("CategoricalDenoiser: theta['bias']",
                                                  theta["bias"], (...,))
        if bias.shape not in ((K,), (x_t.shape[1], K)):
            raise ValueError(f"CategoricalDenoiser: theta['bias'] must have shape ({K},) or "
                             f"{(x_t.shape[1], K)}, got {bias.shape}")

    def expectation(self, logits: Array) -> Array:
        """x̂_0 = Σ_k v_k p_k, (batch, D)."""
        return softmax_mean(logits, self.levels.astype(logits.dtype))

    def __call__(self, theta: dict, x_t: Array, t: Any) -> Array:
        return self.expectation(self.logits(theta, x_t, t))


def _asked(denoiser: Any, x_t: Any, t: Any, shape: tuple = checks.BATCH) -> Array:
    """x_t, checked, and t beside it."""
    x_t = checks.floats(f"{type(denoiser).__name__}: x_t", x_t, shape)
    if np.shape(t) not in ((), (len(x_t),)):
        raise ValueError(f"{type(denoiser).__name__}: t must be one number or have shape "
                         f"({len(x_t)},), got {np.shape(t)}")
    return x_t


def _network_and_schedule(denoiser: Any, network: Any, schedule: Any) -> tuple[Any, Schedule]:
    name = type(denoiser).__name__
    checks.function(f"{name}: network", network, "network(theta, x, level)")
    return network, checks.instance(f"{name}: schedule", schedule, Schedule)


class RegressionDenoiser(Scheduled):
    """For float data of about unit scale: x̂_0 = √ᾱ_t x_t - √(1 - ᾱ_t) network(x_t), so that the
    network predicts v.

    At little noise x̂_0 is x_t, at much it is the network's: neither end divides by what vanishes
    there. x_t (batch, D).

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> from refvdm.vdm.network import MLPNetwork, RegressionDenoiser
    >>> schedule, rng = Schedule.cosine(10), np.random.default_rng(0)
    >>> denoiser = RegressionDenoiser(MLPNetwork(2, 2, hidden=16), schedule)
    >>> vdm, theta = VDM(denoiser, schedule, GaussianDecoder(0.01)), denoiser.init(rng, np.float64)
    >>> vdm.elbo_estimate(theta, np.zeros((4, 2)), rng).total.shape
    (4,)
    """

    def __init__(self, network: Network, schedule: Schedule):
        self.network, self.schedule = _network_and_schedule(self, network, schedule)

    def init(self, rng: np.random.Generator, dtype: Any = np.float32) -> Tree:
        """The network's parameters."""
        return self.network.init(rng, dtype)

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        x_t = _asked(self, x_t, t)
        v = self.network(theta, x_t, self.schedule.features_at(t, x_t))
        v = checks.returned("the network", v, x_t.shape, t)
        signal, width = self.schedule.scales_at(t, x_t)
        return signal * x_t - width * v
