"""Ties, kinks and hard spots: each has its stated policy (see rules.py), exactly, or a closed form.

The inputs here are where finite differences do not work: at the kink, at infinity, far out in a tail.
"""

import numpy as np
import pytest
from scipy import special
from scipy.linalg import inv

from refvdm.autodiff import grad, linear, log_softmax, logsumexp, solve_triangular, vjp

INF = np.inf


def pulled(f, *primals, y_bar=None):
    """The cotangents for a cotangent of ones."""
    y, pullback = vjp(f, *(np.asarray(p, float) for p in primals))
    return pullback(np.ones(y.shape) if y_bar is None else np.asarray(y_bar, float))


def equal(got, *expected):
    assert len(got) == len(expected)
    for g, e in zip(got, expected):
        np.testing.assert_array_equal(g, e)


# ---------------------------------------------------------------- ties and kinks


def test_maximum_and_minimum_halve_ties():
    a, b = [1.0, 2.0, 3.0], [2.0, 2.0, 2.0]
    equal(pulled(np.maximum, a, b), [0, 0.5, 1], [1, 0.5, 0])
    equal(pulled(np.minimum, a, b), [1, 0.5, 0], [0, 0.5, 1])
    equal(pulled(lambda x: np.maximum(x, x), a), [1, 1, 1])
    equal(pulled(lambda x: np.maximum(x, 0), [-1.0, 0, 1]), [0, 0.5, 1])
    equal(pulled(lambda x: np.minimum(0, x), [-1.0, 0, 1]), [1, 0.5, 0])
    equal(pulled(np.maximum, [INF, -INF], [INF, -INF]), [0.5, 0.5], [0.5, 0.5])


def test_abs_at_zero():
    equal(pulled(np.abs, [-2.0, -0.0, 0.0, 3.0]), [-1, 0, 0, 1])


def test_clip_on_the_closed_interval():
    x = [-2.0, -1.0, 0.0, 1.0, 2.0]
    inside = [0, 1, 1, 1, 0]
    equal(pulled(lambda x: np.clip(x, -1, 1), x), inside)
    equal(pulled(lambda x: x.clip(-1, 1), x), inside)
    equal(pulled(lambda x: np.clip(x, a_min=-1, a_max=1), x), inside)
    equal(pulled(lambda x: np.clip(x, -1, None), x), [0, 1, 1, 1, 1])
    equal(pulled(lambda x: np.clip(x, None, 1), x), [1, 1, 1, 1, 0])
    equal(pulled(lambda x: np.clip(x, np.full(5, -2.0), np.array([-3, -1, -0.5, 1, 3])), x), [0, 1, 0, 1, 1])


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.1.0", reason="min= and max= came with NumPy 2.1")
def test_clip_keywords_min_and_max():
    x = [-2.0, -1.0, 0.0, 1.0, 2.0]
    equal(pulled(lambda x: np.clip(x, min=-1, max=1), x), [0, 1, 1, 1, 0])
    equal(pulled(lambda x: np.clip(x, min=-1), x), [0, 1, 1, 1, 1])
    equal(pulled(lambda x: np.clip(x, max=1), x), [1, 1, 1, 1, 0])
    equal([vjp(lambda x: np.clip(x, min=-1, max=1), np.array(x))[0]], np.clip(x, -1, 1))


def test_where_takes_one_branch():
    c = np.array([True, False])
    equal(pulled(lambda a, b: np.where(c, a, b), [1.0, 2.0], [3.0, 4.0], y_bar=[5, 6]), [5, 0], [0, 6])
    equal(pulled(lambda a, b: np.where(a > b, a, b), [1.0, 2.0], [1.0, 1.0]), [0, 1], [1, 0])
    # the untaken branch gets an exact 0, also when the taken one's cotangent is infinite
    equal(pulled(lambda a, b: np.where(c, a, b), [1.0, 2.0], [3.0, 4.0], y_bar=[INF, -INF]), [INF, 0], [0, -INF])


def test_where_condition_must_be_boolean():
    with pytest.raises(TypeError, match="condition must be boolean, got dtype int64"):
        vjp(lambda x: np.where(np.array([0, 1], np.int64), x, x), np.ones(2))


def test_safe_double_where():
    """where around the argument, then where around the result: finite gradients at sqrt(0) and log(0)."""
    x = [0.0, 4.0]
    equal(pulled(lambda x: np.where(x > 0, np.sqrt(np.where(x > 0, x, 1)), 0), x), [0, 0.25])
    equal(pulled(lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1)), 0), x), [0, 0.25])
    with np.errstate(divide="ignore", invalid="ignore"):  # the single where: 0 times inf
        (x_bar,) = pulled(lambda x: np.where(x > 0, np.sqrt(x), 0), x)
    assert np.isnan(x_bar[0]) and x_bar[1] == 0.25


