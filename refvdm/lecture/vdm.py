"""§13.4.2: the variational diffusion model and its bound.

alpha is indexed as in the lecture: alpha[1], ..., alpha[T], with alpha[0] = 1. A path is
x = [x_0, x_1, ..., x_T]. p[t](x_t) is p_θ(x_{t-1} | x_t), as in hvae.py; p[1] is the decoder.
The densities of q and the KL are 13.25-13.28, in loss.py.
"""
import numpy as np
from numpy import log, sqrt

from .equation import as_printed, equation, identity, section
from .hvae import N, log_joint, log_posterior
from .loss import KL, alpha_bar, q_marginal, q_posterior, q_step

section("§13.4.2", "From MHVAE to Variational Diffusion Models")


@identity("§13.4.2 restriction 1", "dim x_t = dim x_0 for t = 1..T")
def dimensions(x_0, alpha):
    means = [q_marginal(x_0, alpha, t).mean for t in range(1, len(alpha))]
    return np.array([mean.size for mean in means]), np.array([x_0.size for _ in means])


@equation("§13.4.2 restriction 2", "q_φ(x_t | x_{t-1}) = N(x_t; μ_t(x_{t-1}), Σ_t), with "
          "μ_t = √α_t x_{t-1} and Σ_t = (1 - α_t) I: at most the numbers α_t are learned",
          printed="μ_t(x_t), Σ_t(x_t); \"centered around\" x_{t-1}, but it is √α_t x_{t-1}",
          machine="refvdm.vdm.VDM.as_mhvae")
def encoder(alpha):
    """The q of 13.19."""
    return [None] + [lambda x, t=t: q_step(x, alpha, t) for t in range(1, len(alpha))]


@equation("§13.4.2 restriction 3", "KL(q(x_T | x_0) ‖ N(0, I)) = ½ Σ [ᾱ_T x_0² - ᾱ_T - "
          "log(1 - ᾱ_T)], which goes to 0 as ᾱ_T does",
          printed="x_T is a standard Gaussian", machine="refvdm.vdm.prior_kl")
def prior_kl(x_0, alpha):
    abar_T = alpha_bar(alpha, len(alpha) - 1)
    return 0.5 * np.sum(abar_T * x_0**2 - abar_T - log(1 - abar_T))


@as_printed("§13.4.2 restriction 3")
def printed_prior_kl(x_0, alpha):
    return 0.0


@identity("13.22", "q(x_{1:T} | x_0) = Π_{t=1}^T q(x_t | x_{t-1}): 13.19 for z_t = x_t")
def log_q(x, alpha):
    product = sum(q_step(x[t - 1], alpha, t).log_prob(x[t]) for t in range(1, len(alpha)))
    return log_posterior(x, encoder(alpha)), product


@identity("13.23", "Var x_t = (1 - α_t) I + α_t Var x_{t-1}, hence Var x_t = I + ᾱ_t (Var x_0 - I)",
          printed="hence Var z_t = I for all t, which is so for Var x_0 = I alone; Var inside E")
def variance(var_0, alpha, t):
    var = var_0
    for i in range(1, t + 1):
        var = (1 - alpha[i]) + alpha[i] * var
    return var, 1 + alpha_bar(alpha, t) * (var_0 - 1)


@as_printed("13.23")
def printed_variance(var_0, alpha, t):
    return variance(var_0, alpha, t)[0], 1.0


@identity("13.24 lines 1, 2", "log [p(x_T) p_θ(x_0 | x_1) Π p_θ(x_t | x_{t+1})]/[q(x_T | x_{T-1}) "
          "Π q(x_t | x_{t-1})] = log p_θ(x_0 | x_1) + log p(x_T)/q(x_T | x_0) + Σ_{t=2}^T "
          "log p_θ(x_{t-1} | x_t)/q(x_{t-1} | x_t, x_0), for every path",
          printed="line 1 with E over q_φ(z_{1:T} | x) for q(x_{1:T} | x_0)",
          machine="refvdm.vdm.elbo_forms")
