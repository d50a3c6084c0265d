"""A flow: layers one after the other, and the log-likelihood of data under them and a standard
normal base."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import checks
from ..gaussian import log_normal, sum_per_example


class Flow:
    """z = layers[-1](... layers[0](x)), z ~ N(0, I), theta a list with one entry for each layer. A
    Flow is itself a layer.

        log p(x) = log N(z; 0, I) + sum of the layers' log_det

    Cost: the sum of the layers'. ValueError for no layers, and for a theta of another length.
    """

    def __init__(self, layers: Sequence[Any]):
        self.layers = list(layers)
        if not self.layers:
            raise ValueError("Flow: expected at least one layer, got none")

    def init(self, rng: np.random.Generator, data: Any = None, dtype: Any = np.float64) -> list:
        """theta; with data (batch, ...) every ActNorm starts on what the layers before it make of
        them."""
        theta = []
        for layer in self.layers:
            theta.append(layer.init(rng, data, dtype=dtype))
            if data is not None:
                data, _ = layer.forward(theta[-1], data)
        return theta

    def forward(self, theta: list, x: Any) -> tuple[Any, Any]:
        """z and log|det dz/dx| (batch,)."""
        self._check(theta)
        total = 0.0
        for layer, theta_l in zip(self.layers, theta):
            x, log_det = layer.forward(theta_l, x)
            total = total + log_det
        return x, total

    def inverse(self, theta: list, z: Any) -> tuple[Any, Any]:
        """x and log|det dx/dz| (batch,)."""
        self._check(theta)
        total = 0.0
        for layer, theta_l in zip(reversed(self.layers), reversed(theta)):
            z, log_det = layer.inverse(theta_l, z)
            total = total + log_det
        return z, total

    def output_shape(self, shape: tuple) -> tuple:
        """The shape of one example's z, given that of its x."""
        for layer in self.layers:
            shape = layer.output_shape(shape)
        return tuple(shape)

    def log_prob(self, theta: list, x: Any) -> Any:
        """log p(x) (batch,), nats, of the density in the units of x."""
        z, log_det = self.forward(theta, x)
        return sum_per_example(log_normal(z, 0.0, 0.0)) + log_det

    def sample(self, theta: list, shape: tuple, rng: np.random.Generator | None = None, *,
               z: Any = None) -> np.ndarray:
        """x of the given shape (n, ...), made from z ~ N(0, I), which may be given instead of rng
        (n, *output_shape(...))."""
        expected = (shape[0], *self.output_shape(tuple(shape[1:])))
        if (rng is None) == (z is None):
            raise ValueError("Flow.sample: give either rng or z")
        if z is None:
            z = checks.generator("Flow.sample: rng", rng).standard_normal(expected)
        if np.shape(z) != expected:
            raise ValueError(f"Flow.sample: z must have shape {expected}, got {np.shape(z)}")
        x, _ = self.inverse(theta, z)
        return x

    def _check(self, theta: Any) -> None:
        if not isinstance(theta, (list, tuple)) or len(theta) != len(self.layers):
            raise ValueError(f"Flow: theta must be a list with one entry for each of the "
                             f"{len(self.layers)} layers, got "
                             f"{type(theta).__name__} of length "
                             f"{len(theta) if hasattr(theta, '__len__') else 'none'}")


# ---------------------------------------------------------------- integers


def dequantize(x: Any, levels: int, rng: np.random.Generator | None = None, *,
               u: Any = None) -> np.ndarray:
    """(x + u)/levels in [0, 1), u uniform on [0, 1): integers 0..levels-1 as data with a density.
    Bins are 1/levels wide.

    E log p((x + u)/levels) - D log(levels) is a lower bound of the log-probability of the integers.
    u may be given instead of rng.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        raise ValueError(f"dequantize: x must hold integers 0..{levels - 1}, got dtype {x.dtype}")
    if x.size and (x.min() < 0 or x.max() >= levels):
        raise ValueError(f"dequantize: x must hold integers 0..{levels - 1}, got values {x.min()} "
                         f"to {x.max()}")
    if (rng is None) == (u is None):
        raise ValueError("dequantize: give either rng or u")
    u = checks.generator("dequantize: rng", rng).random(x.shape) if u is None else np.asarray(u)
    if u.shape != x.shape or not np.all((u >= 0) & (u < 1)):
        raise ValueError(f"dequantize: u must lie in [0, 1) and have x's shape {x.shape}, got "
                         f"{u.shape}")
    # (levels - 1 + u)/levels may round to 1
    return np.minimum((x + u) / levels, 1 - np.finfo(np.float64).epsneg).astype(np.float64)


def bits_per_dim(log_prob: Any, dimensions: int, bin_width: float = 1.0) -> Any:
    """-(log_prob + D log(bin_width))/(D ln 2): the cost of data in bits/dim, from log_prob in nats
    (batch,).

    bin_width is one unit of the data as the flow sees it: 1/K for K levels scaled to [0, 1), 2/K on
    [-1, 1), 1 for data in their own units (a density then, which may be negative in bits).
    """
    if dimensions < 1 or not bin_width > 0:
        raise ValueError(f"bits_per_dim: expected dimensions >= 1 and bin_width > 0, got "
                         f"{dimensions} and {bin_width}")
    return -(log_prob / dimensions + math.log(bin_width)) / math.log(2)
