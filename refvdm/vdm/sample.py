"""Sampling: down the chain p(x_{t-1} | x_t) from x_T to data, or faster, by DDIM."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.special import expit

from ..autodiff.tree import float_dtype
from .decoder import predict
from .forward import coefficient, noise


def ancestral_path(vdm: Any, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *, x_T: Any = None,
                   eps: Any = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (t, x_t) for t = T, T-1, ..., 1, 0: the chain of p from noise to data; shape (n, ...).

    x_T (n, ...) and eps (T, n, ...) are standard normal, drawn from rng unless given; eps[t-1] makes x_{t-1} from x_t:

        x_{t-1} = mean of q(x_{t-1} | x_t, x_0 hat(x_t, t)) + p's standard deviation eps[t-1]     for t = T..2,

    and eps[0] the decoder's draw of x_0. The dtype is that of x_T, or of theta's parameters, or float64.
    """
    x = _start(shape, rng, x_T, theta)
    model, T, n = vdm.at(theta), vdm.schedule.T, shape[0]
    if eps is not None:
        eps = noise("sample", (T, *shape), x.dtype, None, eps)
    yield T, x
    for t in range(T, 0, -1):
        eps_t = noise("sample", shape, x.dtype, rng, None) if eps is None else eps[t - 1]
        if t == 1:
            yield 0, model.decoder.sample(x, predict(model.denoiser, model.theta, x, np.full(n, 1)), model.schedule, eps_t)
        else:
            mean, var = model.step(x, t)
            x = mean + np.sqrt(var) * eps_t
            yield t - 1, x


def ddim_sample(vdm: Any, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *, steps: int | None = None, eta: float = 0.0,
                x_T: Any = None, eps: Any = None) -> np.ndarray:
    """x_0 of shape (n, ...) by DDIM (Song, Meng, Ermon 2021), over `steps` of the T - 1 transitions from x_T to x_1, then the decoder's draw.

    From t to s < t, with x_0 hat and eps hat = (x_t - sqrt(abar_t) x_0 hat)/sqrt(1 - abar_t):

        x_s = sqrt(abar_s) x_0 hat + sqrt(1 - abar_s - sigma²) eps hat + sigma eps,    sigma² = eta² (1 - abar_s) (1 - SNR_t/SNR_s)

    eta = 1 is ancestral sampling with q's variance, eta = 0 adds no noise on the way. The times are evenly spaced integers from T
    to 1, all of them by default. x_T (n, ...) and eps (steps + 1, n, ...) are drawn from rng unless given; eps[0] is the decoder's, eps[i] is
    used on the way into the i-th time from below; with eta = 0 only eps[0] is needed, and drawn. ValueError for eta outside
    [0, 1] and steps outside 1..T-1.
    """
    if isinstance(eta, bool) or not isinstance(eta, (int, float, np.integer, np.floating)) or not 0 <= eta <= 1:
        raise ValueError(f"ddim_sample: eta must lie in [0, 1], got {eta!r}")
    eta = float(eta)
    T = vdm.schedule.T
    steps = T - 1 if steps is None else steps
    if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or not 1 <= steps <= T - 1:
        raise ValueError(f"ddim_sample: steps must be an integer in 1..{T - 1}, got {steps!r}")
    x = _start(shape, rng, x_T, theta)
    if eps is not None:
        eps = noise("ddim_sample", (steps + 1, *shape), x.dtype, None, eps)
    model, times = vdm.at(theta), np.round(np.linspace(1, T, steps + 1)).astype(int)
    for i in range(steps, 0, -1):
        s, t = times[i - 1], times[i]
        gamma_s, gamma_t = model.schedule.gamma[s], model.schedule.gamma[t]
        x_0_hat = model.x_0_hat(x, np.full(shape[0], t))
        eps_hat = (x - coefficient(np.sqrt(expit(-gamma_t)), x) * x_0_hat) / coefficient(np.sqrt(expit(gamma_t)), x)
        # 1 - abar_s - sigma² = (1 - abar_s) (1 - eta² (1 - r)), r = SNR_t/SNR_s
        added = -eta * eta * np.expm1(gamma_s - gamma_t)
        x = coefficient(np.sqrt(expit(-gamma_s)), x) * x_0_hat + coefficient(np.sqrt(expit(gamma_s) * (1 - added)), x) * eps_hat
        if eta > 0:
            eps_i = noise("ddim_sample", shape, x.dtype, rng, None) if eps is None else eps[i]
            x = x + coefficient(np.sqrt(expit(gamma_s) * added), x) * eps_i
    eps_0 = noise("ddim_sample", shape, x.dtype, rng, None) if eps is None else eps[0]
    return model.decoder.sample(x, predict(model.denoiser, model.theta, x, np.ones(shape[0], int)), model.schedule, eps_0)


def _start(shape: tuple, rng: np.random.Generator | None, x_T: Any, theta: Any) -> np.ndarray:
    """x_T of the given shape, in its own dtype or that of theta."""
    if not isinstance(shape, tuple) or not shape or shape[0] < 1:
        raise ValueError(f"sample: shape must be a tuple (n, ...) with n >= 1, got {shape!r}")
    return noise("sample", shape, getattr(x_T, "dtype", None) or float_dtype(theta), rng, x_T, "x_T")
