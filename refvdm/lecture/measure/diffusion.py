"""§13.4.2 and §13.4.3 measured: by refvdm.vdm, by SciPy's densities, by quadrature."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import norm

from ... import vdm as machine
from ...gaussian import kl_normal
from .. import hvae, loss
from .. import vdm as spec
from ..hvae import N
from .core import Measured, measures

T, D = 5, 3
NODES, WEIGHTS = hermegauss(30)
WEIGHTS = WEIGHTS / np.sqrt(2 * np.pi)


class Model(NamedTuple):
    """One model twice, and an example with its noise. p has variances of its own for t ≥ 2."""

    alpha: np.ndarray  # (T+1,), alpha_0 = 1
    schedule: machine.Schedule
    p: list
    vdm: machine.VDM
    x_0: np.ndarray  # (D,)
    eps: np.ndarray  # (T, D)
    variance: np.ndarray  # of p, (T+1,)


def model(rng, variance=None):
    alpha = np.concatenate([[1], rng.uniform(0.3, 0.95, T)])
    A, B, c = rng.standard_normal((D, 4)), rng.standard_normal((4, D)), rng.standard_normal(4)
    own = rng.uniform(0.05, 1.5, T + 1)
    schedule = machine.Schedule.from_alphas(alpha[1:])
    p = loss.p_theta(alpha, lambda x, t: np.tanh(x @ A + 0.3 * c * t) @ B,
                     lambda x: N(np.tanh(x @ A + 0.3 * c) @ B, 0.3))
    if variance is None:
        p = p[:2] + [lambda x, f=p[t], v=own[t]: N(f(x).mean, v) for t in range(2, T + 1)]
    both = machine.VDM(lambda theta, x, t: np.tanh(x @ A + 0.3 * c * t[:, None]) @ B, schedule,
                       machine.GaussianDecoder(0.3), own if variance is None else variance)
    return Model(alpha, schedule, p, both, 0.5 + rng.standard_normal(D),
                 rng.standard_normal((T, D)), own)


def chain(m):
    return hvae.draw_posterior(m.x_0, spec.encoder(m.alpha), m.eps)


def pair(mean_and_var):
    mean, var = mean_and_var
    return [mean[0], np.ravel(var)[0]]


# ---------------------------------------------------------------- §13.4.2


@measures("§13.4.2 restriction 1", 0)
def dimensions(rng):
    m = model(rng)
    left, right = spec.dimensions(m.x_0, m.alpha)
    return Measured(left, side=right)


@measures("§13.4.2 restriction 2")
def encoder(rng):
    m = model(rng)
    there = [f(None, m.x_0[None]) for f in m.vdm.as_mhvae().encoders]
    return Measured([list(f(m.x_0)) for f in spec.encoder(m.alpha)[1:]],
                    machine=[pair((mean, np.exp(log_var))) for mean, log_var in there])


@measures("§13.4.2 restriction 3")
def prior_kl(rng):
    m = model(rng)
    abar = np.prod(m.alpha)
    nodes = np.sqrt(abar) * m.x_0 + np.sqrt(1 - abar) * NODES[:, None]  # x_T
    ratio = norm.logpdf(nodes, np.sqrt(abar) * m.x_0, np.sqrt(1 - abar)) - norm.logpdf(nodes)
    return Measured(spec.prior_kl(m.x_0, m.alpha),
                    machine=machine.prior_kl(m.schedule, m.x_0[None])[0],
                    closed=np.sum(WEIGHTS @ ratio), printed=spec.printed_prior_kl(m.x_0, m.alpha))


@measures("13.22")
def log_q(rng):
    m = model(rng)
    left, right = spec.log_q([m.x_0, *m.eps], m.alpha)
    there = m.vdm.as_mhvae().log_posterior(None, m.x_0[None], [e[None] for e in m.eps])[0]
    return Measured(left, side=right, closed=there)


@measures("13.23")
def variance(rng):
    """Data of variance 4, by quadrature on x_t made of x_0 and eps."""
    m, t = model(rng), 3
    left, right = spec.variance(4.0, m.alpha, t)
    x_0, eps = (part.ravel() for part in np.meshgrid(2 * NODES, NODES))
    x_t = machine.sample_q(m.schedule, x_0, t, eps=eps)
    return Measured(left, side=right, closed=np.outer(WEIGHTS, WEIGHTS).ravel() @ x_t**2,
                    printed=spec.printed_variance(4.0, m.alpha, t)[1])


@measures("13.24 lines 1, 2")
def log_ratio(rng):
    """On a path that q did not draw, and on one that it did, beside the machine's joint form."""
    m = model(rng)
    left, right = spec.log_ratio([m.x_0, *m.eps], m.alpha, m.p)
    drawn = spec.log_ratio(chain(m), m.alpha, m.p)[0]
    there = machine.elbo_forms(m.vdm, None, m.x_0[None], eps=m.eps[:, None]).joint[0]
    return Measured([left, drawn], side=[right, drawn], machine=[right, there])


@measures("before 13.24")
def consistency(rng):
    m = model(rng)
    there = machine.elbo_forms(m.vdm, None, m.x_0[None], eps=m.eps[:, None]).consistency[0]
    return Measured(spec.consistency(chain(m), m.alpha, m.p), machine=there,
                    printed=spec.printed_consistency(chain(m), m.alpha, m.p))


@measures("13.24")
def elbo(rng):
    m = model(rng)
    there = m.vdm.elbo(None, m.x_0[None], eps=m.eps[:, None]).total[0]
    return Measured(spec.elbo(m.x_0, m.alpha, m.p, m.eps), machine=there,
                    printed=spec.printed_elbo(m.x_0, m.alpha, m.p, m.eps))


