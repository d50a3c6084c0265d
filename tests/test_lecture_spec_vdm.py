"""§13.4.2 and §13.4.3 of the lecture against refvdm.vdm, against Bayes' rule on SciPy's densities, and against
quadrature.
"""

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from refvdm.gaussian import kl_normal
from refvdm.lecture import hvae, loss, vdm
from refvdm.lecture.hvae import N
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
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

seeds, Ts, Ds = st.integers(0, 10_000), st.integers(2, 7), st.integers(1, 4)
LONG = np.finfo(np.longdouble).eps
NODES, WEIGHTS = hermegauss(12)
WEIGHTS = WEIGHTS / np.sqrt(2 * np.pi)
LEVELS = np.array([-1.0, -0.2, 0.3, 1.0])
close = np.testing.assert_allclose


def alphas(seed, T, dtype=np.float64):
    """alpha_0 = 1, alpha_1..alpha_T anywhere in (0.1, 0.98)."""
    return np.concatenate([[1], np.random.default_rng(seed).uniform(0.1, 0.98, T)]).astype(dtype)


def data(seed, T, D, dtype=np.float64):
    """x_0 (D,) and eps (T, D)."""
    rng = np.random.default_rng(seed + 1)
    return rng.standard_normal(D).astype(dtype), rng.standard_normal((T, D)).astype(dtype)


def network(seed, D, dtype=np.float64):
    """x_0 hat of one (x_t, t), and the same for a batch."""
    rng = np.random.default_rng(seed + 2)
    A, B, c = (rng.standard_normal(shape).astype(dtype) for shape in ((D, 3), (3, D), 3))
    return lambda x_t, t: np.tanh(x_t @ A + c * t) @ B, lambda theta, x_t, t: np.tanh(x_t @ A + c * t[:, None]) @ B


def both(seed, T, D, variance="small", decoder_variance=0.3):
    """alpha, p and the machine of one model."""
    alpha = alphas(seed, T)
    x_0_hat, denoiser = network(seed, D)
    machine = VDM(denoiser, Schedule.from_alphas(alpha[1:]), GaussianDecoder(decoder_variance), variance)
    p = loss.p_theta(alpha, x_0_hat, lambda x_1: N(x_0_hat(x_1, 1), decoder_variance))
    if isinstance(variance, str) and variance == "large":
        variance = 1 - alpha
    if not isinstance(variance, str):
        p = p[:2] + other_variance(p, variance)
    return alpha, p, machine


def other_variance(p, variance):
    """p[2], ..., p[T] with these variances in the place of q's."""
    return [lambda x_t, p_t=p[t], v=variance[t]: N(p_t(x_t).mean, v) for t in range(2, len(p))]


class Categorical(NamedTuple):
    """For every element of x_0 one of the LEVELS, with these log-probabilities (D, K)."""

    log_probs: Any

    def log_prob(self, x_0):
        return sum(self.log_probs[i][list(LEVELS).index(value)] for i, value in enumerate(x_0))


# ---------------------------------------------------------------- q


@given(seeds, Ts, Ds)
def test_13_25_13_26_13_28_q_is_the_machines(seed, T, D):
    alpha, (x_0, (x_t, *_)) = alphas(seed, T), data(seed, T, D)
    schedule = Schedule.from_alphas(alpha[1:])
    for t in range(1, T + 1):
        close(loss.alpha_bar(alpha, t), schedule.alpha_bar[t], rtol=1e-11)
        pairs = [
            (loss.q_step(x_t, alpha, t), q_step(schedule, x_t[None], t)),
            (loss.q_marginal(x_0, alpha, t), q_marginal(schedule, x_0[None], t)),
        ]
        if t > 1:
            pairs.append((loss.q_posterior(x_t, x_0, alpha, t), q_posterior(schedule, x_t[None], x_0[None], t)))
        for spec, (mean, var) in pairs:
            close(spec.mean, mean[0], rtol=1e-10, atol=1e-12)
            close(spec.var, np.ravel(var)[0], rtol=1e-10)
    assert loss.alpha_bar(alpha, 0) == 1


