"""The mass of a normal distribution in each level's bin: the decoder of images. Nats."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..operation import Arrays, Mistake, operation
from .gaussian import BITS, MEAN_OVER_BATCH, NATS, SIGN, deviation, mean_over, pi


def log_upper_tail(z: Any) -> Any:
    """log of the mass of N(0, 1) above z, element by element, in z's own precision.

    Near 0 the series of the mass between 0 and z; from 1.5 on Mills' ratio as a continued fraction.
    """
    near, far = np.minimum(np.abs(z), 1.5), np.maximum(np.abs(z), 1.5)
    term, between = near, near  # ∫_0^z N = N(z) (z + z³/3 + z⁵/15 + ...)
    for k in range(1, 60):
        term = term * near * near / (2 * k + 1)
        between = between + term
    between = between * np.exp(-near * near / 2) / np.sqrt(2 * pi(z))
    ratio = far
    for k in range(300, 0, -1):  # ∫_z^∞ N = N(z)/(z + 1/(z + 2/(z + 3/...)))
        ratio = far + k / ratio
    tail = -far * far / 2 - np.log(2 * pi(z)) / 2 - np.log(ratio)
    tail = np.where(np.abs(z) < 1.5, np.log(0.5 - between), tail)
    return np.where(z >= 0, tail, np.log1p(-np.exp(tail)))


def _log_mass(low: Any, high: Any) -> Any:
    """log of the mass of N(0, 1) in [low, high]: on the side where both tails are small."""
    low, high = np.where(low + high < 0, -high, low), np.where(low + high < 0, -low, high)
    above, beyond = log_upper_tail(low), log_upper_tail(np.minimum(high, 1e4))
    return above + np.log(-np.expm1(np.where(np.isinf(high), -np.inf, beyond) - above))


def _bins(level: Any, K: int, width: float = 1.0) -> tuple[Any, Any]:
    """The bin's ends for levels 0..K-1 on [-1, 1], the first and the last open."""
    value, half = _values(level, K), np.longdouble(width) / (K - 1)
    low = np.where(level == 0, -np.inf, value - half)
    return low, np.where(level == K - 1, np.inf, value + half)


def _values(level: Any, K: int) -> Any:
    return 2 * level / np.longdouble(K - 1) - 1


def _mass_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for K, batch, D in ((5, 4, 3), (256, 5, 4), (17, 3, 6)):
        level = rng.integers(0, K, (batch, D))
        level[0, 0], level[1, 1] = 0, K - 1
        var = rng.uniform(0.01, 0.4, (batch, D))
        mean = _values(level, K).astype(float) + np.sqrt(var) * rng.uniform(-2.5, 2.5, (batch, D))
        yield {"level": level, "K": np.array(K), "mean": mean, "var": var}
    level, var = rng.integers(60, 190, (5, 4)), rng.uniform(0.004, 0.009, (5, 4))
    side = np.where(np.arange(20).reshape(5, 4) % 3, -1, 1)  # far below the mean and above it
    mean = _values(level, 256).astype(float) + side * np.sqrt(var) * rng.uniform(10, 12, (5, 4))
    yield {"level": level, "K": np.array(256), "mean": mean, "var": var}


def _mass_of(bins: Callable) -> Callable:
    def mass(level: Any, K: Any, mean: Any, var: Any) -> Any:
        low, high = bins(level, int(K))
        deviation = np.sqrt(var)
        return np.sum(_log_mass((low - mean) / deviation, (high - mean) / deviation), axis=-1)
    return mass


def _closed(level: Any, K: int) -> tuple[Any, Any]:
    value, half = _values(level, K), 1 / np.longdouble(K - 1)
    return value - half, value + half


def _plain_mass(floor: float) -> Callable:
    """log max(Φ(high) - Φ(low), floor) as floats have it: from 9 on Φ is 1."""
    def mass(level: Any, K: Any, mean: Any, var: Any) -> Any:
        low, high = (((end - mean) / np.sqrt(var)) for end in _bins(level, int(K)))
        found = np.where(low > 9, -np.inf, _log_mass(low, high))
        return np.sum(np.maximum(found, np.log(floor) if floor else -np.inf), axis=-1)
    return mass


TAILS = "the difference of CDFs cancels or underflows in the tails"


def _tanh_mass(level: Any, K: Any, mean: Any, var: Any) -> Any:
    """Φ(z) as ½ (1 + tanh(√(2/π) (z + 0.044715 z³))), with DDPM's floor of 1e-12."""
    def cdf(z: Any) -> Any:
        z = np.clip(z, -1e3, 1e3)
        return (1 + np.tanh(np.sqrt(2 / pi(z)) * (z + 0.044715 * z**3))) / 2
    low, high = (((end - mean) / np.sqrt(var)) for end in _bins(level, int(K)))
    return np.sum(np.log(np.maximum(cdf(high) - cdf(low), 1e-12)), axis=-1)


def _density_mass(level: Any, K: Any, mean: Any, var: Any) -> Any:
    value = _values(level, int(K))
    density = -((value - mean) ** 2) / (2 * var) - np.log(2 * pi(var) * var) / 2
    return np.sum(density + np.log(2 / np.longdouble(int(K) - 1)), axis=-1)


@operation("DDPM's decoder (Ho et al. 2020, 13)", cases=_mass_cases, outputs={"log_mass": NATS},
           inputs={"level": "(batch, D) integers in 0..K-1, of value 2 level/(K - 1) - 1",
                   "K": "()", "mean": "(batch, D)", "var": "(batch, D)"},
           notes="The bin of a level reaches half way to its neighbours, the first and the last "
                 "bin to infinity.", mistakes=(
               BITS, SIGN, mean_over("mean"), MEAN_OVER_BATCH, deviation("var"),
               Mistake("the normal CDF is approximated by tanh", instead=_tanh_mass),
               Mistake("the bins at both ends are closed", instead=_mass_of(_closed)),
               Mistake("the first bin is closed", instead=_mass_of(
                   lambda level, K: (_closed(level, K)[0], _bins(level, K)[1]))),
               Mistake("the last bin is closed", instead=_mass_of(
                   lambda level, K: (_bins(level, K)[0], _closed(level, K)[1]))),
               Mistake(f"{TAILS}: log 0 = -∞", instead=_plain_mass(0)),
               *(Mistake(f"{TAILS}: it is clamped to {floor:g}", instead=_plain_mass(floor))
                 for floor in (1e-300, 1e-30, 1e-20, 1e-12, 1e-10, 1e-7)),
               Mistake("the bin's width is 2/K, not 2/(K - 1)", instead=_mass_of(
                   lambda level, K: _bins(level, K, (K - 1) / K))),
               Mistake("bins have half their width", instead=_mass_of(
                   lambda level, K: _bins(level, K, 0.5))),
               Mistake("bins have twice their width", instead=_mass_of(
                   lambda level, K: _bins(level, K, 2.0))),
               Mistake("bins lie half a bin too high (from a level to the next)",
                       instead=_mass_of(lambda level, K: tuple(
                           end + 1 / np.longdouble(K - 1) for end in _bins(level, K)))),
               Mistake("it is the density at the level times the bin's width",
                       instead=_density_mass)))
def discretized_gaussian_mass(level: Any, K: Any, mean: Any, var: Any) -> Any:
    """log of the mass of N(mean, var) in each level's bin, summed over D"""
    return _mass_of(_bins)(level, K, mean, var)
