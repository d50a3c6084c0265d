"""The bound as T goes to infinity between fixed ends gamma_1 and gamma_T (Kingma et al. 2021, section 4).

    sum_t KL_t  ->  1/2 integral over gamma from gamma_1 to gamma_T of exp(-gamma) E|x_0 - x_0 hat(x_gamma)|²

Only the ends are left of the schedule: its shape is a change of variable. With linear gamma, in steps of d = (gamma_T - gamma_1)/(T - 1),
the sum is the integral with the error taken at the upper end of every step, so that the gap falls as 1/T:

    sum - integral = d/2 * 1/2 integral of exp(-gamma) (d/dgamma E|x_0 - x_0 hat|²) dgamma + O(d²)

Under linear_beta and cosine it does not fall: as T grows gamma_1 goes to -infinity, and the first ratios of SNRs stay 2, 3/2, 4/3, ...
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..autodiff import stop_gradient
from ..gaussian import sum_per_example
from .. import checks
from .kl import examples
from .learned import LearnedSchedule
from .schedule import factor, scales
from .vdm import VDM


def continuous_kl(vdm: VDM, theta: Any, x_0: Any, rng: np.random.Generator | None = None, *, gamma: Any = None, eps: Any = None) -> Any:
    """An unbiased estimate of the diffusion term at T = infinity, per example (batch,), nats, for p with q's variance.

        (gamma_T - gamma_1)/2 exp(-gamma) |x_0 - x_0 hat(x_gamma)|²,    gamma uniform between the ends, one draw for each example

    gamma (batch,) within [gamma_1, gamma_T] and eps (batch, ...) may be given, and are drawn from rng (stratified, then normal)
    otherwise. The denoiser is asked at the real t whose gamma this is on the vdm's schedule, which is a constant here: the ends of
    a learned one are not differentiated. ValueError outside the ends.
    """
    if isinstance(vdm.schedule, LearnedSchedule) and isinstance(theta, dict) and "schedule" in theta:
        theta = {**theta, "schedule": stop_gradient(theta["schedule"])}
    x_0, model = examples("x_0", x_0), vdm.at(theta)
    n, table = len(x_0), model.schedule.gamma[1:]
    ends = table[0], table[-1]
    if gamma is None:
        if rng is None:
            raise ValueError("continuous_kl: give a numpy.random.Generator as rng, or gamma and eps")
        checks.generator("continuous_kl: rng", rng)
        gamma = ends[0] + (ends[1] - ends[0]) * ((rng.random() + np.arange(n) / n) % 1.0)
    gamma = np.asarray(gamma)
    if gamma.shape != (n,) or not np.all((gamma >= table[0]) & (gamma <= table[-1])):
        raise ValueError(f"continuous_kl: gamma must have shape ({n},) and lie in [{table[0]:g}, {table[-1]:g}], got shape {gamma.shape}")
    eps = checks.noise("continuous_kl", x_0.shape, x_0.dtype, rng, eps)
    signal, width = scales(gamma)
    x = factor(signal, x_0) * x_0 + factor(width, x_0) * eps  # 13.28
    t = np.interp(gamma, table, np.arange(1.0, vdm.schedule.T + 1))
    error = sum_per_example(np.square(x_0 - model.x_0_hat(x, t)))
    return factor(0.5 * (ends[1] - ends[0]) * np.exp(-gamma), error) * error
