"""§13.4.3: q in closed form, and what is minimised.

alpha[1], ..., alpha[T] with alpha[0] = 1; x_0_hat(x_t, t) is the network, p[t] as in vdm.py.
"""
import numpy as np
from numpy import log, prod, sqrt

from .equation import as_printed, equation, identity, section
from .hvae import N

section("§13.4.3", "How to compute the loss")


def alpha_bar(alpha, t):
    """ᾱ_t = Π_{i=1}^t α_i, ᾱ_0 = 1."""
    return prod(alpha[: t + 1])


@identity("13.25", "q(x_{t-1} | x_t, x_0) = q(x_t | x_{t-1}, x_0) q(x_{t-1} | x_0)/q(x_t | x_0)")
def bayes(x_prev, x_t, x_0, alpha, t):
    """The logarithm of each side, t ≥ 2."""
    right = q_step(x_prev, alpha, t).log_prob(x_t) + q_marginal(x_0, alpha, t - 1).log_prob(x_prev)
    right = right - q_marginal(x_0, alpha, t).log_prob(x_t)
    return q_posterior(x_t, x_0, alpha, t).log_prob(x_prev), right


@equation("13.25 posterior", "q(x_{t-1} | x_t, x_0) = N(x_{t-1}; μ_q, σ_q² I), t ≥ 2; "
          "μ_q = [√α_t (1 - ᾱ_{t-1}) x_t + √ᾱ_{t-1} (1 - α_t) x_0]/(1 - ᾱ_t); "
          "σ_q² = (1 - α_t) (1 - ᾱ_{t-1})/(1 - ᾱ_t)",
          printed="left out", machine="refvdm.vdm.q_posterior")
def q_posterior(x_t, x_0, alpha, t):
    abar_prev, abar = alpha_bar(alpha, t - 1), alpha_bar(alpha, t)
    mean = sqrt(alpha[t]) * (1 - abar_prev) * x_t + sqrt(abar_prev) * (1 - alpha[t]) * x_0
    return N(mean / (1 - abar), (1 - alpha[t]) * (1 - abar_prev) / (1 - abar))


@equation("13.26", "q(x_t | x_{t-1}, x_0) = q(x_t | x_{t-1}) = N(x_t; √α_t x_{t-1}, (1 - α_t) I)",
          printed="q(...) ~ N(...)", machine="refvdm.vdm.q_step")
def q_step(x_prev, alpha, t):
    return N(sqrt(alpha[t]) * x_prev, 1 - alpha[t])


@equation("13.27", "x_t = √α_t x_{t-1} + √(1 - α_t) ε, ε ~ N(0, I)", machine="refvdm.vdm.q_step")
def reparameterise(x_prev, alpha, t, eps):
    return sqrt(alpha[t]) * x_prev + sqrt(1 - alpha[t]) * eps


@identity("13.28 lines 1-3", "t times 13.27 is x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε_0, where "
          "√(1 - ᾱ_t) ε_0 = Σ_{i=1}^t √(ᾱ_t/ᾱ_i) √(1 - α_i) ε*_{i-1}")
def merge(x_0, alpha, t, eps):
    """eps = [ε*_0, ..., ε*_{t-1}]."""
    x, abar = x_0, alpha_bar(alpha, t)
    for i in range(1, t + 1):
        x = reparameterise(x, alpha, i, eps[i - 1])
    noise = sum(sqrt(abar / alpha_bar(alpha, i)) * sqrt(1 - alpha[i]) * eps[i - 1]
                for i in range(1, t + 1))
    return x, sqrt(abar) * x_0 + noise


@identity("13.28 variance", "Σ_{i=1}^t ᾱ_t/ᾱ_i (1 - α_i) = 1 - ᾱ_t: ε_0 ~ N(0, I)")
def merged_variance(alpha, t):
    abar = alpha_bar(alpha, t)
    return sum(abar / alpha_bar(alpha, i) * (1 - alpha[i]) for i in range(1, t + 1)), 1 - abar


@equation("13.28", "q(x_t | x_0) = N(x_t; √ᾱ_t x_0, (1 - ᾱ_t) I)", machine="refvdm.vdm.q_marginal",
          printed="N(√ᾱ x_0, √(1 - ᾱ) I): a standard deviation for the variance, and ᾱ without t")
def q_marginal(x_0, alpha, t):
    return N(sqrt(alpha_bar(alpha, t)) * x_0, 1 - alpha_bar(alpha, t))


@as_printed("13.28")
def printed_q_marginal(x_0, alpha, t):
    return N(sqrt(alpha_bar(alpha, t)) * x_0, sqrt(1 - alpha_bar(alpha, t)))


@equation("13.28 p_θ", "p_θ(x_{t-1} | x_t) = q(x_{t-1} | x_t, x_0 = x̂_0(x_t, t)), t = 2..T",
          printed="left out", machine="refvdm.vdm.VDM")
def p_theta(alpha, x_0_hat, decoder):
    """The p of 13.18; p[1](x_1) = decoder(x_1)."""
    return [None, decoder] + [lambda x_t, t=t: q_posterior(x_t, x_0_hat(x_t, t), alpha, t)
                              for t in range(2, len(alpha))]


@equation("13.28 KL", "KL(q ‖ p) = Σ ½ [log σ_p²/σ_q² + (σ_q² + (μ_q - μ_p)²)/σ_p² - 1] "
          "for normal q and p",
          printed="left out", machine="refvdm.gaussian.kl_normal")
def KL(q, p):
    return np.sum(0.5 * (log(p.var / q.var) + (q.var + (q.mean - p.mean) ** 2) / p.var - 1))


@identity("13.28 KL_t", "KL(q(x_{t-1} | x_t, x_0) ‖ p_θ(x_{t-1} | x_t)) = "
          "½ (SNR_{t-1} - SNR_t) ‖x_0 - x̂_0‖², SNR_t = ᾱ_t/(1 - ᾱ_t)",
          printed="left out", machine="refvdm.vdm.diffusion_kl")
def kl_t(x_t, x_0, x_0_hat, alpha, t):
    """x_0_hat (D,) is the network's answer, t ≥ 2."""
    left = KL(q_posterior(x_t, x_0, alpha, t), q_posterior(x_t, x_0_hat, alpha, t))
    snr_prev, snr = (alpha_bar(alpha, s) / (1 - alpha_bar(alpha, s)) for s in (t - 1, t))
    return left, 0.5 * (snr_prev - snr) * np.sum((x_0 - x_0_hat) ** 2)


@equation("13.29", "(T - 1) E_{t ~ U{2..T}} E_{q(x_t | x_0)} KL(q(x_{t-1} | x_t, x_0) ‖ "
          "p_θ(x_{t-1} | x_t)): the sum of 13.24, to be minimised with its other two terms",
          printed="without T - 1 and without the other two terms",
          machine="refvdm.vdm.VDM.elbo_estimate")
def diffusion_estimate(x_0, alpha, p, t, eps):
    """One draw of it: at the t given, with x_t made from x_0 and eps."""
    T, x_t = len(alpha) - 1, q_marginal(x_0, alpha, t).draw(eps)
    return (T - 1) * KL(q_posterior(x_t, x_0, alpha, t), p[t](x_t))


@as_printed("13.29")
def printed_diffusion_estimate(x_0, alpha, p, t, eps):
    x_t = q_marginal(x_0, alpha, t).draw(eps)
    return KL(q_posterior(x_t, x_0, alpha, t), p[t](x_t))
