"""The variance of p(x_{t-1} | x_t): small, large, given, learned, optimal; and the general KL that goes with it."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from scipy.stats import norm

from refvdm.autodiff import check_vjp
from refvdm.gaussian import kl_normal
from refvdm.vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    diffusion_kl,
    optimal_variance,
    q_posterior,
)
from refvdm.vdm.denoiser import GaussianDenoiser
from refvdm.vdm.learned import log_variances


def bent(theta, x_t, t):
    """Some smooth function of x_t and t."""
    return np.tanh(x_t) / np.reshape(1.0 + 0.1 * t, (-1,) + (1,) * (np.ndim(x_t) - 1)).astype(x_t.dtype)


@st.composite
def schedules(draw, most=12):
    T, rng = draw(st.integers(2, most)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return Schedule(np.cumsum(rng.uniform(0.05, 2, T)) - draw(st.floats(0, 8, allow_subnormal=False))), rng


def both_variances(schedule):
    """sigma_q² and beta by their definitions, (T+1,) indexed by t, with 1 where t < 2."""
    alpha, abar = schedule.alpha, schedule.alpha_bar
    small, large = np.ones((2, schedule.T + 1))
    small[2:] = (1 - alpha[2:]) * (1 - abar[1:-1]) / (1 - abar[2:])
    large[2:] = 1 - alpha[2:]
    return small, large


def posterior_variance(schedule, s2):
    """Var[x_0 | x_t] of N(0, s2) data: 1/(1/s2 + SNR_t)."""
    return np.concatenate([[0.0], 1 / (1 / s2 + schedule.snr[1:])])


def gaussian_nodes(s2, n=4):
    z, w = hermegauss(n)
    x_0, eps = (np.reshape(g, (-1, 1)) for g in np.meshgrid(np.sqrt(s2) * z, z))
    return x_0, eps, np.outer(w, w).ravel() / (2 * np.pi)


# ---------------------------------------------------------------- the ways to say it


@given(schedules())
def test_each_way_gives_its_variance(case):
    """step's variance is sigma_q², beta, the array's entry, or exp of the learned mixture of logs;
    its mean is always the posterior's."""
    schedule, rng = case
    small, large = both_variances(schedule)
    array, raw = rng.uniform(0.1, 3, schedule.T + 1), rng.standard_normal(schedule.T - 1)
    learned = np.ones(schedule.T + 1)
    v = expit(raw)
    learned[2:] = large[2:] ** v * small[2:] ** (1 - v)
    ways = [("small", None, small), ("large", None, large), (array, None, array), (list(array), None, array),
            (LearnedVariance(schedule.T), {"denoiser": None, "variance": {"raw": raw}}, learned)]
    x = rng.standard_normal((3, 2))
    for variance, theta, expected in ways:
        model = VDM(bent, schedule, GaussianDecoder(0.1), variance).at(theta)
        for t in range(2, schedule.T + 1):
            mean, var = model.step(x, t)
            np.testing.assert_allclose(var, expected[t], rtol=1e-9)
            np.testing.assert_array_equal(mean, q_posterior(schedule, x, bent(None, x, np.full(3, t)), t)[0])
    assert VDM(bent, schedule, GaussianDecoder(0.1)).variance == "small"


