"""The data of the examples: digits, and 2-D densities whose log-likelihood is known in closed form.

With these a model's gap to the truth can be told in nats.
"""
from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from . import checks

__all__ = ["Crescents", "Digits", "Ring", "digits", "scale_levels"]


class Digits(NamedTuple):
    """8x8 images as rows of 64 integers 0..16 (int64).

    train (1000, 64), validation (350, 64), test (447, 64).

    >>> from refvdm.datasets import digits
    >>> [part.shape for part in digits()]
    [(1000, 64), (350, 64), (447, 64)]
    """

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def digits() -> Digits:
    """The UCI optical digits, K = 17 levels; the uniform model costs log2(17) = 4.0875 bits/dim.

    E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi 10.24432/C50P49, CC BY 4.0. Rows [:1000], [1000:1350], [1350:] of its test
    file, the split of J. Tomczak, Deep Generative Modeling. Shipped with the package.

    >>> from refvdm.datasets import digits
    >>> train = digits().train
    >>> train.shape, int(train.min()), int(train.max())
    ((1000, 64), 0, 16)
    """
    with resources.files("refvdm").joinpath("data/optdigits.npz").open("rb") as file:
        images = np.load(file)["images"].astype(np.int64)
    return Digits(images[:1000], images[1000:1350], images[1350:])


def scale_levels(x: np.ndarray, levels: int) -> np.ndarray:
    """-1 + 2 x/(levels - 1): integers 0..levels-1 as floats on [-1, 1], float64, any shape.

    Exactly linspace(-1, 1, levels)[x]. TypeError for other than integers, ValueError for values
    outside 0..levels-1 and for fewer than 2 levels.

    >>> from refvdm.datasets import scale_levels
    >>> scale_levels(np.array([0, 8, 16]), 17).tolist()
    [-1.0, 0.0, 1.0]
    """
    levels = checks.integer("scale_levels: levels", levels, least=2)
    return np.linspace(-1.0, 1.0, levels)[checks.levels("scale_levels: x", x, levels)]


class Ring:
    """n equally likely Gaussians of one standard deviation, at equal angles on a circle.

    ValueError for n < 1, a radius that is not finite, or a deviation that is not positive.

    >>> from refvdm.datasets import Ring
    >>> ring = Ring()
    >>> x = ring.sample(5, np.random.default_rng(0))
    >>> x.shape, ring.log_prob(x).shape
    ((5, 2), (5,))
    """

    def __init__(self, n: int = 8, radius: float = 2.0, deviation: float = 0.25):
        n, radius = checks.integer("Ring: n", n), checks.number("Ring: radius", radius)
        deviation = checks.positive("Ring: deviation", deviation)
        angles = 2 * np.pi * np.arange(n) / n
        self.means = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        self.variance = deviation**2

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 2)."""
        n, rng = _drawn_by("Ring", n, rng)
        means = self.means[rng.integers(len(self.means), size=n)]
        return means + np.sqrt(self.variance) * rng.standard_normal((n, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(x) (...), nats, x (..., 2) finite floats."""
        x, deviation = checks.floats("Ring.log_prob: x", x, (..., 2)), np.sqrt(self.variance)
        each = _log_normal(x[..., None, :], self.means, deviation).sum(axis=-1)
        return logsumexp(each, axis=-1) - np.log(len(self.means))


class Crescents:
    """Two crescents that hold each other, s = 1 and s = -1, equally likely.

        x_1 ~ N(c, 0.9²),  c = 0.6 s;    given x_1,  x_2 ~ N(s (0.8 (x_1 - c)² - 0.9), 0.25²)

    >>> from refvdm.datasets import Crescents
    >>> data = Crescents()
    >>> data.log_prob(data.sample(5, np.random.default_rng(0))).shape
    (5,)
    """

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 2)."""
        n, rng = _drawn_by("Crescents", n, rng)
        s = 2.0 * rng.integers(2, size=n) - 1
        x_1 = 0.6 * s + 0.9 * rng.standard_normal(n)
        return np.stack([x_1, _crescent(s, x_1) + 0.25 * rng.standard_normal(n)], axis=1)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """log p(x) (...), nats, x (..., 2) finite floats."""
        x = checks.floats("Crescents.log_prob: x", x, (..., 2))
        x_1, x_2 = x[..., 0], x[..., 1]
        each = [_log_normal(x_1, 0.6 * s, 0.9) + _log_normal(x_2, _crescent(s, x_1), 0.25)
                for s in (1.0, -1.0)]
        return logsumexp(each, axis=0) - np.log(2)


def _drawn_by(who: str, n: int, rng: np.random.Generator) -> tuple[int, np.random.Generator]:
    return (checks.integer(f"{who}.sample: n", n, least=0),
            checks.generator(f"{who}.sample: rng", rng))


def _crescent(s: float | np.ndarray, x_1: np.ndarray) -> np.ndarray:
    return s * (0.8 * (x_1 - 0.6 * s) ** 2 - 0.9)


def _log_normal(x: np.ndarray, mean: np.ndarray | float, deviation: float) -> np.ndarray:
    return -0.5 * ((x - mean) / deviation) ** 2 - np.log(deviation) - 0.5 * np.log(2 * np.pi)
