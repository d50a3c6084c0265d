"""The bound at T = infinity is an integral over gamma, the finite sums fall to it as 1/T,
and only schedules with fixed ends let them.

Data N(0, s²): E|x_0 - x_0 hat|² = s²/(1 + s² SNR), and the error is linear in (x_0, eps),
so that its mean square is the sum over the two unit vectors: expectations are exact, with two examples and no draw.
"""
import numpy as np
import pytest

from refvdm.autodiff import grad, vjp
from refvdm.vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    Schedule,
    continuous_kl,
    continuous_kl_quadrature,
)
from refvdm.vdm.denoiser import GaussianDenoiser

S = 1.7
UNIT_X, UNIT_EPS = np.array([[S], [0.0]]), np.array([[0.0], [1.0]])


def gaussian(schedule, s=S):
    exact = GaussianDenoiser([0.0], [[s * s]], schedule)
    return VDM(exact, schedule, ExactDecoder(exact))


def finite_sum(schedule):
    """sum_t KL_t in expectation, as the code computes it."""
    T = schedule.T
    return gaussian(schedule).kl_per_t(None, UNIT_X, eps=np.broadcast_to(UNIT_EPS, (T, 2, 1)).copy()).sum()


def integral(schedule):
    """1/2 int exp(-gamma) s²/(1 + s² exp(-gamma)) dgamma = 1/2 log (1 + s² SNR_1)/(1 + s² SNR_T)."""
    return 0.5 * np.log((1 + S * S * schedule.snr[1]) / (1 + S * S * schedule.snr[-1]))


def nodes(schedule, n):
    z, w = np.polynomial.legendre.leggauss(n)
    g1, gT = schedule.gamma[1], schedule.gamma[-1]
    return (g1 + gT) / 2 + (gT - g1) / 2 * z, w / 2


WARPS = {"linear": lambda u: u, "square": lambda u: (u + u * u) / 2, "sine": lambda u: u + 0.1 * np.sin(2 * np.pi * u)}


@pytest.mark.parametrize("warp", WARPS)
def test_the_mean_over_uniform_gamma_is_the_integral_whatever_the_table(warp):
    """Gauss-Legendre over gamma, exact over x_0 and eps; the denoiser is asked at the t that has this gamma."""
    schedule = Schedule(-5 + 9 * WARPS[warp](np.linspace(0, 1, 23)))
    gamma, w = nodes(schedule, 60)
    values = continuous_kl(gaussian(schedule), None, np.tile(UNIT_X, (60, 1)),
                           gamma=np.repeat(gamma, 2), eps=np.tile(UNIT_EPS, (60, 1)))
    assert values.shape == (120,)
    np.testing.assert_allclose(values.reshape(60, 2).sum(1) @ w, integral(schedule), rtol=1e-10)


def test_with_gauss_hermite_over_data_and_noise():
    """The same for an inexact, nonlinear denoiser in two dimensions, against the integrand written by hand."""
    schedule = Schedule(np.array([-4.0, -1.0, 0.0, 3.5]))
    model = VDM(lambda theta, x, t: np.tanh(theta * x + t[:, None] / 7), schedule, GaussianDecoder(1.0))
    z, w = np.polynomial.hermite_e.hermegauss(9)
    w = w / w.sum()
    (gamma, wg) = nodes(schedule, 12)
    G, X, E = (a.ravel() for a in np.meshgrid(gamma, z, z, indexing="ij"))
    x_0, eps = np.stack([X, -X], 1), np.stack([E, E], 1)
    got = continuous_kl(model, 0.8, x_0, gamma=G, eps=eps)
    abar = 1 / (1 + np.exp(G))
    x = np.sqrt(abar)[:, None] * x_0 + np.sqrt(1 - abar)[:, None] * eps
    t = np.interp(G, schedule.gamma[1:], [1, 2, 3, 4])
    by_hand = 7.5 / 2 * abar / (1 - abar) * np.sum((x_0 - np.tanh(0.8 * x + t[:, None] / 7)) ** 2, axis=1)
    np.testing.assert_allclose(got, by_hand, rtol=1e-12)
    weights = (wg[:, None, None] * w[:, None] * w).ravel()
    assert abs(got @ weights - by_hand @ weights) < 1e-10


