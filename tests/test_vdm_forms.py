"""A VDM as a hierarchical VAE, and the three forms of its bound: one chain each, one mean, different variances.

On Gaussian data with linear denoisers every form is quadratic in (x_0, eps_1, ..., eps_T), so that a grid of
Gauss-Hermite nodes, one example for each, gives the means exactly, and with five nodes the variances too.
"""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit
from scipy.stats import norm

from refvdm.autodiff import check_vjp
from refvdm.mhvae import MarkovianHVAE
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    ExactDecoder,
    Forms,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    elbo_forms,
    optimal_variance,
    q_posterior,
    q_step,
)
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser, PointsDenoiser
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

SHAPES = [(3,), (3, 1), (3, 2), (2, 3, 3)]


def poor(theta, x_t, t):
    """Linear in x_t, far from the posterior mean."""
    return -0.4 * x_t + 0.3


def bent(theta, x_t, t):
    """Some smooth function of x_t and t."""
    return np.tanh(x_t) / np.reshape(1.0 + 0.1 * t, (-1,) + (1,) * (np.ndim(x_t) - 1)).astype(x_t.dtype)


def nodes(T, s2, n, mean=0.0):
    """x_0 (N, 1) ~ N(mean, s2), eps (T, N, 1) and weights (N,), N = n^(T+1)."""
    z, w = hermegauss(n)
    grid = np.reshape(np.meshgrid(*[z] * (T + 1), indexing="ij"), (T + 1, -1, 1))
    weights = np.prod(np.reshape(np.meshgrid(*[w / np.sqrt(2 * np.pi)] * (T + 1), indexing="ij"), (T + 1, -1)), axis=0)
    return mean + np.sqrt(s2) * grid[0], grid[1:], weights


def isotropic(schedule, s2, D=1, mean=0.0):
    return GaussianDenoiser(np.full(D, mean), s2 * np.eye(D), schedule)


def best_variance(schedule, s2):
    """Optimal for N(0, s2) data: Var[x_0 | x_t] = s2 (1 - abar)/(1 - abar + s2 abar)."""
    abar = schedule.alpha_bar
    return optimal_variance(schedule, s2 * (1 - abar) / (1 - abar + s2 * abar))


def variance_of(kind, schedule, s2):
    return best_variance(schedule, s2) if kind == "optimal" else kind


