"""q, the encoder: what adding noise does, 13.22-13.28. At most the schedule is learned; only
sample_q is random.

    q(x_1:T | x_0) = Π_{t=1}^T q(x_t | x_{t-1})                    13.22, one q_step after the other

A step keeps the variance I of data that has it, and moves every other towards it (13.23; as
printed, it is I for all data):

    Var x_t = (1 - α_t) I + α_t Var x_{t-1} = I + ᾱ_t (Var x_0 - I)

x (batch, ...) floats, t one integer in 1..T or an integer array (batch,). Results have x's dtype; a
variance is one number per example, shared by all its elements, of a shape that broadcasts against
the mean. ValueError or TypeError for other t, x that is not finite or not floats.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from .. import checks
from ..autodiff import Array
from .schedule import Levels, Schedule


def q_step(schedule: Schedule, x_prev: Array, t: Any) -> tuple[Array, Array]:
    """(mean, var) of q(x_t | x_{t-1}) = N(√α_t x_{t-1}, (1 - α_t) I), 13.26; drawn as
    x_t = √α_t x_{t-1} + √(1 - α_t) eps, 13.27.

    >>> from refvdm.vdm import Schedule, q_step
    >>> schedule, x = Schedule.from_alpha_bars([0.8, 0.5]), np.ones((1, 2))
    >>> mean, var = q_step(schedule, x, 2)
    >>> mean.round(4).tolist(), np.round(var, 4).tolist()
    ([[0.7906, 0.7906]], 0.375)
    """
    x_prev, at = noisy("x_prev", x_prev, schedule, t)
    return at.sqrt_alpha * x_prev, at.one_minus_alpha


def q_marginal(schedule: Schedule, x_0: Array, t: Any) -> tuple[Array, Array]:
    """(mean, var) of q(x_t | x_0) = N(√ᾱ_t x_0, (1 - ᾱ_t) I), 13.28: t steps at once. Printed
    with the standard deviation in the variance's place.

    >>> from refvdm.vdm import Schedule, q_marginal
    >>> schedule, x = Schedule.from_alpha_bars([0.8, 0.5]), np.ones((1, 2))
    >>> mean, var = q_marginal(schedule, x, 2)
    >>> mean.round(4).tolist(), np.round(var, 4).tolist()
    ([[0.7071, 0.7071]], 0.5)
    """
    x_0, at = noisy("x_0", x_0, schedule, t)
    return at.sqrt_alpha_bar * x_0, at.one_minus_alpha_bar


def q_posterior(schedule: Schedule, x_t: Array, x_0: Array, t: Any) -> tuple[Array, Array]:
    """(mean, var) of q(x_{t-1} | x_t, x_0): Bayes' rule 13.25, worked out.

        mean = [√α_t (1 - ᾱ_{t-1}) x_t + √ᾱ_{t-1} (1 - α_t) x_0] / (1 - ᾱ_t)
        var  = (1 - α_t) (1 - ᾱ_{t-1}) / (1 - ᾱ_t)

    At t = 1 it is x_0 itself, with variance 0.

    >>> from refvdm.vdm import Schedule, q_posterior
    >>> schedule, x = Schedule.from_alpha_bars([0.8, 0.5]), np.ones((1, 2))
    >>> mean, var = q_posterior(schedule, x, x, 2)
    >>> mean.round(4).tolist(), np.round(var, 4).tolist()
    ([[0.987, 0.987]], 0.15)
    """
    x_0, at = noisy("x_0", x_0, schedule, t)
    x_t = checks.like("x_t", x_t, "x_0", x_0, finite=True)
    return at.posterior_x_t * x_t + at.posterior_x_0 * x_0, at.posterior_var


def sample_q(schedule: Schedule, x_0: Array, t: Any, rng: np.random.Generator | None = None, *,
             eps: Any = None) -> Array:
    """x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) eps, 13.28; eps (batch, ...) standard normal, drawn from rng
    unless given.

    >>> from refvdm.vdm import Schedule, sample_q
    >>> schedule = Schedule.from_alpha_bars([0.8, 0.36])
    >>> sample_q(schedule, np.array([[1.0]]), 2, eps=np.array([[1.0]])).round(9).tolist()
    [[1.4]]
    """
    x_0, at = noisy("x_0", x_0, schedule, t)
    return diffuse(at, x_0, checks.noise("sample_q", x_0.shape, x_0.dtype, rng, eps))


def diffuse(at: Levels, x_0: Array, eps: Array) -> Array:
    """sample_q for arguments that have been checked; at = schedule.at(t, x_0)."""
    return at.sqrt_alpha_bar * x_0 + at.sqrt_one_minus_alpha_bar * eps


def noisy(name: str, x: Any, schedule: Schedule, t: Any, first: int = 1) -> tuple[Array, Levels]:
    """Examples x (batch, ...) and the tables at t, both checked: t in first..T."""
    x, schedule = checks.floats(name, x), checks.instance("schedule", schedule, Schedule)
    t = checks.integers("t", t, len(x), first, schedule.T)
    return x, schedule.at(t, x)
