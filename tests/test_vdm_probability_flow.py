"""The flow carries q(x_T) to q(x_1) and back: closed-form maps, and the density of x_1 to 1e-6 by
following the divergence."""
import itertools

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.special import ndtr
from scipy.stats import ks_2samp, multivariate_normal

from refvdm.autodiff import grad
from refvdm.ode import SolverError
from refvdm.vdm import (
    VDM,
    ExactDecoder,
    ExplodingDenoiser,
    LearnedSchedule,
    Schedule,
    flow_log_prob,
    flow_sample,
    sample_q,
)
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser

SCHEDULE = Schedule.linear_gamma(20, -5, 4)
TIGHT = {"rtol": 1e-8, "atol": 1e-10}
WEIGHTS, MEANS, SDS = np.array([0.3, 0.7]), np.array([-1.5, 1.0]), np.array([0.5, 0.3])
MEAN, COV = np.array([0.5, -1.0]), np.array([[1.0, 0.6], [0.6, 0.8]])


def model(exact):
    return VDM(exact, exact.schedule, ExactDecoder(exact))


def gaussian(schedule=SCHEDULE):
    return GaussianDenoiser(MEAN, COV, schedule)


def mixture(D, schedule=SCHEDULE):
    rng = np.random.default_rng(D)
    roots = 0.6 * rng.standard_normal((3, D, D))
    return MixtureDenoiser([0.2, 0.3, 0.5], rng.standard_normal((3, D)),
                           roots @ np.swapaxes(roots, 1, 2) + 0.1 * np.eye(D), schedule)


def line(schedule=SCHEDULE):
    return MixtureDenoiser(WEIGHTS, MEANS[:, None], (SDS**2)[:, None, None], schedule)


def at_T(exact):
    return lambda x: exact.log_prob(x, exact.schedule.T)


class Image:
    """Gaussian data of four dimensions in the shape (2, 1, 2)."""

    def __init__(self, schedule):
        root = np.random.default_rng(0).standard_normal((4, 4))
        self.flat = GaussianDenoiser(np.arange(4) / 4, root @ root.T / 4 + 0.2 * np.eye(4), schedule)

    def __call__(self, theta, x, t):
        assert t.shape == (len(x),) and t.dtype == np.float64 and np.all((t >= 1) & (t <= self.flat.schedule.T))
        return np.reshape(self.flat(theta, np.reshape(x, (len(x), 4)), t), x.shape)


@pytest.mark.parametrize("exact", [line(), gaussian(), mixture(3)], ids=["line", "gaussian", "3"])
def test_the_density_at_the_first_noise_level_with_the_exact_base(exact):
    x = np.random.default_rng(0).standard_normal((6, exact.D))
    got = flow_log_prob(model(exact), None, x, base=at_T(exact), **TIGHT)
    assert got.shape == (6,)
    np.testing.assert_allclose(got, exact.log_prob(x, 1), atol=1e-6)
    rough = flow_log_prob(model(exact), None, x, base=at_T(exact))
    np.testing.assert_allclose(rough, exact.log_prob(x, 1), atol=1e-3)
    assert np.array_equal(rough, flow_log_prob(model(exact), None, x, base=at_T(exact), rtol=1e-6, atol=1e-8))


def test_with_the_default_base_when_nothing_is_left_of_the_data():
    """sqrt(abar_T) = 1e-7: q(x_T) is N(0, I). At a short schedule the default is wrong by what abar_T leaves."""
    for exact in (gaussian(Schedule.linear_gamma(50, -5, 32)), mixture(2, Schedule.linear_gamma(50, -5, 32))):
        x = np.random.default_rng(0).standard_normal((5, 2))
        np.testing.assert_allclose(flow_log_prob(model(exact), None, x, **TIGHT), exact.log_prob(x, 1), atol=1e-6)
    short = gaussian(Schedule.linear_gamma(50, -5, 1))
    assert np.all(np.abs(flow_log_prob(model(short), None, x) - short.log_prob(x, 1)) > 1e-3)