# ---------------------------------------------------------------- §13.4.3


@measures("13.25")
def bayes(rng):
    m = model(rng)
    x_prev, x_t = m.eps[:2]
    left, right = loss.bayes(x_prev, x_t, m.x_0, m.alpha, 3)
    abar = np.cumprod(m.alpha)
    densities = (norm.logpdf(x_t, np.sqrt(m.alpha[3]) * x_prev, np.sqrt(1 - m.alpha[3]))
                 + norm.logpdf(x_prev, np.sqrt(abar[2]) * m.x_0, np.sqrt(1 - abar[2]))
                 - norm.logpdf(x_t, np.sqrt(abar[3]) * m.x_0, np.sqrt(1 - abar[3])))
    return Measured(left, side=right, closed=np.sum(densities))


@measures("13.25 posterior")
def q_posterior(rng):
    """By conditioning the joint Gaussian of x_{t-1} and x_t."""
    m = model(rng)
    x_t, t, abar = m.eps[0], 3, np.cumprod(m.alpha)
    there = machine.q_posterior(m.schedule, x_t[None], m.x_0[None], t)
    cov = np.sqrt(m.alpha[t]) * (1 - abar[t - 1])  # of x_{t-1} and x_t
    gain = cov / (1 - abar[t])
    closed = [np.sqrt(abar[t - 1]) * m.x_0 + gain * (x_t - np.sqrt(abar[t]) * m.x_0),
              1 - abar[t - 1] - gain * cov]
    return Measured(list(loss.q_posterior(x_t, m.x_0, m.alpha, t)), machine=pair(there),
                    closed=closed)


@measures("13.26")
def q_step(rng):
    m = model(rng)
    return Measured(list(loss.q_step(m.x_0, m.alpha, 2)),
                    machine=pair(machine.q_step(m.schedule, m.x_0[None], 2)))


@measures("13.27")
def reparameterise(rng):
    m = model(rng)
    mean, var = pair(machine.q_step(m.schedule, m.x_0[None], 2))
    return Measured(loss.reparameterise(m.x_0, m.alpha, 2, m.eps[0]),
                    machine=mean + np.sqrt(var) * m.eps[0])


@measures("13.28 lines 1-3")
def merge(rng):
    m = model(rng)
    left, right = loss.merge(m.x_0, m.alpha, T, m.eps)
    there = m.vdm.as_mhvae().encode(None, m.x_0[None], eps=[e[None] for e in m.eps])[-1][0]
    return Measured(left, side=right, closed=there)


@measures("13.28 variance")
def merged_variance(rng):
    m = model(rng)
    left, right = loss.merged_variance(m.alpha, T)
    return Measured(left, side=right, closed=m.schedule.one_minus_alpha_bar[T])


@measures("13.28")
def q_marginal(rng):
    """The variance by t steps of v -> α v + 1 - α from 0; printed, its root stands there."""
    m, t = model(rng), 4
    mean, var = m.x_0, 0.0
    for i in range(1, t + 1):
        mean, var = np.sqrt(m.alpha[i]) * mean, m.alpha[i] * var + 1 - m.alpha[i]
    return Measured(list(loss.q_marginal(m.x_0, m.alpha, t)),
                    machine=pair(machine.q_marginal(m.schedule, m.x_0[None], t)),
                    closed=[mean, var],
                    printed=list(loss.printed_q_marginal(m.x_0, m.alpha, t)))


@measures("13.28 p_θ")
def p_theta(rng):
    m = model(rng, "small")
    x = m.eps[0]
    there = [pair(m.vdm.at(None).step(x[None], t)) for t in range(2, T + 1)]
    return Measured([list(m.p[t](x)) for t in range(2, T + 1)], machine=there)


@measures("13.28 KL")
def KL(rng):
    """By quadrature of log q/p under q."""
    mean_q, mean_p = rng.standard_normal((2, D))
    var_q, var_p = rng.uniform(0.3, 2, (2, D))
    x = mean_q + np.sqrt(var_q) * NODES[:, None]
    ratio = norm.logpdf(x, mean_q, np.sqrt(var_q)) - norm.logpdf(x, mean_p, np.sqrt(var_p))
    there = np.sum(kl_normal(mean_q, np.log(var_q), mean_p, np.log(var_p)))
    return Measured(loss.KL(N(mean_q, var_q), N(mean_p, var_p)), machine=there,
                    closed=np.sum(WEIGHTS @ ratio))


@measures("13.28 KL_t")
def kl_t(rng):
    m = model(rng)
    x_t, x_0_hat = m.eps[:2]
    left, right = loss.kl_t(x_t, m.x_0, x_0_hat, m.alpha, 3)
    there = machine.diffusion_kl(m.schedule, m.x_0[None], x_0_hat[None], 3)[0]
    return Measured(left, side=right, machine=there)


@measures("13.29")
def diffusion_estimate(rng):
    """One draw is the machine's; the mean over t = 2..T of such draws is the sum of 13.24."""
    m = model(rng)
    there = m.vdm.elbo_estimate(None, m.x_0[None], t=np.array([3]), eps=m.eps[[0, 2], None])
    each = [loss.diffusion_estimate(m.x_0, m.alpha, m.p, t, m.eps[t - 1])
            for t in range(2, T + 1)]
    whole = m.vdm.elbo(None, m.x_0[None], eps=m.eps[:, None]).diffusion_kl[0]
    printed = [loss.printed_diffusion_estimate(m.x_0, m.alpha, m.p, t, m.eps[t - 1])
               for t in range(2, T + 1)]
    return Measured([each[1], np.mean(each)], machine=[there.diffusion_kl[0], whole],
                    printed=np.mean(printed), should=whole)
