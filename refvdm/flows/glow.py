"""What makes a Glow step (Kingma and Dhariwal 2018) of the PLU layer: ActNorm and affine coupling;
for images squeeze and split. Conventions: layer.py."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..autodiff.tree import Tree
from ..gaussian import sum_per_example
from ..nn import MLP, float_dtype
from .layer import Array, Layer, is_layer, passed, per_example


class ActNorm(Layer):
    """y = (x + shift) exp(log_scale), log_det = positions * sum(log_scale).

    theta = {"shift": (d,), "log_scale": (d,)}. init(rng, data) gives every feature of y mean 0 and
    variance 1 (ddof = 0) over the data (batch, ..., d); without data it is the identity.
    ValueError for a feature that is constant in the data, and for a theta of other keys or shapes
    or with nan; TypeError for other than floats. Cost: 2 d flops a position.

    >>> from refvdm.flows import ActNorm
    >>> layer, data = ActNorm(1), np.array([[1.0], [5.0]])
    >>> layer.forward(layer.init(np.random.default_rng(0), data), data)[0].tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, d: int):
        self.d = checks.integer("ActNorm: d", d)

    def init(self, rng: Any, data: Array | None = None, dtype: Any = np.float64) -> Tree:
        dtype = float_dtype("ActNorm", dtype)
        if data is None:
            return {"shift": np.zeros(self.d, dtype), "log_scale": np.zeros(self.d, dtype)}
        rows = self._input("ActNorm.init: data", data).reshape(-1, self.d)
        constant = rows.max(axis=0, initial=-np.inf) <= rows.min(axis=0, initial=np.inf)
        if constant.any():
            raise ValueError(f"ActNorm.init: features {np.flatnonzero(constant).tolist()} are "
                             f"constant in the data: no scale gives them variance 1")
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        return {"shift": -mean.astype(dtype), "log_scale": -np.log(deviation).astype(dtype)}

    def forward(self, theta: Tree, x: Array) -> tuple[Array, Array]:
        x, (shift, log_scale) = self._input("ActNorm: x", x), self._parameters(theta)
        return (x + shift) * np.exp(log_scale), per_example(np.sum(log_scale), x)

    def inverse(self, theta: Tree, y: Array) -> tuple[Array, Array]:
        y, (shift, log_scale) = self._input("ActNorm: y", y), self._parameters(theta)
        return y * np.exp(-log_scale) - shift, per_example(-np.sum(log_scale), y)

    def _input(self, name: str, x: Any) -> Array:
        return checks.floats(name, x, ("batch", ..., self.d))

    def _parameters(self, theta: Tree) -> list[Array]:
        checks.parameters("ActNorm: theta", theta, {"shift": (self.d,), "log_scale": (self.d,)})
        return [checks.floats(f"ActNorm: theta[{key!r}]", theta[key], (self.d,))
                for key in ("shift", "log_scale")]