def test_drawn_gamma_is_stratified_uniform_and_the_estimate_unbiased():
    schedule, n = Schedule.linear_gamma(40, -4, 4), 20_000
    model, rng = gaussian(schedule), np.random.default_rng(0)
    x_0 = S * rng.standard_normal((n, 1))
    values = continuous_kl(model, None, x_0, np.random.default_rng(1))
    assert abs(values.mean() - integral(schedule)) < 4 * values.std() / np.sqrt(n)
    again = np.random.default_rng(1)
    gamma = -4 + 8 * ((again.random() + np.arange(n) / n) % 1)
    assert np.all((np.sort(gamma) + 4) * n / 8 // 1 == np.arange(n))
    eps = again.standard_normal((n, 1))
    np.testing.assert_array_equal(values, continuous_kl(model, None, x_0, gamma=gamma, eps=eps))
    np.testing.assert_array_equal(continuous_kl(model, None, x_0, np.random.default_rng(5), gamma=gamma),
                                  continuous_kl(model, None, x_0,
                                                gamma=gamma, eps=np.random.default_rng(5).standard_normal((n, 1))))


def test_the_gap_at_finite_T_falls_as_one_over_T_with_the_coefficient_of_the_expansion():
    """sum - integral = d/2 * 1/2 int exp(-g) mse'(g) dg + O(d²), mse' = s⁴ exp(-g)/(1 + s² exp(-g))²;
    with u = s² exp(-g) it is 1/2 int u/(1+u)² du."""
    def antiderivative(u):
        return np.log1p(u) + 1 / (1 + u)

    for T in (50, 100, 200, 400):
        schedule = Schedule.linear_gamma(T, -5, 4)
        coefficient = 0.5 * (antiderivative(S * S * np.exp(5)) - antiderivative(S * S * np.exp(-4)))
        gap, d = finite_sum(schedule) - integral(schedule), 9 / (T - 1)
        assert gap > 0
        np.testing.assert_allclose(gap, d / 2 * coefficient, rtol=0.35 * d)


@pytest.mark.parametrize("warp", ["square", "sine"])
def test_a_warped_table_has_the_same_limit_and_a_gap_that_halves(warp):
    gaps = [finite_sum(schedule) - integral(schedule) for T in (200, 400, 800)
            for schedule in [Schedule(-5 + 9 * WARPS[warp](np.linspace(0, 1, T)))]]
    assert 0 < gaps[-1] < 0.03
    assert 1.9 < gaps[0] / gaps[1] < 2.1 and 1.9 < gaps[1] / gaps[2] < 2.1


@pytest.mark.parametrize("make", [lambda T: Schedule.linear_beta(T, 0.1 / T, 20 / T), Schedule.cosine])
def test_under_linear_beta_and_cosine_the_gap_does_not_fall(make):
    """The first SNR ratios stay 2, 3/2, 4/3, ...: 1/2 sum (1/(t-1) - log t/(t-1)) is half of Euler's constant."""
    gaps = [finite_sum(schedule) - integral(schedule) for schedule in map(make, (1000, 4000, 16_000, 64_000))]
    distance = np.abs(np.array(gaps) - np.euler_gamma / 2)
    assert np.all(np.diff(distance) < 0) and distance[-1] < 0.01


def test_float32_stays_and_agrees():
    schedule = Schedule.linear_gamma(10, -4, 3)
    rng = np.random.default_rng(0)
    x_0, eps, gamma = rng.standard_normal((5, 1)), rng.standard_normal((5, 1)), rng.uniform(-4, 3, 5)
    low = continuous_kl(gaussian(schedule), None, x_0.astype(np.float32), gamma=gamma, eps=eps.astype(np.float32))
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, continuous_kl(gaussian(schedule), None, x_0, gamma=gamma, eps=eps), rtol=1e-4)
    assert continuous_kl(gaussian(schedule), None, x_0.astype(np.float32), np.random.default_rng(0)).dtype == np.float32