@pytest.mark.parametrize("shape", [(2, 1, 2), ()])
def test_examples_of_any_shape(shape):
    x = np.random.default_rng(1).standard_normal((3, *shape))
    if shape:
        image = Image(SCHEDULE)
        flow, flat = VDM(image, SCHEDULE, ExactDecoder(image.flat)), image.flat
    else:
        flat = line()
        flow = VDM(lambda theta, x, t: np.reshape(flat(theta, np.reshape(x, (len(x), 1)), t), x.shape), SCHEDULE,
                   ExactDecoder(flat))
    expected = flat.log_prob(x.reshape(3, -1), 1)
    got = flow_log_prob(flow, None, x, base=lambda x: flat.log_prob(x.reshape(3, -1), SCHEDULE.T), **TIGHT)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    far = flow_sample(flow, None, x.shape, x_T=x, **TIGHT)
    assert far.shape == x.shape
    expected = flow_sample(model(flat), None, (3, flat.D), x_T=x.reshape(3, -1), **TIGHT)
    np.testing.assert_allclose(far.reshape(3, -1), expected, atol=1e-7)


def test_the_flow_of_a_gaussian_is_its_linear_map():
    """Down each eigenvector the deviation from the mean scales with its standard deviation:
    x_1 = a_1 m + sqrt(V_1/V_T) (x_T - a_T m)."""
    values, vectors = np.linalg.eigh(COV)
    (a1, v1), (aT, vT) = ((np.sqrt(abar), abar * values + 1 - abar) for abar in SCHEDULE.alpha_bar[[1, -1]])
    x_T = np.random.default_rng(0).standard_normal((5, 2))
    got = flow_sample(model(gaussian()), None, (5, 2), x_T=x_T, **TIGHT)
    np.testing.assert_allclose(got, a1 * MEAN + (x_T - aT * MEAN) @ vectors * np.sqrt(v1 / vT) @ vectors.T, atol=1e-7)
    rough = flow_sample(model(gaussian()), None, (5, 2), x_T=x_T)
    np.testing.assert_allclose(rough, got, atol=1e-4)
    assert np.array_equal(rough, flow_sample(model(gaussian()), None, (5, 2), x_T=x_T, rtol=1e-6, atol=1e-8))


def quantile(x, gamma):
    """P(X <= x) of the line's mixture at the noise level gamma."""
    abar = 1 / (1 + np.exp(gamma))
    return ndtr((x - np.sqrt(abar) * MEANS) / np.sqrt(abar * SDS**2 + 1 - abar)) @ WEIGHTS


def test_in_one_dimension_the_flow_keeps_quantiles():
    x_T = np.linspace(-2.5, 2.5, 11)[:, None]
    x = flow_sample(model(line()), None, (11, 1), x_T=x_T, **TIGHT)
    np.testing.assert_allclose(quantile(x, -5), quantile(x_T, 4), atol=1e-7)


def test_there_and_back_is_the_identity():
    seen, x = [], np.random.default_rng(3).standard_normal((4, 3))
    exact = mixture(3)

    def base(x_T):
        seen.append(x_T)
        return np.zeros(len(x_T))

    inner = flow_log_prob(model(exact), None, x, base=base, **TIGHT)
    np.testing.assert_allclose(flow_sample(model(exact), None, (4, 3), x_T=seen[0], **TIGHT), x, atol=1e-6)
    np.testing.assert_allclose(inner + exact.log_prob(seen[0], SCHEDULE.T), exact.log_prob(x, 1), atol=1e-6)


ONE_STEP = {"method": "euler", "step": 100.0}  # z(end) = z + (end - start) f(z, start)


@pytest.mark.parametrize("exact", [gaussian(), mixture(3)], ids=["gaussian", "mixture"])
def test_the_velocity_is_the_score_form(exact):
    """dx/dgamma = -(1 - abar) (x + score)/2, with the score of the closed-form log-density."""
    x = np.random.default_rng(0).standard_normal((4, exact.D))
    velocity = (flow_sample(model(exact), None, x.shape, x_T=x, **ONE_STEP) - x) / -9
    score = grad(lambda x: np.sum(exact.log_prob(x, SCHEDULE.T)))(x)
    np.testing.assert_allclose(velocity, -SCHEDULE.alpha_bar[-1] * np.exp(4) * (x + score) / 2, rtol=1e-9)


