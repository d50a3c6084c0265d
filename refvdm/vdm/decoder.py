"""p(x_0 | x_1), the decoder of the first term of 13.24.

A decoder is anything with these two methods (model.Decoder):

    log_prob(x_0, x_1, prediction, schedule)      log p(x_0 | x_1) in nats (batch,), summed over
                                                  each example
    sample(x_1, prediction, schedule, eps)        a draw of x_0, made from standard normal eps of
                                                  x_0's shape

prediction is what the denoiser says at x_1, t = 1: .x_0_hat, and .logits and .log_variance or None.

The variance of a Gaussian decoder is a number, or "network": for each element that of
log_variance_between at t = 1, in a VDM(variance="network").
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import log_ndtr, ndtr

from .. import checks
from ..autodiff import Array, Tensor, log_softmax, stop_gradient
from ..gaussian import LOG_2PI, log_normal, squared_distance, sum_per_example
from .learned import NETWORK
from .model import Prediction
from .schedule import Schedule, scales


class GaussianDecoder:
    """p(x_0 | x_1) = N(x_0; x̂_0(x_1, 1), variance I), for float data. A good variance is about
    1 - ᾱ_1, the noise that x_1 has. ValueError unless it is positive and finite, or "network".

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> vdm.elbo(None, np.zeros((3, 2)), np.random.default_rng(0)).reconstruction.round(3).tolist()
    [2.767, 2.767, 2.767]
    """

    def __init__(self, variance: float | str):
        self.variance: Any = _variance("GaussianDecoder: variance", variance)

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 | x_1) (batch,), nats, summed over each example."""
        if self.variance == NETWORK:
            return sum_per_example(log_normal(x_0, prediction.x_0_hat, prediction.log_variance))
        # log N(x_0; x̂_0, variance I), the sum of log_normal over an example's D elements
        error, D = squared_distance(x_0, prediction.x_0_hat), x_0.size // len(x_0)
        return error * (-0.5 / self.variance) - 0.5 * D * (LOG_2PI + math.log(self.variance))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        """x_0, a draw made from standard normal eps of x_0's shape."""
        return prediction.x_0_hat + _deviation(self.variance, prediction) * eps


class DiscretizedGaussianDecoder:
    """p(x_0 | x_1) = Π over elements of the mass of N(x̂_0(x_1, 1), variance) in the bin of x_0's
    level, for integer data scaled to floats: DDPM's decoder (Ho et al. 2020, 13).

        log [Φ((b - x̂_0)/σ) - Φ((a - x̂_0)/σ)]

    levels (K,) are the scaled values, rising; x_0 is one of them. A bin's ends a and b lie half way
    to its neighbours, the first and the last bin reach to infinity. Exact in both tails, as a
    difference of log Φ on the side where both are small; DDPM's code approximates Φ by tanh and
    gives bins far out 10^-12. ValueError as CategoricalDecoder and GaussianDecoder.

    >>> from refvdm.vdm import VDM, DiscretizedGaussianDecoder, Schedule
    >>> decoder = DiscretizedGaussianDecoder(np.linspace(-1, 1, 5), variance=0.01)
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), decoder)
    >>> vdm.elbo(None, np.zeros((3, 2)), np.random.default_rng(0)).reconstruction.shape
    (3,)
    """

    def __init__(self, levels: Any, variance: float | str):
        self.levels = rising("DiscretizedGaussianDecoder: levels", levels)
        self.variance: Any = _variance("DiscretizedGaussianDecoder: variance", variance)

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 | x_1) (batch,), nats, summed over each example."""
        k = np.argmax(one_hot("DiscretizedGaussianDecoder", x_0, self.levels), axis=-1)
        inner, last = (self.levels[1:] + self.levels[:-1]) / 2, len(self.levels) - 1
        ends = np.concatenate([inner[:1], inner, inner[-1:]]).astype(x_0.dtype)
        deviation = _deviation(self.variance, prediction)
        low, high = ((end - prediction.x_0_hat) / deviation for end in (ends[k], ends[k + 1]))
        # an open end is FAR out: infinity would meet 0 in a gradient
        low, high = np.where(k == 0, -FAR, low), np.where(k == last, FAR, high)
        flip = stop_gradient(low + high) > 0  # by symmetry the same bin on the other side
        below = log_ndtr(np.where(flip, -high, low))
        above = log_ndtr(np.where(flip, -low, high))
        return sum_per_example(above + log_one_minus_exp(below - above))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        """x_0, a draw made from standard normal eps of x_0's shape."""
        x = prediction.x_0_hat + _deviation(self.variance, prediction) * eps
        inner = (self.levels[1:] + self.levels[:-1]) / 2
        k = np.searchsorted(inner, checks.unrecorded("sample", x, "a level has no gradient"))
        return self.levels.astype(x_1.dtype)[k]