class AffineCoupling(Layer):
    """One half of x stays, and says how to scale and shift the other (RealNVP).

        x = [x_1, x_2] at d//2            [r, t] = net(x_1)
        y = [x_1, x_2 exp(s) + t]         s = bound tanh(r / bound)         log_det = sum(s)

    The Jacobian is triangular. With swap=True x_2 stays and x_1 moves; alternate. exp(s) lies in
    [exp(-bound), exp(bound)], so the inverse cannot blow up. The net is an MLP with two hidden
    layers of `hidden` tanh units, the same at every position; its last layer starts at 0, so that
    the layer starts as the identity. d may be odd. ValueError for d < 2, for a theta that is not
    the net's, and when the net returns nan. Cost, also of the inverse: that of the net.

    >>> from refvdm.flows import AffineCoupling
    >>> layer, x = AffineCoupling(4), np.arange(8.0).reshape(2, 4)
    >>> theta = layer.init(np.random.default_rng(0))
    >>> np.allclose(layer.inverse(theta, layer.forward(theta, x)[0])[0], x)
    True
    """

    def __init__(self, d: int, hidden: int = 64, swap: bool = False, bound: float = 2.0):
        self.d = checks.integer("AffineCoupling: d", d, least=2)
        if not isinstance(swap, (bool, np.bool_)):
            raise TypeError(f"AffineCoupling: swap must be a bool, got {swap!r}")
        self.swap, self.bound = bool(swap), checks.positive("AffineCoupling: bound", bound)
        hidden = checks.integer("AffineCoupling: hidden", hidden)
        moving = self.d // 2 if swap else self.d - self.d // 2
        self.net = MLP((self.d - moving, hidden, hidden, 2 * moving))

    def init(self, rng: np.random.Generator, data: Array | None = None,
             dtype: Any = np.float64) -> Tree:
        theta = self.net.init(rng, dtype)
        return theta | {"W3": np.zeros_like(theta["W3"])}

    def forward(self, theta: Tree, x: Array) -> tuple[Array, Array]:
        still, moving = self._halves(checks.floats("AffineCoupling: x", x, ("batch", ..., self.d)))
        s, t = self._scale_and_shift(theta, still)
        return self._joined(still, moving * np.exp(s) + t), sum_per_example(s)

    def inverse(self, theta: Tree, y: Array) -> tuple[Array, Array]:
        still, moving = self._halves(checks.floats("AffineCoupling: y", y, ("batch", ..., self.d)))
        s, t = self._scale_and_shift(theta, still)
        return self._joined(still, (moving - t) * np.exp(-s)), -sum_per_example(s)

    def _scale_and_shift(self, theta: Tree, still: Array) -> tuple[Array, Array]:
        out = checks.floats("AffineCoupling: net(theta, x)", self.net(theta, still), (...,))
        n = out.shape[-1] // 2
        return self.bound * np.tanh(out[..., :n] / self.bound), out[..., n:]

    def _halves(self, x: Array) -> tuple[Array, Array]:
        first, second = x[..., : self.d // 2], x[..., self.d // 2 :]
        return (second, first) if self.swap else (first, second)

    def _joined(self, still: Array, moving: Array) -> Array:
        return np.concatenate([moving, still] if self.swap else [still, moving], axis=-1)


class Squeeze(Layer):
    """(batch, h, w, c) to (batch, h/f, w/f, c f²): f by f neighbours become channels.

    The new channels are ordered (c, fy, fx). log_det 0, no cost. ValueError when h or w is not a
    multiple of f.

    >>> from refvdm.flows import Squeeze
    >>> Squeeze().forward((), np.zeros((1, 4, 6, 3)))[0].shape
    (1, 2, 3, 12)
    """

    def __init__(self, factor: int = 2):
        self.factor = checks.integer("Squeeze: factor", factor)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        f, shape = self.factor, checks.lengths("Squeeze: shape", shape)
        if len(shape) != 3 or shape[0] % f or shape[1] % f:
            raise ValueError(f"Squeeze: the shape of an example x must be (h, w, c) with h and "
                             f"w multiples of {f}, got {shape}")
        return shape[0] // f, shape[1] // f, shape[2] * f * f

    def forward(self, theta: Tree, x: Array) -> tuple[Array, Array]:
        x, f = checks.floats("Squeeze: x", x), self.factor
        n, (h, w, c) = len(x), self.output_shape(x.shape[1:])
        blocks = np.reshape(x, (n, h, f, w, f, c // (f * f)))
        return np.reshape(np.transpose(blocks, (0, 1, 3, 5, 2, 4)), (n, h, w, c)), _zeros(x)

    def inverse(self, theta: Tree, y: Array) -> tuple[Array, Array]:
        y, f = checks.floats("Squeeze: y", y, ("batch", "h", "w", "c")), self.factor
        n, h, w, c = y.shape
        if c % (f * f):
            raise ValueError(f"Squeeze: y must have shape (batch, h, w, c) with c a multiple of "
                             f"{f * f}, got {y.shape}")
        c = c // (f * f)
        blocks = np.transpose(np.reshape(y, (n, h, w, c, f, f)), (0, 1, 4, 2, 5, 3))
        return np.reshape(blocks, (n, h * f, w * f, c)), _zeros(y)


class Split(Layer):
    """The first half of the last axis goes on through `flow`, the other half is done.

        x = [x_1, x_2] at d//2,    z = [flow(x_1), x_2],    log_det that of flow

    (batch, *shape) to (batch, D), both halves flattened; `shape` is that of one example, d its last
    axis. Cost: that of the flow. ValueError for d < 2.

    >>> from refvdm.flows import PLU, Split
    >>> layer = Split(PLU(2), (8, 8, 4))
    >>> layer.output_shape((8, 8, 4))
    (256,)
    """

    def __init__(self, flow: Layer, shape: Sequence[int]):
        self.flow = is_layer("Split: flow", flow)
        self.shape = checks.lengths("Split: shape", shape, axes=1)
        self.d = checks.integer("Split: d", shape[-1], least=2)
        self.inner = (*self.shape[:-1], self.d // 2)

    def init(self, rng: np.random.Generator, data: Array | None = None,
             dtype: Any = np.float64) -> Tree:
        if data is not None:
            data = checks.floats("Split.init: data", data, ("batch", *self.shape))
            data = data[..., : self.d // 2]
        return self.flow.init(rng, data, dtype)

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        shape = checks.lengths("Split: shape", shape)
        if shape != self.shape:
            raise ValueError(f"Split: made for examples x of shape {self.shape}, got {shape}")
        return (math.prod(shape),)

    def forward(self, theta: Tree, x: Array) -> tuple[Array, Array]:
        x = checks.floats("Split: x", x, ("batch", ..., self.d))
        self.output_shape(x.shape[1:])
        z_1, log_det = passed("Split: flow", self.flow, "forward", theta, x[..., : self.d // 2])
        return np.concatenate([_flat(z_1), _flat(x[..., self.d // 2 :])], axis=1), log_det

    def inverse(self, theta: Tree, y: Array) -> tuple[Array, Array]:
        y = checks.floats("Split: y", y, ("batch", math.prod(self.shape)))
        z_1, x_2 = y[:, : math.prod(self.inner)], y[:, math.prod(self.inner) :]
        z_1 = np.reshape(z_1, (len(y), *self.flow.output_shape(self.inner)))
        x_1, log_det = passed("Split: flow", self.flow, "inverse", theta, z_1)
        x_2 = np.reshape(x_2, (len(y), *self.shape[:-1], self.d - self.d // 2))
        return np.concatenate([x_1, x_2], axis=-1), log_det


def _flat(x: Array) -> Array:
    return np.reshape(x, (len(x), math.prod(x.shape[1:])))


def _zeros(x: Array) -> np.ndarray:
    return np.zeros(len(x), x.dtype)