@st.composite
def problems(draw, shapes=SHAPES):
    """(VDM, x_0, eps, rng) of some shape, schedule, variance and Gaussian decoder."""
    T, rng = draw(st.integers(2, 7)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    schedule = Schedule(np.cumsum(rng.uniform(0.2, 1.5, T)) - 3)
    shape = draw(st.sampled_from(shapes))
    variance = draw(st.sampled_from(["small", "large", "array"]))
    variance = rng.uniform(0.05, 2, T + 1) if variance == "array" else variance
    if len(shape) == 2 and draw(st.booleans()):
        exact = GaussianDenoiser(rng.standard_normal(shape[1]), np.diag(rng.uniform(0.2, 3, shape[1])), schedule)
        vdm = VDM(exact if draw(st.booleans()) else bent, schedule, ExactDecoder(exact), variance)
    else:
        vdm = VDM(bent, schedule, GaussianDecoder(rng.uniform(0.05, 2)), variance)
    return vdm, rng.standard_normal(shape), rng.standard_normal((T, *shape)), rng


def chain(schedule, x_0, eps):
    """[x_0, ..., x_T] through the steps of 13.26, with alpha as it is defined."""
    x = [x_0]
    for t in range(1, schedule.T + 1):
        x.append(np.sqrt(schedule.alpha[t]) * x[-1] + np.sqrt(1 - schedule.alpha[t]) * eps[t - 1])
    return x


def flat_sum(x):
    return x.reshape(len(x), -1).sum(1)


# ---------------------------------------------------------------- as an HVAE


@given(problems())
def test_as_mhvae_has_the_joint_form(problem):
    """13.21 of the hierarchical VAE and of the VDM are one number, and so are the two samplers."""
    vdm, x_0, eps, rng = problem
    hvae = vdm.as_mhvae()
    assert isinstance(hvae, MarkovianHVAE) and hvae.T == vdm.schedule.T
    np.testing.assert_allclose(hvae.elbo(None, x_0, eps=eps), elbo_forms(vdm, None, x_0, eps=eps).joint,
                               rtol=1e-12, atol=1e-12)
    # the exact decoder's noise is in the eigenbasis
    if isinstance(vdm.decoder, GaussianDecoder) or x_0.shape[1] == 1:
        x_T = rng.standard_normal(x_0.shape)
        sample = vdm.sample(None, x_0.shape, x_T=x_T, eps=eps)
        np.testing.assert_allclose(hvae.sample(None, x_0.shape, z_T=x_T, eps=eps), sample, rtol=1e-7, atol=1e-7)


@given(problems())
def test_conditionals_of_the_hvae(problem):
    """Encoder t is q_step, decoder t >= 2 the posterior at x_0 hat with p's variance,
    decoder 1 the density of the VDM's decoder."""
    vdm, x_0, _, rng = problem
    hvae, schedule = vdm.as_mhvae(), vdm.schedule
    for t in range(1, schedule.T + 1):
        mean, log_var = hvae.encoders[t - 1](None, x_0)
        expected, var = q_step(schedule, x_0, t)
        np.testing.assert_array_equal(mean, expected)
        np.testing.assert_allclose(np.exp(log_var), var, rtol=1e-12)
    for t in range(2, schedule.T + 1):
        mean, log_var = hvae.decoders[t - 1](None, x_0)
        expected, var = q_posterior(schedule, x_0, vdm.denoiser(None, x_0, np.full(len(x_0), t)), t)
        np.testing.assert_allclose(mean, expected, rtol=1e-12, atol=1e-14)
        var = 1 - schedule.alpha[t] if isinstance(vdm.variance, str) and vdm.variance == "large" else var
        np.testing.assert_allclose(np.exp(log_var), vdm.variance[t] if isinstance(vdm.variance, np.ndarray) else var,
                                   rtol=1e-9)
    mean, log_var = hvae.decoders[0](None, x_0)
    x = rng.standard_normal(x_0.shape)
    log_p = flat_sum(norm.logpdf(x, mean, np.exp(0.5 * log_var)) + 0 * x)
    if isinstance(vdm.decoder, ExactDecoder):
        expected = vdm.decoder.denoiser.log_posterior(x, x_0, 1)
    else:
        expected = flat_sum(norm.logpdf(x, bent(None, x_0, np.ones(len(x_0))), np.sqrt(vdm.decoder.variance)))
    np.testing.assert_allclose(log_p, expected, rtol=1e-9, atol=1e-11)


def test_as_mhvae_with_learned_parts_takes_the_same_theta():
    learned, rng = LearnedSchedule(4, -3, 3), np.random.default_rng(0)
    network = RegressionDenoiser(MLPNetwork(2, 2, 6, 1), Schedule.linear_gamma(4, -3, 3))
    vdm = VDM(network, learned, GaussianDecoder(0.1), LearnedVariance(4))
    theta = {"denoiser": network.init(rng, np.float64), "schedule": learned.init(rng),
             "variance": LearnedVariance(4).init(rng)}
    theta["schedule"]["increments"] = rng.standard_normal(3)
    theta["denoiser"][list(theta["denoiser"])[-2]][:] = rng.standard_normal((6, 2))
    x_0, eps = rng.standard_normal((3, 2)), rng.standard_normal((4, 3, 2))
    np.testing.assert_allclose(vdm.as_mhvae().elbo(theta, x_0, eps=eps), elbo_forms(vdm, theta, x_0, eps=eps).joint,
                               rtol=1e-12)


SCHEDULE = Schedule.linear_gamma(3, -2, 2)
MIXTURE = MixtureDenoiser([0.5, 0.5], [[-1.0], [1.0]], [[[0.1]], [[0.1]]], SCHEDULE)
POINTS = PointsDenoiser([[-1.0], [0.0], [1.0]], SCHEDULE)


@pytest.mark.parametrize("decoder, name", [(CategoricalDecoder([-1.0, 1.0]), "CategoricalDecoder"),
                                           (ExactDecoder(POINTS), "ExactDecoder"),
                                           (ExactDecoder(MIXTURE), "ExactDecoder")],
                         ids=["categorical", "points", "mixture"])
def test_as_mhvae_needs_a_gaussian_decoder(decoder, name):
    with pytest.raises(TypeError, match=f"as_mhvae: .* GaussianDecoder.*got {name}"):
        VDM(poor, SCHEDULE, decoder).as_mhvae()


def test_as_mhvae_of_a_correlated_gaussian_is_an_error():
    """Its p(x_0 | x_1) has a full covariance: the diagonal one an HVAE can have gives another joint form."""
    exact = GaussianDenoiser([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], SCHEDULE)
    with pytest.raises(TypeError, match="as_mhvae"):
        VDM(exact, SCHEDULE, ExactDecoder(exact)).as_mhvae()


# ---------------------------------------------------------------- each form on one chain


@given(problems())
def test_joint_is_the_log_ratio_along_the_chain(problem):
    """log N(x_T; 0, I) + sum of log p(x_{t-1} | x_t) - log q(x_t | x_{t-1}), with scipy's densities."""
    vdm, x_0, eps, _ = problem
    x, schedule = chain(vdm.schedule, x_0, eps), vdm.schedule
    total = flat_sum(norm.logpdf(x[-1]))
    for t in range(1, schedule.T + 1):
        total = total - flat_sum(norm.logpdf(x[t], np.sqrt(schedule.alpha[t]) * x[t - 1],
                                             np.sqrt(1 - schedule.alpha[t])))
        if t > 1:
            mean, var = vdm.at(None).step(x[t], t)
            total = total + flat_sum(norm.logpdf(x[t - 1], mean, np.sqrt(var)))
    total = total + vdm.at(None).reconstruction(x_0, x[1])
    np.testing.assert_allclose(elbo_forms(vdm, None, x_0, eps=eps).joint, total, rtol=1e-9, atol=1e-9)


@settings(max_examples=20)
@given(problems([(3,), (3, 1)]))
def test_consistency_by_numerical_integration(problem):
    """Average over q(x_t | x_{t-1}, x_{t+1}), by Bayes' rule on a grid,
    of log p(x_t | x_{t+1}) - log q(x_t | x_{t-1})."""
    vdm, x_0, eps, _ = problem
    schedule, alpha, T = vdm.schedule, vdm.schedule.alpha, vdm.schedule.T
    x = [np.reshape(level, (-1, 1)) for level in chain(schedule, x_0, eps)]
    mean, var = np.sqrt(alpha[T]) * x[T - 1], 1 - alpha[T]
    reconstruction = vdm.at(None).reconstruction(x_0, np.reshape(x[1], x_0.shape))
    total = reconstruction - 0.5 * (mean**2 + var - 1 - np.log(var))[:, 0]
    grid = np.linspace(-15, 15, 30_001)
    for t in range(1, T):
        log_q = norm.logpdf(grid, np.sqrt(alpha[t]) * x[t - 1], np.sqrt(1 - alpha[t]))
        weight = np.exp(log_q + norm.logpdf(x[t + 1], np.sqrt(alpha[t + 1]) * grid, np.sqrt(1 - alpha[t + 1])))
        mean_p, var_p = (np.reshape(a + 0 * x_0, (-1, 1))
                         for a in vdm.at(None).step(np.reshape(x[t + 1], x_0.shape), t + 1))
        log_ratio = norm.logpdf(grid, mean_p, np.sqrt(var_p)) - log_q
        total = total + np.sum(weight * log_ratio, axis=1) / np.sum(weight, axis=1)
    np.testing.assert_allclose(elbo_forms(vdm, None, x_0, eps=eps).consistency, total, rtol=1e-8, atol=1e-8)


@given(problems())
def test_denoising_is_elbo_at_the_same_points(problem):
    """VDM.elbo with the noise that takes x_0 straight to each x_t of the chain."""
    vdm, x_0, eps, _ = problem
    abar = vdm.schedule.alpha_bar
    direct = np.stack([(x - np.sqrt(abar[t]) * x_0) / np.sqrt(1 - abar[t])
                       for t, x in enumerate(chain(vdm.schedule, x_0, eps)) if t])
    np.testing.assert_allclose(elbo_forms(vdm, None, x_0, eps=eps).denoising, vdm.elbo(None, x_0, eps=direct).total,
                               rtol=1e-9, atol=1e-9)


def test_rng_draws_the_array_eps_and_float32_stays():
    vdm = VDM(bent, SCHEDULE, GaussianDecoder(0.2), "large")
    x_0 = np.random.default_rng(1).standard_normal((4, 2))
    for dtype, rtol in ((np.float64, 0), (np.float32, 1e-4)):
        forms = elbo_forms(vdm, None, x_0.astype(dtype), np.random.default_rng(5))
        assert isinstance(forms, Forms) and all(form.shape == (4,) and form.dtype == dtype for form in forms)
        eps = np.random.default_rng(5).standard_normal((3, 4, 2), dtype=dtype).astype(float)
        np.testing.assert_allclose(forms, elbo_forms(vdm, None, x_0.astype(dtype).astype(float), eps=eps), rtol=rtol)


# ---------------------------------------------------------------- one mean


@pytest.mark.parametrize("T", [2, 3])
@pytest.mark.parametrize("variance", ["small", "large", "optimal"])
@pytest.mark.parametrize("p", ["poor", "exact"])
def test_equal_means_on_gaussian_data(T, variance, p):
    """Exact for quadratic integrands: the three means agree to rounding, and with the mean of VDM.elbo."""
    s2, mean, schedule = 2.5, 0.7, Schedule(np.array([-2.0, -0.5, 1.5])[:T])
    denoiser = poor if p == "poor" else isotropic(schedule, s2, mean=mean)
    decoder = GaussianDecoder(0.3) if p == "poor" else ExactDecoder(denoiser)
    vdm = VDM(denoiser, schedule, decoder, variance_of(variance, schedule, s2))
    x_0, eps, w = nodes(T, s2, 3, mean)
    forms = elbo_forms(vdm, None, x_0, eps=eps)
    expected = w @ vdm.elbo(None, x_0, eps=eps).total
    np.testing.assert_allclose([w @ form for form in forms], expected, rtol=1e-11)
    assert np.ptp(np.stack(forms), axis=0).max() > 0.1  # one mean, not one number


def test_equal_means_for_a_nonlinear_denoiser():
    schedule = Schedule([-1.0, 1.0])
    vdm = VDM(bent, schedule, GaussianDecoder(0.4), "large")
    x_0, eps, w = nodes(2, 0.8, 24)
    means = [w @ form for form in elbo_forms(vdm, None, x_0, eps=eps)]
    np.testing.assert_allclose(means, w @ vdm.elbo(None, x_0, eps=eps).total, rtol=1e-7)


@pytest.mark.parametrize("name", ["points", "mixture", "categorical", "network"])
def test_equal_means_with_every_decoder(name):
    """For each of three x_0, 40² nodes of noise at T = 2."""
    schedule, values = Schedule([-0.5, 1.0]), np.array([[-1.0], [0.0], [1.0]])
    exact = {"points": lambda: PointsDenoiser(values, schedule, [1.0, 2.0, 3.0]),
             "mixture": lambda: MixtureDenoiser([0.3, 0.7], [[-1.0], [1.0]], [[[0.3]], [[0.5]]], schedule)}.get(name)
    denoiser = exact() if exact else bent
    if name == "network":
        network = RegressionDenoiser(MLPNetwork(1, 1, 8, 1), schedule)
        denoiser, theta = network, network.init(np.random.default_rng(0), np.float64)
        theta[list(theta)[-2]][:] = np.random.default_rng(1).standard_normal((8, 1))
    vdm = VDM(denoiser, schedule, ExactDecoder(denoiser) if exact else CategoricalDecoder([-1, 0, 1]))
    _, eps, w = nodes(1, 1.0, 40)
    eps = np.stack([_[:, 0], eps[0, :, 0]])
    for x_0 in values:
        forms = elbo_forms(vdm, theta if name == "network" else None, np.repeat(x_0[None], 1600, 0),
                           eps=eps[:, :, None])
        means = [w @ form for form in forms]
        np.testing.assert_allclose(means, means[2], rtol=2e-5)


# ---------------------------------------------------------------- the optimal p


@settings(max_examples=30)
@given(st.integers(2, 12), st.floats(0.1, 5, allow_subnormal=False), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_optimal_p_on_isotropic_gaussian_data(T, s2, D, seed):
    """p(x_{t-1} | x_t) is then the exact one: joint = log p(x_0) + log N(x_T; 0, I)/q(x_T) on every chain, whatever T.

    So the ELBO of every x_0 is log p(x_0) + E_q(x_T|x_0) of that ratio, and the mean of -ELBO is the entropy plus
    KL(q(x_T) to N(0, I)).
    """
    rng = np.random.default_rng(seed)
    schedule = Schedule(np.cumsum(rng.uniform(0.05, 2, T)) - 4)
    exact = isotropic(schedule, s2, D)
    vdm = VDM(exact, schedule, ExactDecoder(exact), best_variance(schedule, s2))
    x_0, eps = np.sqrt(s2) * rng.standard_normal((4, D)), rng.standard_normal((T, 4, D))
    abar = expit(-schedule.gamma[T])
    var_T = 1 + abar * (s2 - 1)
    x_T = chain(schedule, x_0, eps)[-1]
    log_p = flat_sum(norm.logpdf(x_0, 0, np.sqrt(s2)))
    expected = log_p + flat_sum(norm.logpdf(x_T) - norm.logpdf(x_T, 0, np.sqrt(var_T)))
    np.testing.assert_allclose(elbo_forms(vdm, None, x_0, eps=eps).joint, expected, rtol=1e-8, atol=1e-8)
    # the mean over noise, exactly: one noise serves all t in VDM.elbo, whose terms depend on one x_t each
    z, w = hermegauss(3)
    z = np.reshape(np.meshgrid(*[z] * D), (D, -1)).T
    w = np.prod(np.reshape(np.meshgrid(*[w / np.sqrt(2 * np.pi)] * D), (D, -1)), axis=0)
    for x, log_px in zip(x_0, log_p):
        mean = w @ vdm.elbo(None, np.tile(x, (len(z), 1)), eps=np.tile(z, (T, 1, 1))).total
        ratio = 0.5 * (D * np.log(var_T) + (abar * x @ x + D * (1 - abar)) * (1 / var_T - 1))
        np.testing.assert_allclose(mean, log_px + ratio, rtol=1e-8, atol=1e-8)
    entropy = 0.5 * D * np.log(2 * np.pi * np.e * s2)
    nodes_x = np.repeat(np.sqrt(s2) * z, len(z), 0)
    minus = -np.kron(w, w) @ vdm.elbo(None, nodes_x, eps=np.tile(z, (T, len(z), 1))).total
    np.testing.assert_allclose(minus, entropy + 0.5 * D * (var_T - 1 - np.log(var_T)), rtol=1e-8, atol=1e-8)


def noise_variances(vdm, T, s2):
    """Variance of every form over the noise at fixed x_0, averaged over x_0:
    five nodes are exact for squares of quadratics."""
    x_0, eps, w = nodes(T, s2, 5)
    w, result = np.reshape(w, (5, -1)), []
    for form in elbo_forms(vdm, None, x_0, eps=eps):
        form = np.reshape(form, (5, -1))
        mean = np.sum(w * form, axis=1, keepdims=True) / np.sum(w, axis=1, keepdims=True)
        result.append(np.sum(w * (form - mean) ** 2))
    return Forms(*result)


def test_which_form_varies_least_depends_on_p():
    """The claim under 13.24, that its variance is the lowest, holds for a poor p and reverses for the optimal one.

    T = 3, N(0, 2.5) data, gamma = -2, 3, 8, exact decoder, all forms along one chain.
    Variance over the noise, averaged over x_0:

        p                                  joint     consistency   denoising
        x_0 hat = -0.4 x_t + 0.3           51.3      26.0          26.0
        x_0 hat = 0                        17.1      0.493         0.499
        exact x_0 hat, small variance      39.5      28.5          28.5
        exact x_0 hat, large variance      0.198     0.948         0.960
        exact x_0 hat, optimal variance    1.3e-07   0.595         0.603

    With the small variance it depends on the schedule: at T = 4, gamma from -4 to 2,
    the joint form's 27.8 is below 32.5 and 36.0.
    """
    s2, schedule = 2.5, Schedule([-2.0, 3.0, 8.0])
    exact = isotropic(schedule, s2)

    def measure(denoiser, variance):
        return noise_variances(VDM(denoiser, schedule, ExactDecoder(exact), variance), 3, s2)

    expected = [(51.31, 26.02, 25.97), (17.07, 0.4931, 0.4987), (39.47, 28.49, 28.54), (0.1977, 0.9484, 0.9597),
                (1.265e-7, 0.5954, 0.6031)]
    got = [measure(poor, "small"), measure(lambda theta, x, t: 0 * x, "small"), measure(exact, "small"),
           measure(exact, "large"), measure(exact, best_variance(schedule, s2))]
    np.testing.assert_allclose(got, expected, rtol=1e-3)
    longer = Schedule.linear_gamma(4, -4, 2)
    exact = isotropic(longer, s2)
    reversed_ = noise_variances(VDM(exact, longer, ExactDecoder(exact)), 4, s2)
    np.testing.assert_allclose(reversed_, (27.84, 32.45, 36.04), rtol=1e-3)


# ---------------------------------------------------------------- gradients and errors


def test_gradients_of_all_forms_in_all_parameters():
    """No nan comes from gamma_0 = -inf; denoiser, schedule and variance against differences."""
    learned, rng = LearnedSchedule(3, -2, 2), np.random.default_rng(3)
    vdm = VDM(lambda theta, x, t: np.tanh(theta * x), learned, GaussianDecoder(0.3), LearnedVariance(3))
    theta = {"denoiser": np.array(0.8), "schedule": learned.init(rng), "variance": {"raw": rng.standard_normal(2)}}
    x_0, eps = rng.standard_normal((2, 2)), rng.standard_normal((3, 2, 2))

    def forms(theta, x_0):
        return tuple(elbo_forms(vdm, theta, x_0, eps=eps))

    check_vjp(forms, theta, x_0)


def test_errors_of_elbo_forms():
    vdm, x_0 = VDM(poor, SCHEDULE, GaussianDecoder(0.2)), np.zeros((2, 1))
    with pytest.raises(ValueError, match="elbo_forms: give a numpy.random.Generator"):
        elbo_forms(vdm, None, x_0)
    with pytest.raises(ValueError, match=r"elbo_forms: eps must have shape \(3, 2, 1\)"):
        elbo_forms(vdm, None, x_0, eps=np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match="x_0 must be finite"):
        elbo_forms(vdm, None, x_0 * np.nan, np.random.default_rng(0))
    with pytest.raises(TypeError, match="x_0 must be an array of floats"):
        elbo_forms(vdm, None, np.zeros((2, 1), int), np.random.default_rng(0))
    with pytest.raises(TypeError, match="elbo_forms: rng must be"):
        elbo_forms(vdm, None, x_0, 7)
