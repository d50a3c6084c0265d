"""13.2, 13.20 and 13.21 as printed fail checks that the corrected forms, which the library implements, pass:
one test per correction.

Expectations over q are Gauss-Hermite sums, exact here; every node is one example of the batch.
"""
import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp
from scipy.stats import norm

from refvdm.mhvae import MarkovianHVAE


def nodes(n):
    x, w = hermegauss(n)
    return x, w / np.sqrt(2 * np.pi)


def one_level(w, s2, shift=0.0, ratio=1.0):
    """T = 1: z ~ N(0, 1), x = w z + N(0, s2). Decoder, and the exact encoder with its mean shifted and its
    variance times ratio."""
    gain, var = w / (w**2 + s2), s2 / (w**2 + s2)
    return MarkovianHVAE([lambda theta, x: (gain * x + shift, np.log(ratio * var))],
                         [lambda theta, z: (w * z, np.log(s2))])


def test_13_20_exceeds_log_p():
    """Printed: E_q log p(x | z_1:T)/q(z_1:T | x). Corrected: E_q log p(x, z_1:T)/q(z_1:T | x).

    T = 1 with the exact posterior: the corrected one is log p(x); the printed one is log p(x) - E_q log p(z),
    above it by 1/2 log 2π + 1/2 E_q z² for every x: no bound.
    """
    w, s2, (e, weights) = 0.8, 0.5, nodes(5)
    model = one_level(w, s2)
    for x in (-2.0, 0.0, 0.7):
        batch = np.full((5, 1), x)
        [z] = model.encode(None, batch, eps=[e[:, None]])
        printed = weights @ (norm.logpdf(batch, w * z, np.sqrt(s2))[:, 0] - model.log_posterior(None, batch, [z]))
        corrected = weights @ model.elbo(None, batch, eps=[e[:, None]])
        log_p = norm.logpdf(x, 0, np.sqrt(w**2 + s2))
        np.testing.assert_allclose(corrected, log_p, rtol=1e-12)
        second_moment = (w * x / (w**2 + s2)) ** 2 + s2 / (w**2 + s2)
        np.testing.assert_allclose(printed - log_p, 0.5 * np.log(2 * np.pi) + 0.5 * second_moment, rtol=1e-12)
        assert printed > log_p + 0.9


def test_13_21_left_side_is_not_its_right_side():
    """Printed: 13.21 with p(x | z_1:T) on its left. Corrected: p(x, z_1:T). With T = 2 and a q that is not exact the
    corrected sides agree; the printed left is p(x | z_1) over q, which lacks E_q log p(z_1:T).
    """
    q = [(0.4, 0.1, -0.6), (0.5, -0.2, -0.3)]
    p = [(0.9, 0.3, -0.7), (-0.6, 0.2, 0.1)]
    model = MarkovianHVAE(*([lambda theta, z, n=n: (n[0] * z + n[1], n[2]) for n in part] for part in (q, p)))
    e, w = nodes(4)
    eps, weights = [np.repeat(e, 4)[:, None], np.tile(e, 4)[:, None]], np.outer(w, w).ravel()
    x = np.full((16, 1), 0.8)
    z_1, z_2 = model.encode(None, x, eps=eps)

    def log_density(value, given, numbers):
        return norm.logpdf(value, numbers[0] * given + numbers[1], np.exp(numbers[2] / 2))[:, 0]

    log_q = log_density(z_1, x, q[0]) + log_density(z_2, z_1, q[1])
    log_p_z = norm.logpdf(z_2)[:, 0] + log_density(z_1, z_2, p[1])
    printed_left = weights @ (log_density(x, z_1, p[0]) - log_q)
    right = weights @ (log_p_z + log_density(x, z_1, p[0]) - log_q)
    left = weights @ (model.log_joint(None, x, [z_1, z_2]) - model.log_posterior(None, x, [z_1, z_2]))
    np.testing.assert_allclose([left, weights @ model.elbo(None, x, eps=eps)], right, rtol=1e-12)
    np.testing.assert_allclose(printed_left - right, -(weights @ log_p_z), rtol=1e-12)
    assert printed_left > right + 1


def test_13_2_first_line_lacks_q():
    """Printed: log p(x) = log ∫ p(x, z)/q(z | x) dz. Corrected: log ∫ p(x, z)/q(z | x) q(z | x) dz,
    for every q wide enough.

    The corrected one is log E_q exp(elbo). The printed one diverges already for the exact posterior:
    p(x, z)/q(z | x) = p(x) for every z, so that its integral grows with the range.
    """
    w, s2, x, (e, weights) = 0.8, 0.5, 0.7, nodes(60)
    log_p = norm.logpdf(x, 0, np.sqrt(w**2 + s2))
    for shift, ratio in [(0.0, 1.0), (0.3, 1.5), (-0.2, 2.0)]:
        model = one_level(w, s2, shift, ratio)
        corrected = logsumexp(model.elbo(None, np.full((60, 1), x), eps=[e[:, None]]), b=weights)
        np.testing.assert_allclose(corrected, log_p, rtol=1e-9)
    exact = one_level(w, s2)
    for half in (5.0, 50.0):
        z = np.linspace(-half, half, 1001)[:, None]
        batch = np.full_like(z, x)
        ratio = np.exp(exact.log_joint(None, batch, [z]) - exact.log_posterior(None, batch, [z]))
        np.testing.assert_allclose(2 * half * np.mean(ratio), 2 * half * np.exp(log_p), rtol=1e-9)


def test_13_2_importance_weights_bound_log_p_from_below():
    """Jensen's step of §13.2: E_q of the log is below the log of E_q, for each q that is not exact,
    equal for the exact one."""
    w, s2, x, (e, weights) = 0.8, 0.5, 0.7, nodes(60)
    for shift, ratio in [(0.0, 1.0), (0.3, 1.5), (-0.2, 0.9)]:
        log_ratio = one_level(w, s2, shift, ratio).elbo(None, np.full((60, 1), x), eps=[e[:, None]])
        gap = logsumexp(log_ratio, b=weights) - weights @ log_ratio
        expected = 0.5 * (ratio - 1 - np.log(ratio) + shift**2 / (s2 / (w**2 + s2)))
        np.testing.assert_allclose(gap, expected, rtol=1e-6, atol=1e-12)