def test_gradient_of_the_denoisers_parameters():
    model = VDM(lambda theta, x, t: theta * x, Schedule.linear_gamma(5, -2, 2), GaussianDecoder(1.0))
    x_0, eps, gamma = np.array([[0.5, 1.0]]), np.array([[1.0, -0.3]]), np.array([0.4])
    abar = 1 / (1 + np.exp(0.4))
    x = np.sqrt(abar) * x_0 + np.sqrt(1 - abar) * eps
    got = grad(lambda theta: continuous_kl(model, theta, x_0, gamma=gamma, eps=eps)[0])(np.array(0.3))
    np.testing.assert_allclose(got, 4 * np.exp(-0.4) * np.sum((0.3 * x - x_0) * x), rtol=1e-12)


def learned():
    schedule = LearnedSchedule(6, -4.0, 3.0)
    exact = GaussianDenoiser([0.0], [[S * S]], Schedule.linear_gamma(6, -4, 3))
    parameters = schedule.init(np.random.default_rng(0)) | {"increments": np.array([0.3, -0.5, 1.0, 0.0, 0.2])}
    return VDM(exact, schedule, ExactDecoder(exact)), parameters


def test_a_learned_schedule_gives_its_ends_and_passes_itself_on():
    model, parameters = learned()
    x_0, eps, gamma = np.ones((4, 1)), np.full((4, 1), 0.5), np.array([-4.0, -1.3, 0.2, 2.99])
    got = continuous_kl(model, {"denoiser": None, "schedule": parameters}, x_0, gamma=gamma, eps=eps)
    np.testing.assert_allclose(got, continuous_kl(gaussian(Schedule.linear_gamma(6, -4, 3)), None, x_0,
                                                  gamma=gamma, eps=eps), rtol=1e-10)
    with pytest.raises(ValueError, match=r"lie in \[-4, 3\]"):
        continuous_kl(model, {"denoiser": None, "schedule": parameters}, x_0, gamma=gamma + 0.1, eps=eps)


def test_the_schedule_is_a_constant_also_when_the_denoiser_holds_it():
    """At a given gamma nothing depends on the table's shape: its gradient is 0, as the docstring promises."""
    model, parameters = learned()
    gamma, eps = np.array([-1.2, 0.3]), np.ones((2, 1))

    def total(p):
        return np.sum(continuous_kl(model, {"denoiser": None, "schedule": p}, np.ones((2, 1)), gamma=gamma, eps=eps))

    _, pullback = vjp(lambda p: total(p) + 0 * np.sum(p["increments"]), parameters)
    gradient = pullback(np.ones(()))[0]
    assert all(np.all(np.asarray(value) == 0) for value in gradient.values())


def test_errors():
    model, x_0, eps = gaussian(Schedule.linear_gamma(5, -2, 3)), np.zeros((2, 1)), np.zeros((2, 1))
    with pytest.raises(ValueError, match="continuous_kl: give a numpy.random.Generator as rng, or gamma and eps"):
        continuous_kl(model, None, x_0)
    with pytest.raises(ValueError, match="continuous_kl: give a numpy.random.Generator"):
        continuous_kl(model, None, x_0, gamma=np.zeros(2))
    for bad in (np.zeros(3), np.zeros((2, 1)), 0.0, np.array([-2.001, 0.0]), np.array([0.0, 3.001]),
                np.array([np.nan, 0.0])):
        with pytest.raises(ValueError, match=r"gamma must have shape \(2,\) and lie in \[-2, 3\]"):
            continuous_kl(model, None, x_0, gamma=bad, eps=eps)
    with pytest.raises(ValueError, match=r"continuous_kl: eps must have shape \(2, 1\), got \(1, 1\)"):
        continuous_kl(model, None, x_0, gamma=np.zeros(2), eps=eps[:1])
    with pytest.raises(ValueError, match="x_0 must be finite"):
        continuous_kl(model, None, x_0 * np.nan, gamma=np.zeros(2), eps=eps)
    with pytest.raises(TypeError, match="x_0 must be an array of floats"):
        continuous_kl(model, None, [[0.0]], gamma=np.zeros(1), eps=eps)


