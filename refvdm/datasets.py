"""The data the examples run on: digits, and 2-D densities whose log-likelihood is known, so that a
gap to it can be told in nats."""
from __future__ import annotations

from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp


class Digits(NamedTuple):
    """8x8 images as rows of 64 integers 0..16 (int64): train (1000, 64), validation (350, 64), test
    (447, 64)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def digits() -> Digits:
    """The UCI optical digits, K = 17 levels; the uniform model costs log2(17) = 4.0875 bits/dim.

    E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi 10.24432/C50P49, CC BY 4.0. Rows [:1000], [1000:1350], [1350:] of its test
    file, the split of J. Tomczak, Deep Generative Modeling. Shipped with the package.
    """
    with resources.files("refvdm").joinpath("data/optdigits.npz").open("rb") as file:
        images = np.load(file)["images"].astype(np.int64)
    return Digits(images[:1000], images[1000:1350], images[1350:])


def scale_levels(x: np.ndarray, levels: int) -> np.ndarray:
    """Integers 0..levels-1 as floats on [-1, 1] (float64), -1 + 2 x/(levels - 1): exactly
    linspace(-1, 1, levels)[x].

    TypeError for other than integers, ValueError for values outside 0..levels-1.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"scale_levels: expected integers, got dtype {x.dtype}")
    if levels < 2 or x.size and not (x.min() >= 0 and x.max() < levels):
        raise ValueError(f"scale_levels: expected values in 0..{levels - 1} with levels >= 2, got "
                         f"{x.min()}..{x.max()}")
    return np.linspace(-1.0, 1.0, levels)[x]


class Ring:
    """Eight Gaussians of standard deviation 0.25 at equal angles on a circle of radius 2, equally
    likely, in the plane."""

    def __init__(self, n: int = 8, radius: float = 2.0, deviation: float = 0.25):
        angles = 2 * np.pi * np.arange(n) / n
        self.means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.variance = deviation**2

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 2)."""
        chosen = rng.integers(len(self.means), size=n)
        return self.means[chosen] + np.sqrt(self.variance) * rng.standard_normal((n, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(x) (...), nats, x (..., 2)."""
        each = _log_normal(x[..., None, :], self.means, np.sqrt(self.variance)).sum(axis=-1)
        return logsumexp(each, axis=-1) - np.log(len(self.means))


class Crescents:
    """Two crescents that hold each other, equally likely, s = 1 and s = -1: with c = 0.6 s,

    x_1 ~ N(c, 0.9²),    x_2 given x_1 ~ N(s (0.8 (x_1 - c)² - 0.9), 0.25²)
    """

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 2)."""
        s = 2.0 * rng.integers(2, size=n) - 1
        x_1 = 0.6 * s + 0.9 * rng.standard_normal(n)
        x_2 = s * (0.8 * (x_1 - 0.6 * s) ** 2 - 0.9) + 0.25 * rng.standard_normal(n)
        return np.stack([x_1, x_2], axis=1)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(x) (...), nats, x (..., 2)."""
        each = []
        for s in (1, -1):
            x_1, x_2 = x[..., 0], x[..., 1]
            middle = s * (0.8 * (x_1 - 0.6 * s) ** 2 - 0.9)
            each.append(_log_normal(x_1, 0.6 * s, 0.9) + _log_normal(x_2, middle, 0.25))
        return logsumexp(each, axis=0) - np.log(2)


def _log_normal(x: np.ndarray, mean: Any, deviation: float) -> np.ndarray:
    return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