@pytest.mark.parametrize("exact", [gaussian(), mixture(1), mixture(3)], ids=["gaussian", "1", "3"])
def test_the_exact_divergence_is_the_trace_by_finite_differences(exact):
    flow = model(exact)
    x, D, seen = 0.7 * np.random.default_rng(2).standard_normal((3, exact.D)), exact.D, []

    def velocity(x):
        flow_log_prob(flow, None, x, base=lambda x_T: seen.append(x_T) or np.zeros(len(x)), **ONE_STEP)
        return (seen[-1] - x) / 9

    divergence = flow_log_prob(flow, None, x, base=lambda x_T: np.zeros(3), **ONE_STEP) / 9
    h = 1e-5
    trace = sum((velocity(x + h * e) - velocity(x - h * e))[:, i] / (2 * h) for i, e in enumerate(np.eye(D)))
    np.testing.assert_allclose(divergence, trace, rtol=1e-6, atol=1e-8)
    score = grad(lambda y: np.sum(exact.log_prob(y, 1)))(x)
    np.testing.assert_allclose(velocity(x), -(1 - SCHEDULE.alpha_bar[1]) * (x + score) / 2, rtol=1e-7)


@pytest.mark.parametrize("exact", [gaussian(), mixture(3)], ids=["gaussian", "mixture"])
def test_hutchinson_over_all_sign_probes_is_the_exact_divergence(exact):
    """Over all 2^D signs the mean of probes^T J probes is the trace at every point of the path;
    on fixed steps all follow one path."""
    D, x = exact.D, np.random.default_rng(0).standard_normal((1, exact.D))
    probes = np.array(list(itertools.product([-1.0, 1.0], repeat=D)))
    fixed = {"method": "rk4", "step": 0.2, "base": at_T(exact)}
    each = flow_log_prob(model(exact), None, np.repeat(x, 2**D, axis=0),
                         divergence="hutchinson", probes=probes, **fixed)
    exactly = flow_log_prob(model(exact), None, x, **fixed)
    assert each.std() > 1e-3
    np.testing.assert_allclose(each.mean(), exactly[0], rtol=1e-11)
    np.testing.assert_allclose(exactly, exact.log_prob(x, 1), atol=1e-3)


def test_hutchinson_probes_are_signs_from_the_generator_one_for_the_whole_way():
    exact, x = mixture(2), np.random.default_rng(0).standard_normal((300, 2))
    options = {"divergence": "hutchinson", "base": at_T(exact), "rtol": 1e-4}
    drawn = flow_log_prob(model(exact), None, x, rng=np.random.default_rng(7), **options)
    probes = np.random.default_rng(7).choice([-1.0, 1.0], (300, 2))
    assert np.array_equal(drawn, flow_log_prob(model(exact), None, x, probes=probes, **options))
    error = drawn - exact.log_prob(x, 1)
    assert error.std() > 0.05 and abs(error.mean()) < 4 * error.std() / np.sqrt(300)


def test_hutchinson_for_normal_probes_scales_as_a_square():
    """In one dimension probe^T J probe = probe² J, and J enters with the exact rest: linear in probe²."""
    exact, x = line(), np.array([[0.3]])
    at = [flow_log_prob(model(exact), None, x, base=at_T(exact), divergence="hutchinson", probes=np.array([[p]]),
                        method="rk4", step=0.5)[0]
          for p in (0.0, 1.0, -1.0, 2.0)]
    assert at[1] == at[2]
    np.testing.assert_allclose(at[3] - at[0], 4 * (at[1] - at[0]), rtol=1e-10)


def test_samples_have_the_moments_and_the_law_of_x_1():
    n, rng = 2000, np.random.default_rng(0)
    exact = line(Schedule.linear_gamma(10, -4, 14))
    x = flow_sample(model(exact), None, (n, 1), rng)
    k = rng.choice(2, n, p=WEIGHTS)
    x_0 = (MEANS[k] + SDS[k] * rng.standard_normal(n))[:, None]
    assert ks_2samp(x[:, 0], sample_q(exact.schedule, x_0, 1, rng)[:, 0]).pvalue > 0.01
    assert ks_2samp(x[:, 0], rng.standard_normal(n)).pvalue < 1e-6
    plane = gaussian(exact.schedule)
    x = flow_sample(model(plane), None, (n, 2), rng)
    abar = exact.schedule.alpha_bar[1]
    cov = abar * COV + (1 - abar) * np.eye(2)
    assert np.all(np.abs(x.mean(0) - np.sqrt(abar) * MEAN) < 4 * np.sqrt(np.diag(cov) / n))
    assert np.all(np.abs(np.cov(x.T) - cov) < 4 * np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n))


