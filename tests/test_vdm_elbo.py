"""The bound of 13.24: against a plain loop over t, closed forms for Gaussian data, and the I-MMSE limit for points.

Expectations over x_0 and the noise are exact: every pair of quadrature nodes is one example of the batch,
and since each term depends on one x_t only, one noise serves all t.
"""
import tracemalloc
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from scipy.stats import chisquare, norm

from refvdm.autodiff import check_vjp, grad, value_and_grad
from refvdm.gaussian import kl_normal
from refvdm.vdm import (
    ELBO,
    VDM,
    CategoricalDecoder,
    ExactDecoder,
    GaussianDecoder,
    Schedule,
    diffusion_kl,
    diffusion_kl_general,
    prior_kl,
    q_marginal,
    q_posterior,
)
from refvdm.vdm.denoiser import GaussianDenoiser, PointsDenoiser


def denoiser(theta, x_t, t):
    """Some smooth function of x_t and t, different for every t."""
    return np.tanh(theta * x_t) / np.reshape(1.0 + 0.1 * t, (-1,) + (1,) * (np.ndim(x_t) - 1)).astype(x_t.dtype)


THETA = np.array(0.8)
SHAPES = [(3,), (3, 4), (2, 4, 4)]


@st.composite
def problems(draw):
    """(schedule, x_0, eps (T, batch, ...), rng)."""
    T, kind = draw(st.integers(2, 40)), draw(st.sampled_from(["alphas", "linear_beta", "cosine", "linear_gamma"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    schedule = {"alphas": lambda: Schedule.from_alphas(rng.uniform(0.5, 0.99, T)), "cosine": lambda: Schedule.cosine(T),
                "linear_beta": lambda: Schedule.linear_beta(T, 1e-3, 0.3),
                "linear_gamma": lambda: Schedule.linear_gamma(T, -5, 4)}[kind]()
    shape = draw(st.sampled_from(SHAPES))
    return schedule, rng.standard_normal(shape), rng.standard_normal((T, *shape)), rng


def flat_sum(x):
    return x.reshape(len(x), -1).sum(1)


# ---------------------------------------------------------------- the closed-form KLs


@given(problems())
def test_snr_form_is_the_general_form_with_qs_variance(problem):
    schedule, x_0, _, rng = problem
    x_t, hat = rng.standard_normal((2, *x_0.shape))
    t = rng.integers(2, schedule.T + 1, len(x_0))
    _, var = q_posterior(schedule, x_t, x_0, t)
    general = diffusion_kl_general(schedule, x_t, x_0, hat, t, np.log(var))
    np.testing.assert_allclose(diffusion_kl(schedule, x_0, hat, t), general, rtol=1e-9)
    abar = np.cumprod(schedule.alpha)
    snr = abar[1:] / (1 - abar[1:])
    expected = (snr[t - 2] - snr[t - 1]) / 2 * flat_sum((x_0 - hat) ** 2)
    np.testing.assert_allclose(diffusion_kl(schedule, x_0, hat, t), expected, rtol=1e-8)


@given(problems(), st.floats(-3, 3, allow_subnormal=False))
def test_general_form_is_the_expected_log_ratio(problem, log_var_p):
    """Gauss-Hermite over q(x_{t-1} | x_t, x_0), exact for the quadratic log ratio of the two densities."""
    schedule, x_0, _, rng = problem
    x_t, hat = rng.standard_normal((2, *x_0.shape))
    t = int(rng.integers(2, schedule.T + 1))
    alpha, abar = schedule.alpha, np.cumprod(schedule.alpha)
    c_t = np.sqrt(alpha[t]) * (1 - abar[t - 1]) / (1 - abar[t])
    c_0 = np.sqrt(abar[t - 1]) * (1 - alpha[t]) / (1 - abar[t])
    sd_q = np.sqrt((1 - alpha[t]) * (1 - abar[t - 1]) / (1 - abar[t]))
    nodes, weights = hermegauss(5)
    x = (c_t * x_t + c_0 * x_0)[..., None] + sd_q * nodes
    mean_p, sd_p = (c_t * x_t + c_0 * hat)[..., None], np.exp(log_var_p / 2)
    ratio = norm.logpdf(nodes) - np.log(sd_q) - norm.logpdf(x, mean_p, sd_p)
    expected = flat_sum(ratio @ weights / np.sqrt(2 * np.pi))
    np.testing.assert_allclose(diffusion_kl_general(schedule, x_t, x_0, hat, t, log_var_p), expected,
                               rtol=1e-8, atol=1e-8)
    wide = np.full((len(x_0),) + (1,) * (x_0.ndim - 1), log_var_p)
    np.testing.assert_allclose(diffusion_kl_general(schedule, x_t, x_0, hat, t, wide), expected, rtol=1e-8, atol=1e-8)


@given(problems())
def test_prior_kl_is_the_gaussian_kl_of_the_marginal(problem):
    schedule, x_0, _, _ = problem
    mean, var = q_marginal(schedule, x_0, schedule.T)
    expected = flat_sum(kl_normal(mean, np.log(var), np.zeros(()), np.zeros(())))
    np.testing.assert_allclose(prior_kl(schedule, x_0), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("abar", [1e-3, 1e-6, 1e-9, 1e-12, 1e-40, 1e-150])
def test_prior_kl_at_tiny_abar(abar):
    """At x_0 = 0: -1/2 (abar + log(1 - abar)) = abar²/4 + abar³/6 + ... for each dimension, here by decimals."""
    schedule = Schedule([-1.0, float(np.log1p(-abar) - np.log(abar))])
    with localcontext() as context:
        context.prec = 400
        b = 1 / (Decimal(float(schedule.gamma[2])).exp() + 1)
        expected = float(-(b + (1 - b).ln()) / 2)
    got = prior_kl(schedule, np.zeros((2, 5)))
    np.testing.assert_allclose(got, 5 * expected, rtol=1e-10)
    np.testing.assert_allclose(got, 5 * abar**2 / 4, rtol=abar + 1e-10)


def test_gradients_of_the_closed_forms():
    schedule, t = Schedule.linear_gamma(5, -3, 3), np.array([2, 3, 5])
    x_0, x_t, hat = np.random.default_rng(0).standard_normal((3, 3, 2))
    check_vjp(lambda x: prior_kl(schedule, x), x_0)
    check_vjp(lambda x, y: diffusion_kl(schedule, x, y, t), x_0, hat)
    check_vjp(lambda x, y, z, v: diffusion_kl_general(schedule, x, y, z, t, v), x_t, x_0, hat,
              np.array([[0.1], [0.2], [-1.0]]))


# ---------------------------------------------------------------- elbo


@settings(max_examples=30)
@given(problems())
def test_elbo_is_the_plain_loop(problem):
    schedule, x_0, eps, _ = problem
    alpha, abar = schedule.alpha, np.cumprod(schedule.alpha)
    x_1 = np.sqrt(abar[1]) * x_0 + np.sqrt(1 - abar[1]) * eps[0]
    reconstruction = flat_sum(norm.logpdf(x_0, np.tanh(0.8 * x_1) / 1.1, np.sqrt(0.3)))
    prior = flat_sum((abar[-1] * x_0**2 - abar[-1] - np.log(1 - abar[-1])) / 2)
    terms = np.zeros((schedule.T + 1, len(x_0)))
    for t in range(2, schedule.T + 1):
        x_t = np.sqrt(abar[t]) * x_0 + np.sqrt(1 - abar[t]) * eps[t - 1]
        shift = np.sqrt(abar[t - 1]) * (1 - alpha[t]) / (1 - abar[t]) * (x_0 - np.tanh(0.8 * x_t) / (1 + 0.1 * t))
        terms[t] = flat_sum(shift**2) / (2 * (1 - alpha[t]) * (1 - abar[t - 1]) / (1 - abar[t]))
    model = VDM(denoiser, schedule, GaussianDecoder(0.3))
    got = model.elbo(THETA, x_0, eps=eps)
    assert isinstance(got, ELBO) and all(term.shape == (len(x_0),) for term in got)
    np.testing.assert_allclose(got.reconstruction, reconstruction, rtol=1e-9)
    np.testing.assert_allclose(got.prior_kl, prior, rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(got.diffusion_kl, terms.sum(0), rtol=1e-8)
    assert np.array_equal(got.total, got.reconstruction - got.prior_kl - got.diffusion_kl)
    table = model.kl_per_t(THETA, x_0, eps=eps)
    assert table.shape == terms.shape and not table[:2].any()
    np.testing.assert_allclose(table, terms, rtol=1e-8)
    np.testing.assert_allclose(table.sum(0), got.diffusion_kl, rtol=1e-12)


@settings(max_examples=20)
@given(problems(), st.integers(1, 200))
def test_rows_change_nothing_but_rounding(problem, rows):
    schedule, x_0, eps, _ = problem
    model = VDM(denoiser, schedule, GaussianDecoder(0.3))
    for f in (model.elbo, model.kl_per_t):
        np.testing.assert_allclose(f(THETA, x_0, eps=eps, rows=rows), f(THETA, x_0, eps=eps), rtol=1e-12, atol=1e-14)


@settings(max_examples=20)
@given(problems())
def test_an_example_does_not_depend_on_the_others(problem):
    schedule, x_0, eps, rng = problem
    model = VDM(denoiser, schedule, GaussianDecoder(0.3))
    whole, order = model.elbo(THETA, x_0, eps=eps), rng.permutation(len(x_0))[:2]
    np.testing.assert_allclose(model.elbo(THETA, x_0[order], eps=eps[:, order]), np.array(whole)[:, order], rtol=1e-12)
    t = rng.integers(2, schedule.T + 1, len(x_0))
    whole = model.elbo_estimate(THETA, x_0, t=t, eps=eps[:2])
    part = model.elbo_estimate(THETA, x_0[order], t=t[order], eps=eps[:2, order])
    np.testing.assert_allclose(part, np.array(whole)[:, order], rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_rng_draws_exactly_the_array_eps(dtype, rows):
    x_0 = np.random.default_rng(0).standard_normal((3, 5)).astype(dtype)
    model = VDM(denoiser, Schedule.cosine(9), GaussianDecoder(0.3))
    eps = np.random.default_rng(7).standard_normal((9, 3, 5), dtype=dtype)
    for f in (model.elbo, model.kl_per_t):
        drawn = f(THETA.astype(dtype), x_0, np.random.default_rng(7), rows=rows)
        assert np.array_equal(drawn, f(THETA.astype(dtype), x_0, eps=eps, rows=rows))


def test_memory_does_not_grow_with_T():
    """With rows = 200 the peak stays far below the 10 MB of eps."""
    x_0 = np.random.default_rng(0).standard_normal((20, 64))
    model = VDM(lambda theta, x, t: x, Schedule.linear_beta(1000), GaussianDecoder(0.3))
    tracemalloc.start()
    try:
        model.elbo(None, x_0, np.random.default_rng(0), rows=200)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2e6


@pytest.mark.parametrize("rows, asked", [(10, [9, 9, 9, 6]), (3, [3] * 11), (1, [3] * 11), (33, [33]), (99, [33])])
def test_the_denoiser_sees_at_most_rows_examples_and_every_t_once(rows, asked):
    seen = []

    def spy(theta, x_t, t):
        assert t.shape == (len(x_t),) and t.dtype.kind == "i"
        seen.append(t)
        return x_t

    model = VDM(spy, Schedule.cosine(12), GaussianDecoder(0.3))
    model.elbo(None, np.zeros((3, 2)), np.random.default_rng(0), rows=rows)
    assert [len(t) for t in seen] == [3, *asked]  # first x_1; and never about no example
    assert np.concatenate(seen).tolist() == [t for t in range(1, 13) for _ in range(3)]


@pytest.mark.parametrize("decoder", [GaussianDecoder(0.3), CategoricalDecoder([-1.0, 0.0, 1.0])],
                         ids=["gaussian", "categorical"])
def test_float32_stays_float32_and_agrees(decoder):
    rng = np.random.default_rng(0)
    x_0, eps = rng.choice([-1.0, 0.0, 1.0], (3, 5)), rng.standard_normal((10, 3, 5))
    model = VDM(denoiser, Schedule.linear_gamma(10, -5, 4), decoder)
    low_x, low_eps, low_theta = x_0.astype(np.float32), eps.astype(np.float32), THETA.astype(np.float32)
    t = np.array([2, 5, 10])
    for low, high in [(model.elbo(low_theta, low_x, eps=low_eps), model.elbo(THETA, x_0, eps=eps)),
                      (model.elbo_estimate(low_theta, low_x, t=t, eps=low_eps[:2]),
                       model.elbo_estimate(THETA, x_0, t=t, eps=eps[:2]))]:
        np.testing.assert_allclose(low, high, rtol=1e-4, atol=1e-4)
        assert [term.dtype for term in low] == [np.float32] * 4


# ---------------------------------------------------------------- the estimate


@settings(max_examples=20)
@given(problems())
def test_the_mean_over_all_t_is_the_exact_sum(problem):
    """One example for every t = 2..T, all with the same x_0 and noise."""
    schedule, x_0, eps, _ = problem
    n = schedule.T - 1
    model = VDM(denoiser, schedule, GaussianDecoder(0.3))
    same = np.broadcast_to(eps[:1, :1], (schedule.T, 1, *x_0.shape[1:]))
    exact = model.elbo(THETA, x_0[:1], eps=same)
    many = np.broadcast_to(x_0[:1], (n, *x_0.shape[1:]))
    estimate = model.elbo_estimate(THETA, many,
                                   t=np.arange(2, n + 2), eps=np.broadcast_to(eps[:1, :1], (2, n, *x_0.shape[1:])))
    np.testing.assert_allclose([term.mean() for term in estimate], np.ravel(exact), rtol=1e-11, atol=1e-13)
    assert np.array_equal(estimate.total, estimate.reconstruction - estimate.prior_kl - estimate.diffusion_kl)


@settings(max_examples=20)
@given(problems())
def test_estimate_uses_eps_0_for_x_1_and_eps_1_for_x_t(problem):
    schedule, x_0, eps, rng = problem
    model = VDM(denoiser, schedule, GaussianDecoder(0.3))
    t = rng.integers(2, schedule.T + 1, len(x_0))
    x_t_eps = eps[t - 1, np.arange(len(x_0))]
    got, exact = model.elbo_estimate(THETA, x_0, t=t, eps=np.stack([eps[0], x_t_eps])), model.elbo(THETA, x_0, eps=eps)
    np.testing.assert_allclose(got.reconstruction, exact.reconstruction, rtol=1e-12)
    np.testing.assert_allclose(got.prior_kl, exact.prior_kl, rtol=1e-12)
    table = model.kl_per_t(THETA, x_0, eps=eps)[t, np.arange(len(x_0))]
    np.testing.assert_allclose(got.diffusion_kl, (schedule.T - 1) * table, rtol=1e-12)


class FixedU(np.random.Generator):
    """A generator whose uniform number is given."""

    def __init__(self, u):
        super().__init__(np.random.PCG64(0))
        self.u = u

    def random(self):
        return self.u


def drawn_times(T, n, rng, times):
    """The t of every example, as the denoiser sees them."""
    seen = []
    model = VDM(lambda theta, x, t: seen.append(t) or x, Schedule.linear_gamma(T, -3, 3), GaussianDecoder(1.0))
    model.elbo_estimate(None, np.zeros((n, 1)), rng, eps=np.zeros((2, n, 1)), times=times)
    assert len(seen) == 1 and np.all(seen[0][:n] == 1)
    return seen[0][n:]


@pytest.mark.parametrize("T, n", [(2, 3), (6, 4), (9, 8), (12, 1)])
def test_stratified_t_of_every_example_is_uniform(T, n):
    """u on the midpoints of a grid that the strata divide: every example meets every t equally often."""
    m = 10 * n * (T - 1)
    t = np.array([drawn_times(T, n, FixedU((k + 0.5) / m), "stratified") for k in range(m)])
    for i in range(n):
        assert np.bincount(t[:, i], minlength=T + 1).tolist() == [0, 0] + [m // (T - 1)] * (T - 1)


@given(st.floats(0, 1, exclude_max=True, allow_subnormal=False), st.integers(2, 12), st.integers(1, 4))
def test_stratified_covers_the_strata_within_a_batch(u, T, per):
    """Batch a multiple of T - 1: every t occurs `per` times, up to one when a boundary falls onto a rounding."""
    t = drawn_times(T, per * (T - 1), FixedU(u), "stratified")
    counts = np.bincount(t, minlength=T + 1)
    assert len(counts) == T + 1 and not counts[:2].any() and np.all(np.abs(counts[2:] - per) <= 1)
    middle = drawn_times(T, per * (T - 1), FixedU((np.floor(u * 1000) + 0.5) / (1000 * per * (T - 1))), "stratified")
    assert np.bincount(middle)[2:].tolist() == [per] * (T - 1)


def test_u_next_to_1_stays_within_T():
    for T in (2, 7, 1000):
        t = drawn_times(T, 3, FixedU(np.nextafter(1, 0)), "stratified")
        assert t.min() >= 2 and t.max() <= T and t[0] == T


@pytest.mark.parametrize("times", ["uniform", "stratified"])
def test_drawn_times_are_uniform(times):
    rng = np.random.default_rng(0)
    t = np.concatenate([drawn_times(8, 3, rng, times) for _ in range(1500)])
    counts = np.bincount(t, minlength=9)[2:]
    assert len(counts) == 7 and chisquare(counts).pvalue > 1e-3


def test_uniform_times_are_independent_and_the_default():
    rng = np.random.default_rng(0)
    t = np.array([drawn_times(3, 2, rng, "uniform") for _ in range(2000)])
    assert abs(np.mean(t[:, 0] == t[:, 1]) - 0.5) < 4 * 0.5 / np.sqrt(2000)
    model = VDM(denoiser, Schedule.cosine(6), GaussianDecoder(0.3))
    a, b = (model.elbo_estimate(THETA, np.ones((4, 2)), np.random.default_rng(1), **k)
            for k in ({}, {"times": "uniform"}))
    assert np.array_equal(a, b)


def test_estimate_draws_t_then_eps():
    model, x_0 = VDM(denoiser, Schedule.cosine(6), GaussianDecoder(0.3)), np.ones((4, 2))
    rng = np.random.default_rng(1)
    t, eps = rng.integers(2, 7, 4), rng.standard_normal((2, 4, 2))
    drawn = model.elbo_estimate(THETA, x_0, np.random.default_rng(1))
    assert np.array_equal(drawn, model.elbo_estimate(THETA, x_0, t=t, eps=eps))
    assert np.array_equal(model.elbo_estimate(THETA, x_0, t=3, eps=eps),
                          model.elbo_estimate(THETA, x_0, t=[3] * 4, eps=eps))


@pytest.mark.parametrize("times", ["uniform", "stratified"])
def test_T_2(times):
    model = VDM(denoiser, Schedule.linear_gamma(2, -1, 1), GaussianDecoder(0.3))
    x_0 = np.ones((3, 2))
    eps = np.random.default_rng(0).standard_normal((2, 3, 2))
    rng = np.random.default_rng(1)
    estimate = model.elbo_estimate(THETA, x_0, rng, eps=eps, times=times)
    np.testing.assert_allclose(estimate, model.elbo(THETA, x_0, eps=eps), rtol=1e-12)


# ---------------------------------------------------------------- gradients


def test_gradients_by_theta_and_data():
    x_0, eps = np.random.default_rng(0).standard_normal((3, 2)), np.random.default_rng(1).standard_normal((5, 3, 2))
    model, t = VDM(denoiser, Schedule.linear_gamma(5, -2, 2), GaussianDecoder(0.3)), np.array([2, 3, 5])
    check_vjp(lambda theta: model.elbo(theta, x_0, eps=eps, rows=7), THETA)
    check_vjp(lambda theta: model.elbo_estimate(theta, x_0, t=t, eps=eps[:2]), THETA)


def test_gradient_by_gamma_equals_finite_differences():
    x_0, eps = np.random.default_rng(0).standard_normal((3, 2)), np.random.default_rng(1).standard_normal((4, 3, 2))
    gamma, t = np.array([-3.0, -1.0, 0.5, 2.0]), np.array([2, 3, 4])

    def term(gamma, name, estimate):
        model = VDM(denoiser, Schedule(gamma), GaussianDecoder(0.3))
        terms = model.elbo_estimate(THETA, x_0, t=t, eps=eps[:2]) if estimate else model.elbo(THETA, x_0, eps=eps)
        return np.sum(getattr(terms, name))

    h = 1e-5
    for estimate in (False, True):
        for name in ELBO._fields:
            got = grad(term)(gamma, name, estimate)
            expected = [(term(gamma + h * e, name, estimate) - term(gamma - h * e, name, estimate)) / (2 * h)
                        for e in np.eye(4)]
            np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7)


def test_float32_training_gradient_is_float32():
    x_0 = np.zeros((3, 2), np.float32)
    model = VDM(denoiser, Schedule.cosine(5), GaussianDecoder(0.3))
    def loss(theta):
        return -np.mean(model.elbo_estimate(theta, x_0, np.random.default_rng(0)).diffusion_kl)

    value, g = value_and_grad(loss)(THETA.astype(np.float32))
    assert value.dtype == g.dtype == np.float32


# ---------------------------------------------------------------- known data


def gaussian_expectation(schedule, s2, *, nodes=6):
    """E of the four terms for data N(0, s2), D = 1, exact denoiser and decoder:
    all terms quadratic, so the nodes are exact."""
    x, w = hermegauss(nodes)
    x_0, eps, weights = (a.ravel() for a in (*np.meshgrid(np.sqrt(s2) * x, x), np.outer(w, w) / (2 * np.pi)))
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    eps = np.broadcast_to(eps[:, None], (schedule.T, len(eps), 1))
    terms = VDM(exact, schedule, ExactDecoder(exact)).elbo(None, x_0[:, None], eps=eps)
    return ELBO(*(weights @ term for term in terms))


@settings(max_examples=20)
@given(problems(), st.floats(0.1, 5, allow_subnormal=False))
def test_gaussian_data_at_finite_T(problem, s2):
    schedule = problem[0]
    abar = np.cumprod(schedule.alpha)[1:]
    snr = abar / (1 - abar)
    got = gaussian_expectation(schedule, s2)
    closed = 0.5 * np.sum((snr[:-1] - snr[1:]) * s2 / (1 + s2 * snr[1:]))
    assert got.diffusion_kl == pytest.approx(closed, rel=1e-8)
    assert got.diffusion_kl >= 0.5 * np.log((1 + s2 * snr[0]) / (1 + s2 * snr[-1]))
    left_over = s2 * (1 - abar[0]) / (abar[0] * s2 + 1 - abar[0])
    assert got.reconstruction == pytest.approx(-0.5 * np.log(2 * np.pi * np.e * left_over), rel=1e-8, abs=1e-8)
    assert got.prior_kl == pytest.approx((abar[-1] * s2 - abar[-1] - np.log(1 - abar[-1])) / 2, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("s2", [0.3, 1.0, 4.0])
def test_gaussian_data_gap_falls_as_one_over_the_steps(s2):
    """-ELBO tends to entropy + KL(q(x_T) to N(0, 1)) from above, at half the distance for twice the steps."""
    var_T = expit(-4.0) * s2 + expit(4.0)
    limit = 0.5 * np.log(2 * np.pi * np.e * s2) + 0.5 * (var_T - 1 - np.log(var_T))
    gaps = [-gaussian_expectation(Schedule.linear_gamma(n + 1, -6, 4), s2, nodes=3).total - limit
            for n in (50, 100, 200, 400)]
    assert gaps[-1] > 0 and abs(2 * gaps[-1] - gaps[-2]) < 1e-3
    ratios = np.divide(gaps[:-1], gaps[1:])
    assert np.all(ratios > 2) and ratios[0] < 2.2 and np.all(np.diff(ratios) < 0) and ratios[-1] < 2.02


def test_with_linear_beta_the_gap_tends_to_half_of_eulers_constant():
    """The first SNR ratios stay 2, 3/2, 4/3, ... however small the steps: 1/2 sum (1/n - log(1 + 1/n)),
    by the schedule alone."""
    schedule = Schedule.linear_beta(1_000_000, 1e-6, 1e-4)
    snr = schedule.snr[1:]
    gap = 0.5 * np.sum((snr[:-1] - snr[1:]) / (1 + snr[1:])) - 0.5 * np.log((1 + snr[0]) / (1 + snr[-1]))
    assert gap == pytest.approx(np.euler_gamma / 2, abs=1e-3)


def test_points_tend_to_their_entropy():
    """I-MMSE: E[-ELBO] -> H(x_0) + KL(q(x_T) to N(0, 1)), error falling as 1/T. Noise and x_T on fine grids."""
    points, weights = np.array([-1.0, 0.2, 1.0]), np.array([0.5, 0.2, 0.3])
    eps = np.arange(-9, 9, 0.04)
    w = np.outer(weights, norm.pdf(eps) * 0.04).ravel()
    x_0, noise = np.repeat(points, len(eps))[:, None], np.tile(eps, 3)[:, None]
    x = np.arange(-12, 12, 0.01)
    density = weights @ norm.pdf(x, np.sqrt(expit(-3.0)) * points[:, None], np.sqrt(expit(3.0)))
    kl_T = np.sum(density * (np.log(density) - norm.logpdf(x))) * 0.01
    limit = -np.sum(weights * np.log(weights)) + kl_T
    errors = []
    for n in (25, 50, 100, 200):
        schedule = Schedule.linear_gamma(n + 1, -6, 3)
        exact = PointsDenoiser(points[:, None], schedule, weights)
        model = VDM(exact, schedule, ExactDecoder(exact))
        errors.append(-w @ model.elbo(None, x_0, eps=np.broadcast_to(noise, (n + 1, *noise.shape))).total - limit)
    assert errors[-1] > 0 and abs(2 * errors[-1] - errors[-2]) < 1e-3
    ratios = np.divide(errors[:-1], errors[1:])
    assert ratios[0] < 2.2 and np.all(np.diff(np.abs(ratios - 2)) < 0) and abs(ratios[-1] - 2) < 0.05


# ---------------------------------------------------------------- bad input


MODEL, X = VDM(denoiser, Schedule.cosine(5), GaussianDecoder(0.3)), np.zeros((3, 2))
EPS = np.zeros((5, 3, 2))


@pytest.mark.parametrize("f", [MODEL.elbo, MODEL.kl_per_t, MODEL.elbo_estimate], ids=lambda f: f.__name__)
def test_errors_of_all_three(f):
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="x_0 must be an array of floats, got dtype int64; cast it"):
        f(THETA, np.zeros((3, 2), np.int64), rng)
    with pytest.raises(TypeError, match="x_0 must be an array of floats, got list"):
        f(THETA, [[0.0]], rng)
    with pytest.raises(ValueError, match=r"x_0 must have shape \(batch, ...\)"):
        f(THETA, np.array(0.0), rng)
    for bad in (np.nan, np.inf):
        x = X.copy()
        x[2, 1] = bad
        with pytest.raises(ValueError, match=rf"x_0 must be finite, got {bad} at index \(2, 1\)"):
            f(THETA, x, rng)
    with pytest.raises(ValueError, match="give a numpy.random.Generator as rng"):
        f(THETA, X)
    with pytest.raises(ValueError, match="eps must have shape"):
        f(THETA, X, rng, eps=EPS[:3])
    with pytest.raises(TypeError, match="eps must be an array of floats"):
        f(THETA, X, rng, eps=np.zeros((2 if f == MODEL.elbo_estimate else 5, 3, 2), int))


@pytest.mark.parametrize("f", [MODEL.elbo, MODEL.kl_per_t, MODEL.elbo_estimate], ids=lambda f: f.__name__)
def test_nan_in_eps_is_an_error(f):
    with pytest.raises(ValueError, match="eps"):
        f(THETA, X, np.random.default_rng(0), eps=np.full((2 if f == MODEL.elbo_estimate else 5, 3, 2), np.nan))


def test_errors_of_the_estimate():
    rng, eps = np.random.default_rng(0), EPS[:2]
    for t in (1, 6, [2, 3, 1], [0, 2, 2], [2, 2, 6]):
        with pytest.raises(ValueError, match=r"t must lie in 2\.\.5"):
            MODEL.elbo_estimate(THETA, X, t=t, eps=eps)
    for t in (2.0, [2.0, 3.0, 4.0]):
        with pytest.raises(TypeError, match="t must be an integer"):
            MODEL.elbo_estimate(THETA, X, t=t, eps=eps)
    with pytest.raises(ValueError, match=r"shape \(batch,\) = \(3,\)"):
        MODEL.elbo_estimate(THETA, X, t=[2, 3], eps=eps)
    with pytest.raises(ValueError, match="elbo_estimate: times must be one of uniform, stratified, got 'strat'"):
        MODEL.elbo_estimate(THETA, X, rng, times="strat")
    with pytest.raises(ValueError, match="Generator"):
        MODEL.elbo_estimate(THETA, X, eps=eps)
    with pytest.raises(ValueError, match="Generator"):
        MODEL.elbo_estimate(THETA, X, t=2)


def test_an_unknown_option_is_an_error_also_beside_t():
    with pytest.raises(ValueError, match="times must be"):
        MODEL.elbo_estimate(THETA, X, t=2, eps=EPS[:2], times="strat")


def test_errors_of_the_closed_forms():
    schedule = MODEL.schedule
    for f in (lambda t: diffusion_kl(schedule, X, X, t), lambda t: diffusion_kl_general(schedule, X, X, X, t, 0.0)):
        for t in (1, 6, 0, [1, 2, 3]):
            with pytest.raises(ValueError, match=r"t must lie in 2\.\.5"):
                f(t)
        with pytest.raises(TypeError, match="t must be an integer"):
            f(2.5)
    with pytest.raises(TypeError, match="x_0 must be an array of floats"):
        diffusion_kl(schedule, X.astype(int), X, 2)
    with pytest.raises(ValueError, match="must have x_0's shape"):
        diffusion_kl_general(schedule, X, X, X[:, :1], 2, 0.0)


def test_prior_kl_of_integers_is_an_error():
    with pytest.raises(TypeError, match="x_0 must be an array of floats"):
        prior_kl(MODEL.schedule, np.full((3, 2), 2))


def test_diffusion_kl_of_another_shape_is_an_error():
    with pytest.raises(ValueError, match="shape"):
        diffusion_kl(MODEL.schedule, X, X[:, :1], 2)


def test_errors_of_construction_and_of_denoisers():
    schedule, decoder = MODEL.schedule, MODEL.decoder
    with pytest.raises(TypeError, match="denoiser must be callable"):
        VDM(3, schedule, decoder)
    with pytest.raises(TypeError, match="schedule must be a Schedule or a LearnedSchedule, got ndarray"):
        VDM(denoiser, schedule.gamma, decoder)
    with pytest.raises(TypeError, match="decoder must be an object with log_prob"):
        VDM(denoiser, schedule, "gaussian")
    for bad in (lambda theta, x, t: x[:, :1], lambda theta, x, t: x[0],
                lambda theta, x, t: x if t[0] == 1 else x[:, 0]):
        with pytest.raises(ValueError,
                           match=r"the denoiser returns must have shape \(\d+, 2\), got .*, asked at t = \d"):
            VDM(bad, schedule, decoder).elbo(None, X, eps=EPS)
    with pytest.raises(ValueError,
                       match=r"what the denoiser returns must have shape \(6, 2\), got \(6, 1\), asked at t = 1\.\.2"):
        VDM(lambda theta, x, t: x[:, :1], schedule, decoder).elbo_estimate(None, X, t=2, eps=EPS[:2])