FAR = 1e8


def _variance(name: str, variance: Any) -> Any:
    return NETWORK if isinstance(variance, str) and variance == NETWORK else checks.positive(
        name, variance)


def _deviation(variance: Any, prediction: Prediction) -> Any:
    """σ at t = 1: a number, or for each element."""
    return np.exp(0.5 * prediction.log_variance) if variance == NETWORK else math.sqrt(variance)


def log_one_minus_exp(d: Array) -> Array:
    """log(1 - e^d) for d < 0, to full accuracy at both ends."""
    near = stop_gradient(d) > -math.log(2)
    return np.where(near, np.log(-np.expm1(np.where(near, d, -1.0))),
                    np.log1p(-np.exp(np.where(near, -1.0, d))))


class CategoricalDecoder:
    """p(x_0 | x_1) = product over elements of a categorical over K levels, for integer data scaled
    to floats.

    levels (K,) are the scaled values, rising; every element of x_0 must be one of them. The logits
    are the denoiser's own, where it has .logits(theta, x_t, t) -> (batch, ..., K). Otherwise they
    are the exact Gaussian log-likelihoods of x_1 under each level, log N(x_1; √ᾱ_1 v_k, 1 - ᾱ_1),
    normalised over k (as Kingma et al. 2021, appendix E): the posterior of an element if all levels
    weigh the same.
    ValueError for levels that are not finite and rising, logits of another K, or an x_0 that is
    none of the levels.

    >>> from refvdm.vdm import VDM, CategoricalDecoder, Schedule
    >>> levels = np.array([-1.0, 0.0, 1.0])
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), CategoricalDecoder(levels))
    >>> bool(np.isin(vdm.sample(None, (5, 2), np.random.default_rng(0)), levels).all())
    True
    """

    def __init__(self, levels: Any):
        self.levels = rising("CategoricalDecoder: levels", levels)

    def log_probs(self, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 = v_k | x_1) for every element and level: (batch, ..., K)."""
        logits, shape = prediction.logits, (*np.shape(x_1), len(self.levels))
        if logits is None:
            logits = level_logits(x_1, schedule.gamma[1], self.levels)
        elif np.shape(logits) != shape:
            raise ValueError("CategoricalDecoder: the denoiser's logits must have x_t's shape and "
                             f"K behind, {shape}, got {np.shape(logits)}")
        return log_softmax(logits, axis=-1)

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 | x_1) (batch,), nats, summed over each example."""
        chosen = one_hot("CategoricalDecoder", x_0, self.levels)
        log_probs = np.where(chosen, self.log_probs(x_1, prediction, schedule), 0.0)
        return sum_per_example(np.sum(log_probs, axis=-1))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        """x_0, a draw made from standard normal eps of x_0's shape."""
        k, _ = choose(np.exp(self.log_probs(x_1, prediction, schedule)), eps)
        return self.levels.astype(x_1.dtype)[k]



class ExactDecoder:
    """The true p(x_0 | x_1) of a known data distribution, from one of the exact denoisers of
    denoiser.py.

    With it and that denoiser the bound is as tight as T steps allow, so that it can be held against
    the known entropy.

    >>> from refvdm.vdm import VDM, ExactDecoder, Schedule
    >>> from refvdm.vdm.denoiser import PointsDenoiser
    >>> schedule = Schedule.linear_gamma(200, -9.0, 9.0)
    >>> exact = PointsDenoiser(np.array([[-1.0], [1.0]]), schedule)  # two points, equally likely
    >>> vdm = VDM(exact, schedule, ExactDecoder(exact))
    >>> elbo = vdm.elbo(None, np.ones((200, 1)), np.random.default_rng(0)).total
    >>> bool(abs(elbo.mean() + np.log(2)) < 0.1)  # log p(x_0) = -log 2
    True
    """

    def __init__(self, denoiser: Any):
        checks.function("ExactDecoder: denoiser.log_posterior",
                        getattr(denoiser, "log_posterior", None), "log_posterior(x_0, x_t, t)")
        self.denoiser = denoiser

    def with_schedule(self, schedule: Schedule) -> ExactDecoder:
        """The same for other noise levels."""
        return ExactDecoder(self.denoiser.with_schedule(schedule))

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        """log p(x_0 | x_1) (batch,), nats, summed over each example."""
        return self.denoiser.log_posterior(x_0, x_1, np.ones(len(x_1), int))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        """x_0, a draw made from standard normal eps of x_0's shape."""
        return self.denoiser.sample_posterior(x_1, np.ones(len(x_1), int), eps)


