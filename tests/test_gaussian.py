"""Diagonal Gaussians: densities against scipy.stats, KLs against exact expectations, expm1_minus against decimals."""
from decimal import Decimal, localcontext

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import norm

from refvdm.autodiff import check_vjp, grad
from refvdm.gaussian import expm1_minus, kl_normal, kl_normal_full, log_normal, log_normal_full, squared_distance

means = st.floats(-10, 10, allow_subnormal=False)
log_vars = st.floats(-6, 6, allow_subnormal=False)


def exact_expm1_minus(d):
    with localcontext() as context:
        context.prec = 80
        return float(Decimal(float(d)).exp() - 1 - Decimal(float(d)))


@pytest.mark.parametrize("sign", [1, -1])
def test_expm1_minus_is_exact_from_1e_12_to_600(sign):
    d = sign * np.concatenate([np.geomspace(1e-12, 600, 150), [0.99, 1 - 1e-12, 1, 1 + 1e-12, 1.01]])
    np.testing.assert_allclose(expm1_minus(d), [exact_expm1_minus(x) for x in d], rtol=1e-14)


def test_expm1_minus_of_zero_shapes_and_dtypes():
    assert expm1_minus(np.zeros(3)).tolist() == [0, 0, 0]
    d = np.linspace(-5, 5, 24).reshape(2, 3, 4)
    low = expm1_minus(d.astype(np.float32))
    assert low.dtype == np.float32 and low.shape == (2, 3, 4) and expm1_minus(d).dtype == np.float64
    np.testing.assert_allclose(low.ravel(), [exact_expm1_minus(x) for x in d.astype(np.float32).ravel()], rtol=2e-6)


def test_expm1_minus_has_the_derivative_expm1():
    d = np.concatenate([-np.geomspace(1e-12, 30, 60), np.geomspace(1e-12, 30, 60)])
    with localcontext() as context:
        context.prec = 60
        expected = [float(Decimal(float(x)).exp() - 1) for x in d]
    np.testing.assert_allclose(grad(lambda d: np.sum(expm1_minus(d)))(d), expected, rtol=1e-13)


@given(means, means, log_vars)
def test_log_normal_is_the_density_of_scipy(x, mean, log_var):
    expected = norm.logpdf(x, mean, np.exp(log_var / 2))
    assert log_normal(np.array(x), mean, log_var) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(means, log_vars, means, log_vars)
def test_kl_is_the_expected_log_ratio_under_q(mean_q, log_var_q, mean_p, log_var_p):
    """log q - log p is quadratic, so five Gauss-Hermite nodes integrate it exactly."""
    nodes, weights = hermegauss(5)
    x = mean_q + np.exp(log_var_q / 2) * nodes
    ratio = norm.logpdf(x, mean_q, np.exp(log_var_q / 2)) - norm.logpdf(x, mean_p, np.exp(log_var_p / 2))
    expected = weights @ ratio / np.sqrt(2 * np.pi)
    got = kl_normal(np.array(mean_q), np.array(log_var_q), np.array(mean_p), np.array(log_var_p))
    assert got == pytest.approx(expected, rel=1e-10, abs=1e-10)
    assert got >= 0


@given(means, log_vars)
def test_kl_is_zero_when_equal_and_only_then(mean, log_var):
    mean, log_var = np.array(mean), np.array(log_var)
    assert kl_normal(mean, log_var, mean, log_var) == 0
    assert kl_normal(mean, log_var, mean + 1e-3, log_var) > 0
    assert kl_normal(mean, log_var, mean, log_var + 1e-7) > 0
    assert kl_normal(mean, log_var, mean, log_var - 1e-7) > 0


def test_kl_of_nearly_equal_variances_is_d_squared_over_4():
    d = np.array([1e-9, -1e-9, 1e-7])
    np.testing.assert_allclose(kl_normal(0.0, d, 0.0, np.zeros(3)), d**2 / 4, rtol=1e-6)


def test_kl_is_not_symmetric():
    """KL(N(0,1) to N(0,e)) = 1/(2e), the other way (e - 2)/2."""
    zero, one = np.array(0.0), np.array(1.0)
    assert kl_normal(zero, zero, zero, one) == pytest.approx(0.5 / np.e, rel=1e-14)
    assert kl_normal(zero, one, zero, zero) == pytest.approx((np.e - 2) / 2, rel=1e-14)


