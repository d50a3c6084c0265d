"""q, the encoder of 13.22: what adding noise does. Nothing here is learned and nothing is random but sample_q.

x (batch, ...) floats, t one integer in 1..T or an integer array (batch,). Results have x's dtype; a variance is one number per
example (all its elements share it), of a shape that broadcasts against the mean. alpha and abar come from gamma, see schedule.py.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from ..autodiff import Tensor
from .schedule import Schedule, softplus


def q_step(schedule: Schedule, x_prev: Any, t: Any) -> tuple[Any, Any]:
    """(mean, var) of q(x_t | x_{t-1}) = N(sqrt(alpha_t) x_{t-1}, (1 - alpha_t) I), 13.26."""
    before, now = gammas(schedule, t, x_prev, "x_prev")
    root = np.exp(0.5 * (softplus(before) - softplus(now)))
    # 1 - alpha_t = (1 - abar_t) (1 - SNR_t/SNR_{t-1}): exact also for steps so small that log alpha_t cancels
    var = expit(now) * -np.expm1(before - now)
    return coefficient(root, x_prev) * x_prev, coefficient(var, x_prev)


def q_marginal(schedule: Schedule, x_0: Any, t: Any) -> tuple[Any, Any]:
    """(mean, var) of q(x_t | x_0) = N(sqrt(abar_t) x_0, (1 - abar_t) I), 13.28 (as printed it has a standard deviation there)."""
    _, now = gammas(schedule, t, x_0, "x_0")
    return coefficient(np.sqrt(expit(-now)), x_0) * x_0, coefficient(expit(now), x_0)


def q_posterior(schedule: Schedule, x_t: Any, x_0: Any, t: Any) -> tuple[Any, Any]:
    """(mean, var) of q(x_{t-1} | x_t, x_0), 13.25 worked out:

        mean = [sqrt(alpha_t) (1 - abar_{t-1}) x_t + sqrt(abar_{t-1}) (1 - alpha_t) x_0] / (1 - abar_t)
        var  = (1 - alpha_t) (1 - abar_{t-1}) / (1 - abar_t)

    With r = SNR_t/SNR_{t-1} = exp(gamma_{t-1} - gamma_t) these are r/sqrt(alpha_t) x_t + sqrt(abar_{t-1}) (1 - r) x_0 and
    (1 - abar_{t-1}) (1 - r). At t = 1 it is x_0 itself, with variance 0.
    """
    if np.shape(x_t) != np.shape(x_0):
        raise ValueError(f"q_posterior: x_t and x_0 must have one shape, got {np.shape(x_t)} and {np.shape(x_0)}")
    check_floats("x_t", x_t)
    before, now = gammas(schedule, t, x_0, "x_0")
    r, not_r = np.exp(before - now), -np.expm1(before - now)
    from_x_t = r * np.exp(0.5 * (softplus(now) - softplus(before)))
    from_x_0 = np.sqrt(expit(-before)) * not_r
    mean = coefficient(from_x_t, x_0) * x_t + coefficient(from_x_0, x_0) * x_0
    return mean, coefficient(expit(before) * not_r, x_0)


def sample_q(schedule: Schedule, x_0: Any, t: Any, rng: np.random.Generator | None = None, *, eps: Any = None) -> Any:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, 13.28; eps (batch, ...) standard normal, drawn from rng unless given."""
    check_floats("x_0", x_0)
    return diffuse(schedule, x_0, t, noise("sample_q", np.shape(x_0), x_0.dtype, rng, eps))


# ---------------------------------------------------------------- the pieces, also for elbo.py and sample.py


def diffuse(schedule: Schedule, x_0: Any, t: Any, eps: Any) -> Any:
    """sample_q for noise that has been checked."""
    mean, var = q_marginal(schedule, x_0, t)
    return mean + np.sqrt(var) * eps


def gammas(schedule: Schedule, t: Any, x: Any, name: str, first: int = 1) -> tuple[Any, Any]:
    """gamma_{t-1} and gamma_t, shape () or (batch,), for examples x and integer t in first..T; the errors for both."""
    check_floats(name, x)
    t = np.asarray(t)
    if t.dtype.kind not in "iu":
        raise TypeError(f"t must be an integer or an array of integers, got dtype {t.dtype}")
    if t.shape not in ((), np.shape(x)[:1]):
        raise ValueError(f"t must be one integer or have shape (batch,) = {np.shape(x)[:1]}, got shape {t.shape}")
    if not np.all((t >= first) & (t <= schedule.T)):
        raise ValueError(f"t must lie in {first}..{schedule.T}, got {t.min()}..{t.max()}")
    return schedule.gamma[t - 1], schedule.gamma[t]


def coefficient(c: Any, x: Any) -> Any:
    """c of shape () or (batch,) as a factor for x (batch, ...): axes of 1 behind, and x's dtype."""
    if type(c) is not Tensor:
        c = np.asarray(c, x.dtype)
    return c.reshape(c.shape + (1,) * (x.ndim - 1)) if c.ndim and x.ndim > 1 else c


def noise(where: str, shape: tuple, dtype: Any, rng: np.random.Generator | None, eps: Any, name: str = "eps") -> Any:
    """eps of the given shape as `dtype`: the caller's, or drawn from rng. ValueError for another shape, nan, or neither."""
    if eps is None:
        if rng is None:
            raise ValueError(f"{where}: give a numpy.random.Generator as rng, or the noise itself as {name}")
        check_rng(where, rng)
        drawn_as = dtype if dtype in (np.float32, np.float64) else np.float64
        return rng.standard_normal(shape, dtype=drawn_as).astype(dtype, copy=False)
    check_floats(name, eps)
    if np.shape(eps) != tuple(shape):
        raise ValueError(f"{where}: {name} must have shape {tuple(shape)}, got {np.shape(eps)}")
    if not np.all(np.isfinite(eps)):
        raise ValueError(f"{where}: {name} must be finite")
    return eps if type(eps) is Tensor else eps.astype(dtype, copy=False)


def check_rng(where: str, rng: Any) -> None:
    """TypeError unless rng is a numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{where}: rng must be a numpy.random.Generator (np.random.default_rng(seed)), got {type(rng).__name__}")


def check_floats(name: str, x: Any) -> None:
    """TypeError unless x is an array or Tensor of floats; ValueError unless it has a batch axis."""
    if not isinstance(x, (np.ndarray, Tensor)) or x.dtype.kind != "f" or isinstance(x, (np.ma.MaskedArray, np.matrix)):
        ordinary = isinstance(x, (np.ndarray, np.generic)) and not isinstance(x, (np.ma.MaskedArray, np.matrix))
        what = f"dtype {x.dtype}" if ordinary else type(x).__name__
        raise TypeError(f"{name} must be an array of floats, got {what}; cast it with .astype(float)")
    if x.ndim < 1:
        raise ValueError(f"{name} must have shape (batch, ...), got shape ()")