def test_infinite_slope_at_zero():
    with np.errstate(divide="ignore"):
        equal(pulled(np.sqrt, [0.0, 4.0]), [INF, 0.25])
        equal(pulled(np.log, [0.0, 4.0]), [INF, 0.25])


def test_power_at_zero():
    equal(pulled(np.power, [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]), [0, 0, 0], [0, np.log(2), 0])
    equal(pulled(lambda x: x**0, [0.0, 2.0]), [0, 0])
    equal(pulled(lambda x: x**1, [0.0, -2.0]), [1, 1])
    equal(pulled(lambda x: x**2, [0.0, -2.0]), [0, -4])
    equal(pulled(lambda x: np.power(x, 2), [0.0, -2.0]), [0, -4])
    equal(pulled(lambda x: x**3, [0.0, -2.0]), [0, 12])
    equal(pulled(lambda b: 0.0**b, [1.0, 2.0]), [0, 0])


def test_logaddexp_at_infinities():
    a, b = [INF, -INF, INF, -INF, 0.0, 0.0], [INF, -INF, -INF, 0.0, -INF, 0.0]
    equal(pulled(np.logaddexp, a, b), [0.5, 0.5, 1, 0, 1, 0.5], [0.5, 0.5, 0, 1, 0, 0.5])


def test_logsumexp_of_minus_infinities():
    x = [[-INF, -INF], [0.0, -INF], [0.0, 0.0]]
    equal(pulled(lambda x: logsumexp(x, axis=1), x), [[0, 0], [1, 0], [0.5, 0.5]])
    equal(pulled(lambda x: logsumexp(x, axis=1, keepdims=True), x), [[0, 0], [1, 0], [0.5, 0.5]])
    equal(pulled(logsumexp, [-INF, -INF]), [0, 0])
    assert logsumexp(np.array([-INF, -INF])) == -INF


def test_relu_at_zero():
    x = np.array([[-1.0], [0.0], [2.0]])
    equal(pulled(lambda x: linear(x, np.ones((1, 1)), np.zeros(1), "relu"), x), [[0], [0], [1]])


def test_triangles_are_exact_zeros():
    equal(pulled(np.tril, np.ones((2, 2)), y_bar=[[1, INF], [2, 3]]), [[1, 0], [2, 3]])
    equal(pulled(lambda x: np.triu(x, 1), np.ones((2, 2)), y_bar=[[INF, 4], [INF, INF]]), [[0, 4], [0, 0]])


# ---------------------------------------------------------------- far out


def test_expit_in_its_tails():
    """d expit = expit(x) expit(-x): e^-40 at 40 (where y (1 - y) is 0), e^-700 at -700."""
    (x_bar,) = pulled(special.expit, [40.0, -40.0, -700.0, 0.0])
    np.testing.assert_allclose(x_bar, [np.exp(-40), np.exp(-40), np.exp(-700), 0.25], rtol=1e-14)


def test_log_ndtr_in_its_tail():
    """d log Phi(-x) = -phi/Phi, and Phi(-x)/phi(x) = sqrt(pi/2) erfcx(x/sqrt 2), which never underflows."""
    x = np.array([-30.0, -10.0, -1.0, 0.0, 5.0])
    expected = 1 / (np.sqrt(np.pi / 2) * special.erfcx(-x / np.sqrt(2)))
    np.testing.assert_allclose(pulled(special.log_ndtr, x)[0], expected, rtol=1e-12)
    (slope,) = pulled(special.log_ndtr, -30.0)
    assert 30 + 1 / 30 - 2 / 30**3 < slope < 30 + 1 / 30  # the asymptotic series brackets it


def test_log_ndtr_very_far_out():
    """The slope tends to -x: a difference of two large numbers must not enter it."""
    x = np.array([-1e4, -1e6, -1e8])
    np.testing.assert_allclose(pulled(special.log_ndtr, x)[0], -x, rtol=2e-8)


def test_softplus():
    """logaddexp(0, x) has derivative expit(x), everywhere."""
    x = np.array([-700.0, -40.0, 0.0, 40.0, 800.0])
    y, pullback = vjp(lambda x: np.logaddexp(0, x), x)
    np.testing.assert_array_equal(y, np.logaddexp(0, x))
    np.testing.assert_array_equal(pullback(np.ones(5))[0], special.expit(x))


def test_softmax_of_large_logits():
    x = np.array([1e4, 1e4 - np.log(3), -1e4])
    np.testing.assert_allclose(pulled(logsumexp, x)[0], [0.75, 0.25, 0], rtol=1e-11)
    np.testing.assert_allclose(pulled(log_softmax, x, y_bar=[1, 0, 0])[0], [0.25, -0.25, 0], rtol=1e-11)


def test_log_softmax_with_an_impossible_class():
    equal(pulled(log_softmax, [0.0, -INF, 0.0], y_bar=[1, 0, 0]), [0.5, 0, -0.5])


