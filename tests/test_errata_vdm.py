"""13.22-13.29 as printed fail checks that the corrected forms, which the library implements, pass:
one test per correction."""
import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from scipy.stats import norm

from refvdm.vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    Schedule,
    diffusion_kl,
    diffusion_kl_general,
    elbo_forms,
    prior_kl,
    q_marginal,
    q_posterior,
    q_step,
    sample_q,
)
from refvdm.vdm.denoiser import GaussianDenoiser

SCHEDULE = Schedule.from_alphas([0.9, 0.8, 0.7])
ABAR = np.array([1.0, 0.9, 0.72, 0.504])
ALPHA = np.array([1.0, 0.9, 0.8, 0.7])


def gaussian_nodes(s2, n=9):
    """x_0 ~ N(0, s2) and eps ~ N(0, 1) as nodes (n²,) each with weights (n²,): exact for polynomials."""
    x, w = hermegauss(n)
    x_0, eps = np.meshgrid(np.sqrt(s2) * x, x)
    return x_0.ravel(), eps.ravel(), (np.outer(w, w) / (2 * np.pi)).ravel()


def expected_elbo(schedule, s2):
    """The four terms averaged over N(0, s2) data, with the exact denoiser and decoder."""
    x_0, eps, w = gaussian_nodes(s2)
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    eps = np.broadcast_to(eps[:, None], (schedule.T, len(eps), 1))
    return [w @ term for term in VDM(exact, schedule, ExactDecoder(exact)).elbo(None, x_0[:, None], eps=eps)]


def test_13_23_variance_preserving_only_for_unit_variance():
    """Printed: Var x_t = I for all t. Corrected: Var x_t = I + abar_t (Var x_0 - I).
    With Var x_0 = 4 only the second holds."""
    x_0, eps, w = gaussian_nodes(4.0)
    for t in (1, 2, 3):
        x_t = sample_q(SCHEDULE, x_0, t, eps=eps)
        variance = w @ x_t**2 - (w @ x_t) ** 2
        np.testing.assert_allclose(variance, 1 + ABAR[t] * (4 - 1), rtol=1e-12)
        assert abs(variance - 1) > 1
    x_0, eps, w = gaussian_nodes(1.0)
    np.testing.assert_allclose([w @ sample_q(SCHEDULE, x_0, t, eps=eps) ** 2 for t in (1, 2, 3)], 1, rtol=1e-12)


def test_restriction_3_x_T_is_not_standard_normal_on_a_short_schedule():
    """Printed: x_T is a standard Gaussian. Corrected: only as abar_T -> 0; without its prior KL "the bound" is none.

    E log p(x_0) <= -entropy for every model p, so a mean bound above -entropy is impossible.
    """
    x_0, eps, w = gaussian_nodes(4.0)
    x_T = sample_q(SCHEDULE, x_0, 3, eps=eps)
    assert w @ x_T**2 > 2.5
    assert np.all(prior_kl(SCHEDULE, np.array([[0.0], [1.0], [2.0]])) > 0.09)
    short = Schedule.linear_gamma(200, -5, -1.5)
    reconstruction, _, diffusion, total = expected_elbo(short, 4.0)
    minus_entropy = -0.5 * np.log(2 * np.pi * np.e * 4)
    assert total < minus_entropy < reconstruction - diffusion
    long = Schedule.linear_gamma(200, -5, 14)
    assert expected_elbo(long, 4.0)[1] < 1e-5 < expected_elbo(short, 4.0)[1]


