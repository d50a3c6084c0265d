"""Three forms of the bound, with one mean: the derivation from 13.21 to 13.24, run instead of told.

    joint         log p(x_0:T) - log q(x_1:T | x_0), 13.21
    consistency   for each x_t, what p says of it from x_{t+1} against what q says from x_{t-1}
    denoising     13.24, KLs in closed form

The consistency form as usually printed (Luo 2022) averages KL(q(x_t | x_{t-1}) ‖ p(x_t | x_{t+1}))
over q(x_{t-1}, x_{t+1} | x_0). In it x_t does not know x_{t+1}, and the result lies strictly below
the bound. Here x_t is averaged over q(x_t | x_{t-1}, x_{t+1}).
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree
from ..gaussian import log_normal, sum_per_example
from .forward import q_step
from .kl import examples, kl_prior
from .model import model_of
from .schedule import Schedule, factor
from .vdm import VDM


class Forms(NamedTuple):
    """One sample of each form per example (batch,), nats, all from one chain x_1, ..., x_T. Their
    means are the same ELBO.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import elbo_forms
    >>> elbo_forms(vdm, None, np.zeros((3, 2)), np.random.default_rng(0))._fields
    ('joint', 'consistency', 'denoising')
    """

    joint: Array
    consistency: Array
    denoising: Array


def elbo_forms(vdm: VDM, theta: Tree, x_0: Array, rng: np.random.Generator | None = None, *,
               eps: Any = None) -> Forms:
    """One sample of every form for every example of x_0 (batch, ...), with any decoder.

    All three look at one chain. eps (T, batch, ...) is standard normal, and eps[t-1] makes x_t from
    x_{t-1}; rng draws that array when eps is not given. (VDM.elbo makes every x_t from x_0.)

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule
    >>> vdm = VDM(lambda theta, x, t: 0 * x, Schedule.cosine(10), GaussianDecoder(0.01))
    >>> from refvdm.vdm import elbo_forms
    >>> elbo_forms(vdm, None, np.zeros((3, 2)), np.random.default_rng(0)).denoising.shape
    (3,)
    """
    x_0, model = examples("x_0", x_0), model_of("elbo_forms", vdm, theta)
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
    # the consistency form ends with KL(q(x_T | x_{T-1}) ‖ N(0, I)), in closed form
    mean, var = q_step(schedule, x[T - 1], T)
    consistency = reconstruction - 0.5 * sum_per_example(mean * mean + var - 1 - np.log(var))
    for t in range(2, T + 1):
        mean_p, var_p = model.step(x[t], t)  # p(x_{t-1} | x_t)
        joint = joint + sum_per_example(log_normal(x[t - 1], mean_p, np.log(var_p)))
        ts = np.full(len(x_0), t)
        denoising = denoising + model.kl(x_0, model.predict(x[t], ts), ts)
        # p from above and q from below, averaged over x_{t-1} between them in closed form
        m, w = _between(schedule, x[t - 2], x[t], t - 1)
        mean_q, var_q = q_step(schedule, x[t - 2], t - 1)
        consistency = (consistency + _expected_log_normal(m, w, mean_p, var_p)
                       - _expected_log_normal(m, w, mean_q, var_q))
    return Forms(joint, consistency, reconstruction - kl_prior(schedule, x_0) - denoising)


def _between(schedule: Schedule, below: Array, above: Array, t: int) -> tuple[Array, Array]:
    """(mean, var) of q(x_t | x_{t-1}, x_{t+1}), 1 <= t < T: precisions add up.

        1/var = 1/(1 - α_t) + α_{t+1}/(1 - α_{t+1})
        mean  = var (√α_t/(1 - α_t) x_{t-1} + √α_{t+1}/(1 - α_{t+1}) x_{t+1})
    """
    alpha, sqrt_alpha, beta = schedule.alpha, schedule.sqrt_alpha, schedule.one_minus_alpha
    var = 1 / (1 / beta[t] + alpha[t + 1] / beta[t + 1])
    mean = (factor(var * sqrt_alpha[t] / beta[t], below) * below
            + factor(var * sqrt_alpha[t + 1] / beta[t + 1], above) * above)
    return mean, factor(var, below)


def _expected_log_normal(m: Array, w: Array, mean: Array, var: Array) -> Array:
    """E log N(x; mean, var) over x ~ N(m, w), per example."""
    return sum_per_example(log_normal(m, mean, np.log(var)) - 0.5 * w / var)