@given(seeds, Ts, Ds)
def test_13_25_bayes_rule(seed, T, D):
    """The closed form of the posterior is Bayes' rule on densities, SciPy's ones too; left out in the lecture."""
    alpha, (x_0, (x_t, x_prev, *_)) = alphas(seed, T), data(seed, T, D)
    for t in range(2, T + 1):
        close(*loss.bayes(x_prev, x_t, x_0, alpha, t), rtol=1e-9, atol=1e-9)
        abar, before = np.prod(alpha[: t + 1]), np.prod(alpha[:t])
        expected = (
            norm.logpdf(x_t, np.sqrt(alpha[t]) * x_prev, np.sqrt(1 - alpha[t]))
            + norm.logpdf(x_prev, np.sqrt(before) * x_0, np.sqrt(1 - before))
            - norm.logpdf(x_t, np.sqrt(abar) * x_0, np.sqrt(1 - abar))
        )
        close(loss.q_posterior(x_t, x_0, alpha, t).log_prob(x_prev), expected.sum(), rtol=1e-9, atol=1e-9)
        close(loss.bayes(x_prev, x_t, x_0, alpha, t)[1], expected.sum(), rtol=1e-9, atol=1e-9)


@given(seeds, Ts, Ds)
def test_13_27_and_the_chain_are_the_machines(seed, T, D):
    """13.27 is a draw of 13.26; t of them are what the VDM as a hierarchical VAE encodes."""
    alpha, _, machine = both(seed, T, D)
    x_0, eps = data(seed, T, D)
    chain = machine.as_mhvae().encode(None, x_0[None], eps=[e[None] for e in eps])
    x = x_0
    for t in range(1, T + 1):
        close(
            loss.reparameterise(x, alpha, t, eps[t - 1]),
            loss.q_step(x, alpha, t).draw(eps[t - 1]),
            rtol=1e-13,
            atol=1e-14,
        )
        x = loss.reparameterise(x, alpha, t, eps[t - 1])
        close(x, chain[t - 1][0], rtol=1e-10, atol=1e-11)
    for spec, got in zip(hvae.draw_posterior(x_0, vdm.encoder(alpha), eps)[1:], chain):
        close(spec, got[0], rtol=1e-10, atol=1e-11)


@given(seeds, Ts, Ds)
def test_13_28_merge(seed, T, D):
    """The chain is sqrt(abar_t) x_0 plus one Gaussian of variance 1 - abar_t; a draw of the marginal is the
    machine's sample_q.
    """
    alpha, (x_0, eps) = alphas(seed, T), data(seed, T, D)
    schedule = Schedule.from_alphas(alpha[1:])
    x = x_0
    for t in range(1, T + 1):
        x = np.sqrt(alpha[t]) * x + np.sqrt(1 - alpha[t]) * eps[t - 1]
        left, right = loss.merge(x_0, alpha, t, eps)
        close([left, right], [x, x], rtol=1e-11, atol=1e-12)
        left, right = loss.merged_variance(alpha, t)
        close(left, right, rtol=1e-11)
        close(right, 1 - np.prod(alpha[: t + 1]), rtol=1e-12)
        unit = np.eye(t)  # each noise alone: what the merged one is made of
        close(sum(loss.merge(np.zeros(1), alpha, t, unit[:, [i]])[1] ** 2 for i in range(t)), right, rtol=1e-11)
        close(
            loss.q_marginal(x_0, alpha, t).draw(eps[0]),
            sample_q(schedule, x_0[None], t, eps=eps[:1])[0],
            rtol=1e-11,
            atol=1e-12,
        )


