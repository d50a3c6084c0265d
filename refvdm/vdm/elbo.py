"""The bound of 13.24, term by term, per example, in nats.

    log p(x_0) ≥ E_q(x_1 | x_0) log p(x_0 | x_1)                                      reconstruction
                 - KL(q(x_T | x_0) ‖ p(x_T))                                          prior_kl
                 - Σ_{t=2}^T E_q(x_t | x_0) KL_t                                      diffusion_kl

    KL_t = KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t))

The KLs are in closed form (kl.py), from q to p; 13.24 as printed has KL_t the other way round. Each
expectation is replaced by one draw of x_t. So a result is random and may exceed log p(x_0); its
mean over the noise is the bound.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Array
from .forward import diffuse
from .kl import kl_prior
from .model import Model


class ELBO(NamedTuple):
    """total = reconstruction - prior_kl - diffusion_kl, each (batch,) in nats.

    >>> from refvdm.vdm import ELBO
    >>> ELBO.of(np.array([-1.0]), np.array([0.25]), np.array([2.0])).total.tolist()
    [-3.25]
    """

    reconstruction: Any
    prior_kl: Any
    diffusion_kl: Any
    total: Any

    @classmethod
    def of(cls, reconstruction: Any, prior_kl: Any, diffusion_kl: Any) -> ELBO:
        """The three terms and their total."""
        return cls(reconstruction, prior_kl, diffusion_kl, reconstruction - prior_kl - diffusion_kl)


def exact_elbo(model: Model, x_0: Array, noise: Noise, rows: int) -> ELBO:
    """13.24 with the whole sum over t, still one draw of each x_t; noise gives the eps of t = 1..T
    in turn."""
    x_1 = diffuse(model.schedule.at(1, x_0), x_0, noise.next(1)[0])
    reconstruction = model.reconstruction(x_0, x_1)
    prior_kl = kl_prior(model.schedule, x_0)
    diffusion_kl = sum(np.sum(kl, axis=0) for _, kl in kl_terms(model, x_0, noise, rows))
    return ELBO.of(reconstruction, prior_kl, diffusion_kl)


def kl_terms(model: Model, x_0: Array, noise: Noise,
             rows: int) -> Iterator[tuple[np.ndarray, Array]]:
    """(ts, KL_t for these t as (len(ts), batch)) for one block of t after another, t = 2..T in all:
    about `rows` noisy examples at a time, so that memory does not grow with T."""
    n, T = len(x_0), model.schedule.T
    many = max(1, rows // n)
    for first in range(2, T + 1, many):
        ts = np.arange(first, min(first + many, T + 1))
        shape = (len(ts) * n, *x_0.shape[1:])
        x = np.reshape(np.broadcast_to(x_0, (len(ts), *x_0.shape)), shape)
        t, eps = np.repeat(ts, n), np.reshape(noise.next(len(ts)), shape)
        x_t = diffuse(model.schedule.at(t, x), x, eps)
        yield ts, np.reshape(model.kl(x, model.predict(x_t, t), t), (len(ts), n))


def one_t_elbo(model: Model, x_0: Array, t: np.ndarray, eps: Array) -> ELBO:
    """13.29 as an estimate of 13.24: KL at one t (batch,) times T - 1 for the sum over t = 2..T.

    eps (2, batch, ...): eps[0] makes x_1, eps[1] x_t. The denoiser is asked about both at once.
    """
    n, schedule = len(x_0), model.schedule
    x_1 = diffuse(schedule.at(1, x_0), x_0, eps[0])
    x_t = diffuse(schedule.at(t, x_0), x_0, eps[1])
    t_both = np.concatenate([np.ones(n, t.dtype), t])
    both = model.predict_with_logits(np.concatenate([x_1, x_t]), t_both)
    at_1, at_t = both.rows(slice(n)), both.rows(slice(n, None))
    reconstruction = model.log_prob(x_0, x_1, at_1)
    kl_t = model.kl(x_0, at_t, t)
    return ELBO.of(reconstruction, kl_prior(schedule, x_0), (schedule.T - 1) * kl_t)


class Noise:
    """eps[t-1] for t = 1..T in order, a few at a time: slices of the caller's array (T, batch,
    ...), or drawn from rng when needed, the numbers that one draw of them all would give."""

    def __init__(self, who: str, T: int, x_0: Array, rng: np.random.Generator | None, eps: Any):
        self.who, self.shape, self.dtype, self.rng, self.t = who, x_0.shape, x_0.dtype, rng, 0
        self.eps = eps
        if eps is not None:
            self.eps = checks.noise(who, (T, *x_0.shape), x_0.dtype, rng, eps)

    def next(self, many: int) -> Array:
        """The noise of the next `many` t: (many, batch, ...)."""
        self.t += many
        if self.eps is not None:
            return self.eps[self.t - many : self.t]
        return checks.noise(self.who, (many, *self.shape), self.dtype, self.rng, None)