def test_small_arguments_keep_their_digits():
    np.testing.assert_allclose(pulled(np.expm1, [1e-12, -40.0])[0], np.exp([1e-12, -40.0]), rtol=1e-15, atol=1e-16)
    np.testing.assert_allclose(pulled(np.log1p, [1e-12])[0], [1 - 1e-12], rtol=1e-15)


def test_silu_far_out():
    """z sigmoid(z) and its slope: 0 at -inf, z and 1 at +inf, no overflow."""
    z = np.array([[-800.0], [0.0], [800.0]])
    y, pullback = vjp(lambda z: linear(z, np.ones((1, 1)), np.zeros(1), "silu"), z)
    np.testing.assert_array_equal(y, [[0], [0], [800]])
    np.testing.assert_array_equal(pullback(np.ones((3, 1)))[0], [[0], [0.5], [1]])


# ---------------------------------------------------------------- closed forms


@pytest.mark.parametrize("trans", [0, 1, 2, "N", "T", "C"])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit_diagonal", [True, False])
@pytest.mark.parametrize("shape", [(3,), (3, 2)], ids=str)
def test_solve_triangular_by_the_explicit_inverse(trans, lower, unit_diagonal, shape):
    """x = op(A)^-1 b: b_bar = op(A)^-T x_bar; op(A)_bar = -b_bar x^T; only the entries that are read have a
    gradient."""
    rng = np.random.default_rng(0)
    a = rng.uniform(-1, 1, (3, 3)) + 2 * np.eye(3)
    a[np.triu_indices(3, 1) if lower else np.tril_indices(3, -1)] = 1e6  # never read
    b, x_bar = rng.standard_normal(shape), rng.standard_normal(shape)
    read = np.tril(a) if lower else np.triu(a)
    mask = np.tril(np.ones((3, 3))) if lower else np.triu(np.ones((3, 3)))
    if unit_diagonal:
        a[np.diag_indices(3)] = 1e6
        np.fill_diagonal(read, 1)
        np.fill_diagonal(mask, 0)
    flip = trans not in (0, "N")
    inverse = inv(read.T if flip else read)

    x, pullback = vjp(lambda a, b: solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit_diagonal), a, b)
    a_bar, b_bar = pullback(x_bar)
    np.testing.assert_allclose(x, inverse @ b, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(b_bar, inverse.T @ x_bar, rtol=1e-12, atol=1e-13)
    op_bar = -(inverse.T @ x_bar).reshape(3, -1) @ (inverse @ b).reshape(3, -1).T
    np.testing.assert_allclose(a_bar, (op_bar.T if flip else op_bar) * mask, rtol=1e-12, atol=1e-13)
    assert not np.any(a_bar[mask == 0])


def test_softmax_cross_entropy():
    """d logsumexp(z) - z_k = softmax(z) - onehot(k)."""
    z, k = np.array([0.3, -1.2, 2.0]), 1
    expected = np.exp(z) / np.exp(z).sum() - np.eye(3)[k]
    np.testing.assert_allclose(grad(lambda z: logsumexp(z) - z[k])(z), expected, rtol=1e-14)
    np.testing.assert_allclose(grad(lambda z: -log_softmax(z)[k])(z), expected, rtol=1e-14)


def test_quadratic_form():
    """d x^T A x = (A + A^T) x, dA = x x^T."""
    rng = np.random.default_rng(0)
    A, x = rng.standard_normal((3, 3)), rng.standard_normal(3)
    A_bar, x_bar = vjp(lambda A, x: x @ A @ x, A, x)[1](1.0)
    np.testing.assert_allclose(x_bar, (A + A.T) @ x, rtol=1e-13)
    np.testing.assert_allclose(A_bar, np.outer(x, x), rtol=1e-15)


def test_functions_of_arrays_are_scipys():
    """On arrays nothing is recorded, and the values are SciPy's."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    np.testing.assert_array_equal(logsumexp(x, axis=1, keepdims=True), special.logsumexp(x, axis=1, keepdims=True))
    np.testing.assert_array_equal(logsumexp(x), special.logsumexp(x))
    np.testing.assert_array_equal(log_softmax(x), special.log_softmax(x))
    np.testing.assert_array_equal(log_softmax(x, axis=-1), special.log_softmax(x, axis=-1))
    np.testing.assert_array_equal(log_softmax(x, axis=0), special.log_softmax(x, axis=0))
    W, b = np.ones((4, 2)), np.arange(2.0)
    z = x @ W + b
    for activation, expected in [
        ("identity", z),
        ("tanh", np.tanh(z)),
        ("relu", np.maximum(z, 0)),
        ("silu", z * special.expit(z)),
    ]:
        y = linear(x, W, b, activation)
        assert type(y) is np.ndarray
        np.testing.assert_allclose(y, expected, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(linear(x, W, b), z)