def log_ratio(x, alpha, p):
    x_0, T = x[0], len(alpha) - 1
    line_2 = p[1](x[1]).log_prob(x_0)
    line_2 = line_2 + N(0, 1).log_prob(x[T]) - q_marginal(x_0, alpha, T).log_prob(x[T])
    for t in range(2, T + 1):
        above, below = p[t](x[t]), q_posterior(x[t], x_0, alpha, t)
        line_2 = line_2 + above.log_prob(x[t - 1]) - below.log_prob(x[t - 1])
    return log_joint(x, p) - log_posterior(x, encoder(alpha)), line_2


@equation("before 13.24", "ELBO = E_q log p_θ(x_0 | x_1) - E_q KL(q(x_T | x_{T-1}) ‖ p(x_T)) "
          "+ Σ_{t=1}^{T-1} E_q log p_θ(x_t | x_{t+1})/q(x_t | x_{t-1})",
          printed="left out; Luo 2022 has -KL(q(x_t | x_{t-1}) ‖ p_θ(x_t | x_{t+1})) in the sum",
          machine="refvdm.vdm.elbo_forms")
def consistency(x, alpha, p):
    """One path; E over each x_t alone, of r = q(x_t | x_{t-1}, x_{t+1}): KL(r ‖ q) - KL(r ‖ p)."""
    T = len(alpha) - 1
    elbo = p[1](x[1]).log_prob(x[0]) - KL(q_step(x[T - 1], alpha, T), N(0, 1))
    for t in range(1, T):
        between = q_between(x[t - 1], x[t + 1], alpha, t)
        elbo = elbo + KL(between, q_step(x[t - 1], alpha, t)) - KL(between, p[t + 1](x[t + 1]))
    return elbo


def q_between(x_prev, x_next, alpha, t):
    """q(x_t | x_{t-1}, x_{t+1}): the precisions 1/var add up."""
    now, after = alpha[t], alpha[t + 1]
    var = 1 / (1 / (1 - now) + after / (1 - after))
    return N(var * (sqrt(now) / (1 - now) * x_prev + sqrt(after) / (1 - after) * x_next), var)


@as_printed("before 13.24")
def printed_consistency(x, alpha, p):
    T = len(alpha) - 1
    elbo = p[1](x[1]).log_prob(x[0]) - KL(q_step(x[T - 1], alpha, T), N(0, 1))
    return elbo - sum(KL(q_step(x[t - 1], alpha, t), p[t + 1](x[t + 1])) for t in range(1, T))


@equation("13.24", "ELBO = E_q log p_θ(x_0 | x_1) - KL(q(x_T | x_0) ‖ p(x_T)) "
          "- Σ_{t=2}^T E_q KL(q(x_{t-1} | x_t, x_0) ‖ p_θ(x_{t-1} | x_t))",
          printed="KL(p(x_{t-1} | x_t) ‖ q(x_{t-1} | x_t, x_0))", machine="refvdm.vdm.VDM.elbo")
def elbo(x_0, alpha, p, eps):
    """One draw of it: eps[t-1] makes x_t from x_0."""
    T = len(alpha) - 1
    x = [x_0] + [q_marginal(x_0, alpha, t).draw(eps[t - 1]) for t in range(1, T + 1)]
    reconstruction = p[1](x[1]).log_prob(x_0)
    prior_kl = KL(q_marginal(x_0, alpha, T), N(0, 1))
    diffusion_kl = sum(KL(q_posterior(x[t], x_0, alpha, t), p[t](x[t])) for t in range(2, T + 1))
    return reconstruction - prior_kl - diffusion_kl


@as_printed("13.24")
def printed_elbo(x_0, alpha, p, eps):
    T = len(alpha) - 1
    x = [x_0] + [q_marginal(x_0, alpha, t).draw(eps[t - 1]) for t in range(1, T + 1)]
    reconstruction = p[1](x[1]).log_prob(x_0)
    prior_kl = KL(q_marginal(x_0, alpha, T), N(0, 1))
    diffusion_kl = sum(KL(p[t](x[t]), q_posterior(x[t], x_0, alpha, t)) for t in range(2, T + 1))
    return reconstruction - prior_kl - diffusion_kl
