"""A flow (§13.1): layers one after the other, and the likelihood of data under a standard normal
base."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..autodiff.tree import Tree
from ..gaussian import elementwise, log_normal, sum_per_example
from .layer import Array, Layer, is_layer, passed


class Flow(Layer):
    """z = layers[-1](... layers[0](x)), z ~ N(0, I).

        log p(x) = log N(z; 0, I) + sum of the layers' log_det

    theta is a list with one entry for each layer. A Flow is itself a layer. Cost: the sum of the
    layers'. ValueError for no layers, and for a theta of another length; TypeError or ValueError
    when a layer returns anything but finite floats (batch, ...) and (batch,), which names it.

    >>> from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow
    >>> flow, rng = Flow([ActNorm(2), PLU(2), AffineCoupling(2)]), np.random.default_rng(0)
    >>> theta = flow.init(rng)
    >>> flow.log_prob(theta, flow.sample(theta, (5, 2), rng)).shape
    (5,)
    """

    def __init__(self, layers: Sequence[Layer]):
        self.layers = [is_layer(f"Flow: layers[{i}]", layer)
                       for i, layer in enumerate(checks.listed("Flow: layers", layers))]
        if not self.layers:
            raise ValueError("Flow: layers must hold at least one layer, got none")

    def init(self, rng: np.random.Generator, data: Array | None = None,
             dtype: Any = np.float64) -> list[Tree]:
        """theta; with data (batch, ...) every ActNorm starts on what the layers before it give."""
        theta: list[Tree] = []
        data = None if data is None else checks.floats("Flow.init: data", data)
        for i, layer in enumerate(self.layers):
            theta.append(layer.init(rng, data, dtype=dtype))
            if data is not None:
                data, _ = passed(f"Flow: layers[{i}]", layer, "forward", theta[-1], data)
        return theta

    def forward(self, theta: Sequence[Tree], x: Array) -> tuple[Array, Array]:
        """z and log|det dz/dx| (batch,)."""
        self._check(theta)
        x = checks.floats("Flow: x", x)
        total: Any = 0.0
        for i, layer in enumerate(self.layers):
            x, log_det = passed(f"Flow: layers[{i}]", layer, "forward", theta[i], x)
            total = total + log_det
        return x, total

    def inverse(self, theta: Sequence[Tree], z: Array) -> tuple[Array, Array]:
        """x and log|det dx/dz| (batch,)."""
        self._check(theta)
        z = checks.floats("Flow: z", z)
        total: Any = 0.0
        for i, layer in reversed([*enumerate(self.layers)]):
            z, log_det = passed(f"Flow: layers[{i}]", layer, "inverse", theta[i], z)
            total = total + log_det
        return z, total

    def output_shape(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of one example's z, given that of its x."""
        shape = checks.lengths("Flow: shape", shape)
        for i, layer in enumerate(self.layers):
            who = f"Flow: layers[{i}] ({type(layer).__name__}).output_shape"
            shape = checks.lengths(who, checks.called(who, layer.output_shape, shape))
        return shape

    def log_prob(self, theta: Sequence[Tree], x: Array) -> Array:
        """log p(x) (batch,), nats, of the density in the units of x."""
        z, log_det = self.forward(theta, x)
        return sum_per_example(log_normal(z, 0.0, 0.0)) + log_det

    def sample(self, theta: Sequence[Tree], shape: Sequence[int],
               rng: np.random.Generator | None = None, *, z: Array | None = None) -> Array:
        """x of the given shape (n, ...), made from z ~ N(0, I).

        z (n, *output_shape(...)) may be given instead of rng.
        """
        checks.either("Flow.sample", rng=rng, z=z)
        n, *one = checks.lengths("Flow.sample: shape", shape, axes=1)
        expected = (n, *self.output_shape(one))
        if z is None:
            z = checks.generator("Flow.sample: rng", rng).standard_normal(expected)
        x, _ = self.inverse(theta, checks.floats("Flow.sample: z", z, expected))
        if x.shape != (n, *one):
            raise ValueError(f"Flow.sample: shape {(n, *one)} is not what the layers make of z, "
                             f"which is {x.shape}")
        return x

    def _check(self, theta: Any) -> None:
        if not isinstance(theta, (list, tuple)) or len(theta) != len(self.layers):
            length = len(theta) if hasattr(theta, "__len__") else "none"
            raise ValueError(f"Flow: theta must be a list with one entry for each of the "
                             f"{len(self.layers)} layers, got {type(theta).__name__} of length "
                             f"{length}")


# ---------------------------------------------------------------- integers


def dequantize(x: Any, levels: int, rng: np.random.Generator | None = None, *,
               u: Any = None) -> np.ndarray:
    """(x + u)/levels in [0, 1), u uniform on [0, 1): integers 0..levels-1 as data with a density.

    x of any shape; u, of its shape, may be given instead of rng. Bins are 1/levels wide, so for D
    dimensions E log p((x + u)/levels) - D log(levels) is a lower bound of the log-probability of
    the integers. TypeError for other than integers, ValueError for values outside 0..levels-1.

    >>> from refvdm.flows import dequantize
    >>> dequantize(np.array([0, 3]), levels=4, u=np.array([0.5, 0.5])).tolist()
    [0.125, 0.875]
    """
    levels = checks.integer("dequantize: levels", levels)
    x = checks.levels("dequantize: x", x, levels)
    checks.either("dequantize", rng=rng, u=u)
    if u is None:
        u = checks.generator("dequantize: rng", rng).random(x.shape)
    u = checks.reals("dequantize: u", u, x.shape)
    if not np.all((u >= 0) & (u < 1)):
        raise ValueError(f"dequantize: u must lie in [0, 1), got {u.min()}..{u.max()}")
    # (levels - 1 + u)/levels may round to 1
    return np.minimum((x + u) / levels, 1 - np.finfo(np.float64).epsneg)


def bits_per_dim(log_prob: Array, dimensions: float, bin_width: float = 1.0) -> Array:
    """-(log_prob + D log(bin_width))/(D ln 2): the cost of data in bits/dim, from nats (batch,).

    D = dimensions; bin_width is one unit of the data as the flow sees it: 1/K for K levels scaled
    to [0, 1), 2/K on [-1, 1), 1 for data in their own units. The last gives the bits of a density,
    which may be negative. ValueError for D below 1, a bin_width that is not positive, and nan;
    TypeError for a log_prob that is no number and no array of floats.

    >>> from refvdm.flows import bits_per_dim
    >>> float(bits_per_dim(np.zeros(1), dimensions=64, bin_width=1 / 256)[0])
    8.0
    """
    log_prob = elementwise("bits_per_dim: log_prob", log_prob)
    if np.isnan(log_prob).any():
        raise ValueError("bits_per_dim: log_prob must not be nan")
    D = checks.number("bits_per_dim: dimensions", dimensions, "[1, inf)")
    bin_width = checks.positive("bits_per_dim: bin_width", bin_width)
    return -(log_prob / D + math.log(bin_width)) / math.log(2)
