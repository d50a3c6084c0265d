"""What a network may predict, and how each says the others: x_0, eps, v and the score.

With a = sqrt(abar_t), s = sqrt(1 - abar_t), x_t = a x_0 + s eps:

    v = a eps - s x_0    (Salimans and Ho 2022),        score = grad log q(x_t given x_0) = -eps/s

Every pair has a formula of its own, so that nothing is divided by what vanishes at an end unless the answer itself blows up there
(x_0 from eps at large t, eps or the score from x_0 at small t). KL_t, which is (SNR_{t-1} - SNR_t)/2 |x_0 - x_0 hat|², is the same
number through each, with `loss_weight` in front of the squared error of what was predicted. The usual "simple" loss leaves the
weight of eps out: no bound.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..gaussian import sum_per_example
from .. import checks
from .forward import noisy
from .schedule import Schedule, Scheduled, factor

# target from (value, x, a, s), for every source
FORMULAS = {
    ("eps", "x_0"): lambda eps, x, a, s: (x - s * eps) / a,
    ("v", "x_0"): lambda v, x, a, s: a * x - s * v,
    ("score", "x_0"): lambda score, x, a, s: (x + s * s * score) / a,
    ("x_0", "eps"): lambda x_0, x, a, s: (x - a * x_0) / s,
    ("v", "eps"): lambda v, x, a, s: s * x + a * v,
    ("score", "eps"): lambda score, x, a, s: -s * score,
    ("x_0", "v"): lambda x_0, x, a, s: (a * x - x_0) / s,
    ("eps", "v"): lambda eps, x, a, s: (eps - s * x) / a,
    ("score", "v"): lambda score, x, a, s: -s * (score + x) / a,
    ("x_0", "score"): lambda x_0, x, a, s: -(x - a * x_0) / (s * s),
    ("eps", "score"): lambda eps, x, a, s: -eps / s,
    ("v", "score"): lambda v, x, a, s: -(x + a / s * v),
}
PARAMETRISATIONS = ("x_0", "eps", "v", "score")


def convert(value: Any, x_t: Any, t: Any, schedule: Schedule, *, source: str, target: str) -> Any:
    """The same prediction in another parametrisation: value, x_t (batch, ...), t one time or (batch,), real times in [1, T] allowed.

    source and target: "x_0", "eps", "v" or "score". ValueError for others, and for shapes that differ.
    """
    for name, kind in (("source", source), ("target", target)):
        if kind not in PARAMETRISATIONS:
            raise ValueError(f"convert: unknown {name} {kind!r}; known are {', '.join(PARAMETRISATIONS)}")
    x_t = checks.floats("x_t", x_t)
    if np.shape(value) != np.shape(x_t):
        raise ValueError(f"convert: value must have x_t's shape {np.shape(x_t)}, got {np.shape(value)}")
    if np.shape(t) not in ((), np.shape(x_t)[:1]):
        raise ValueError(f"convert: t must be one time or have shape {np.shape(x_t)[:1]}, got {np.shape(t)}")
    a, s = schedule.scales_at(t, x_t)
    if source == target:
        return value
    return FORMULAS[source, target](value, x_t, a, s)


def loss_weight(schedule: Schedule, t: Any, x_0: Any, parametrisation: str = "eps") -> Any:
    """w_t with KL_t = w_t |truth - prediction|² (13.29's in every parametrisation), for t in 2..T, shape () or (batch,).

        x_0: (SNR_{t-1} - SNR_t)/2,    eps: (exp(gamma_t - gamma_{t-1}) - 1)/2,    v: that of x_0 times 1 - abar_t,
        score: that of eps times 1 - abar_t;    simple: 1, for eps, not a bound
    """
    noisy("x_0", x_0, schedule, t, first=2)
    if parametrisation == "simple":
        return np.ones(np.shape(t))
    if parametrisation not in PARAMETRISATIONS:
        raise ValueError(f"loss_weight: unknown parametrisation {parametrisation!r}; known are {', '.join(PARAMETRISATIONS)} and simple")
    # |x_0 - x_0 hat|² = |eps - eps hat|²/SNR_t = (1 - abar_t) |v - v hat|²; |eps - eps hat|² = (1 - abar_t) |score - score hat|²
    x_0_weight, one_minus_alpha_bar = 0.5 * schedule.snr_drop[t], schedule.one_minus_alpha_bar[t]
    factors = {"x_0": lambda: 1.0, "eps": lambda: 1 / schedule.snr[t],
               "v": lambda: one_minus_alpha_bar, "score": lambda: one_minus_alpha_bar / schedule.snr[t]}
    return x_0_weight * factors[parametrisation]()


def weighted_error(schedule: Schedule, truth: Any, prediction: Any, t: Any, parametrisation: str = "eps") -> Any:
    """w_t |truth - prediction|² per example (batch,), nats: KL_t, or with parametrisation="simple" |eps - eps hat|², no bound."""
    weight = loss_weight(schedule, t, truth, parametrisation)
    if np.shape(prediction) != np.shape(truth):
        raise ValueError(f"weighted_error: prediction must have truth's shape {np.shape(truth)}, got shape {np.shape(prediction)}")
    error = sum_per_example(np.square(truth - prediction))
    return factor(weight, error) * error


class ConvertedDenoiser(Scheduled):
    """A denoiser of a network that predicts something else: denoiser(theta, x_t, t) = convert(network(theta, x_t, t), ..., "x_0").

    network(theta, x_t, t) -> (batch, ...) of x_t's shape; parametrisation "eps", "v", "score" or "x_0". A learned schedule reaches a
    network that has with_schedule; one that closes over a schedule of its own keeps that.
    """

    def __init__(self, network: Any, schedule: Schedule, parametrisation: str):
        if parametrisation not in PARAMETRISATIONS:
            raise ValueError(f"ConvertedDenoiser: unknown parametrisation {parametrisation!r}; known are {', '.join(PARAMETRISATIONS)}")
        self.network, self.schedule, self.parametrisation = network, schedule, parametrisation

    def with_schedule(self, schedule: Schedule) -> ConvertedDenoiser:
        network = self.network.with_schedule(schedule) if hasattr(self.network, "with_schedule") else self.network
        return ConvertedDenoiser(network, schedule, self.parametrisation)

    def __call__(self, theta: Any, x_t: Any, t: Any) -> Any:
        return convert(self.network(theta, x_t, t), x_t, t, self.schedule, source=self.parametrisation, target="x_0")
