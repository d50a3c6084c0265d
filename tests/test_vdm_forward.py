"""q: steps compose into marginals, the posterior is Bayes' rule, samples have the stated moments."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from refvdm.autodiff import check_vjp
from refvdm.vdm import Schedule, q_marginal, q_posterior, q_step, sample_q

SHAPES = [(3,), (3, 4), (2, 8, 8)]


@st.composite
def problems(draw):
    """(schedule, its alphas, t, shape, dtype, rng)."""
    T = draw(st.integers(2, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["alphas", "linear_beta", "cosine", "linear_gamma"]))
    if kind == "alphas":
        schedule = Schedule.from_alphas(rng.uniform(0.3, 0.999, T))
    elif kind == "linear_beta":
        schedule = Schedule.linear_beta(T, 1e-3, rng.uniform(0.01, 0.5))
    elif kind == "cosine":
        schedule = Schedule.cosine(T)
    else:
        schedule = Schedule.linear_gamma(T, rng.uniform(-6, -2), rng.uniform(0, 6))
    t = draw(st.integers(1, T))
    return schedule, schedule.alpha, t, draw(st.sampled_from(SHAPES)), rng


def normal_logpdf(x, mean, var):
    return norm.logpdf(x, mean, np.sqrt(var))


@given(problems())
def test_marginal_is_t_steps_composed(problem):
    """Chapman-Kolmogorov: pushing N(mean, var) through x -> N(sqrt(alpha) x, 1 - alpha) t times,
    and one step from t - 1 to t."""
    schedule, _, t, shape, rng = problem
    x_0 = rng.standard_normal(shape)
    mean, var = x_0, 0.0
    for i in range(1, t + 1):
        mean, step_var = q_step(schedule, mean, i)
        scale = q_step(schedule, np.ones(1), i)[0][0]
        var = scale**2 * var + step_var
    got_mean, got_var = q_marginal(schedule, x_0, t)
    np.testing.assert_allclose(got_mean, mean, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(got_var, var, rtol=1e-11)


@given(problems())
def test_means_and_variances_are_the_lectures(problem):
    schedule, alpha, t, shape, rng = problem
    x, y = rng.standard_normal((2, *shape))
    abar = np.cumprod(alpha)
    mean, var = q_step(schedule, x, t)
    np.testing.assert_allclose(mean, np.sqrt(alpha[t]) * x, rtol=1e-11)
    np.testing.assert_allclose(var, 1 - alpha[t], rtol=1e-9)
    mean, var = q_marginal(schedule, x, t)
    np.testing.assert_allclose(mean, np.sqrt(abar[t]) * x, rtol=1e-11)
    np.testing.assert_allclose(var, 1 - abar[t], rtol=1e-9)
    mean, var = q_posterior(schedule, x, y, t)
    expected = (np.sqrt(alpha[t]) * (1 - abar[t - 1]) * x + np.sqrt(abar[t - 1]) * (1 - alpha[t]) * y) / (1 - abar[t])
    np.testing.assert_allclose(mean, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(var, (1 - alpha[t]) * (1 - abar[t - 1]) / (1 - abar[t]), rtol=1e-9, atol=1e-15)


@given(problems())
def test_posterior_is_bayes_rule_on_densities(problem):
    schedule, _, t, shape, rng = problem
    if t == 1:
        t = 2
    x_0, x_prev, x_t = rng.standard_normal((3, *shape))
    at_t, before = q_marginal(schedule, x_0, t), q_marginal(schedule, x_0, t - 1)
    left = normal_logpdf(x_prev, *q_posterior(schedule, x_t, x_0, t)) + normal_logpdf(x_t, *at_t)
    right = normal_logpdf(x_t, *q_step(schedule, x_prev, t)) + normal_logpdf(x_prev, *before)
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9)


@given(problems())
def test_posterior_at_1_is_x_0_exactly(problem):
    schedule, _, _, shape, rng = problem
    x_t, x_0 = rng.standard_normal((2, *shape))
    mean, var = q_posterior(schedule, x_t, x_0, 1)
    assert np.array_equal(mean, x_0) and not np.any(var)


@given(problems(), st.sampled_from([np.float64, np.float32]))
def test_array_t_is_scalar_t_per_example_and_dtype_stays(problem, dtype):
    schedule, _, _, shape, rng = problem
    x_0, x_t, eps = rng.standard_normal((3, *shape)).astype(dtype)
    t = rng.integers(1, schedule.T + 1, shape[0])
    calls = [lambda i, t: q_step(schedule, x_0[i], t), lambda i, t: q_marginal(schedule, x_0[i], t),
             lambda i, t: q_posterior(schedule, x_t[i], x_0[i], t),
             lambda i, t: (sample_q(schedule, x_0[i], t, eps=eps[i]), x_0[i])]
    for call in calls:
        mean, var = call(slice(None), t)
        assert mean.shape == shape and mean.dtype == dtype and var.dtype == dtype
        assert np.broadcast_shapes(var.shape, shape) == shape and var.shape[0] == shape[0]
        for i in range(shape[0]):
            one_mean, one_var = call(slice(i, i + 1), int(t[i]))
            assert np.array_equal(mean[i : i + 1], one_mean)
            assert np.array_equal(np.broadcast_to(var, shape)[i : i + 1], np.broadcast_to(one_var, (1, *shape[1:])))


@given(problems())
def test_float32_agrees_with_float64(problem):
    schedule, _, t, shape, rng = problem
    x_0, x_t = rng.standard_normal((2, *shape))
    low_0, low_t = x_0.astype(np.float32), x_t.astype(np.float32)
    for low, high in [(q_step(schedule, low_0, t), q_step(schedule, x_0, t)),
                      (q_marginal(schedule, low_0, t), q_marginal(schedule, x_0, t)),
                      (q_posterior(schedule, low_t, low_0, t), q_posterior(schedule, x_t, x_0, t))]:
        np.testing.assert_allclose(low[0], high[0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(low[1], high[1], rtol=2e-7)


def test_float32_keeps_the_small_variance():
    """1 - abar_1 = 1e-9 in float32, where 1 - float32(abar) would be 0."""
    schedule = Schedule.linear_beta(4, 1e-9, 0.1)
    x = np.zeros((2, 3), np.float32)
    for _, var in (q_marginal(schedule, x, 1), q_step(schedule, x, 1)):
        np.testing.assert_allclose(var, 1e-9, rtol=1e-6)


def test_sample_is_mean_plus_standard_deviation_times_eps():
    schedule, rng = Schedule.linear_gamma(6, -4, 3), np.random.default_rng(0)
    x_0, eps = rng.standard_normal((2, 5, 3))
    t = np.array([1, 2, 3, 6, 6])
    abar = np.cumprod(schedule.alpha)[t][:, None]
    np.testing.assert_allclose(sample_q(schedule, x_0, t, eps=eps), np.sqrt(abar) * x_0 + np.sqrt(1 - abar) * eps,
                               rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("shape", SHAPES)
def test_rng_draws_exactly_eps(shape, dtype):
    schedule, x_0 = Schedule.cosine(7), np.ones(shape, dtype)
    eps = np.random.default_rng(5).standard_normal(shape, dtype=dtype)
    assert np.array_equal(sample_q(schedule, x_0, 3, np.random.default_rng(5)), sample_q(schedule, x_0, 3, eps=eps))


def test_moments_of_samples():
    """40000 draws of x_2 given x_0 = 1.5 are N(sqrt(abar) 1.5, 1 - abar): mean and variance within 4 errors."""
    schedule, n = Schedule.from_alphas([0.9, 0.6, 0.5]), 40_000
    x = sample_q(schedule, np.full(n, 1.5), 2, np.random.default_rng(0))
    mean, var = np.sqrt(0.54) * 1.5, 0.46
    assert abs(x.mean() - mean) < 4 * np.sqrt(var / n)
    assert abs(x.var() - var) < 4 * var * np.sqrt(2 / n)
    assert kstest(x, norm(mean, np.sqrt(var)).cdf).pvalue > 1e-3


def test_gradients_by_data():
    schedule, t = Schedule.cosine(5), np.array([1, 3, 5])
    a, b = np.random.default_rng(0).standard_normal((2, 3, 2))
    check_vjp(lambda x: q_step(schedule, x, t)[0], a)
    check_vjp(lambda x: sample_q(schedule, x, t, eps=b), a)
    check_vjp(lambda x, y: q_posterior(schedule, x, y, t)[0], a, b)
    check_vjp(lambda e: sample_q(schedule, a, t, eps=e), b)


SCHEDULE, X = Schedule.cosine(5), np.zeros((3, 2))
FUNCTIONS = {"q_step": lambda x, t: q_step(SCHEDULE, x, t), "q_marginal": lambda x, t: q_marginal(SCHEDULE, x, t),
             "q_posterior": lambda x, t: q_posterior(SCHEDULE, x, x, t),
             "sample_q": lambda x, t: sample_q(SCHEDULE, x, t, eps=X)}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_errors_in_t(f):
    for t in (0, 6, -1, [1, 2, 6], [0, 1, 2]):
        with pytest.raises(ValueError, match=r"t must lie in 1\.\.5, got"):
            f(X, t)
    for t in (1.0, [1.0, 2.0, 3.0], np.nan, True):
        with pytest.raises(TypeError, match="t must be an integer"):
            f(X, t)
    for t in ([1, 2], [[1, 2, 3]], [[1], [2], [3]]):
        with pytest.raises(ValueError, match=r"have shape \(batch,\) = \(3,\), got shape"):
            f(X, t)


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_errors_in_x(f):
    with pytest.raises(TypeError, match="must be an array of floats, got dtype int.*cast it"):
        f(np.zeros((3, 2), int), 1)
    with pytest.raises(TypeError, match="must be an array of floats, got list"):
        f([0.0, 1.0], 1)
    with pytest.raises(ValueError, match=r"must have shape \(batch, ...\)"):
        f(np.array(1.0), 1)


def test_other_errors():
    with pytest.raises(ValueError, match=r"x_t must have x_0's shape \(3, 1\), got \(3, 2\)"):
        q_posterior(SCHEDULE, X, X[:, :1], 2)
    with pytest.raises(TypeError, match="x_t must be an array of floats"):
        q_posterior(SCHEDULE, X.astype(int), X, 2)
    with pytest.raises(ValueError, match="sample_q: give a numpy.random.Generator as rng"):
        sample_q(SCHEDULE, X, 2)
    with pytest.raises(ValueError, match=r"eps must have shape \(3, 2\), got \(3, 1\)"):
        sample_q(SCHEDULE, X, 2, eps=X[:, :1])
    with pytest.raises(TypeError, match="eps must be an array of floats"):
        sample_q(SCHEDULE, X, 2, eps=np.zeros((3, 2), int))


def test_nan_in_eps_is_an_error():
    with pytest.raises(ValueError, match="eps"):
        sample_q(SCHEDULE, X, 2, eps=np.full((3, 2), np.nan))


def test_the_variance_of_a_tiny_step_does_not_cancel():
    """1 - alpha_t at gamma steps of 5e-7 around gamma = 0, against 60 digits."""
    from decimal import Decimal, localcontext

    schedule = Schedule.linear_gamma(4000, -1e-3, 1e-3)
    for t in (2, 2000, 4000):
        with localcontext() as context:
            context.prec = 60
            before, now = (Decimal(float(g)) for g in schedule.gamma[t - 1 : t + 1])
            expected = 1 - (1 + before.exp()) / (1 + now.exp())
        _, var = q_step(schedule, np.zeros((1, 1)), t)
        assert float(var) == pytest.approx(float(expected), rel=1e-12)


def test_every_float_dtype_can_be_drawn_for():
    for dtype in (">f8", np.float16):
        assert sample_q(Schedule.linear_gamma(3, -2, 2), np.zeros((2, 2), dtype), 2,
                        np.random.default_rng(0)).shape == (2, 2)


@pytest.mark.parametrize("rng", [0, np.random.RandomState(0), np.random])
def test_other_generators_are_named_errors(rng):
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
        sample_q(Schedule.linear_gamma(3, -2, 2), np.zeros((2, 2)), 2, rng)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_masked_and_matrix_data_are_errors():
    for x in (np.ma.array([[1.0]], mask=[[1]]), np.matrix([[1.0]])):
        with pytest.raises(TypeError, match="x_0 must be an array of floats"):
            q_marginal(Schedule.linear_gamma(3, -2, 2), x, 2)