def test_broadcasting_and_dtype():
    x = np.arange(6.0).reshape(2, 3)
    assert log_normal(x, np.zeros(3), np.zeros((2, 1))).shape == (2, 3)
    assert kl_normal(x, np.zeros(3), np.zeros((2, 1)), 0.5).shape == (2, 3)
    low = x.astype(np.float32)
    assert log_normal(low, low, low).dtype == np.float32 and kl_normal(low, low, low, low).dtype == np.float32


def test_a_python_float_does_not_widen_float32():
    low = np.ones(3, np.float32)
    assert log_normal(low, 0.5, 0.5).dtype == np.float32
    assert kl_normal(low, low, low, 0.5).dtype == np.float32
    assert kl_normal(low, 0.5, low, low).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients(dtype):
    rng = np.random.default_rng(0)
    a, b, c, d = (rng.uniform(-1, 1, (3, 4)).astype(dtype) for _ in range(4))
    check_vjp(log_normal, a, b[0], c[:, :1])
    check_vjp(kl_normal, a, b, c[0], d[:, :1])


def test_gradients_at_equal_variances_and_across_the_switch_at_1():
    d = np.array([0.0, 1e-8, -1e-8, 0.97, 1.03, -0.97, -1.03])
    check_vjp(lambda v: kl_normal(np.zeros(7), v, np.ones(7), np.zeros(7)), d)
    assert grad(lambda v: kl_normal(0.0, v, 0.0, 0.0))(np.array(0.0)) == 0


@pytest.mark.parametrize("number", [np.float64(0.5), np.array(0.5), 0.5, 1])
def test_numbers_of_every_kind_do_not_widen_float32(number):
    x = np.ones(3, np.float32)
    assert log_normal(x, number, number).dtype == np.float32
    assert kl_normal(x, number, x, number).dtype == np.float32
    assert kl_normal(number, x, number, number).dtype == np.float32


# ---------------------------------------------------------------- full covariance


def factors(seed, D, dtype=np.float64):
    rng = np.random.default_rng(seed)
    make = lambda: np.tril(rng.uniform(-0.7, 0.7, (D, D)), -1) + np.diag(rng.uniform(0.3, 2, D))
    return [a.astype(dtype) for a in (rng.standard_normal(D), make(), rng.standard_normal(D), make())]


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_full_covariance_is_scipys_density_and_the_textbook_kl(seed, D):
    m_q, L_q, m_p, L_p = factors(seed, D)
    cov_q, cov_p = L_q @ L_q.T, L_p @ L_p.T
    expected = scipy.stats.multivariate_normal(m_p, cov_p).logpdf(m_q)
    assert log_normal_full(m_q, m_p, L_p) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    inverse = np.linalg.inv(cov_p)
    kl = 0.5 * (np.trace(inverse @ cov_q) - D + (m_q - m_p) @ inverse @ (m_q - m_p)
                + np.linalg.slogdet(cov_p)[1] - np.linalg.slogdet(cov_q)[1])
    assert kl_normal_full(m_q, L_q, m_p, L_p) == pytest.approx(kl, rel=1e-8, abs=1e-9)
    check_vjp(lambda *q: kl_normal_full(*q, m_p, L_p), m_q, L_q)
    check_vjp(lambda *p: kl_normal_full(m_q, L_q, *p), m_p, L_p)
    check_vjp(log_normal_full, m_q, m_p, L_p)


@given(st.integers(0, 10_000), st.sampled_from([1e-2, 1e-3, 1e-4]))
def test_full_covariance_in_float32_when_the_two_nearly_agree(seed, change):
    m, L_p, _, direction = factors(seed, 4, np.float32)
    L_q = (L_p * (1 + np.float32(change) * np.tril(direction))).astype(np.float32)
    exact = kl_normal_full(*(a.astype(np.longdouble).astype(float) for a in (m, L_q, m, L_p)))
    got = kl_normal_full(m, L_q, m, L_p)
    assert got.dtype == np.float32 and got == pytest.approx(exact, rel=2e-5)
    assert kl_normal_full(m, L_p, m, L_p) == 0


