"""What a network may predict for 13.29, and how each says the others: x_0, eps, v and the score.

With a = √ᾱ_t, s = √(1 - ᾱ_t) and x_t = a x_0 + s eps:

    v = a eps - s x_0                           Salimans and Ho 2022
    score = ∇ log q(x_t | x_0) = -eps/s         the gradient with respect to x_t

Every pair has a formula of its own. So nothing is divided by what vanishes at an end, unless the
answer itself blows up there: x_0 from eps at large t, eps or the score from x_0 at small t.

KL_t = (SNR_{t-1} - SNR_t)/2 |x_0 - x̂_0|² is the same number through each of them, as `loss_weight`
times the squared error of what was predicted. The usual "simple" loss leaves the weight of eps out
and is no bound.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree
from ..gaussian import squared_distance
from .forward import noisy
from .model import two_outputs, with_schedule
from .schedule import Schedule, Scheduled, factor

# (source, target): the target from (value, x, a, s)
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


def convert(value: Array, x_t: Array, t: Any, schedule: Schedule, *, source: str,
            target: str) -> Array:
    """The same prediction in another parametrisation; value and x_t (batch, ...), t a real time in
    [1, T] or (batch,) of them.

    source and target: "x_0", "eps", "v" or "score". ValueError for others, and for other shapes.

    >>> from refvdm.vdm import Schedule, convert, sample_q
    >>> schedule, x_0, eps = Schedule.cosine(10), np.ones((1, 2)), np.array([[0.5, -1.0]])
    >>> x_t = sample_q(schedule, x_0, 4, eps=eps)
    >>> convert(eps, x_t, 4, schedule, source="eps", target="x_0").round(12).tolist()
    [[1.0, 1.0]]
    """
    for name, kind in (("source", source), ("target", target)):
        checks.one_of(f"convert: {name}", kind, PARAMETRISATIONS)
    x_t = checks.floats("x_t", x_t)
    value = checks.like("convert: value", value, "x_t", x_t, finite=True)
    _one_each("convert", t, x_t)
    a, s = checks.instance("convert: schedule", schedule, Schedule).scales_at(t, x_t)
    if source == target:
        return value
    if schedule.ends_in_noise and source in ("eps", "score") and target in ("x_0", "v") and (
            np.max(t) > schedule.T - 1):  # gamma is inf from there on
        raise ValueError(f"convert: at t = T = {schedule.T} x_t is noise alone (ᾱ_T = 0): {source} "
                         f"says nothing of {target} there; predict x_0 or v")
    return FORMULAS[source, target](value, x_t, a, s)


def _one_each(who: str, t: Any, x_t: Array) -> None:
    if np.shape(t) not in ((), np.shape(x_t)[:1]):
        raise ValueError(f"{who}: t must be one time or have shape {np.shape(x_t)[:1]}, "
                         f"got {np.shape(t)}")


def loss_weight(schedule: Schedule, t: Any, x_0: Array, parametrisation: str = "eps") -> Any:
    """w_t in KL_t = w_t |truth - prediction|², t in 2..T, of shape () or (batch,): 13.29 in every
    parametrisation.

        x_0        (SNR_{t-1} - SNR_t)/2
        eps        (exp(gamma_t - gamma_{t-1}) - 1)/2
        v          the weight of x_0 times 1 - ᾱ_t
        score      the weight of eps times 1 - ᾱ_t
        simple     1, for a network that predicts eps; not a bound

    >>> from refvdm.vdm import Schedule, loss_weight
    >>> schedule = Schedule.from_alpha_bars([0.8, 0.5])
    >>> round(float(loss_weight(schedule, 2, np.zeros((1, 2)), "x_0")), 9)  # (4 - 1)/2
    1.5
    """
    noisy("x_0", x_0, schedule, t, first=2)
    known = (*PARAMETRISATIONS, "simple")
    checks.one_of("loss_weight: parametrisation", parametrisation, known)
    if parametrisation == "simple":
        return np.ones(np.shape(t))
    # |x_0 - x̂_0|² = |eps - ε̂|²/SNR_t = (1 - ᾱ_t) |v - v̂|²
    # |eps - ε̂|² = (1 - ᾱ_t) |score - its prediction|²
    if schedule.ends_in_noise and parametrisation in ("eps", "score") and np.max(t) == schedule.T:
        raise ValueError(f"loss_weight: at t = T = {schedule.T} the weight of {parametrisation} is "
                         "infinite (ᾱ_T = 0); predict x_0 or v")
    x_0_weight, one_minus_alpha_bar = 0.5 * schedule.snr_drop[t], schedule.one_minus_alpha_bar[t]
    factors = {"x_0": lambda: 1.0,
               "eps": lambda: 1 / schedule.snr[t],
               "v": lambda: one_minus_alpha_bar,
               "score": lambda: one_minus_alpha_bar / schedule.snr[t]}
    return x_0_weight * factors[parametrisation]()


def weighted_error(schedule: Schedule, truth: Array, prediction: Array, t: Any,
                   parametrisation: str = "eps") -> Array:
    """KL_t = w_t |truth - prediction|² per example (batch,), nats, with the w_t of loss_weight; for
    "simple" it is |eps - ε̂|², and no bound.

    >>> from refvdm.vdm import Schedule, weighted_error
    >>> schedule, x_0 = Schedule.from_alpha_bars([0.8, 0.5]), np.array([[3.0, 4.0]])
    >>> weighted_error(schedule, x_0, 0 * x_0, 2, "x_0").round(9).tolist()
    [37.5]
    """
    truth = checks.floats("weighted_error: truth", truth)
    weight = loss_weight(schedule, t, truth, parametrisation)
    prediction = checks.like("weighted_error: prediction", prediction, "truth", truth, finite=True)
    error = squared_distance(truth, prediction)
    return factor(weight, error) * error


class ExplodingDenoiser(Scheduled):
    """A denoiser made of one for levels that explode: network(theta, x_0 + σ eps, σ) -> x̂_0, of its
    first argument's shape, σ (batch,).

        x̂_0(x_t, t) = network(theta, x_t/√ᾱ_t, σ_t),    σ_t² = (1 - ᾱ_t)/ᾱ_t = exp(gamma_t)

    See Schedule.from_sigmas and flow_log_prob(exploding=True). ValueError at ᾱ_t = 0.

    >>> from refvdm.vdm import ExplodingDenoiser, Schedule
    >>> schedule = Schedule.from_sigmas([0.5, 3.0])
    >>> denoiser = ExplodingDenoiser(lambda theta, x, sigma: x / (1 + sigma[:, None]**2), schedule)
    >>> x_t = np.array([[2.0]])  # x_0 ~ N(0, 1): √ᾱ_t x_t
    >>> np.allclose(denoiser(None, x_t, np.array([2])), schedule.sqrt_alpha_bar[2] * x_t)
    True
    """

    def __init__(self, network: Callable[..., Array], schedule: Schedule):
        self.network = checks.function("ExplodingDenoiser: network", network,
                                       "network(theta, x, sigma)")
        self.schedule = checks.instance("ExplodingDenoiser: schedule", schedule, Schedule)
        if schedule.ends_in_noise:
            raise ValueError("ExplodingDenoiser: gamma_T = inf (ᾱ_T = 0) is no finite σ_T")

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        x_t = checks.floats("ExplodingDenoiser: x_t", x_t)
        _one_each("ExplodingDenoiser", t, x_t)
        signal, _ = self.schedule.scales_at(t, x_t)
        gamma = self.schedule.gamma_at(np.broadcast_to(t, x_t.shape[:1]))
        sigma = np.reshape(np.exp(0.5 * factor(gamma, x_t)), x_t.shape[:1])
        asked = theta, x_t / signal, sigma
        return checks.answer("the network", self.network, asked, x_t.shape, t)


class ConvertedDenoiser(Scheduled):
    """A denoiser made of a network that predicts something else, through `convert`.

    network(theta, x_t, t) -> (batch, ...) of x_t's shape; parametrisation "eps", "v", "score" or
    "x_0" says what that is. With variance=True it gives that and a second output, the share of
    log_variance_between, for VDM(variance="network"). A learned schedule reaches a network that has
    with_schedule; one that closes over a schedule of its own keeps that. ValueError for other
    parametrisations.

    >>> from refvdm.vdm import ConvertedDenoiser, Schedule
    >>> schedule = Schedule.cosine(10)
    >>> denoiser = ConvertedDenoiser(lambda theta, x_t, t: 0 * x_t, schedule, "eps")
    >>> x_t = np.ones((1, 2))  # without noise in it, x_0 = x_t/√ᾱ_t
    >>> np.allclose(denoiser(None, x_t, np.array([5])), x_t / schedule.sqrt_alpha_bar[5])
    True
    """

    def __init__(self, network: Callable[..., Array], schedule: Schedule, parametrisation: str, *,
                 variance: bool = False):
        checks.one_of("ConvertedDenoiser: parametrisation", parametrisation, PARAMETRISATIONS)
        self.network = checks.function("ConvertedDenoiser: network", network,
                                       "network(theta, x_t, t)")
        self.schedule = checks.instance("ConvertedDenoiser: schedule", schedule, Schedule)
        self.parametrisation = parametrisation
        self.variance = checks.flag("ConvertedDenoiser: variance", variance)

    @property
    def with_variance(self) -> Callable:
        """(x̂_0, share), as VDM(variance="network") asks for it."""
        if not self.variance:
            raise AttributeError("this ConvertedDenoiser was made without variance=True")
        return self._both

    def with_schedule(self, schedule: Schedule) -> ConvertedDenoiser:
        return ConvertedDenoiser(with_schedule(schedule, self.network), schedule,
                                 self.parametrisation, variance=self.variance)

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        return self._both(theta, x_t, t)[0]

    def _both(self, theta: Tree, x_t: Array, t: Any) -> tuple[Array, Any]:
        """x̂_0 and the share, None without variance=True."""
        x_t = checks.floats("ConvertedDenoiser: x_t", x_t)
        share: Any = None
        if self.variance:
            value, share = two_outputs("the network", self.network, theta, x_t, t)
        else:
            value = checks.answer("the network", self.network, (theta, x_t, t), x_t.shape, t)
        return convert(value, x_t, t, self.schedule, source=self.parametrisation,
                       target="x_0"), share