@given(seeds, Ts)
def test_13_28_chapman_kolmogorov(seed, T):
    """∫ q(x_t | x_{t-1}) q(x_{t-1} | x_0) dx_{t-1} = q(x_t | x_0); the printed variances do not compose."""
    alpha, (x_0, (x_t, *_)) = alphas(seed, T), data(seed, T, 1)
    nodes, weights = hermegauss(60)
    for t in range(2, T + 1):
        before, now = loss.q_marginal(x_0, alpha, t - 1), loss.q_marginal(x_0, alpha, t)
        step = loss.q_step(before.mean, alpha, t)
        close(step.mean, now.mean, rtol=1e-12)
        close(step.var + alpha[t] * before.var, now.var, rtol=1e-12)
        if t == T and alpha[t] < 0.8:  # else the integrand is too narrow for so few nodes
            densities = [np.exp(loss.q_step(before.draw(np.array([e])), alpha, t).log_prob(x_t)) for e in nodes]
            close(weights @ densities / np.sqrt(2 * np.pi), np.exp(now.log_prob(x_t)), rtol=1e-3)
        printed, printed_now = loss.printed_q_marginal(x_0, alpha, t - 1), loss.printed_q_marginal(x_0, alpha, t)
        close(printed_now.mean, now.mean, rtol=1e-14)
        close(printed_now.var**2, now.var, rtol=1e-12)
        short = printed_now.var - (step.var + alpha[t] * printed.var)  # the root is concave
        assert short > 0.1 * alpha[t] * (1 - alpha[t]) * (1 - before.var) ** 2
        close(WEIGHTS @ (now.draw(NODES) - now.mean) ** 2, now.var, rtol=1e-12)


# ---------------------------------------------------------------- 13.4.2


@given(seeds, Ts, Ds)
def test_13_4_2_restrictions(seed, T, D):
    """1: dimensions. 2: the encoder is linear and Gaussian, the machine's. 3: the KL to N(0, I), which is not 0 as
    printed.
    """
    alpha, _, machine = both(seed, T, D)
    x_0, eps = data(seed, T, D)
    left, right = vdm.dimensions(x_0, alpha)
    assert left.tolist() == right.tolist() == [D] * T
    encoder = vdm.encoder(alpha)
    assert len(encoder) == T + 1 and encoder[0] is None
    for t in range(1, T + 1):
        mean, log_var = machine.as_mhvae().encoders[t - 1](None, eps[:1])
        close(encoder[t](eps[0]).mean, mean[0], rtol=1e-11, atol=1e-12)
        close(encoder[t](eps[0]).var, np.exp(np.ravel(log_var)[0]), rtol=1e-10)
    close(vdm.prior_kl(x_0, alpha), prior_kl(machine.schedule, x_0[None])[0], rtol=1e-9, atol=1e-12)
    close(vdm.prior_kl(x_0, alpha), loss.KL(loss.q_marginal(x_0, alpha, T), N(0, 1)), rtol=1e-9, atol=1e-12)
    assert vdm.printed_prior_kl(x_0, alpha) == 0 < vdm.prior_kl(x_0, alpha)


def test_13_4_2_restriction_3_is_a_limit():
    x_0 = np.array([2.0, -1.0])
    kls = [vdm.prior_kl(x_0, np.array([1, 0.5, alpha_2])) for alpha_2 in (0.5, 0.05, 0.005)]
    close(np.divide(kls[:-1], kls[1:]), 10, rtol=0.3)
    assert vdm.printed_prior_kl(x_0, np.array([1, 0.5, 0.5])) == 0 and kls[0] > 0.4


@given(seeds, Ts, Ds)
def test_13_22_both_sides_and_the_machines(seed, T, D):
    """The joint Gaussian of the chain, coordinate by coordinate, is this density."""
    alpha, _, machine = both(seed, T, D)
    x_0, eps = data(seed, T, D)
    left, right = vdm.log_q([x_0, *eps], alpha)
    close(left, right, rtol=1e-12)
    close(left, machine.as_mhvae().log_posterior(None, x_0[None], [e[None] for e in eps])[0], rtol=1e-9)
    abar = np.cumprod(alpha)[1:]
    shrink = np.sqrt(np.minimum.outer(abar, abar) / np.maximum.outer(abar, abar))
    cov = shrink * (1 - np.maximum.outer(abar, abar))
    close(right, sum(multivariate_normal.logpdf(eps[:, i], np.sqrt(abar) * x_0[i], cov) for i in range(D)), rtol=1e-8)


