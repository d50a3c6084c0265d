"""§13.2 and §13.4.1: the Markovian hierarchical VAE.

A path is z = [x, z_1, ..., z_T]: z_0 is the data. The conditionals are functions, for t = 1..T:
p[t](z_t) is p_θ(z_{t-1} | z_t) and q[t](z_{t-1}) is q_φ(z_t | z_{t-1}); p[0] and q[0] are not used.
An expectation over q_φ(z_{1:T} | x) is a sum over paths with weights: 1/K for K draws.
"""
from typing import Any, NamedTuple

import numpy as np
from numpy import arctan, exp, log, ones_like, sqrt

from .equation import as_printed, equation, identity, section


class N(NamedTuple):
    """N(mean, var), element by element: log density, in nats, and a draw, from eps ~ N(0, I)."""

    mean: Any
    var: Any

    def log_prob(self, x):
        pi = 4 * arctan(ones_like(x))  # in x's precision, which may be more than np.pi's
        return np.sum(-0.5 * (log(2 * pi * self.var) + (x - self.mean) ** 2 / self.var))

    def draw(self, eps):
        return self.mean + sqrt(self.var) * eps


section("§13.2", "Variational Diffusion Models")


@equation("13.2", "p(x, z_{1:T}) = p(z_T) p_θ(x | z_1) Π_{t=2}^T p_θ(z_{t-1} | z_t)",
          machine="refvdm.mhvae.MarkovianHVAE.log_joint")
def log_joint(z, p):
    T = len(z) - 1
    log_p = N(0, 1).log_prob(z[T]) + p[1](z[1]).log_prob(z[0])
    for t in range(2, T + 1):
        log_p = log_p + p[t](z[t]).log_prob(z[t - 1])
    return log_p


@equation("13.3", "q_φ(z_{1:T} | x) = q_φ(z_1 | x) Π_{t=2}^T q_φ(z_t | z_{t-1})",
          machine="refvdm.mhvae.MarkovianHVAE.log_posterior")
def log_posterior(z, q):
    T = len(z) - 1
    log_q = q[1](z[0]).log_prob(z[1])
    for t in range(2, T + 1):
        log_q = log_q + q[t](z[t - 1]).log_prob(z[t])
    return log_q


@equation("13.3 draw", "z_1 ~ q_φ(z_1 | x), then z_t ~ q_φ(z_t | z_{t-1}), from ε_0, ..., ε_{T-1}",
          machine="refvdm.mhvae.MarkovianHVAE.encode")
def draw_posterior(x, q, eps):
    z = [x]
    for t in range(1, len(eps) + 1):
        z.append(q[t](z[t - 1]).draw(eps[t - 1]))
    return z


@equation("13.3 evidence", "log p(x) = log ∫ p(x, z)/q_φ(z | x) q_φ(z | x) dz, z = z_{1:T}",
          printed="∫ p(x, z_{1-T})/q_φ(z_{1-T} | x) dz_{1-T}, without the factor q_φ")
def log_evidence(paths, volume, p, q):
    """The integral over a grid of z_{1:T}: a path for every cell, all of one volume."""
    return log(volume * sum(exp(log_joint(z, p) - log_posterior(z, q)) * exp(log_posterior(z, q))
                            for z in paths))


@as_printed("13.3 evidence")
def printed_log_evidence(paths, volume, p, q):
    return log(volume * sum(exp(log_joint(z, p) - log_posterior(z, q)) for z in paths))


@equation("13.4", "ELBO = E_{q_φ(z_{1:T} | x)} log p(x, z_{1:T})/q_φ(z_{1:T} | x): one draw of it",
          machine="refvdm.mhvae.MarkovianHVAE.elbo")
def elbo(x, p, q, eps):
    z = draw_posterior(x, q, eps)
    return log_joint(z, p) - log_posterior(z, q)


@identity("13.5", "log p(x, z_{1:T})/q_φ(z_{1:T} | x) = "
          "log p(z_T) + Σ_{t=1}^T log p_θ(z_{t-1} | z_t)/q_φ(z_t | z_{t-1}), z_0 = x")
def log_ratio(z, p, q):
    T = len(z) - 1
    plugged_in = N(0, 1).log_prob(z[T])
    for t in range(1, T + 1):
        plugged_in = plugged_in + p[t](z[t]).log_prob(z[t - 1]) - q[t](z[t - 1]).log_prob(z[t])
    return log_joint(z, p) - log_posterior(z, q), plugged_in


section("§13.4.1", "Markovian Hierarchical Variational Autoencoders")


@identity("13.18", "p(x, z_{1:T}) = p(z_T) p_θ(x | z_1) Π_{t=2}^T p_θ(z_{t-1} | z_t): 13.2 again")
def joint(z, p):
    T = len(z) - 1
    product = exp(N(0, 1).log_prob(z[T])) * exp(p[1](z[1]).log_prob(z[0]))
    for t in range(2, T + 1):
        product = product * exp(p[t](z[t]).log_prob(z[t - 1]))
    return exp(log_joint(z, p)), product


@identity("13.19", "q_φ(z_{1:T} | x) = q_φ(z_1 | x) Π_{t=2}^T q_φ(z_t | z_{t-1}): 13.3 again")
def posterior(z, q):
    T = len(z) - 1
    product = exp(q[1](z[0]).log_prob(z[1]))
    for t in range(2, T + 1):
        product = product * exp(q[t](z[t - 1]).log_prob(z[t]))
    return exp(log_posterior(z, q)), product


@equation("13.20 line 2", "log p(x) = log E_{q_φ(z_{1:T} | x)} p(x, z_{1:T})/q_φ(z_{1:T} | x)",
          printed="E_{q_φ}[z_{1:T} | x], and p(x | z_{1:T}) for p(x, z_{1:T})",
          machine="refvdm.mhvae.MarkovianHVAE.importance_bound")
def log_expected_ratio(paths, weights, p, q):
    return log(sum(w * exp(log_joint(z, p) - log_posterior(z, q)) for z, w in zip(paths, weights)))


@equation("13.20", "log p(x) ≥ E_{q_φ(z_{1:T} | x)} log p(x, z_{1:T})/q_φ(z_{1:T} | x)",
          printed="p(x | z_{1:T}) for p(x, z_{1:T}): no bound")
def bound(paths, weights, p, q):
    return sum(w * (log_joint(z, p) - log_posterior(z, q)) for z, w in zip(paths, weights))


@as_printed("13.20")
def printed_bound(paths, weights, p, q):
    log_p_x = [p[1](z[1]).log_prob(z[0]) for z in paths]  # log p(x | z_{1:T})
    return sum(w * (log_p - log_posterior(z, q)) for z, w, log_p in zip(paths, weights, log_p_x))


@identity("13.21", "E_q log p(x, z_{1:T})/q_φ(z_{1:T} | x) = E_q log "
          "[p(z_T) p_θ(x | z_1) Π p_θ(z_{t-1} | z_t)]/[q_φ(z_1 | x) Π q_φ(z_t | z_{t-1})]",
          printed="p(x | z_{1:T}) on the left")
def bound_plugged_in(paths, weights, p, q):
    right = sum(w * log(joint(z, p)[1] / posterior(z, q)[1]) for z, w in zip(paths, weights))
    return bound(paths, weights, p, q), right


@as_printed("13.21")
def printed_bound_plugged_in(paths, weights, p, q):
    return printed_bound(paths, weights, p, q), bound_plugged_in(paths, weights, p, q)[1]
