"""What makes a Glow step (Kingma and Dhariwal 2018) of the PLU layer: ActNorm, affine coupling, and
squeeze and split for images.

Every layer has

    layer.init(rng, data=None, dtype=float64) -> theta
    layer.forward(theta, x) -> (y, log_det (batch,))         log|det dy/dx|
    layer.inverse(theta, y) -> (x, log_det (batch,))         log|det dx/dy|, minus the former
    layer.output_shape(shape) -> shape                       of one example, without batch

acts on the last axis at every position between batch and last axis, and sums log_det over the
positions. What others do otherwise:

    convention              here                                                          others
    direction               forward: data x to base z                                     some
                            papers (13.1's x = f(z)) the other way
    W                       y = W x, rows y = x W^T, as torch's filters (out, in)          Glow's
                            TensorFlow (in, out): W^T, same log_det
    log_det of the inverse  of the inverse map: minus the forward one                      some
    return the forward one again
    positions               log_det times h w, once for each position
                            forgotten: right on vectors only
    ActNorm                 y = (x + shift) exp(log_scale): shift first                    scale
                            first: shift means something else
    its start               standard deviation with ddof = 0, as Glow's                    torch's
                            std has ddof = 1
    coupling                halves [:d//2], [d//2:]; scale, then shift; s = bound tanh
                            interleaved halves; (x + t) s; sigmoid(s + 2)
    squeeze                 new channels in the order (c, fy, fx), as torch's unshuffle    (fy, fx,
                            c), as TensorFlow's space_to_depth
    bits/dim                of the integers: minus log_prob, minus log(bin width)          data in
                            [-1, 1] taken as bins of 1/K: off by 1
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks
from ..gaussian import sum_per_example
from ..nn import MLP
from .plu import check_input, per_example


class Layer:
    """What layers share: by default no parameters, and a shape that does not change."""

    def init(self, rng: np.random.Generator, data: Any = None, dtype: Any = np.float64) -> Any:
        return {}

    def output_shape(self, shape: tuple) -> tuple:
        return shape


class ActNorm(Layer):
    """y = (x + shift) exp(log_scale), log_det = positions * sum(log_scale). theta = {"shift": (d,),
    "log_scale": (d,)}.

    init(rng, data): mean 0 and variance 1 (ddof = 0) of every feature of y over the data (batch,
    ..., d); the identity without data. ValueError for a feature that is constant in the data. Cost:
    2 d flops a position.
    """

    def __init__(self, d: int):
        self.d = checks.integer("ActNorm: d", d)

    def init(self, rng, data=None, dtype=np.float64):
        if data is None:
            return {"shift": np.zeros(self.d, dtype), "log_scale": np.zeros(self.d, dtype)}
        check_input("ActNorm.init", data, self.d)
        rows = data.reshape(-1, self.d)
        constant = rows.max(axis=0, initial=-np.inf) <= rows.min(axis=0, initial=np.inf)
        if constant.any():
            raise ValueError(f"ActNorm.init: features {np.flatnonzero(constant).tolist()} are "
                             f"constant in the data: no scale gives them variance 1")
        mean, deviation = rows.mean(axis=0), rows.std(axis=0)
        return {"shift": -mean.astype(dtype), "log_scale": -np.log(deviation).astype(dtype)}

    def forward(self, theta, x):
        check_input("ActNorm", x, self.d)
        shift, log_scale = theta["shift"], theta["log_scale"]
        return (x + shift) * np.exp(log_scale), per_example(np.sum(log_scale), x)

    def inverse(self, theta, y):
        check_input("ActNorm", y, self.d)
        shift, log_scale = theta["shift"], theta["log_scale"]
        return y * np.exp(-log_scale) - shift, per_example(-np.sum(log_scale), y)


class AffineCoupling(Layer):
    """One half stays and says how to scale and shift the other (RealNVP): its Jacobian is
    triangular.

        x = [x_1, x_2] at d//2,    [r, t] = net(x_1),    s = bound tanh(r / bound),    y = [x_1, x_2
                                   exp(s) + t],    log_det = sum(s)

    with swap=True x_2 stays and x_1 moves; alternate. exp(s) lies in [exp(-bound), exp(bound)], so
    the inverse cannot blow up. The net is an MLP with two hidden layers of `hidden` tanh units, the
    same at every position; its last layer starts at 0, the identity. Odd d is fine, d = 1 is not
    (ValueError). Cost: that of the net; the inverse's is the same.
    """

    def __init__(self, d: int, hidden: int = 64, swap: bool = False, bound: float = 2.0):
        self.d, self.swap = checks.integer("AffineCoupling: d", d, 2), bool(swap)
        self.bound = checks.positive("AffineCoupling: bound", bound)
        moving = d // 2 if swap else d - d // 2
        self.net = MLP((d - moving, hidden, hidden, 2 * moving))

    def init(self, rng, data=None, dtype=np.float64):
        theta = self.net.init(rng, dtype)
        return theta | {"W3": np.zeros_like(theta["W3"])}

    def forward(self, theta, x):
        check_input("AffineCoupling", x, self.d)
        still, moving = self._halves(x)
        s, shift = self._scale_and_shift(theta, still)
        return self._joined(still, moving * np.exp(s) + shift), sum_per_example(s)

    def inverse(self, theta, y):
        check_input("AffineCoupling", y, self.d)
        still, moving = self._halves(y)
        s, shift = self._scale_and_shift(theta, still)
        return self._joined(still, (moving - shift) * np.exp(-s)), -sum_per_example(s)

    def _scale_and_shift(self, theta, still):
        out = self.net(theta, still)
        n = out.shape[-1] // 2
        return self.bound * np.tanh(out[..., :n] / self.bound), out[..., n:]

    def _halves(self, x):
        first, second = x[..., : self.d // 2], x[..., self.d // 2 :]
        return (second, first) if self.swap else (first, second)

    def _joined(self, still, moving):
        return np.concatenate([moving, still] if self.swap else [still, moving], axis=-1)


class Squeeze(Layer):
    """(batch, h, w, c) to (batch, h/f, w/f, c f²): f by f neighbours become channels, ordered (c,
    fy, fx). log_det 0, no cost.

    ValueError when h or w is not a multiple of f.
    """

    def __init__(self, factor: int = 2):
        self.factor = checks.integer("Squeeze: factor", factor)

    def output_shape(self, shape):
        f = self.factor
        if len(shape) != 3 or shape[0] % f or shape[1] % f:
            raise ValueError(f"Squeeze: expected images (h, w, c) with h and w multiples of {f}, "
                             f"got {shape}")
        return shape[0] // f, shape[1] // f, shape[2] * f * f

    def forward(self, theta, x):
        f, (h, w, c) = self.factor, self.output_shape(x.shape[1:])
        x = np.reshape(x, (len(x), h, f, w, f, c // (f * f)))
        return np.reshape(np.transpose(x, (0, 1, 3, 5, 2, 4)), (len(x), h, w, c)), _zeros(x)

    def inverse(self, theta, y):
        f = self.factor
        if y.ndim != 4 or y.shape[3] % (f * f):
            raise ValueError(f"Squeeze: expected shape (batch, h, w, c) with c a multiple of "
                             f"{f * f}, got {y.shape}")
        h, w, c = y.shape[1:]
        y = np.reshape(y, (len(y), h, w, c // (f * f), f, f))
        return np.reshape(np.transpose(y, (0, 1, 4, 2, 5, 3)),
                          (len(y), h * f, w * f, c // (f * f))), _zeros(y)


class Split(Layer):
    """The first half of the last axis goes on through `flow`, the rest is finished: (batch, *shape)
    to (batch, D), both flattened.

        x = [x_1, x_2] at d//2,    z = [flow(x_1), x_2],    log_det that of flow

    shape is that of one example. Cost: that of the flow. ValueError for d < 2.
    """

    def __init__(self, flow: Any, shape: tuple):
        self.flow, self.shape, self.d = flow, tuple(shape), checks.integer("Split: d", shape[-1], 2)
        self.inner = (*self.shape[:-1], self.d // 2)

    def init(self, rng, data=None, dtype=np.float64):
        return self.flow.init(rng, None if data is None else data[..., : self.d // 2], dtype)

    def output_shape(self, shape):
        if tuple(shape) != self.shape:
            raise ValueError(f"Split: made for examples of shape {self.shape}, got {tuple(shape)}")
        return (math.prod(shape),)

    def forward(self, theta, x):
        check_input("Split", x, self.d)
        self.output_shape(x.shape[1:])
        z_1, log_det = self.flow.forward(theta, x[..., : self.d // 2])
        return np.concatenate([_flat(z_1), _flat(x[..., self.d // 2 :])], axis=1), log_det

    def inverse(self, theta, y):
        check_input("Split", y, math.prod(self.shape))
        n = math.prod(self.inner)
        x_1, log_det = self.flow.inverse(theta,
                                         np.reshape(y[:, :n],
                                                    (len(y), *self.flow.output_shape(self.inner))))
        x_2 = np.reshape(y[:, n:], (len(y), *self.shape[:-1], self.d - self.d // 2))
        return np.concatenate([x_1, x_2], axis=-1), log_det


def _flat(x: Any) -> Any:
    return np.reshape(x, (len(x), math.prod(x.shape[1:])))


def _zeros(x: Any) -> np.ndarray:
    return np.zeros(len(x), x.dtype)