@given(seeds, Ts, st.floats(0.1, 5))
def test_13_23_variance(seed, T, var_0):
    """Var x_t of data with variance var_0, by quadrature on the machine's draws; I for all t, as printed, only if
    var_0 = 1.
    """
    alpha = alphas(seed, T)
    schedule = Schedule.from_alphas(alpha[1:])
    x_0, eps = (part.ravel() for part in np.meshgrid(np.sqrt(var_0) * NODES, NODES))
    weights = np.outer(WEIGHTS, WEIGHTS).ravel()
    for t in range(T + 1):
        left, right = vdm.variance(var_0, alpha, t)
        close(left, right, rtol=1e-12)
        if t:
            close(right, weights @ sample_q(schedule, x_0, t, eps=eps) ** 2, rtol=1e-11)
        is_var, printed = vdm.printed_variance(var_0, alpha, t)
        assert is_var == left and printed == 1
        close(vdm.variance(1.0, alpha, t), 1, rtol=1e-12)
        close(left - printed, np.prod(alpha[: t + 1]) * (var_0 - 1), rtol=1e-9, atol=1e-12)


# ---------------------------------------------------------------- 13.24


@given(seeds, Ts, Ds, st.sampled_from(["small", "large", "own"]))
def test_13_24_elbo_is_the_machines(seed, T, D, variance):
    own = np.random.default_rng(seed).uniform(0.05, 2, T + 1)
    alpha, p, machine = both(seed, T, D, own if variance == "own" else variance)
    x_0, eps = data(seed, T, D)
    terms = machine.elbo(None, x_0[None], eps=eps[:, None])
    close(vdm.elbo(x_0, alpha, p, eps), terms.total[0], rtol=1e-9)
    per_t = machine.kl_per_t(None, x_0[None], eps=eps[:, None])[:, 0]
    schedule = machine.schedule
    for t in range(2, T + 1):
        x_t = loss.q_marginal(x_0, alpha, t).draw(eps[t - 1])
        got = loss.KL(loss.q_posterior(x_t, x_0, alpha, t), p[t](x_t))
        close(got, per_t[t], rtol=1e-9, atol=1e-12)
        mean = p[t](x_t).mean
        general = diffusion_kl_general(
            schedule, x_t[None], x_0[None], machine.denoiser(None, x_t[None], np.array([t])), t, np.log(p[t](x_t).var)
        )
        close(got, general[0], rtol=1e-9, atol=1e-12)
        close(machine.at(None).step(x_t[None], t)[0][0], mean, rtol=1e-10, atol=1e-11)


@given(seeds, Ts, Ds)
def test_13_24_elbo_with_a_categorical_decoder(seed, T, D):
    """Any decoder: here p(x_0 = v_k | x_1) in proportion to N(x_1; sqrt(abar_1) v_k, 1 - abar_1)."""
    alpha = alphas(seed, T)
    x_0_hat, denoiser = network(seed, D)

    def decoder(x_1):
        logits = norm.logpdf(x_1[:, None], np.sqrt(alpha[1]) * LEVELS, np.sqrt(1 - alpha[1]))
        return Categorical(logits - logsumexp(logits, axis=1, keepdims=True))

    x_0, eps = np.random.default_rng(seed).choice(LEVELS, D), data(seed, T, D)[1]
    machine = VDM(denoiser, Schedule.from_alphas(alpha[1:]), CategoricalDecoder(LEVELS)).elbo(
        None, x_0[None], eps=eps[:, None]
    )
    close(vdm.elbo(x_0, alpha, loss.p_theta(alpha, x_0_hat, decoder), eps), machine.total[0], rtol=1e-9)


@given(seeds, Ts, Ds, st.sampled_from(["small", "large"]))
def test_13_24_lines_and_forms_are_the_machines(seed, T, D, variance):
    """Lines 1 and 2 are one number on every path, the machine's joint form; so is the form between them. And 13.18
    is log p(x_{0:T}).
    """
    alpha, p, machine = both(seed, T, D, variance)
    x_0, eps = data(seed, T, D)
    x = hvae.draw_posterior(x_0, vdm.encoder(alpha), eps)
    forms = elbo_forms(machine, None, x_0[None], eps=eps[:, None])
    close(vdm.log_ratio(x, alpha, p), forms.joint[0], rtol=1e-8)
    close(vdm.log_ratio([x_0, *eps], alpha, p)[0], vdm.log_ratio([x_0, *eps], alpha, p)[1], rtol=1e-8)
    close(vdm.consistency(x, alpha, p), forms.consistency[0], rtol=1e-8)
    close(
        hvae.log_joint(x, p), machine.as_mhvae().log_joint(None, x_0[None], [x_t[None] for x_t in x[1:]])[0], rtol=1e-9
    )