@pytest.mark.parametrize("options", [{"controller": c, **TIGHT} for c in ("torchdiffeq", "jax", "diffrax")]
                         + [{"method": "bosh3", "rtol": 1e-5}, {"method": "rk4", "step": 0.15},
                            {"method": "rk4_38", "step": 0.15}])
def test_controllers_and_methods_agree(options):
    exact, x = gaussian(), np.array([[0.3, -0.4], [1.0, 2.0]])
    np.testing.assert_allclose(flow_log_prob(model(exact), None, x, base=at_T(exact), **options), exact.log_prob(x, 1),
                               atol=1e-4)
    np.testing.assert_allclose(flow_sample(model(exact), None, (2, 2), x_T=x, **options),
                               flow_sample(model(exact), None, (2, 2), x_T=x, **TIGHT), atol=1e-4)


class Counting:
    def __init__(self, exact):
        self.exact, self.calls, self.levels = exact, 0, []

    def __call__(self, theta, x, t):
        self.calls += 1
        self.levels.append(float(self.exact.schedule.gamma_at(t[0])))
        return self.exact(theta, x, t)


def test_a_kinked_table_gives_the_same_numbers_at_the_same_cost():
    """Integration is in gamma: the table only says what the denoiser is asked, which must be the t of this gamma."""
    x = np.array([[0.3], [1.2]])
    kinked = Schedule(np.concatenate([np.linspace(-5, -4.9, 30), np.linspace(-4, 0, 3),
                                      np.linspace(0.01, 0.02, 20), [3.9, 4.0]]))
    results = []
    for schedule in (SCHEDULE, kinked):
        exact = line(schedule)
        counting = Counting(exact)
        flow = VDM(counting, schedule, ExactDecoder(exact))
        numbers = (flow_sample(flow, None, (2, 1), x_T=x, **TIGHT),
                   flow_log_prob(flow, None, x, base=at_T(exact), **TIGHT))
        assert min(counting.levels) >= -5 and max(counting.levels) <= 4
        assert counting.levels[0] == 4 and abs(max(counting.levels) - min(counting.levels) - 9) < 1e-12
        results.append((*numbers, counting.calls))
    np.testing.assert_allclose(results[0][0], results[1][0], atol=1e-9)
    np.testing.assert_allclose(results[0][1], results[1][1], atol=1e-9)
    assert abs(results[1][2] - results[0][2]) <= 12


def test_float32_stays_and_agrees():
    exact, x = mixture(2), np.random.default_rng(0).standard_normal((3, 2))
    low, options = x.astype(np.float32), {"rtol": 1e-4, "atol": 1e-5}
    for got, expected in ((flow_sample(model(exact), None, (3, 2), x_T=low, **options),
                           flow_sample(model(exact), None, (3, 2), x_T=x)),
                          (flow_log_prob(model(exact), None, low, base=at_T(exact), **options), exact.log_prob(x, 1))):
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=5e-3)
    drawn = flow_log_prob(model(exact), None, low, divergence="hutchinson", rng=np.random.default_rng(0), **options)
    probes = np.random.default_rng(0).choice([-1.0, 1.0], (3, 2)).astype(np.float32)
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, flow_log_prob(model(exact), None, low,
                                               divergence="hutchinson", probes=probes, **options))
    assert flow_sample(model(exact), {"w": np.zeros(2, np.float32)}, (3, 2), np.random.default_rng(0),
                       **options).dtype == np.float32


def test_probes_of_another_float_type_are_cast_as_noise_is_everywhere():
    exact, low, probes = mixture(2), np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)
    options = {"divergence": "hutchinson", "rtol": 1e-4, "atol": 1e-5}
    got = flow_log_prob(model(exact), None, low, probes=probes.astype(float), **options)
    assert got.dtype == np.float32
    assert np.array_equal(got, flow_log_prob(model(exact), None, low, probes=probes, **options))


