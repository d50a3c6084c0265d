"""Exact denoisers against numerical integration, Tweedie's formula and each other.

The integrals are plain sums over fine grids of prior times likelihood, both from scipy.stats.
"""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import multivariate_normal, norm

from refvdm.autodiff import check_vjp, grad, jacobian
from refvdm.vdm import Schedule
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser, PointsDenoiser

SCHEDULE = Schedule.linear_gamma(10, -4, 4)
WEIGHTS, MEANS = np.array([0.5, 0.3, 0.2]), np.array([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.5]])
COVS = np.array([[[0.5, 0.2], [0.2, 0.3]], [[0.2, 0.0], [0.0, 0.9]], [[0.4, -0.3], [-0.3, 0.5]]])
POINTS = np.array([[1.0, 0.0], [-1.0, 0.5], [0.3, -1.5], [0.0, 0.0]])
POINT_WEIGHTS = np.array([1.0, 2.0, 3.0, 0.5])


def exact(kind, schedule=SCHEDULE):
    if kind == "gaussian":
        return GaussianDenoiser(MEANS[0], COVS[0], schedule)
    if kind == "mixture":
        return MixtureDenoiser(2 * WEIGHTS, MEANS, COVS, schedule)
    return PointsDenoiser(POINTS, schedule, POINT_WEIGHTS)


KINDS = ["gaussian", "mixture", "points"]


def grid_2d():
    """Nodes (N, 2) with prior masses (N,), by kind."""
    g = np.linspace(-8, 8, 401)
    nodes = np.stack(np.meshgrid(g, g, indexing="ij"), -1).reshape(-1, 2)
    parts = [multivariate_normal(m, c).pdf(nodes) for m, c in zip(MEANS, COVS)]
    cell = (g[1] - g[0]) ** 2
    return {"gaussian": (nodes, parts[0] * cell), "mixture": (nodes, WEIGHTS @ parts * cell),
            "points": (POINTS, POINT_WEIGHTS / POINT_WEIGHTS.sum())}


GRID = grid_2d()