def linear_model(alpha, slope, offset, widen, decoder_variance=0.4):
    """x_0 hat = slope x_t + offset, and p[t] of widen times q's variance: everything in 13.24 is then quadratic in
    the noise.
    """
    p = loss.p_theta(alpha, lambda x_t, t: slope * x_t + offset, lambda x_1: N(slope * x_1 + offset, decoder_variance))
    return p[:2] + other_variance(
        p, [0, 0] + [widen * loss.q_posterior(np.zeros(1), np.zeros(1), alpha, t).var for t in range(2, len(alpha))]
    )


@settings(max_examples=6)
@given(seeds, st.integers(2, 4), st.floats(0.5, 2))
def test_13_24_three_lines_have_one_mean(seed, T, widen):
    """E_q of line 1, of line 2, of the form between and of 13.24, over all paths, by quadrature that is exact here.
    Printed ones differ.
    """
    alpha, p = alphas(seed, T), linear_model(alphas(seed, T), 0.6, 0.3, widen)
    x_0, (nodes, weights) = np.array([0.8]), hermegauss(3)
    means = np.zeros(5)
    for index in np.ndindex(*(3,) * T):
        eps = nodes[list(index)][:, None]
        x = hvae.draw_posterior(x_0, vdm.encoder(alpha), eps)
        forms = [
            *vdm.log_ratio(x, alpha, p),
            vdm.consistency(x, alpha, p),
            vdm.elbo(x_0, alpha, p, eps),
            vdm.printed_consistency(x, alpha, p),
        ]
        means += np.prod(weights[list(index)] / np.sqrt(2 * np.pi)) * np.array(forms)
    close(means[:4], means[3], rtol=1e-9)
    # x_t drawn without x_{t+1} lacks their covariance given x_{t-1}, times the slope of p's mean over its variance,
    # for every t < T
    lacks = 0
    for t in range(1, T):
        slope = p[t + 1](np.ones(1)).mean - p[t + 1](np.zeros(1)).mean
        lacks += slope[0] / p[t + 1](np.zeros(1)).var * np.sqrt(alpha[t + 1]) * (1 - alpha[t])
    close(means[3] - means[4], lacks, rtol=1e-8)
    assert means[4] < means[3]


def test_13_24_q_between_is_bayes_rule():
    alpha, x, prev, after = np.array([1, 0.7, 0.4, 0.8]), np.linspace(-2, 2, 7), np.array([0.3]), np.array([-0.9])
    for t in (1, 2):
        log_ratio = [
            loss.q_step(np.array([v]), alpha, t + 1).log_prob(after)
            + loss.q_step(prev, alpha, t).log_prob(np.array([v]))
            - vdm.q_between(prev, after, alpha, t).log_prob(np.array([v]))
            for v in x
        ]
        marginal = norm.logpdf(
            after[0], np.sqrt(alpha[t] * alpha[t + 1]) * prev[0], np.sqrt(1 - alpha[t] * alpha[t + 1])
        )
        close(log_ratio, marginal, rtol=1e-12)