def one_hot(who: str, x_0: Array, levels: np.ndarray) -> np.ndarray:
    """Which of the levels every element of x_0 is: (batch, ..., K) of bools, one True each."""
    x_0 = stop_gradient(x_0)
    exact, levels = levels, levels.astype(x_0.dtype)
    spacing = np.min(np.diff(levels))
    if spacing <= 0:
        raise ValueError(f"{who}: in {x_0.dtype} two of the levels are the same "
                         "number; use a wider dtype or scale them")
    # equal up to rounding: 2 k/255 - 1 in float32 and linspace(-1, 1, 256) differ in last bits
    rounding = min(8 * np.finfo(x_0.dtype).eps * np.max(np.abs(levels)), spacing / 4)
    chosen = np.abs(x_0[..., None] - levels) <= rounding
    known = np.any(chosen, axis=-1)
    if not np.all(known):
        at = tuple(map(int, np.argwhere(~known)[0]))
        low, high = exact[0], exact[-1]
        raise ValueError(f"{who}: x_0 must hold levels only ({low:g} to {high:g}, "
                         f"K = {len(levels)}), got {x_0[at]} at index {at}")
    return chosen


def rising(name: str, levels: Any) -> np.ndarray:
    """Levels (K,): at least two, finite and rising."""
    v = checks.reals(name, levels, (...,), finite=False)
    if v.ndim != 1 or len(v) < 2 or not np.all(np.isfinite(v)) or not np.all(np.diff(v) > 0):
        raise ValueError(f"{name} must be at least two finite rising numbers, shape (K,), "
                         f"got {levels!r}")
    return v


def level_logits(x_t: Array, gamma: Any, levels: np.ndarray) -> Array:
    """log N(x_t; √ᾱ v_k, 1 - ᾱ) for every element and level, up to a constant in k, with ᾱ at
    gamma () or (batch,), float64: (batch, ..., K).

        -(x_t - √ᾱ v_k)²/(2 (1 - ᾱ))

    The difference is squared as it stands. Multiplied out, terms as large as the SNR would cancel,
    in float32 to 0.01 nats at gamma = -13.
    """
    gamma = np.reshape(gamma, np.shape(gamma) + (1,) * (np.ndim(x_t) if np.ndim(gamma) else 0))
    signal, width = scales(gamma)
    means, scale = signal * levels, -0.5 / np.square(width)
    if type(means) is not Tensor:
        means, scale = np.asarray(means, x_t.dtype), np.asarray(scale, x_t.dtype)
    return np.square(np.expand_dims(x_t, -1) - means) * scale


def choose(probabilities: Any, eps: Any) -> tuple[np.ndarray, np.ndarray]:
    """Draw k with probabilities (..., K) from standard normal eps (...), by inverse CDF of
    u = Φ(eps): k rises with eps. A k without probability is never drawn.

    Also returned is what is left of u, (u - P(< k))/P(k): uniform again, and independent of k.
    """
    checks.unrecorded("the probabilities and eps of a discrete draw", (probabilities, eps),
                      "it has no derivative")
    cumulated = np.cumsum(probabilities, axis=-1, dtype=np.float64)
    u = np.maximum(ndtr(eps.astype(np.float64)), np.finfo(float).tiny) * cumulated[..., -1]
    k = np.sum(cumulated < u[..., None], axis=-1)
    p, upto = (np.take_along_axis(a, k[..., None], axis=-1)[..., 0]
               for a in (probabilities, cumulated))
    return k, 1 - (upto - u) / p
