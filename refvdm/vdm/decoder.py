"""p(x_0 | x_1), the decoder of the first term of 13.24.

A decoder is anything with these two methods (model.Decoder):

    log_prob(x_0, x_1, prediction, schedule)      log p(x_0 | x_1) in nats (batch,), summed over
                                                  each example
    sample(x_1, prediction, schedule, eps)        a draw of x_0, made from standard normal eps of
                                                  x_0's shape

prediction is what the denoiser says at x_1, t = 1: .x_0_hat, and .logits or None.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from .. import checks
from ..autodiff import Array, Tensor, log_softmax, stop_gradient
from ..gaussian import LOG_2PI, sum_per_example
from .model import Prediction
from .schedule import Schedule, scales


class GaussianDecoder:
    """p(x_0 | x_1) = N(x_0; x̂_0(x_1, 1), variance I), for float data. ValueError unless variance
    is positive and finite."""

    def __init__(self, variance: float):
        self.variance = checks.positive("GaussianDecoder: variance", variance)

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        # log N(x_0; x̂_0, variance I), the sum of log_normal over an example's D elements
        error, D = sum_per_example(np.square(x_0 - prediction.x_0_hat)), x_0.size // len(x_0)
        return error * (-0.5 / self.variance) - 0.5 * D * (LOG_2PI + math.log(self.variance))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        return prediction.x_0_hat + float(np.sqrt(self.variance)) * eps


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
        log_probs = np.where(self._one_hot(x_0), self.log_probs(x_1, prediction, schedule), 0.0)
        return sum_per_example(np.sum(log_probs, axis=-1))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        k, _ = choose(np.exp(self.log_probs(x_1, prediction, schedule)), eps)
        return self.levels.astype(x_1.dtype)[k]

    def _one_hot(self, x_0: Array) -> np.ndarray:
        x_0 = stop_gradient(x_0)
        levels = self.levels.astype(x_0.dtype)
        spacing = np.min(np.diff(levels))
        if spacing <= 0:
            raise ValueError(f"CategoricalDecoder: in {x_0.dtype} two of the levels are the same "
                             "number; use a wider dtype or scale them")
        # equal up to rounding: 2 k/255 - 1 in float32 and linspace(-1, 1, 256) differ in last bits
        rounding = min(8 * np.finfo(x_0.dtype).eps * np.max(np.abs(levels)), spacing / 4)
        chosen = np.abs(x_0[..., None] - levels) <= rounding
        known = np.any(chosen, axis=-1)
        if not np.all(known):
            at = tuple(map(int, np.argwhere(~known)[0]))
            low, high = self.levels[0], self.levels[-1]
            raise ValueError(f"CategoricalDecoder: x_0 must hold levels only ({low:g} to {high:g}, "
                             f"K = {len(levels)}), got {x_0[at]} at index {at}")
        return chosen


class ExactDecoder:
    """The true p(x_0 | x_1) of a known data distribution, from one of the exact denoisers of
    denoiser.py.

    With it and that denoiser the bound is as tight as T steps allow, so that it can be held against
    the known entropy.
    """

    def __init__(self, denoiser: Any):
        checks.function("ExactDecoder: denoiser.log_posterior",
                        getattr(denoiser, "log_posterior", None), "log_posterior(x_0, x_t, t)")
        self.denoiser = denoiser

    def with_schedule(self, schedule: Schedule) -> ExactDecoder:
        return ExactDecoder(self.denoiser.with_schedule(schedule))

    def log_prob(self, x_0: Array, x_1: Array, prediction: Prediction, schedule: Schedule) -> Array:
        return self.denoiser.log_posterior(x_0, x_1, np.ones(len(x_1), int))

    def sample(self, x_1: Array, prediction: Prediction, schedule: Schedule, eps: Array) -> Array:
        return self.denoiser.sample_posterior(x_1, np.ones(len(x_1), int), eps)


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