@settings(max_examples=20)
@given(seeds, Ts, st.floats(0.2, 4), st.floats(-2, 2))
def test_13_24_is_log_p_for_gaussian_data_and_the_best_p(seed, T, s2, x):
    """x_0 ~ N(0, s²), p the exact reverse process: the bound is log p(x_0) + E_q log N(x_T; 0, 1)/q(x_T), for any T."""
    alpha = alphas(seed, T)
    abar = np.cumprod(alpha)

    def reverse(t):  # p(x_{t-1} | x_t) of the joint Gaussian of data and chain
        before, now = 1 + abar[t - 1] * (s2 - 1), 1 + abar[t] * (s2 - 1)
        gain = np.sqrt(alpha[t]) * before / now
        return lambda x_t: N(gain * x_t, before * (1 - alpha[t]) / now)

    p = [None] + [reverse(t) for t in range(1, T + 1)]
    x_0, var_T = np.array([x]), 1 + abar[T] * (s2 - 1)
    bound = WEIGHTS @ [vdm.elbo(x_0, alpha, p, np.full((T, 1), e)) for e in NODES]
    second_moment = abar[T] * x**2 + 1 - abar[T]
    close(
        bound,
        norm.logpdf(x, 0, np.sqrt(s2)) + 0.5 * (np.log(var_T) + second_moment / var_T - second_moment),
        rtol=1e-8,
        atol=1e-9,
    )


def test_13_24_as_printed_is_no_bound():
    """Printed: KL(p to q). T = 2, p narrow: log p(x_0) is known, and the printed sum is far above it. Equal where
    the variances are.
    """
    alpha, x_0 = np.array([1, 0.9, 0.01]), np.array([3.0])
    var_q = loss.q_posterior(x_0, x_0, alpha, 2).var
    c, v = np.sqrt(0.01) * (1 - 0.9) / (1 - 0.009), var_q / 20
    p = [None, lambda x_1: N(x_1, v), lambda x_2: N(c * x_2, v)]
    log_p = norm.logpdf(3.0, 0, np.sqrt(c**2 + 2 * v))
    corrected, printed = (
        WEIGHTS @ [form(x_0, alpha, p, np.full((2, 1), e)) for e in NODES] for form in (vdm.elbo, vdm.printed_elbo)
    )
    assert corrected < log_p and printed > log_p + 100
    mean = c * np.sqrt(loss.alpha_bar(alpha, 2)) * x_0[0]
    mean_q = loss.q_posterior(np.sqrt(0.009) * x_0, x_0, alpha, 2).mean[0]
    kl = 0.5 * (v / var_q - 1 - np.log(v / var_q) + (mean_q - mean) ** 2 / var_q)
    others = WEIGHTS @ norm.logpdf(3.0, np.sqrt(0.9) * 3 + np.sqrt(0.1) * NODES, np.sqrt(v)) - vdm.prior_kl(x_0, alpha)
    close(printed, others - kl, rtol=1e-10)


@given(seeds, Ts, Ds)
def test_13_24_as_printed_agrees_where_the_variances_do(seed, T, D):
    alpha, p, _ = both(seed, T, D)
    x_0, eps = data(seed, T, D)
    close(vdm.printed_elbo(x_0, alpha, p, eps), vdm.elbo(x_0, alpha, p, eps), rtol=1e-10)


# ---------------------------------------------------------------- the KLs and 13.29


@given(seeds, st.integers(1, 4))
def test_13_28_KL_is_the_machines_and_the_integral(seed, D):
    rng = np.random.default_rng(seed)
    q, p = (N(rng.standard_normal(D), rng.uniform(0.2, 3, D)) for _ in range(2))
    close(loss.KL(q, p), kl_normal(q.mean, np.log(q.var), p.mean, np.log(p.var)).sum(), rtol=1e-9, atol=1e-12)
    q, p = (N(g.mean[:1], g.var[0]) for g in (q, p))
    close(
        loss.KL(q, p),
        WEIGHTS @ [q.log_prob(x) - p.log_prob(x) for x in (q.draw(np.array([e])) for e in NODES)],
        rtol=1e-9,
        atol=1e-12,
    )
    close(loss.KL(q, q), 0, atol=1e-15)


@given(seeds, Ts, Ds)
def test_13_28_kl_t_both_sides_and_the_machines(seed, T, D):
    alpha, (x_0, (x_t, x_0_hat, *_)) = alphas(seed, T), data(seed, T, D)
    for t in range(2, T + 1):
        left, right = loss.kl_t(x_t, x_0, x_0_hat, alpha, t)
        close(left, right, rtol=1e-8, atol=1e-10)
        close(right, diffusion_kl(Schedule.from_alphas(alpha[1:]), x_0[None], x_0_hat[None], t)[0], rtol=1e-9)