def brute_force(kind, x_t, t):
    """Posterior mean, posterior variance, log density of every x_t (batch, 2) by summing prior times likelihood."""
    nodes, prior = GRID[kind]
    abar = np.cumprod(SCHEDULE.alpha)[t]
    rows = []
    for x in x_t:
        joint = prior * norm.pdf(x, np.sqrt(abar) * nodes, np.sqrt(1 - abar)).prod(1)
        post = joint / joint.sum()
        mean = post @ nodes
        rows.append((mean, post @ (nodes - mean) ** 2, np.log(joint.sum())))
    return [np.array(column) for column in zip(*rows)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("t", [2, 5, 10])
def test_posterior_moments_and_density_by_integration_in_2d(kind, t):
    denoiser = exact(kind)
    x_t = np.random.default_rng(t).standard_normal((4, 2)) * 1.2
    mean, variance, log_density = brute_force(kind, x_t, t)
    np.testing.assert_allclose(denoiser(None, x_t, t), mean, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(denoiser.posterior_variance(x_t, t), variance, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(denoiser.log_prob(x_t, t), log_density, rtol=1e-8, atol=1e-9)


@settings(max_examples=20)
@given(st.integers(1, 4), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_mixture_in_1d_by_integration(K, t, seed):
    rng = np.random.default_rng(seed)
    weights, means, sds = rng.uniform(0.1, 1, K), rng.uniform(-2, 2, K), rng.uniform(0.2, 1, K)
    denoiser = MixtureDenoiser(weights, means[:, None], (sds**2)[:, None, None], SCHEDULE)
    x = np.linspace(-12, 12, 40_001)
    prior = (weights / weights.sum()) @ norm.pdf(x, means[:, None], sds[:, None])
    abar = np.cumprod(SCHEDULE.alpha)[t]
    x_t = rng.uniform(-2, 2)
    joint = prior * norm.pdf(x_t, np.sqrt(abar) * x, np.sqrt(1 - abar)) * (x[1] - x[0])
    post = joint / joint.sum()
    at = np.array([[x_t]])
    assert denoiser(None, at, t)[0, 0] == pytest.approx(post @ x, rel=1e-9, abs=1e-10)
    assert denoiser.posterior_variance(at, t)[0, 0] == pytest.approx(post @ (x - post @ x) ** 2, rel=1e-8)
    assert denoiser.log_prob(at, t)[0] == pytest.approx(np.log(joint.sum()), rel=1e-10, abs=1e-10)
    some = slice(16_000, 24_000, 500)
    assert denoiser.log_prob_data(x[some, None]) == pytest.approx(np.log(prior[some]), rel=1e-9, abs=1e-9)


@given(st.integers(1, 5), st.integers(1, 10), st.integers(0, 2**32 - 1))
def test_gaussian_is_the_linear_solve(D, t, seed):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((D, D))
    mean, cov, x_t = rng.standard_normal(D), A @ A.T + 0.1 * np.eye(D), rng.standard_normal((3, D))
    abar = np.cumprod(SCHEDULE.alpha)[t]
    noisy = abar * cov + (1 - abar) * np.eye(D)
    gain = np.sqrt(abar) * cov @ np.linalg.inv(noisy)
    expected = mean + (x_t - np.sqrt(abar) * mean) @ gain.T
    covariance = cov - np.sqrt(abar) * gain @ cov
    denoiser = GaussianDenoiser(mean, cov, SCHEDULE)
    np.testing.assert_allclose(denoiser("ignored", x_t, t), expected, rtol=1e-9, atol=1e-9)
    variance = np.broadcast_to(np.diag(covariance), (3, D))
    np.testing.assert_allclose(denoiser.posterior_variance(x_t, t), variance, rtol=1e-7, atol=1e-10)
    law = multivariate_normal(np.sqrt(abar) * mean, noisy)
    np.testing.assert_allclose(denoiser.log_prob(x_t, t), law.logpdf(x_t), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(denoiser.log_prob_data(x_t), multivariate_normal(mean, cov).logpdf(x_t),
                               rtol=1e-7, atol=1e-8)
    x_0 = rng.standard_normal((3, D))
    posterior = [multivariate_normal(m, covariance, allow_singular=True).logpdf(x) for m, x in zip(expected, x_0)]
    np.testing.assert_allclose(denoiser.log_posterior(x_0, x_t, t), posterior, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("t", [1, 4, 10])
def test_mixture_of_one_is_gaussian_and_of_tiny_ones_is_points(t):
    x_t = np.random.default_rng(0).standard_normal((5, 2))
    one, gaussian = MixtureDenoiser([7.0], MEANS[:1], COVS[:1], SCHEDULE), exact("gaussian")
    tiny = MixtureDenoiser(POINT_WEIGHTS, POINTS, np.tile(1e-14 * np.eye(2), (4, 1, 1)), SCHEDULE)
    for a, b, tol in [(one, gaussian, 1e-12), (tiny, exact("points"), 1e-9)]:
        np.testing.assert_allclose(a(None, x_t, t), b(None, x_t, t), rtol=tol, atol=tol)
        np.testing.assert_allclose(a.posterior_variance(x_t, t), b.posterior_variance(x_t, t), rtol=tol, atol=tol)
        np.testing.assert_allclose(a.log_prob(x_t, t), b.log_prob(x_t, t), rtol=tol, atol=tol)


def test_zero_covariances_are_points_exactly():
    """A zero matrix is positive semidefinite."""
    x_t = np.random.default_rng(0).standard_normal((5, 2))
    none = MixtureDenoiser(POINT_WEIGHTS, POINTS, np.zeros((4, 2, 2)), SCHEDULE)
    np.testing.assert_allclose(none(None, x_t, 4), exact("points")(None, x_t, 4), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_tweedie(kind):
    """E[x_0 | x_t] = (x_t + (1 - abar) grad log p(x_t))/sqrt(abar),
    its Jacobian sqrt(abar)/(1 - abar) Cov[x_0 | x_t]."""
    denoiser, rng = exact(kind), np.random.default_rng(0)
    for t in (1, 4, 7.5, 10):
        abar = expit(-np.interp(t, np.arange(1, 11), SCHEDULE.gamma[1:]))
        x_t = rng.standard_normal((3, 2))
        score = grad(lambda x, t: np.sum(denoiser.log_prob(x, t)))(x_t, t)
        np.testing.assert_allclose(denoiser(None, x_t, t), (x_t + (1 - abar) * score) / np.sqrt(abar),
                                   rtol=1e-9, atol=1e-10)
        J = jacobian(lambda x, t: denoiser(None, x[None], t)[0])(x_t[0], t)
        np.testing.assert_allclose(J, J.T, rtol=1e-9, atol=1e-11)
        variance = denoiser.posterior_variance(x_t[:1], t)[0]
        np.testing.assert_allclose(np.diag(J) * (1 - abar) / np.sqrt(abar), variance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind):
    denoiser, x_t = exact(kind), np.random.default_rng(1).standard_normal((3, 2))
    t = np.array([2, 5, 9])
    check_vjp(lambda x: denoiser(None, x, t), x_t)
    check_vjp(lambda x: denoiser.log_prob(x, t), x_t)
    check_vjp(lambda x: denoiser.posterior_variance(x, t), x_t)
    x_0 = POINTS[:3]
    check_vjp(lambda x: denoiser.log_posterior(x_0, x, t), x_t)


@pytest.mark.parametrize("kind", ["gaussian", "mixture"])
def test_log_posterior_is_a_density(kind):
    denoiser, x_t = exact(kind), np.array([[0.3, -0.4]])
    nodes, _ = GRID[kind]
    density = np.exp(denoiser.log_posterior(nodes, np.broadcast_to(x_t, nodes.shape), 5))
    assert density.sum() * 0.04**2 == pytest.approx(1, abs=1e-8)
    np.testing.assert_allclose(density @ nodes * 0.04**2, denoiser(None, x_t, 5)[0], rtol=1e-8)


def test_log_masses_and_log_posterior_of_points_are_the_brute_force_posterior():
    denoiser, x_t = exact("points"), np.random.default_rng(0).standard_normal((6, 2))
    for t in (1, 5, 10):
        abar = np.cumprod(SCHEDULE.alpha)[t]
        joint = POINT_WEIGHTS * norm.pdf(x_t[:, None], np.sqrt(abar) * POINTS, np.sqrt(1 - abar)).prod(-1)
        masses = joint / joint.sum(1, keepdims=True)
        np.testing.assert_allclose(np.exp(denoiser.log_masses(x_t, t)), masses, rtol=1e-9, atol=1e-300)
        np.testing.assert_allclose(np.exp(denoiser.log_masses(x_t, t)).sum(1), 1, rtol=1e-12)
        for i, point in enumerate(POINTS):
            got = denoiser.log_posterior(np.tile(point, (6, 1)), x_t, t)
            np.testing.assert_allclose(got, denoiser.log_masses(x_t, t)[:, i], rtol=1e-14)
    equal = PointsDenoiser(POINTS, SCHEDULE)
    np.testing.assert_allclose(equal(None, x_t, 4), PointsDenoiser(POINTS, SCHEDULE, [3.0] * 4)(None, x_t, 4),
                               rtol=1e-12)


@pytest.mark.parametrize("gamma_1, dtype, tolerance",
                         [(-13.3, np.float64, 1e-9), (-20.0, np.float64, 1e-6), (-13.3, np.float32, 1e-3)])
def test_points_keep_their_digits_where_the_noise_is_small(gamma_1, dtype, tolerance):
    """log odds of two points 2 s apart: (|x - a p_1|² - |x - a p_0|²)/(2 s²), here from the differences.

    In float32 x_t itself is off by 3e-8, which moves these log odds by 5e-5.
    """
    schedule = Schedule.linear_gamma(2, gamma_1, 0)
    a, s = np.sqrt(expit(-gamma_1)), np.sqrt(expit(gamma_1))
    points = np.array([[1.0], [1.0 + 2 * s]])
    x_t = a * points[:1] + 0.3 * s
    u = x_t - a * points[:, 0]
    log_masses = PointsDenoiser(points, schedule).log_masses(x_t.astype(dtype), 1)[0]
    assert log_masses[0] - log_masses[1] == pytest.approx((u[0, 1] ** 2 - u[0, 0] ** 2) / (2 * s * s), rel=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_have_the_posterior_moments(kind):
    denoiser, n = exact(kind), 40_000
    x_t = np.tile([[0.2, -0.3]], (n, 1))
    x = denoiser.sample_posterior(x_t, 6, np.random.default_rng(0).standard_normal((n, 2)))
    mean, variance = denoiser(None, x_t[:1], 6)[0], denoiser.posterior_variance(x_t[:1], 6)[0]
    kurtosis = ((x - mean) ** 4).mean(0)
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(variance / n))
    assert np.all(np.abs(((x - mean) ** 2).mean(0) - variance) < 4 * np.sqrt((kurtosis - variance**2) / n))
    nodes, prior = GRID[kind]
    joint = prior * norm.pdf(x_t[0], np.sqrt(np.cumprod(SCHEDULE.alpha)[6]) * nodes,
                             np.sqrt(expit(SCHEDULE.gamma[6]))).prod(1)
    for region in (lambda p: p[:, 0] > 0.5, lambda p: (p[:, 0] < 0) & (p[:, 1] < -0.5)):
        share = joint[region(nodes)].sum() / joint.sum()
        assert abs(region(x).mean() - share) <= 4 * np.sqrt(share * (1 - share) / n) + 0.01 * (kind != "points")


def test_frequencies_of_points():
    denoiser, n = exact("points"), 40_000
    x_t = np.tile([[0.2, -0.3]], (n, 1))
    x = denoiser.sample_posterior(x_t, 8, np.random.default_rng(0).standard_normal((n, 2)))
    p = np.exp(denoiser.log_masses(x_t[:1], 8)[0])
    frequency = np.array([np.all(x == point, axis=1).mean() for point in POINTS])
    assert frequency.sum() == 1
    assert np.all(np.abs(frequency - p) < 4 * np.sqrt(p * (1 - p) / n))


def test_a_gaussian_posterior_sample_is_the_mean_plus_a_root_of_the_covariance_times_eps():
    denoiser = exact("gaussian")
    x_t = np.tile([[0.2, -0.3]], (5, 1))
    eps = np.array([[0, 0], [1, 0], [0, 1], [-2, 1], [3.0, 3]])
    x = denoiser.sample_posterior(x_t, 4, eps)
    root = (x[1:3] - x[0]).T
    np.testing.assert_allclose(x[0], denoiser(None, x_t, 4)[0], rtol=1e-10)
    np.testing.assert_allclose(np.diag(root @ root.T), denoiser.posterior_variance(x_t, 4)[0], rtol=1e-10)
    np.testing.assert_allclose(x - x[0], eps @ root.T, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_eps_gives_finite_samples(kind, dtype):
    x_t = np.zeros((5, 2), dtype)
    for t in (1, 10):
        x = exact(kind).sample_posterior(x_t, t, np.array([[-9, 0], [-6, 1], [0, 0], [6, 1], [9, 0]], dtype))
        assert x.dtype == dtype and np.all(np.isfinite(x))


@pytest.mark.parametrize("kind", KINDS)
def test_float32_stays_and_agrees(kind):
    denoiser, x_t = exact(kind), np.random.default_rng(0).standard_normal((4, 2))
    x_0, eps = POINTS, np.random.default_rng(1).standard_normal((4, 2))
    t = np.array([1, 3, 6, 10])
    for f in (lambda x: denoiser(None, x, t), lambda x: denoiser.posterior_variance(x, t),
              lambda x: denoiser.log_prob(x, t), lambda x: denoiser.log_posterior(x_0.astype(x.dtype), x, t),
              lambda x: denoiser.sample_posterior(x, t, eps.astype(x.dtype))):
        low, high = f(x_t.astype(np.float32)), f(x_t)
        assert low.dtype == np.float32 and high.dtype == np.float64
        np.testing.assert_allclose(low, high, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_t_per_example_real_t_and_theta(kind):
    denoiser, x_t = exact(kind), np.random.default_rng(0).standard_normal((3, 2))
    t = np.array([1.0, 2.5, 10])
    whole = denoiser(None, x_t, t)
    for i in range(3):
        np.testing.assert_allclose(denoiser({"any": 3}, x_t[i : i + 1], t[i]), whole[i : i + 1], rtol=1e-12)
    half = Schedule([SCHEDULE.gamma[2], (SCHEDULE.gamma[2] + SCHEDULE.gamma[3]) / 2])
    np.testing.assert_allclose(whole[1:2], exact(kind, half)(None, x_t[1:2], 2), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_errors_of_calls(kind):
    denoiser, x_t = exact(kind), np.zeros((3, 2))
    for bad in (np.zeros((3, 3)), np.zeros(2), np.zeros((3, 2, 1))):
        with pytest.raises(ValueError, match=r"x_t must have shape \(batch, 2\)"):
            denoiser(None, bad, 1)
    with pytest.raises(ValueError, match=r"t must be one number or have shape \(3,\), got \(2,\)"):
        denoiser(None, x_t, [1, 2])
    for t in (0, 10.5, [1, 2, 11]):
        with pytest.raises(ValueError, match=r"t must lie in \[1, 10\]"):
            denoiser(None, x_t, t)


@pytest.mark.parametrize("kind", KINDS)
def test_integer_x_t_is_an_error(kind):
    with pytest.raises(TypeError, match="float"):
        exact(kind)(None, np.ones((3, 2), int), 5)


def test_errors_of_construction():
    good = WEIGHTS, MEANS, COVS
    for i, bad in [(0, WEIGHTS[:2]), (1, MEANS[0]), (2, COVS[:2]), (2, COVS[:, :1]), (1, MEANS[:, :1])]:
        with pytest.raises(ValueError, match=r"expected weights \(K,\), means \(K, D\), covs \(K, D, D\)"):
            MixtureDenoiser(*good[:i], bad, *good[i + 1 :], SCHEDULE)
    for weights in ([0.5, 0.5, 0.0], [0.5, -0.5, 1], [1, 1, np.nan], [1, 1, np.inf]):
        with pytest.raises(ValueError, match="weights must be positive and finite"):
            MixtureDenoiser(weights, MEANS, COVS, SCHEDULE)
        with pytest.raises(ValueError, match="weights must be 3 positive numbers"):
            PointsDenoiser(POINTS[:3], SCHEDULE, weights)
    for means, covs in [(MEANS * np.nan, COVS), (MEANS, COVS * np.nan), (MEANS, COVS + [[0, 1e-3], [0, 0]])]:
        with pytest.raises(ValueError, match="(means|covs) must be finite|covariances .* must be symmetric"):
            MixtureDenoiser(WEIGHTS, means, covs, SCHEDULE)
    with pytest.raises(ValueError, match="positive semidefinite, smallest eigenvalue"):
        GaussianDenoiser([0, 0], [[1, 2], [2, 1]], SCHEDULE)
    GaussianDenoiser([0, 0], [[1, 1], [1, 1]], SCHEDULE)
    for mean, cov in [(0.0, 1.0), ([0, 0], np.eye(3)), ([[0.0]], [[1.0]]), ([0.0], [1.0])]:
        with pytest.raises(ValueError, match=r"expected mean \(D,\) and cov \(D, D\)"):
            GaussianDenoiser(mean, cov, SCHEDULE)
    for points in (np.zeros(3), np.zeros((0, 2)), [[np.nan, 0]], np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"finite points of shape \(N, D\)"):
            PointsDenoiser(points, SCHEDULE)
    with pytest.raises(ValueError, match="weights must be 4 positive"):
        PointsDenoiser(POINTS, SCHEDULE, [1.0, 2.0])
    with pytest.raises(ValueError, match="must differ from each other"):
        PointsDenoiser([[0, 1], [1, 0], [0, 1]], SCHEDULE)
    with pytest.raises(ValueError, match="example 1 is none of them"):
        exact("points").log_posterior(np.array([POINTS[0], [9.0, 9]]), np.zeros((2, 2)), 3)
    assert PointsDenoiser([[2.0, 3.0]], SCHEDULE)(None, np.zeros((1, 2)), 3).tolist() == [[2, 3]]


def test_shapes_that_would_broadcast_are_errors():
    schedule = Schedule.linear_gamma(5, -3, 3)
    gaussian, points = GaussianDenoiser(np.zeros(2), np.eye(2), schedule), PointsDenoiser(np.eye(2), schedule)
    x = np.ones((3, 2))
    with pytest.raises(ValueError, match=r"x_0 must have shape \(batch, 2\)"):
        gaussian.log_prob_data(np.ones((2, 1)))
    for denoiser in (gaussian, points):
        with pytest.raises(ValueError, match="x_0 must have x_t's shape"):
            denoiser.log_posterior(np.ones((1, 2)), x, 2)
        with pytest.raises(ValueError, match="eps must have x_t's shape"):
            denoiser.sample_posterior(x, 2, np.ones((3, 1)))
    with pytest.raises(TypeError, match="schedule must be a Schedule"):
        GaussianDenoiser(np.zeros(2), np.eye(2), None)


def test_points_that_collide_in_float32_share_their_mass():
    denoiser = PointsDenoiser([[0.0], [1.0], [1 + 1e-9]], Schedule.linear_gamma(5, -3, 3))
    x = np.ones((1, 1), np.float32)
    together = np.logaddexp(*denoiser.log_masses(x, 2)[0, 1:])
    np.testing.assert_allclose(denoiser.log_posterior(x, x, 2), together, rtol=1e-6)