def test_13_24_direction_of_the_kl():
    """Printed: KL(p to q) in the sum. Corrected: KL(q to p), which is what 13.24's second line defines: E_q log q/p.

    By quadrature, for a p of another variance than q's: only then do the two differ.
    """
    x_t, x_0, hat = np.array([[0.7]]), np.array([[-0.4]]), np.array([[0.5]])
    mean_q, var_q = q_posterior(SCHEDULE, x_t, x_0, 2)
    mean_p, _ = q_posterior(SCHEDULE, x_t, hat, 2)
    var_p = 4 * var_q
    x = np.linspace(-12, 12, 200_001)
    log_q, log_p = norm.logpdf(x, mean_q, np.sqrt(var_q))[0], norm.logpdf(x, mean_p, np.sqrt(var_p))[0]
    q_to_p = np.sum(np.exp(log_q) * (log_q - log_p)) * (x[1] - x[0])
    p_to_q = np.sum(np.exp(log_p) * (log_p - log_q)) * (x[1] - x[0])
    corrected = diffusion_kl_general(SCHEDULE, x_t, x_0, hat, 2, np.log(var_p))[0]
    assert abs(corrected - q_to_p) < 1e-9
    assert abs(p_to_q - q_to_p) > 0.5


def test_13_24_printed_direction_breaks_the_bound():
    """Printed: KL(p to q). Corrected: KL(q to p). With a p narrower than q the printed sum passes log p(x_0): no bound.

    T = 2, D = 1, denoiser 0: p(x_2) = N(0, 1), p(x_1 | x_2) = N(c x_2, v), p(x_0 | x_1) = N(x_1, u), so that p(x_0)
    is the normal density of variance c² + v + u.
    """
    schedule, x_0 = Schedule.from_alphas([0.9, 0.01]), np.full((20, 1), 3.0)
    var_q = (1 - 0.01) * (1 - 0.9) / (1 - 0.009)
    c, c_0 = np.sqrt(0.01) * (1 - 0.9) / (1 - 0.009), np.sqrt(0.9) * (1 - 0.01) / (1 - 0.009)
    u, v = var_q / 20, var_q / 20
    eps, w = hermegauss(20)
    w = w / np.sqrt(2 * np.pi)
    x_1, x_2 = (sample_q(schedule, x_0, t, eps=eps[:, None]) for t in (1, 2))
    others = w @ norm.logpdf(x_0, x_1, np.sqrt(u))[:, 0] - prior_kl(schedule, x_0)[0]
    q_to_p = w @ diffusion_kl_general(schedule, x_2, x_0, np.zeros_like(x_0), 2, np.log(v))
    p_to_q = 0.5 * (v / var_q - 1 - np.log(v / var_q) + (3 * c_0) ** 2 / var_q)
    log_p = norm.logpdf(3.0, 0, np.sqrt(c**2 + v + u))
    assert others - q_to_p < log_p
    assert others - p_to_q > log_p + 100


def test_13_28_a_variance_and_not_a_standard_deviation():
    """Printed: N(sqrt(abar) x_0, sqrt(1 - abar) I). Corrected: N(sqrt(abar_t) x_0, (1 - abar_t) I).

    Variance of sqrt(abar) x_0 + sqrt(1 - abar) eps, exactly; and Chapman-Kolmogorov through the steps 13.26.
    """
    x_0 = np.array([1.5])
    eps, w = hermegauss(9)
    w = w / np.sqrt(2 * np.pi)
    composed = 0.0
    for t in (1, 2, 3):
        composed = ALPHA[t] * composed + q_step(SCHEDULE, x_0, t)[1]
        corrected, printed = q_marginal(SCHEDULE, x_0, t)[1], np.sqrt(1 - ABAR[t])
        x_t = sample_q(SCHEDULE, np.full(9, 1.5), t, eps=eps)
        variance = w @ x_t**2 - (w @ x_t) ** 2
        np.testing.assert_allclose([corrected, composed], variance, rtol=1e-12)
        assert printed - variance > 0.2
    # the printed form does not compose with one more step either
    assert abs(ALPHA[3] * np.sqrt(1 - ABAR[2]) + (1 - ALPHA[3]) - np.sqrt(1 - ABAR[3])) > 0.02