def test_a_learned_schedule():
    learned = LearnedSchedule(8, -5.0, 4.0)
    theta = {"denoiser": None,
             "schedule": learned.init(np.random.default_rng(0)) | {"increments": np.linspace(-1, 1, 7)}}
    exact = gaussian(Schedule.linear_gamma(8, -1, 1))
    flow, x = VDM(exact, learned, ExactDecoder(exact)), np.array([[0.3, -0.4], [1.0, 2.0]])
    np.testing.assert_allclose(flow_log_prob(flow, theta, x, base=at_T(gaussian()), **TIGHT), gaussian().log_prob(x, 1),
                               atol=1e-6)
    expected = flow_sample(model(gaussian()), None, (2, 2), x_T=x, **TIGHT)
    np.testing.assert_allclose(flow_sample(flow, theta, (2, 2), x_T=x, **TIGHT), expected, atol=1e-8)


def test_x_T_is_drawn_from_the_generator():
    flow = model(gaussian())
    got = flow_sample(flow, None, (3, 2), np.random.default_rng(5))
    assert np.array_equal(got, flow_sample(flow, None, (3, 2), x_T=np.random.default_rng(5).standard_normal((3, 2))))
    assert got.dtype == np.float64


def test_errors():
    flow, x = model(gaussian()), np.zeros((2, 2))
    with pytest.raises(ValueError, match="flow_log_prob: divergence must be one of exact, hutchinson, got 'trace'"):
        flow_log_prob(flow, None, x, divergence="trace")
    for probes in (np.ones((1, 2)), np.ones(2), np.ones((2, 3))):
        with pytest.raises(ValueError, match=r"flow_log_prob: probes must have shape \(2, 2\), got"):
            flow_log_prob(flow, None, x, divergence="hutchinson", probes=probes)
    for rng in (None, 0):
        with pytest.raises(TypeError, match="flow_log_prob: rng must be a numpy.random.Generator"):
            flow_log_prob(flow, None, x, divergence="hutchinson", rng=rng)
    for bad in ([[0.0, 0.0]], x.astype(int)):
        with pytest.raises(TypeError, match="x must be an array of floats"):
            flow_log_prob(flow, None, bad)
    with pytest.raises(ValueError, match=r"x_t must have shape \(batch, 2\)"):
        flow_log_prob(flow, None, np.zeros((2, 3)))
    with pytest.raises(ValueError, match="finite"):
        flow_log_prob(flow, None, x * np.nan)
    with pytest.raises(ValueError, match="give a numpy.random.Generator"):
        flow_sample(flow, None, (2, 2))
    with pytest.raises(ValueError, match=r"x_T must have shape \(2, 2\)"):
        flow_sample(flow, None, (2, 2), x_T=np.zeros((2, 1)))
    with pytest.raises(ValueError, match=r"shape must be a tuple"):
        flow_sample(flow, None, [2, 2], np.random.default_rng(0))
    for call in (lambda **o: flow_sample(flow, None, (2, 2), x_T=x, **o),
                 lambda **o: flow_log_prob(flow, None, x, **o)):
        with pytest.raises(ValueError, match="method"):
            call(method="rk5")
        with pytest.raises(SolverError):
            call(max_steps=1)
        with pytest.raises(TypeError):
            call(dense=True)
    with pytest.raises(ValueError,
                       match=r"what the denoiser returns must have shape \(2, 2\), got \(2, 1\), asked at t = 20"):
        flow_sample(VDM(lambda theta, x, t: x[:, :1], SCHEDULE, ExactDecoder(gaussian())), None, (2, 2), x_T=x)


def test_a_base_of_another_shape_is_an_error_and_not_a_table():
    with pytest.raises(ValueError, match="base"):
        flow_log_prob(model(gaussian()), None, np.zeros((2, 2)), base=lambda x_T: np.zeros((2, 1)))


def test_no_examples_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="x must"):
        flow_log_prob(model(gaussian()), None, np.zeros((0, 2)))


# ---------------------------------------------------------------- levels that explode

SIGMAS = np.geomspace(0.02, 40, 12)


def exploding_gaussian(theta, x, sigma):
    """E[x_0 | x_0 + σ eps = x] = mean + cov (cov + σ² I)^-1 (x - mean)."""
    assert sigma.shape == (len(x),) and sigma.dtype == x.dtype
    gains = np.stack([COV @ np.linalg.inv(COV + s * s * np.eye(2)) for s in sigma])
    return MEAN + np.einsum("nij,nj->ni", gains, x - MEAN)