@given(seeds, Ts, Ds)
def test_13_28_p_theta_is_q_with_the_networks_x_0(seed, T, D):
    alpha, p, _ = both(seed, T, D)
    x_0_hat, _ = network(seed, D)
    _, (x_t, *_) = data(seed, T, D)
    assert len(p) == T + 1 and p[0] is None
    for t in range(2, T + 1):
        for got, expected in zip(p[t](x_t), loss.q_posterior(x_t, x_0_hat(x_t, t), alpha, t)):
            close(got, expected, rtol=1e-14)
    close(p[1](x_t).mean, x_0_hat(x_t, 1), rtol=1e-14)


@given(seeds, Ts, Ds, st.sampled_from(["small", "large"]))
def test_13_29_estimate_is_the_machines_and_its_mean_the_sum(seed, T, D, variance):
    """Printed: a mean over t. It needs the factor T - 1 to be the sum of 13.24, and is short of it by just that."""
    alpha, p, machine = both(seed, T, D, variance)
    x_0, eps = data(seed, T, D)
    times = range(2, T + 1)
    estimates = [loss.diffusion_estimate(x_0, alpha, p, t, eps[t - 1]) for t in times]
    printed = [loss.printed_diffusion_estimate(x_0, alpha, p, t, eps[t - 1]) for t in times]
    for t, estimate in zip(times, estimates):
        got = machine.elbo_estimate(None, x_0[None], t=t, eps=np.stack([eps[:1], eps[t - 1 : t]]))
        close(estimate, got.diffusion_kl[0], rtol=1e-9, atol=1e-12)
    total = machine.elbo(None, x_0[None], eps=eps[:, None]).diffusion_kl[0]
    close(np.mean(estimates), total, rtol=1e-9)
    close(np.mean(printed) * (T - 1), total, rtol=1e-9)
    x_1 = loss.q_marginal(x_0, alpha, 1).draw(eps[0])
    close(
        p[1](x_1).log_prob(x_0) - vdm.prior_kl(x_0, alpha) - np.mean(estimates), vdm.elbo(x_0, alpha, p, eps), rtol=1e-9
    )
    if T > 2:
        assert np.mean(printed) < 0.6 * total


# ---------------------------------------------------------------- longdouble


@given(seeds, Ts, Ds)
def test_13_22_to_13_29_in_longdouble(seed, T, D):
    """What is exact is exact to longdouble's rounding, from end to end."""
    alpha, (x_0, eps) = alphas(seed, T, np.longdouble), data(seed, T, D, np.longdouble)
    x_0_hat, _ = network(seed, D, np.longdouble)
    p = loss.p_theta(alpha, x_0_hat, lambda x_1: N(x_0_hat(x_1, 1), alpha[1]))
    x = hvae.draw_posterior(x_0, vdm.encoder(alpha), eps)
    pairs = [
        loss.bayes(eps[0], eps[1], x_0, alpha, T),
        loss.merge(x_0, alpha, T, eps),
        loss.merged_variance(alpha, T),
        loss.kl_t(eps[0], x_0, eps[1], alpha, T),
        vdm.log_q(x, alpha),
        vdm.variance(alpha[1], alpha, T),
        vdm.log_ratio(x, alpha, p),
        (loss.KL(loss.q_marginal(x_0, alpha, T), N(0, 1)), vdm.prior_kl(x_0, alpha)),
    ]
    values = [
        vdm.elbo(x_0, alpha, p, eps),
        vdm.consistency(x, alpha, p),
        loss.diffusion_estimate(x_0, alpha, p, T, eps[0]),
    ]
    assert {side.dtype for side in (*values, *(side for pair in pairs for side in pair))} == {np.dtype(np.longdouble)}
    if LONG < np.finfo(np.float64).eps:
        scale = (
            1 + np.abs(vdm.log_ratio(x, alpha, p)[0]) + np.abs(hvae.log_joint(x, p)) + 1 / (1 - alpha[1:]).min() ** 2
        )
        for left, right in pairs:
            close(left, right, rtol=0, atol=float(300 * LONG * scale))
