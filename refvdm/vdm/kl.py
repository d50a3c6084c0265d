"""The KL divergences of 13.24 in closed form, per example, in nats. Both run from q to p;
as printed, 13.24 has KL_t the other way round.

    KL(q(x_T | x_0) ‖ N(0, I))                                              prior_kl
    KL_t = KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)),  t = 2..T          diffusion_kl

p(x_{t-1} | x_t) is q's posterior (13.25) with x̂_0 in the place of x_0, and a variance of its own
where it has one. There is no KL at t = 1: q(x_0 | x_1, x_0) is the point x_0.
"""
from __future__ import annotations

from typing import Any

from .. import checks
from ..autodiff import Array, Tensor
from ..gaussian import kl_normal, squared_distance, sum_per_example
from .forward import noisy
from .schedule import Schedule, factor


def kl_prior(schedule: Schedule, x_0: Array) -> Array:
    """prior_kl for an x_0 that has been checked."""
    squares, D = squared_distance(x_0, 0.0), x_0.size // len(x_0)
    alpha_bar_T = factor(schedule.alpha_bar[schedule.T], squares)
    # ½ (ᾱ_T |x_0|² + D (1 - ᾱ_T) - D - D log(1 - ᾱ_T))
    return 0.5 * (alpha_bar_T * squares + D * factor(schedule.prior_spread, squares))


def kl_same_variance(schedule: Schedule, x_0: Array, x_0_hat: Array, t: Any) -> Array:
    """diffusion_kl for arguments that have been checked."""
    # the posteriors at x_0 and x̂_0 have one variance; their means differ
    # by a multiple of x_0 - x̂_0
    error = squared_distance(x_0, x_0_hat)
    return 0.5 * schedule.at(t, error).snr_drop * error


def kl_any_variance(schedule: Schedule, x_0: Array, x_0_hat: Array, t: Any, log_var: Any) -> Array:
    """diffusion_kl_general for arguments that have been checked."""
    # both means have the same multiple of x_t, which does not enter their difference
    at = schedule.at(t, x_0)
    mean_q, mean_p = at.posterior_x_0 * x_0, at.posterior_x_0 * x_0_hat
    return sum_per_example(kl_normal(mean_q, at.log_posterior_var, mean_p, log_var))


# ---------------------------------------------------------------- the same, checked


def prior_kl(schedule: Schedule, x_0: Array) -> Array:
    """KL(q(x_T | x_0) ‖ N(0, I)) = ½ (ᾱ_T |x_0|² - D ᾱ_T - D log(1 - ᾱ_T)) (batch,), nats; x_0
    (batch, ...) of D numbers each. It is 0 only where restriction 3 of §13.4.2 is exact, ᾱ_T = 0.

    >>> from refvdm.vdm import Schedule, prior_kl
    >>> schedule = Schedule.from_alpha_bars([0.8, 0.5])
    >>> prior_kl(schedule, np.array([[1.0, 1.0]])).round(6).tolist()  # log 2
    [0.693147]
    """
    return kl_prior(checks.instance("schedule", schedule, Schedule), examples("x_0", x_0))


def diffusion_kl(schedule: Schedule, x_0: Array, x_0_hat: Array, t: Any) -> Array:
    """KL_t = (SNR_{t-1} - SNR_t)/2 |x_0 - x̂_0|² (batch,), nats; p has q's variance. t in 2..T.

    >>> from refvdm.vdm import Schedule, diffusion_kl
    >>> schedule, x_0 = Schedule.from_alpha_bars([0.8, 0.5]), np.array([[3.0, 4.0]])
    >>> diffusion_kl(schedule, x_0, 0 * x_0, 2).round(9).tolist()  # (4 - 1)/2 · 25
    [37.5]
    """
    x_0, _ = noisy("x_0", x_0, schedule, t, first=2)
    x_0_hat = checks.like("x_0_hat", x_0_hat, "x_0", x_0, finite=True)
    return kl_same_variance(schedule, x_0, x_0_hat, t)


def diffusion_kl_general(schedule: Schedule, x_t: Array, x_0: Array, x_0_hat: Array, t: Any,
                         log_var_p: Any) -> Array:
    """KL_t (batch,), nats, for any variance of p; with q's own it is diffusion_kl. With m(x_0) the
    mean of q(x_{t-1} | x_t, x_0):

        KL(q(x_{t-1} | x_t, x_0) ‖ N(m(x̂_0), exp(log_var_p)))

    log_var_p broadcasts against x_t: a number, (batch, 1, ...) or x_t's shape; t in 2..T.

    >>> from refvdm.vdm import Schedule, diffusion_kl_general
    >>> schedule, x_0 = Schedule.from_alpha_bars([0.8, 0.5]), np.array([[3.0, 4.0]])
    >>> log_var = schedule.log_posterior_var[2]
    >>> diffusion_kl_general(schedule, x_0, x_0, 0 * x_0, 2, log_var).round(9).tolist()
    [37.5]
    """
    x_0, _ = noisy("x_0", x_0, schedule, t, first=2)
    for name, x in (("x_t", x_t), ("x_0_hat", x_0_hat)):
        checks.like(name, x, "x_0", x_0, finite=True)
    check = checks.floats if isinstance(log_var_p, Tensor) else checks.reals
    log_var_p = check("log_var_p", log_var_p, (...,))
    missing = x_0.ndim - log_var_p.ndim
    if missing < 0 or any(n not in (1, m) for n, m in zip(log_var_p.shape, x_0.shape[missing:])):
        raise ValueError(f"log_var_p must broadcast to x_t's shape {x_0.shape}, "
                         f"got {log_var_p.shape}")
    return kl_any_variance(schedule, x_0, x_0_hat, t, log_var_p)


def examples(name: str, x: Any) -> Array:
    """At least one example (batch, ...), finite."""
    x = checks.floats(name, x)
    if not x.size:
        raise ValueError(f"{name} must hold at least one example, got shape {x.shape}")
    return x