def test_13_25_to_13_29_the_posterior_and_its_kl():
    """Left out: mean and variance of q(x_{t-1} | x_t, x_0), and the KL. By Bayes' rule on densities;
    both forms of the KL agree.

    Bayes' rule with the variances of 13.28 as printed gives another density.
    """
    x_0, x_t, hat = np.array([[0.3]]), np.array([[-0.8]]), np.array([[1.1]])
    x = np.linspace(-2, 2, 9)[:, None]
    for t in (2, 3):
        a, step = q_step(SCHEDULE, x, t)
        (m, var), (n, before) = (q_marginal(SCHEDULE, x_0, s) for s in (t, t - 1))
        sd_step, sd_before, sd = np.sqrt(step), np.sqrt(before), np.sqrt(var)
        bayes = norm.logpdf(x_t, a, sd_step) + norm.logpdf(x, n, sd_before) - norm.logpdf(x_t, m, sd)
        printed = norm.logpdf(x_t, a, sd_step) + norm.logpdf(x, n, before**0.25) - norm.logpdf(x_t, m, var**0.25)
        mean = np.sqrt(ALPHA[t]) * (1 - ABAR[t - 1]) * x_t + np.sqrt(ABAR[t - 1]) * (1 - ALPHA[t]) * x_0
        mean = mean / (1 - ABAR[t])
        variance = (1 - ALPHA[t]) * (1 - ABAR[t - 1]) / (1 - ABAR[t])
        got_mean, got_var = q_posterior(SCHEDULE, x_t, x_0, t)
        np.testing.assert_allclose([got_mean[0, 0], np.ravel(got_var)[0]], [mean[0, 0], variance], rtol=1e-12)
        np.testing.assert_allclose(norm.logpdf(x, got_mean, np.sqrt(got_var)), bayes, rtol=1e-10)
        assert np.abs(printed - bayes).max() > 0.5
        snr = ABAR / (1 - ABAR + (ABAR == 1))
        expected = (snr[t - 1] - snr[t]) / 2 * (0.3 - 1.1) ** 2
        np.testing.assert_allclose(diffusion_kl(SCHEDULE, x_0, hat, t), expected, rtol=1e-12)
        np.testing.assert_allclose(diffusion_kl_general(SCHEDULE, x_t, x_0, hat, t, np.log(variance)), expected,
                                   rtol=1e-11)


def test_13_29_a_mean_over_t_lacks_the_factor_and_two_terms():
    """Printed: the mean over t ~ U{2..T} of KL_t. Corrected: (T - 1) times it, plus reconstruction and prior.

    The printed mean is 1/(T - 1) of the sum of 13.24. As the objective of a learned schedule it is wrong:
    it prefers one that destroys x_0 in the first step, which it does not charge for.
    """
    T, s2 = 11, 1.0
    schedule = Schedule.linear_gamma(T, -4, 4)
    x_0, eps, w = gaussian_nodes(s2)
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    model, n = VDM(exact, schedule, ExactDecoder(exact)), len(x_0)
    estimates, printed = [], []
    for t in range(2, T + 1):
        noise = np.broadcast_to(eps[:, None], (2, n, 1))
        estimates.append(w @ model.elbo_estimate(None, x_0[:, None], t=t, eps=noise).total)
        x_t = sample_q(schedule, x_0[:, None], t, eps=eps[:, None])
        printed.append(w @ diffusion_kl(schedule, x_0[:, None], exact(None, x_t, t), t))
    _, _, diffusion, total = expected_elbo(schedule, s2)
    np.testing.assert_allclose(np.mean(estimates), total, rtol=1e-11)
    np.testing.assert_allclose(np.mean(printed) * (T - 1), diffusion, rtol=1e-11)
    assert diffusion > 5 * np.mean(printed)
    assert abs(-np.mean(printed) - total) > 0.5

    def with_fixed_decoder(schedule):
        exact, noise = GaussianDenoiser([0.0], [[s2]], schedule), np.broadcast_to(eps[:, None], (T, n, 1))
        terms = VDM(exact, schedule, GaussianDecoder(0.1)).elbo(None, x_0[:, None], eps=noise)
        return w @ terms.total, w @ terms.diffusion_kl / (T - 1)

    good_total, good_printed = with_fixed_decoder(schedule)
    poor_total, poor_printed = with_fixed_decoder(Schedule.linear_gamma(T, 12, 13))  # x_1 is noise already
    assert poor_printed < good_printed / 100  # better, says the printed objective
    assert poor_total < good_total - 1  # the bound says otherwise