@given(schedules())
def test_log_variances_by_definition(case):
    schedule, _ = case
    small, large = both_variances(schedule)
    got_small, got_large = log_variances(schedule)
    np.testing.assert_allclose(got_small, np.log(small[2:]), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(got_large, np.log(large[2:]), rtol=1e-9, atol=1e-9)
    assert np.all(got_small < got_large)


def test_log_variances_of_tiny_steps():
    """Steps of 1e-9 in gamma: 1 - alpha_t = (1 - abar_t) 1e-9 to first order,
    which 1 - abar_t/abar_{t-1} would lose."""
    small, large = log_variances(Schedule([-1.0, -1.0 + 1e-9, -1.0 + 2e-9]))
    step = np.diff([-1.0, -1.0 + 1e-9, -1.0 + 2e-9])
    np.testing.assert_allclose(np.exp(large), expit(-1.0) * step, rtol=1e-8)
    np.testing.assert_allclose(np.exp(small), expit(-1.0) * step, rtol=1e-8)


@given(schedules())
def test_the_general_kl_with_qs_variance_is_the_short_one(case):
    """variance given as sigma_q² itself, or learned with v at 0: the numbers of the default path.
    With v at 1: those of "large"."""
    schedule, rng = case
    x_0, eps = rng.standard_normal((3, 2, 2)), rng.standard_normal((schedule.T, 3, 2, 2))
    kl = {name: VDM(bent, schedule, GaussianDecoder(0.1), v).kl_per_t(None, x_0, eps=eps) for name, v in
          (("small", "small"), ("array", both_variances(schedule)[0]), ("large", "large"))}
    np.testing.assert_allclose(kl["array"], kl["small"], rtol=1e-7, atol=1e-12)
    learned = VDM(bent, schedule, GaussianDecoder(0.1), LearnedVariance(schedule.T))
    for raw, name in ((-50.0, "small"), (50.0, "large")):
        theta = {"denoiser": None, "variance": {"raw": np.full(schedule.T - 1, raw)}}
        np.testing.assert_allclose(learned.kl_per_t(theta, x_0, eps=eps), kl[name], rtol=1e-7, atol=1e-12)


@settings(max_examples=30)
@given(schedules(5), st.sampled_from(["large", "array", "learned"]))
def test_the_kl_by_numerical_integration_and_not_its_converse(case, kind):
    """KL(q to p) over x_{t-1} on a grid. The misprint of 13.24, KL(p to q), is another number."""
    schedule, rng = case
    T, x_0, eps = schedule.T, rng.standard_normal((2, 1)), rng.standard_normal((schedule.T, 2, 1))
    small, large = both_variances(schedule)
    factor = rng.uniform(1.5, 3, T + 1)
    variance = {"large": "large", "array": small * factor, "learned": LearnedVariance(T)}[kind]
    theta = {"denoiser": None, "variance": {"raw": np.zeros(T - 1)}} if kind == "learned" else None
    var_p = {"large": large, "array": small * factor, "learned": np.sqrt(small * large)}[kind]
    vdm = VDM(bent, schedule, GaussianDecoder(0.1), variance)
    got, abar = vdm.kl_per_t(theta, x_0, eps=eps), schedule.alpha_bar
    total = 0.0
    for t in range(2, T + 1):
        x_t = np.sqrt(abar[t]) * x_0 + np.sqrt(1 - abar[t]) * eps[t - 1]
        mean_q, _ = q_posterior(schedule, x_t, x_0, t)
        mean_p, _ = q_posterior(schedule, x_t, bent(None, x_t, np.full(2, t)), t)
        width = np.sqrt(max(small[t], var_p[t]))
        grid = np.linspace(-15, 15, 3001) * width + mean_q
        log_q, log_p = norm.logpdf(grid, mean_q, np.sqrt(small[t])), norm.logpdf(grid, mean_p, np.sqrt(var_p[t]))
        expected = np.sum(np.exp(log_q) * (log_q - log_p), axis=1) * 0.01 * width
        np.testing.assert_allclose(got[t], expected, rtol=1e-8, atol=1e-10)
        converse = kl_normal(mean_p, np.log(var_p[t]), mean_q, np.log(small[t]))[:, 0]
        assert np.all(np.abs(converse - got[t]) > 1e-3 * got[t]) or abs(np.log(var_p[t] / small[t])) < 0.2
        total = total + expected
    np.testing.assert_allclose(vdm.elbo(theta, x_0, eps=eps).diffusion_kl, total, rtol=1e-8)
    estimate = [vdm.elbo_estimate(theta, x_0, t=t, eps=eps[[0, t - 1]]).diffusion_kl for t in range(2, T + 1)]
    np.testing.assert_allclose(np.mean(estimate, axis=0), total, rtol=1e-8)


def test_float32_stays_float32():
    schedule = Schedule.linear_gamma(5, -3, 3)
    x_0, eps = np.ones((2, 3), np.float32), np.random.default_rng(0).standard_normal((5, 2, 3)).astype(np.float32)
    for variance in ("large", np.linspace(0.1, 1, 6)):
        vdm = VDM(bent, schedule, GaussianDecoder(0.1), variance)
        assert all(term.dtype == np.float32 for term in vdm.elbo(None, x_0, eps=eps))
        assert vdm.sample(None, (2, 3), x_T=eps[0], eps=eps).dtype == np.float32


# ---------------------------------------------------------------- the learned one


def test_learned_variance_begins_near_the_small_one():
    learned, schedule = LearnedVariance(6), Schedule.linear_gamma(6, -4, 4)
    parameters = learned.init(np.random.default_rng(0))
    assert parameters.keys() == {"raw"} and parameters["raw"].shape == (5,) and parameters["raw"].dtype == np.float64
    small, large = log_variances(schedule)
    np.testing.assert_allclose((learned(parameters, schedule) - small) / (large - small), 0.018, atol=0.001)


def test_gradient_of_the_bound_in_the_raw_variance_and_gamma():
    rng, learned = np.random.default_rng(0), LearnedVariance(5)
    x_0, eps = rng.standard_normal((2, 3)), rng.standard_normal((5, 2, 3))

    def bound(raw, gamma):
        vdm = VDM(lambda theta, x, t: np.tanh(x), Schedule(gamma), GaussianDecoder(0.1), learned)
        return vdm.elbo({"denoiser": None, "variance": {"raw": raw}}, x_0, eps=eps).diffusion_kl

    check_vjp(bound, rng.standard_normal(4), np.array([-3.0, -2.0, 0.5, 1.0, 3.0]))


def test_learning_the_variance_finds_the_optimal_one_where_it_lies_between():
    """N(0, s²) data with s² < 1: sigma_q² < optimal < beta; at the optimal v the bound's gradient in raw is 0."""
    s2, schedule = 0.4, Schedule([-3.0, -1.0, 0.0, 2.0])
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    vdm = VDM(exact, schedule, ExactDecoder(exact), LearnedVariance(4))
    small, large = log_variances(schedule)
    v = (np.log(optimal_variance(schedule, posterior_variance(schedule, s2))[2:]) - small) / (large - small)
    assert np.all((v > 0.01) & (v < 0.99))
    x_0, eps, w = gaussian_nodes(s2)
    eps = np.broadcast_to(eps, (4, *eps.shape))

    def mean(raw):
        return w @ vdm.elbo({"denoiser": None, "variance": {"raw": raw}}, x_0, eps=eps).total

    best = np.log(v / (1 - v))
    for i in range(3):
        for step in (-0.3, 0.3):
            assert mean(best + step * np.eye(3)[i]) < mean(best) - 1e-7
    h = 1e-4
    np.testing.assert_allclose([(mean(best + h * e) - mean(best - h * e)) / (2 * h) for e in np.eye(3)], 0, atol=1e-8)


# ---------------------------------------------------------------- the optimal one


@given(schedules())
def test_optimal_variance_at_its_two_extremes(case):
    """Var[x_0 | x_t] = 0 (one point): sigma_q². x_0 ~ N(0, I), whose x_t are N(0, I) too: beta."""
    schedule, _ = case
    small, large = both_variances(schedule)
    got = optimal_variance(schedule, np.zeros(schedule.T + 1))
    assert got.shape == (schedule.T + 1,) and np.all(got[:2] == 0)
    np.testing.assert_allclose(got[2:], small[2:], rtol=1e-9)
    np.testing.assert_allclose(optimal_variance(schedule, 1 - schedule.alpha_bar)[2:], large[2:], rtol=1e-9)


@given(schedules(), st.floats(0.05, 9, allow_subnormal=False))
def test_optimal_variance_is_that_of_x_before_given_x_now(case, s2):
    """Gaussian data: Var[x_{t-1} | x_t] by conditioning two jointly normal numbers."""
    schedule, _ = case
    var = 1 + schedule.alpha_bar * (s2 - 1)
    got = optimal_variance(schedule, list(posterior_variance(schedule, s2)))
    np.testing.assert_allclose(got[2:], var[1:-1] - schedule.alpha[2:] * var[1:-1] ** 2 / var[2:], rtol=1e-8)
    unused = posterior_variance(schedule, s2)
    unused[:2] = np.nan
    np.testing.assert_array_equal(optimal_variance(schedule, unused), got)


@settings(max_examples=20)
@given(schedules(6), st.floats(0.1, 5, allow_subnormal=False))
def test_any_other_variance_raises_the_mean_kl(case, s2):
    schedule, _ = case
    exact = GaussianDenoiser([0.0], [[s2]], schedule)
    best = optimal_variance(schedule, posterior_variance(schedule, s2))
    x_0, eps, w = gaussian_nodes(s2)
    eps = np.broadcast_to(eps, (schedule.T, *eps.shape))

    def mean_kl(variance):
        return VDM(exact, schedule, ExactDecoder(exact), variance).kl_per_t(None, x_0, eps=eps) @ w

    least = mean_kl(best)
    for factor in (0.9, 1.1):
        other = mean_kl(best * factor)
        # KL = 1/2 (v*/v - 1 - log v*/v) more, v* the optimal one
        np.testing.assert_allclose(other[2:] - least[2:], 0.5 * (1 / factor - 1 + np.log(factor)), rtol=1e-6)
    for name in ("small", "large"):
        assert np.all(mean_kl(name)[2:] >= least[2:] * (1 - 1e-12))
    assert np.all(mean_kl("small")[2:] > least[2:])


def sample_variance(vdm, var_T):
    """Of x_0 by ancestral sampling from x_T ~ N(0, var_T): x_0 is linear in (x_T, eps),
    so the squares of its coefficients add up."""
    T = vdm.schedule.T
    unit = np.eye(T + 1)[:, :, None]  # one example for each of x_T, eps[0], ..., eps[T-1]
    return np.sum(vdm.sample(None, (T + 1, 1),
                             x_T=np.sqrt(var_T) * unit[:, 0], eps=np.moveaxis(unit[:, 1:], 1, 0)) ** 2)


@given(schedules(), st.floats(0.1, 5, allow_subnormal=False))
def test_ancestral_sampling_with_the_optimal_variance_gives_the_data_back(case, s2):
    """Gaussian data from its own x_T: exactly its variance.
    With sigma_q² too little; with beta too little for s² > 1, too much below."""
    schedule, _ = case
    exact, var_T = GaussianDenoiser([0.0], [[s2]], schedule), 1 + schedule.alpha_bar[-1] * (s2 - 1)

    def of(variance):
        return sample_variance(VDM(exact, schedule, ExactDecoder(exact), variance), var_T)

    np.testing.assert_allclose(of(optimal_variance(schedule, posterior_variance(schedule, s2))), s2, rtol=1e-7)
    assert of("small") < s2 * (1 - 1e-9)
    assert (of("large") - s2) * (1 - s2) >= -1e-9


def test_how_much_variance_the_small_one_loses():
    """N(0, 1) data, T = 10, gamma from -6 to 10."""
    schedule = Schedule.linear_gamma(10, -6, 10)
    exact = GaussianDenoiser([0.0], [[1.0]], schedule)
    assert sample_variance(VDM(exact, schedule, ExactDecoder(exact)), 1.0) < 0.8
    np.testing.assert_allclose(sample_variance(VDM(exact, schedule, ExactDecoder(exact), "large"), 1.0), 1, rtol=1e-9)


# ---------------------------------------------------------------- errors


SCHEDULE = Schedule.linear_gamma(4, -3, 3)


@pytest.mark.parametrize("variance", [np.ones(4), np.ones(6), np.ones((5, 1)), 1.0, [1, 1, 0, 1, 1], [1, 1, 1, 1, -1],
                                      [1, 1, np.inf, 1, 1], [1, 1, 1, np.nan, 1]])
def test_errors_of_an_array(variance):
    with pytest.raises(ValueError,
                       match="VDM: variance must hold 5 numbers indexed by t, positive and finite from t = 2 on"):
        VDM(bent, SCHEDULE, GaussianDecoder(0.1), variance)


@pytest.mark.parametrize("variance, got", [
    (None, "dtype object"), (np.ma.masked_greater(np.ones(5), 2), "a masked array"),
    (np.ones(5) + 0j, "dtype complex128"),
    (["1"] * 5, "dtype <U1"), ([True] * 5, "dtype bool")], ids=str)
def test_what_is_no_array_of_real_numbers(variance, got):
    with pytest.raises(TypeError, match=f"VDM: variance must hold real numbers, got {got}"):
        VDM(bent, SCHEDULE, GaussianDecoder(0.1), variance)


def test_the_array_is_copied_and_its_first_two_entries_are_not_used():
    array = np.array([np.nan, -1.0, 0.5, 0.5, 0.5])
    vdm, x_0, eps = VDM(bent, SCHEDULE, GaussianDecoder(0.1), array), np.ones((2, 1)), np.ones((4, 2, 1))
    before = vdm.elbo(None, x_0, eps=eps).total
    array[:] = 7
    np.testing.assert_array_equal(vdm.elbo(None, x_0, eps=eps).total, before)
    assert np.all(np.isfinite(before))


def test_errors_of_names_and_of_learned_variances():
    with pytest.raises(ValueError,
                       match="unknown variance 'medium'; known are small, large, an array .* LearnedVariance"):
        VDM(bent, SCHEDULE, GaussianDecoder(0.1), "medium")
    for schedule in (SCHEDULE, LearnedSchedule(4)):
        with pytest.raises(ValueError, match="the learned variance is for T = 5, the schedule has T = 4"):
            VDM(bent, schedule, GaussianDecoder(0.1), LearnedVariance(5))
    vdm = VDM(bent, SCHEDULE, GaussianDecoder(0.1), LearnedVariance(4))
    for wrong in ({"raw": np.zeros(4)}, {"raw": np.zeros((3, 1))}, {"v": np.zeros(3)}, None, np.zeros(3)):
        with pytest.raises(ValueError, match=r"LearnedVariance: parameters must be a dict of shapes "
                                             r"\{'raw': \(3,\)\}, got"):
            vdm.elbo({"denoiser": None, "variance": wrong}, np.ones((2, 1)), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"a learned variance theta must be a dict with the keys "
                                         r"\['denoiser', 'variance'\], got NoneType"):
        vdm.elbo(None, np.ones((2, 1)), np.random.default_rng(0))


@pytest.mark.parametrize("V", [np.ones(4), np.ones((5, 1)), [0, 0, 1, -1e-9, 1], [0, 0, np.nan, 1, 1], 1.0])
def test_errors_of_optimal_variance(V):
    with pytest.raises(ValueError,
                       match="optimal_variance: posterior_variance: expected 5 numbers >= 0, indexed by t, got shape"):
        optimal_variance(SCHEDULE, V)
    optimal_variance(SCHEDULE, np.zeros(5))


def test_diffusion_kl_is_not_what_another_variance_costs():
    """The short form at another variance of p misses the cost of the variances."""
    x_0, eps = np.ones((1, 1)), np.zeros((4, 1, 1))
    table = VDM(bent, SCHEDULE, GaussianDecoder(0.1), "large").kl_per_t(None, x_0, eps=eps)
    abar = SCHEDULE.alpha_bar
    short = [diffusion_kl(SCHEDULE, x_0, bent(None, np.sqrt(abar[t]) * x_0, np.full(1, t)), t)[0] for t in (2, 3, 4)]
    assert np.all(np.abs(table[2:, 0] - short) > 0.01)
