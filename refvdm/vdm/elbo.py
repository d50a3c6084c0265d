"""The bound of 13.24, term by term, per example, in nats.

    log p(x_0) >= E_q(x_1|x_0) log p(x_0 | x_1)                                               reconstruction
                  - KL(q(x_T | x_0) to N(0, I))                                                prior_kl
                  - sum_{t=2..T} E_q(x_t|x_0) KL(q(x_{t-1} | x_t, x_0) to p(x_{t-1} | x_t))    diffusion_kl

The KLs are in closed form and run from q to p (13.24 as printed has them the other way round). p(x_{t-1} | x_t) is q's posterior
with x_0 hat(x_t, t) in the place of x_0, of q's variance unless the model says otherwise.
One draw of each x_t stands for its expectation: what comes out is unbiased, and its mean
over the noise, not every draw of it, is the bound.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from ..autodiff import stop_gradient
from ..gaussian import expm1_minus, kl_normal, sum_per_example
from ..mhvae import MarkovianHVAE
from .decoder import Prediction, predict, predict_x_0
from .forward import (
    check_floats,
    check_rng,
    coefficient,
    diffuse,
    gammas,
    noise,
    q_posterior,
)
from .hvae import as_mhvae
from .learned import LearnedSchedule, LearnedVariance, log_variances
from .sample import ancestral_path
from .schedule import Schedule, softplus


class ELBO(NamedTuple):
    """total = reconstruction - prior_kl - diffusion_kl, each (batch,) in nats; the mean of total over the noise is <= log p(x_0)."""

    reconstruction: Any
    prior_kl: Any
    diffusion_kl: Any
    total: Any


class VDM:
    """A variational diffusion model (13.4.2): q fixed by the schedule, p by a denoiser and a decoder.

    denoiser(theta, x_t, t) -> x_0 hat of x_t's shape, x_t (batch, ...), t an array (batch,): of integers here.
    schedule    a Schedule, or a LearnedSchedule of the same T
    decoder     decoder.py
    variance    of p(x_{t-1} given x_t): "small" sigma_q² (the KL is then that of 13.29), "large" 1 - alpha_t, an array (T+1,) indexed
                by t (entries 0 and 1 are not used), or a LearnedVariance

    theta is any tree and goes to the denoiser whole, unless schedule or variance is learned: then it is {"denoiser": ..., "schedule":
    ..., "variance": ...}, with the last two where they are learned. A denoiser or decoder that holds a schedule of its own is given
    the learned one through its method with_schedule; inside a gradient a learned schedule makes everything float64.
    """

    def __init__(self, denoiser: Any, schedule: Schedule | LearnedSchedule, decoder: Any, variance: Any = "small"):
        if not callable(denoiser):
            raise TypeError(f"VDM: denoiser must be callable as denoiser(theta, x_t, t), got {type(denoiser).__name__}")
        if not isinstance(schedule, (Schedule, LearnedSchedule)):
            raise TypeError(f"VDM: schedule must be a Schedule or a LearnedSchedule, got {type(schedule).__name__}")
        if not hasattr(decoder, "log_prob") or isinstance(decoder, type):
            raise TypeError(f"VDM: decoder must be an object with log_prob (GaussianDecoder(...), CategoricalDecoder(...)), got {decoder!r}")
        self.denoiser, self.schedule, self.decoder = denoiser, schedule, decoder
        self.variance = _check_variance(variance, schedule.T)
        if isinstance(schedule, Schedule):
            for name, part in (("denoiser", denoiser), ("decoder's denoiser", getattr(decoder, "denoiser", None))):
                own = getattr(part, "schedule", schedule)
                if isinstance(own, Schedule) and not np.array_equal(stop_gradient(own.gamma), stop_gradient(schedule.gamma)):
                    raise ValueError(f"VDM: the {name} was made for another schedule, {own!r}, than the model's, {schedule!r}: what it says "
                                     f"of time t would be about another noise level")

    def at(self, theta: Any) -> Model:
        """The model with these parameters: what was learned is made a Schedule and a table of variances."""
        parts = (("schedule", self.schedule, LearnedSchedule), ("variance", self.variance, LearnedVariance))
        learned = {name for name, part, kind in parts if isinstance(part, kind)}
        denoiser, decoder, schedule = self.denoiser, self.decoder, self.schedule
        if learned:
            expected = {"denoiser", *learned}
            if not isinstance(theta, dict) or theta.keys() != expected:
                got = sorted(theta) if isinstance(theta, dict) else type(theta).__name__
                raise ValueError(f"VDM: with a learned {' and '.join(sorted(learned))} theta must be a dict with the keys "
                                 f"{sorted(expected)}, got {got}")
        if "schedule" in learned:
            schedule = schedule(theta["schedule"])
            denoiser, decoder = (part.with_schedule(schedule) if hasattr(part, "with_schedule") else part for part in (denoiser, decoder))
        return Model(denoiser, theta["denoiser"] if learned else theta, schedule, decoder, _log_variance(self.variance, schedule, theta))

    def as_mhvae(self) -> MarkovianHVAE:
        """This model as a hierarchical VAE with the same theta, see hvae.as_mhvae. TypeError unless the decoder is Gaussian."""
        return as_mhvae(self)

    def elbo(self, theta: Any, x_0: Any, rng: np.random.Generator | None = None, *, eps: Any = None, rows: int = 1024) -> ELBO:
        """13.24 with the exact sum over t = 2..T; x_0 (batch, ...) floats.

        eps (T, batch, ...) standard normal: eps[t-1] makes x_t from x_0; rng draws exactly that array when eps is not given.
        The denoiser sees about `rows` noisy examples at a time, and memory does not grow with T.
        """
        x_0, model = _check_data(x_0), self.at(theta)
        draws = _Draws("elbo", model.schedule.T, x_0, rng, eps)
        x_1 = diffuse(model.schedule, x_0, 1, draws.next(1)[0])
        reconstruction = model.reconstruction(x_0, x_1)
        diffusion_kl = 0.0
        for _, kl in _kl_chunks(model, x_0, draws, rows):
            diffusion_kl = diffusion_kl + np.sum(kl, axis=0)
        return _total(reconstruction, prior_kl(model.schedule, x_0), diffusion_kl)

    def kl_per_t(self, theta: Any, x_0: Any, rng: np.random.Generator | None = None, *, eps: Any = None, rows: int = 1024) -> np.ndarray:
        """The terms of diffusion_kl one by one: (T+1, batch) indexed by t, 0 at t = 0 and 1. Arguments and draws as elbo."""
        x_0, model = _check_data(x_0), self.at(theta)
        draws = _Draws("kl_per_t", model.schedule.T, x_0, rng, eps)
        draws.next(1)
        table = np.zeros((model.schedule.T + 1, len(x_0)), x_0.dtype)
        for ts, kl in _kl_chunks(model, x_0, draws, rows):
            table[ts] = kl
        return table

    def elbo_estimate(self, theta: Any, x_0: Any, rng: np.random.Generator | None = None, *, t: Any = None, eps: Any = None,
                      times: str = "uniform") -> ELBO:
        """13.29 as an unbiased estimate of 13.24: one t in 2..T for each example, its KL times T - 1 in the place of the sum.

        t (batch,) integers, drawn from rng unless given: times="uniform" independently, "stratified" from one uniform number u
        as (u + i/batch) mod 1, spread over the batch, each still uniform (Kingma et al. 2021, I.1). eps (2, batch, ...): eps[0]
        makes x_1, eps[1] x_t; drawn after t. One evaluation of the denoiser on both.
        """
        x_0, model = _check_data(x_0), self.at(theta)
        schedule, n, T = model.schedule, len(x_0), model.schedule.T
        if times not in ("uniform", "stratified"):
            raise ValueError(f"elbo_estimate: times must be 'uniform' or 'stratified', got {times!r}")
        if t is None:
            t = _draw_times(n, T, rng, times)
        else:
            gammas(schedule, t, x_0, "x_0", first=2)
            t = np.broadcast_to(t, (n,))
        eps = noise("elbo_estimate", (2, *x_0.shape), x_0.dtype, rng, eps)
        t_both = np.concatenate([np.ones(n, t.dtype), t])
        x_both = diffuse(schedule, np.concatenate([x_0, x_0]), t_both, np.reshape(eps, (2 * n, *x_0.shape[1:])))
        both = predict(model.denoiser, model.theta, x_both, t_both)
        at_1 = Prediction(both.x_0_hat[:n], None if both.logits is None else both.logits[:n])
        reconstruction = model.decoder.log_prob(x_0, x_both[:n], at_1, schedule)
        kl = model.kl(x_both[n:], x_0, both.x_0_hat[n:], t)
        return _total(reconstruction, prior_kl(schedule, x_0), (T - 1) * kl)

    def sample(self, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *, x_T: Any = None, eps: Any = None) -> np.ndarray:
        """x_0 of the given shape (n, ...) by ancestral sampling; noise and dtype as sample.ancestral_path says."""
        for _, x in ancestral_path(self, theta, shape, rng, x_T=x_T, eps=eps):
            pass
        return x


class Model(NamedTuple):
    """A VDM with its parameters: theta the denoiser's own, log_variance (T+1,) of p, None where it is q's."""

    denoiser: Any
    theta: Any
    schedule: Schedule
    decoder: Any
    log_variance: Any

    def reconstruction(self, x_0: Any, x_1: Any) -> Any:
        """log p(x_0 | x_1) (batch,)."""
        prediction = predict(self.denoiser, self.theta, x_1, np.ones(len(x_0), int))
        return self.decoder.log_prob(x_0, x_1, prediction, self.schedule)

    def x_0_hat(self, x_t: Any, t: Any) -> Any:
        return predict_x_0(self.denoiser, self.theta, x_t, t)

    def kl(self, x_t: Any, x_0: Any, x_0_hat: Any, t: Any) -> Any:
        """KL_t (batch,), t in 2..T: the closed form of 13.29 for q's variance, else the general one."""
        if self.log_variance is None:
            return diffusion_kl(self.schedule, x_0, x_0_hat, t)
        return diffusion_kl_general(self.schedule, x_t, x_0, x_0_hat, t, coefficient(self.log_variance[t], x_0))

    def step(self, x_t: Any, t: int) -> tuple[Any, Any]:
        """(mean, var) of p(x_{t-1} | x_t), t in 2..T, one t for the whole batch."""
        mean, var = q_posterior(self.schedule, x_t, self.x_0_hat(x_t, np.full(len(x_t), t)), t)
        return mean, var if self.log_variance is None else coefficient(np.exp(self.log_variance[t]), x_t)