def test_a_seed_in_the_place_of_the_generator_is_a_type_error():
    with pytest.raises(TypeError, match="continuous_kl: rng must be a numpy.random.Generator"):
        continuous_kl(gaussian(Schedule.linear_gamma(5, -2, 3)), None, np.zeros((2, 1)), 0)


# ---------------------------------------------------------------- by quadrature


@pytest.mark.parametrize("warp", WARPS)
def test_quadrature_is_the_integral_and_states_its_error(warp):
    """Exact over x_0 and eps by the two unit vectors, so that only the quadrature is left."""
    schedule = Schedule(-5 + 9 * WARPS[warp](np.linspace(0, 1, 23)))
    for nodes, stated in ((2, 1.0), (5, 0.3), (8, 0.06), (12, 4e-3), (24, 2e-6)):
        value, error = continuous_kl_quadrature(gaussian(schedule), None, UNIT_X, eps=UNIT_EPS, nodes=nodes)
        value, error = value.sum(), error.sum()
        missed = abs(value - integral(schedule))
        assert missed <= error <= stated
    assert missed < 1e-12


def test_where_one_draw_of_gamma_scatters_it_does_not():
    schedule, n = Schedule.linear_gamma(10, -5, 4), 2000
    vdm, rng = gaussian(schedule), np.random.default_rng(0)
    x_0, eps = S * rng.standard_normal((n, 1)), rng.standard_normal((n, 1))
    found = continuous_kl_quadrature(vdm, None, x_0, eps=eps)
    assert np.all(found.error < 1e-3)
    one = continuous_kl(vdm, None, x_0, rng, eps=eps)
    assert abs(np.mean(one - found.value)) < 4 * np.std(one - found.value) / np.sqrt(n)
    np.testing.assert_allclose(found.value.mean(), integral(schedule), atol=4 * found.value.std() / np.sqrt(n))
    np.testing.assert_array_equal(continuous_kl_quadrature(vdm, None, x_0, np.random.default_rng(3)).value,
                                  continuous_kl_quadrature(vdm, None, x_0, eps=np.random.default_rng(3).standard_normal(
                                      (n, 1))).value)
    single = continuous_kl_quadrature(vdm, None, x_0.astype(np.float32), eps=eps.astype(np.float32))
    assert single.value.dtype == single.error.dtype == np.float32
    np.testing.assert_allclose(single.value, found.value, rtol=1e-4)


def test_quadrature_has_gradients_and_says_what_it_asks():
    asked = []

    def denoiser(theta, x_t, t):
        asked.append(t)
        return theta * x_t
    schedule = Schedule.linear_gamma(4, -3, 2)
    vdm, x_0, eps = VDM(denoiser, schedule, GaussianDecoder(1.0)), np.ones((2, 3)), np.full((2, 3), 0.5)
    slope = grad(lambda theta: np.sum(continuous_kl_quadrature(vdm, theta, x_0, eps=eps, nodes=6).value))(np.array(0.3))
    assert len(asked) == 9 and np.all(np.diff([t[0] for t in asked[:6]]) > 0)
    h = 1e-5
    high, low = (np.sum(continuous_kl_quadrature(vdm, np.array(0.3 + d), x_0, eps=eps, nodes=6).value) for d in (h, -h))
    assert slope == pytest.approx((high - low) / (2 * h), rel=1e-6)
    with pytest.raises(ValueError, match="continuous_kl_quadrature: nodes must be an integer of at least 2"):
        continuous_kl_quadrature(vdm, np.array(0.3), x_0, eps=eps, nodes=1)
    with pytest.raises(ValueError, match=r"continuous_kl_quadrature: with gamma_T = inf"):
        limit = VDM(denoiser, Schedule.from_betas([0.1, 1.0]), GaussianDecoder(1.0))
        continuous_kl_quadrature(limit, np.array(0.3), x_0, eps=eps)
