"""Three forms of the bound, with one mean: the derivation from 13.21 to 13.24, run instead of told.

    joint         log p(x_0:T) - log q(x_1:T given x_0), 13.21
    consistency   sum over pairs (x_{t-1}, x_{t+1}): what p says of x_t from above against what q says from below
    denoising     13.24, closed-form KLs

The consistency form as usually printed (Luo 2022) averages KL(q(x_t given x_{t-1}) to p(x_t given x_{t+1})) over q(x_{t-1}, x_{t+1} given x_0): in it x_t
does not know x_{t+1}, and the result lies strictly below the bound. Here x_t is averaged over q(x_t given x_{t-1}, x_{t+1}).
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..gaussian import log_normal, sum_per_example
from .. import checks
from .forward import q_step
from .kl import examples, kl_prior
from .schedule import Schedule, factor
from .vdm import VDM


class Forms(NamedTuple):
    """One sample of each form per example (batch,), nats, from one chain x_1, ..., x_T. Their means are the same ELBO."""

    joint: Any
    consistency: Any
    denoising: Any


def elbo_forms(vdm: VDM, theta: Any, x_0: Any, rng: np.random.Generator | None = None, *, eps: Any = None) -> Forms:
    """One sample of every form for every example, x_0 (batch, ...): the joint one 13.21, the consistency form, 13.24.

    All three look at one chain: eps (T, batch, ...) standard normal, eps[t-1] makes x_t from x_{t-1} (not from x_0 as in
    VDM.elbo, whose x_t are drawn independently for each t); rng draws that array when eps is not given. Any decoder.
    """
    x_0, model = examples("x_0", x_0), vdm.at(theta)
    schedule, T = model.schedule, model.schedule.T
    eps = checks.noise("elbo_forms", (T, *x_0.shape), x_0.dtype, rng, eps)
    x, log_q = [x_0], []
    for t in range(1, T + 1):
        mean, var = q_step(schedule, x[-1], t)
        x.append(mean + np.sqrt(var) * eps[t - 1])
        log_q.append(sum_per_example(log_normal(eps[t - 1], 0.0, 0.0) - 0.5 * np.log(var)))
    reconstruction = model.reconstruction(x_0, x[1])
    prior = sum_per_example(log_normal(x[T], 0.0, 0.0))
    joint, denoising = reconstruction + prior - sum(log_q), 0.0
    # the consistency form ends with KL(q(x_T given x_{T-1}) to N(0, I)), in closed form
    mean_T, var_T = q_step(schedule, x[T - 1], T)
    consistency = reconstruction - 0.5 * sum_per_example(mean_T * mean_T + var_T - 1 - np.log(var_T))
    for t in range(2, T + 1):
        mean_p, var_p = model.step(x[t], t)  # p(x_{t-1} given x_t)
        joint = joint + sum_per_example(log_normal(x[t - 1], mean_p, np.log(var_p)))
        denoising = denoising + model.kl(x_0, model.x_0_hat(x[t], np.full(len(x_0), t)), np.full(len(x_0), t))
        # x_{t-1} given its neighbours x_{t-2} and x_t; p from above and q from below, averaged over it in closed form
        m, w = _between(schedule, x[t - 2], x[t], t - 1)
        mean_q, var_q = q_step(schedule, x[t - 2], t - 1)
        consistency = consistency + _expected_log_normal(m, w, mean_p, var_p) - _expected_log_normal(m, w, mean_q, var_q)
    return Forms(joint, consistency, reconstruction - kl_prior(schedule, x_0) - denoising)


def _between(schedule: Schedule, below: Any, above: Any, t: int) -> tuple[Any, Any]:
    """(mean, var) of q(x_t given x_{t-1}, x_{t+1}), 1 <= t < T: precisions add up.

        1/var = 1/(1 - α_t) + α_{t+1}/(1 - α_{t+1})
        mean  = var (√α_t/(1 - α_t) x_{t-1} + √α_{t+1}/(1 - α_{t+1}) x_{t+1})
    """
    alpha, sqrt_alpha, beta = schedule.alpha, schedule.sqrt_alpha, schedule.one_minus_alpha
    var = 1 / (1 / beta[t] + alpha[t + 1] / beta[t + 1])
    mean = (factor(var * sqrt_alpha[t] / beta[t], below) * below
            + factor(var * sqrt_alpha[t + 1] / beta[t + 1], above) * above)
    return mean, factor(var, below)


def _expected_log_normal(m: Any, w: Any, mean: Any, var: Any) -> Any:
    """E log N(x; mean, var) over x ~ N(m, w), per example."""
    return sum_per_example(log_normal(m, mean, np.log(var)) - 0.5 * w / var)