def test_exploding_levels_have_the_density_of_x_0_plus_noise():
    schedule = Schedule.from_sigmas(SIGMAS)
    np.testing.assert_allclose(np.sqrt(schedule.one_minus_alpha_bar[1:] / schedule.alpha_bar[1:]), SIGMAS, rtol=1e-12)
    denoiser = ExplodingDenoiser(exploding_gaussian, schedule)
    exact = GaussianDenoiser(MEAN, COV, schedule)
    x, rng = np.random.default_rng(0).standard_normal((5, 2)), np.random.default_rng(1)
    for t in (1, 7, 3.5, rng.uniform(1, 12, 5)):
        np.testing.assert_allclose(denoiser(None, x, t), exact(None, x, t), rtol=1e-9)

    def base(x_T):
        return multivariate_normal.logpdf(x_T, MEAN, COV + SIGMAS[-1] ** 2 * np.eye(2))
    vdm = VDM(denoiser, schedule, ExactDecoder(exact))
    got = flow_log_prob(vdm, None, x, base=base, exploding=True, **TIGHT)
    expected = multivariate_normal.logpdf(x, MEAN, COV + SIGMAS[0] ** 2 * np.eye(2))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    signs = {"divergence": "hutchinson", "probes": np.sign(x)}
    flat = flow_log_prob(vdm, None, x, base=base, exploding=True, **signs, **TIGHT)
    assert np.all(np.isfinite(flat)) and np.any(np.abs(flat - expected) > 1e-3)


def test_exploding_is_the_ode_in_sigma_itself():
    """dx/dσ = (x - x̂_0)/σ and its divergence, by SciPy, for what is not Gaussian; N(0, σ_T² I) as the base."""
    def network(theta, x, sigma):
        return np.tanh(theta * x / (1 + sigma[:, None] ** 2))
    schedule, theta, x = Schedule.from_sigmas([0.1, 0.7, 3.0]), np.array(1.3), np.array([[0.4], [-1.2]])
    vdm = VDM(ExplodingDenoiser(network, schedule), schedule, ExactDecoder(GaussianDenoiser([0.0], [[1.0]], schedule)))
    got = flow_log_prob(vdm, theta, x, base=lambda x: -0.5 * np.log(2 * np.pi * 9) - x[:, 0] ** 2 / 18, exploding=True,
                        **TIGHT)

    def rhs(sigma, state):
        y = np.tanh(1.3 * state[0] / (1 + sigma**2))
        return [(state[0] - y) / sigma, (1 - 1.3 / (1 + sigma**2) * (1 - y * y)) / sigma]
    for start, log_p in zip(x[:, 0], got):
        end = solve_ivp(rhs, (0.1, 3.0), [start, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
        assert log_p == pytest.approx(-0.5 * np.log(2 * np.pi * 9) - end[0] ** 2 / 18 + end[1], abs=1e-6)
    single = flow_log_prob(vdm, theta.astype(np.float32), x.astype(np.float32), exploding=True,
                           base=lambda x: -0.5 * np.log(2 * np.pi * np.float32(9)) - x[:, 0] ** 2 / 18)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, got, atol=1e-4)


def test_exploding_refused():
    schedule = Schedule.from_sigmas([0.1, 0.7, 3.0])
    vdm = model(gaussian(schedule))
    with pytest.raises(ValueError, match=r"exploding=True x_T is about σ_T wide; give its log-density as base"):
        flow_log_prob(vdm, None, np.zeros((2, 2)), exploding=True)
    with pytest.raises(TypeError, match="exploding must be True or False, got 'yes'"):
        flow_log_prob(vdm, None, np.zeros((2, 2)), exploding="yes")
    for bad in ([0.1], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [0.1, np.inf], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="from_sigmas"):
            Schedule.from_sigmas(bad)
    with pytest.raises(ValueError, match=r"ExplodingDenoiser: gamma_T = inf"):
        ExplodingDenoiser(exploding_gaussian, Schedule.from_betas([0.1, 1.0]))
    with pytest.raises(ValueError, match=r"what the network returns must have shape \(2, 2\)"):
        ExplodingDenoiser(lambda theta, x, sigma: sigma, schedule)(None, np.zeros((2, 2)), 1)