def _kl_chunks(model: Model, x_0: Any, draws: _Draws, rows: int) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield (ts, KL_t for those t as (len(ts), batch)) until t = 2..T is through."""
    if not isinstance(rows, (int, np.integer)) or rows < 1:
        raise ValueError(f"rows must be an integer of at least 1, got {rows!r}")
    n, T, shape = len(x_0), model.schedule.T, x_0.shape
    many = max(1, rows // n)
    for first in range(2, T + 1, many):
        ts = np.arange(first, min(first + many, T + 1))
        t = np.repeat(ts, n)
        x = np.reshape(np.broadcast_to(x_0, (len(ts), *shape)), (len(ts) * n, *shape[1:]))
        x_t = diffuse(model.schedule, x, t, np.reshape(draws.next(len(ts)), x.shape))
        yield ts, np.reshape(model.kl(x_t, x, model.x_0_hat(x_t, t), t), (len(ts), n))


def _check_variance(variance: Any, T: int) -> Any:
    if isinstance(variance, LearnedVariance):
        if variance.T != T:
            raise ValueError(f"VDM: the learned variance is for T = {variance.T}, the schedule has T = {T}")
        return variance
    if isinstance(variance, str):
        if variance not in ("small", "large"):
            raise ValueError(f"VDM: unknown variance {variance!r}; known are small, large, an array (T+1,) and a LearnedVariance")
        return variance
    variance = np.array(variance, np.float64)
    if variance.shape != (T + 1,) or not np.all((variance[2:] > 0) & (variance[2:] < np.inf)):
        raise ValueError(f"VDM: variance must hold {T + 1} numbers indexed by t, positive and finite from t = 2 on, got shape {variance.shape}")
    return variance


def _log_variance(variance: Any, schedule: Schedule, theta: Any) -> Any:
    if isinstance(variance, str) and variance == "small":
        return None
    if isinstance(variance, np.ndarray):
        table = np.log(variance[2:])
    else:
        table = log_variances(schedule)[1] if isinstance(variance, str) else variance(theta["variance"], schedule)
    return np.concatenate([np.full(2, np.nan), table])  # there is no KL at t = 1


# ---------------------------------------------------------------- the closed forms


def prior_kl(schedule: Schedule, x_0: Any) -> Any:
    """KL(q(x_T | x_0) to N(0, I)) per example, nats: 1/2 (abar_T |x_0|² - D abar_T - D log(1 - abar_T)).

    The last two terms are D (e^d - 1 - d) with d = log(1 - abar_T), right also when abar_T is 1e-12 and they are abar_T²/2.
    """
    x_0 = _check_data(x_0)
    gamma_T = schedule.gamma[schedule.T]
    spread = expm1_minus(-softplus(-gamma_T))
    squares = sum_per_example(np.square(x_0))
    D = np.size(x_0) // len(x_0)
    return 0.5 * (coefficient(expit(-gamma_T), squares) * squares + D * coefficient(spread, squares))


def diffusion_kl(schedule: Schedule, x_0: Any, x_0_hat: Any, t: Any) -> Any:
    """KL_t per example, nats, when p has q's variance: (SNR_{t-1} - SNR_t)/2 |x_0 - x_0 hat|², t in 2..T.

    SNR_{t-1} - SNR_t = SNR_t (exp(gamma_t - gamma_{t-1}) - 1). There is no KL at t = 1: q(x_0 | x_1, x_0) has no width.
    """
    before, now = gammas(schedule, t, x_0, "x_0", first=2)
    if np.shape(x_0_hat) != np.shape(x_0):
        raise ValueError(f"diffusion_kl: x_0_hat must have x_0's shape {np.shape(x_0)}, got {np.shape(x_0_hat)}")
    error = sum_per_example(np.square(x_0 - x_0_hat))
    return coefficient(0.5 * np.exp(-now) * np.expm1(now - before), error) * error


def diffusion_kl_general(schedule: Schedule, x_t: Any, x_0: Any, x_0_hat: Any, t: Any, log_var_p: Any) -> Any:
    """KL_t per example, nats, for any variance of p: KL(q(x_{t-1} | x_t, x_0) to N(posterior mean at x_0 hat, exp(log_var_p))).

    log_var_p broadcasts against x_t, a number, (batch, 1, ...) or x_t's shape; t in 2..T. With q's own variance it is diffusion_kl.
    """
    gammas(schedule, t, x_0, "x_0", first=2)
    mean_q, var_q = q_posterior(schedule, x_t, x_0, t)
    mean_p, _ = q_posterior(schedule, x_t, x_0_hat, t)
    return sum_per_example(kl_normal(mean_q, np.log(var_q), mean_p, log_var_p))


# ---------------------------------------------------------------- draws and checks


class _Draws:
    """eps[t-1] for t = 1..T in order, a few at a time: slices of the caller's array, or the same numbers drawn as needed."""

    def __init__(self, where: str, T: int, x_0: Any, rng: np.random.Generator | None, eps: Any):
        self.where, self.shape, self.dtype, self.rng, self.t = where, x_0.shape, x_0.dtype, rng, 0
        self.eps = eps if eps is None else noise(where, (T, *x_0.shape), x_0.dtype, rng, eps)

    def next(self, many: int) -> Any:
        self.t += many
        if self.eps is not None:
            return self.eps[self.t - many : self.t]
        return noise(self.where, (many, *self.shape), self.dtype, self.rng, None)


def _draw_times(n: int, T: int, rng: np.random.Generator | None, times: str) -> np.ndarray:
    if rng is None:
        raise ValueError("elbo_estimate: give a numpy.random.Generator as rng, or the times themselves as t and the noise as eps")
    check_rng("elbo_estimate", rng)
    if times == "uniform":
        return rng.integers(2, T + 1, n)
    u = (rng.random() + np.arange(n) / n) % 1.0
    return np.minimum(2 + np.floor(u * (T - 1)).astype(int), T)  # u just below 1 may round up


def _total(reconstruction: Any, prior_kl: Any, diffusion_kl: Any) -> ELBO:
    return ELBO(reconstruction, prior_kl, diffusion_kl, reconstruction - prior_kl - diffusion_kl)


def _check_data(x_0: Any) -> Any:
    check_floats("x_0", x_0)
    if not np.size(x_0):
        raise ValueError(f"x_0 must hold at least one example, got shape {np.shape(x_0)}")
    if not np.all(np.isfinite(x_0)):
        at = tuple(map(int, np.argwhere(~np.isfinite(x_0))[0]))
        raise ValueError(f"x_0 must be finite, got {stop_gradient(x_0)[at]} at index {at}")
    return x_0