def in_extended_precision(m_q, L_q, m_p, L_p):
    """The KL by substitution, row after row, in longdouble; e^d - 1 - d by its series."""
    m_q, L_q, m_p, L_p = (a.astype(np.longdouble) for a in (m_q, L_q, m_p, L_p))
    right = np.column_stack([np.tril(L_q - L_p), m_q - m_p])
    for i in range(len(m_q)):
        right[i] = (right[i] - L_p[i, :i] @ right[:i]) / L_p[i, i]
    d = 2 * np.log1p(np.diag(right))
    series = sum(d**k / scipy.special.factorial(k) for k in range(2, 14))
    return 0.5 * (np.sum(series) + np.sum(np.tril(right[:, :-1], -1) ** 2) + np.sum(right[:, -1] ** 2))


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 5, 20]), st.sampled_from([1e-1, 1e-3, 1e-4]), st.booleans())
def test_float32_is_right_to_a_millionth_where_the_usual_formula_says_nothing(seed, D, change, scaled):
    """Deviations that differ by 10^-3: trace minus D minus log-determinants is off by 7 %; by 10^-4, meaningless."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((D, D))
    L_p = np.linalg.cholesky(A @ A.T / D + 0.3 * np.eye(D)).astype(np.float32)
    by = 1 if scaled else np.tril(rng.standard_normal((D, D))) / np.sqrt(D)
    L_q = (L_p * (1 + change) if scaled else L_p + change * by).astype(np.float32)
    m_q = rng.standard_normal(D).astype(np.float32)
    m_p = (m_q if scaled else m_q + change * rng.standard_normal(D)).astype(np.float32)
    got, exact = kl_normal_full(m_q, L_q, m_p, L_p), in_extended_precision(m_q, L_q, m_p, L_p)
    assert got.dtype == np.float32 and abs(got / exact - 1) < 1e-6


def test_density_of_a_batch():
    m, L, _, _ = factors(3, 4)
    x = np.random.default_rng(0).standard_normal((5, 4))
    got = log_normal_full(x, m, L)
    np.testing.assert_allclose(got, [log_normal_full(row, m, L) for row in x], rtol=1e-13)
    np.testing.assert_allclose(got, scipy.stats.multivariate_normal(m, L @ L.T).logpdf(x), rtol=1e-9)
    check_vjp(log_normal_full, x, m, L)
    single = log_normal_full(*(a.astype(np.float32) for a in (x, m, L)))
    assert single.shape == (5,) and single.dtype == np.float32


def test_full_covariance_errors():
    m, L, n, K = factors(0, 3)
    for call, told in ((lambda: log_normal_full(m, n[:2], L), r"factor must have shape \(D, D\)"),
                       (lambda: log_normal_full(m[:2], n, L), r"x must have shape \(D,\) or \(batch, D\) with D = 3"),
                       (lambda: log_normal_full(m[None, None], n, L), r"x must have .*, got \(1, 1, 3\)"),
                       (lambda: log_normal_full(m, n, L[0]), r"factor must have shape \(D, D\)"),
                       (lambda: kl_normal_full(m[:, None], L, n, K), r"mean_q must have shape"),
                       (lambda: kl_normal_full(m, L, n, K[:2]), r"factor_p must have shape")):
        with pytest.raises(ValueError, match=told):
            call()


@pytest.mark.parametrize("shape", [(5,), (4, 3), (2, 3, 2), (0, 3), (3, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squared_distance_is_the_sum_of_squares_of_each_example(shape, dtype):
    x, y = (np.random.default_rng(i).standard_normal(shape).astype(dtype) for i in (0, 1))
    got = squared_distance(x, y)
    assert got.dtype == dtype and got.shape == shape[:1]
    np.testing.assert_allclose(got, [np.vdot(a - b, a - b) for a, b in zip(x, y, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(squared_distance(x, 0.0), squared_distance(np.zeros_like(x), x))
    if x.size and dtype == np.float64:
        check_vjp(squared_distance, x, y)
    np.testing.assert_array_equal(grad(lambda x: np.sum(squared_distance(x, y)))(x), 2 * (x - y))
    np.testing.assert_array_equal(grad(lambda y: np.sum(squared_distance(x, y)))(y), -2 * (x - y))


@pytest.mark.parametrize("name", ["factor_q", "factor_p"])
@pytest.mark.parametrize("bad", [-1.0, 0.0])
def test_a_factor_without_a_positive_diagonal_is_refused_by_name(name, bad):
    given = {"mean_q": np.zeros(2), "factor_q": np.eye(2), "mean_p": np.ones(2), "factor_p": np.eye(2)}
    given[name] = np.diag([1.0, bad])
    with pytest.raises(ValueError, match=f"kl_normal_full: {name} must have a positive diagonal"):
        kl_normal_full(**given)