def test_13_28_abar_needs_its_index():
    """Printed: abar without t. Corrected: abar_t, another number at every t."""
    np.testing.assert_allclose([q_marginal(SCHEDULE, np.ones(1), t)[0][0] for t in (1, 2, 3)], np.sqrt(ABAR[1:]),
                               rtol=1e-12)
    np.testing.assert_allclose(expit(-SCHEDULE.gamma[1:]), ABAR[1:], rtol=1e-12)


def test_luo_consistency_form_as_printed_is_strictly_below():
    """Printed (Luo 2022, before 13.24): E_q(x_{t-1}, x_{t+1} | x_0) of KL(q(x_t | x_{t-1}) to p(x_t | x_{t+1})).
    Corrected: the same log ratio with x_t averaged over q(x_t | x_{t-1}, x_{t+1}), as elbo_forms does.

    T = 2, N(0, 2) data, exact means. The printed form draws x_1 without x_2, and so lacks Cov(x_1, x_2 | x_0) m/var,
    m and var those of p(x_1 | x_2) = N(m x_2, var): strictly below whenever p rises in x_2, by this much.
    By quadrature on (x_0, x_1, x_2), exact here.
    """
    schedule, s2 = Schedule.from_alphas([0.8, 0.4]), 2.0
    a_1, a_2, abar = 0.8, 0.4, 0.32
    z, w = hermegauss(5)
    x_0, e_1, e_2 = (np.reshape(g, (-1, 1)) for g in np.meshgrid(z * np.sqrt(s2), z, z, indexing="ij"))
    w = np.einsum("i,j,k->ijk", w, w, w).ravel() / (2 * np.pi) ** 1.5
    x_2 = np.sqrt(a_2) * (np.sqrt(a_1) * x_0 + np.sqrt(1 - a_1) * e_1) + np.sqrt(1 - a_2) * e_2
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    for variance in ("small", "large"):
        model = VDM(exact, schedule, ExactDecoder(exact), variance)
        bound = w @ model.elbo(None, x_0, eps=np.stack([e_1, e_1])).total
        forms = [w @ form for form in elbo_forms(model, None, x_0, eps=np.stack([e_1, e_2]))]
        np.testing.assert_allclose(forms, bound, rtol=1e-11)
        # the printed one: the same reconstruction and last term, and the KL with x_1 integrated out of q(x_1 | x_0)
        x_1 = np.sqrt(a_1) * x_0 + np.sqrt(1 - a_1) * e_1
        mean_2, var_2 = np.sqrt(a_2) * x_1, 1 - a_2
        last = 0.5 * (mean_2**2 + var_2 - 1 - np.log(var_2))[:, 0]
        c_t, c_0 = (1 - a_1) / (1 - abar) * np.sqrt(a_2), np.sqrt(a_1) * (1 - a_2) / (1 - abar)
        gain = c_t + c_0 * s2 * np.sqrt(abar) / (1 - abar + s2 * abar)
        var = 1 - a_2 if variance == "large" else (1 - a_2) * (1 - a_1) / (1 - abar)
        kl = 0.5 * ((1 - a_1) / var - 1 - np.log((1 - a_1) / var) + (np.sqrt(a_1) * x_0 - gain * x_2)[:, 0] ** 2 / var)
        printed = w @ (exact.log_posterior(x_0, x_1, 1) - last - kl)
        np.testing.assert_allclose(bound - printed, gain / var * np.sqrt(a_2) * (1 - a_1), rtol=1e-10)
        assert printed < bound - 0.1
