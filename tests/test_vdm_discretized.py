"""The discretised Gaussian decoder: exact masses in every bin, in both tails, at open ends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from refvdm.autodiff import check_vjp, grad
from refvdm.conformance.operations.discretized import discretized_gaussian_mass
from refvdm.vdm import VDM, CategoricalDecoder, DiscretizedGaussianDecoder, Prediction, Schedule

LEVELS = np.linspace(-1, 1, 9)
SCHEDULE = Schedule.linear_gamma(4, -4.0, 3.0)


def log_mass(x_0, mean, variance, levels=LEVELS):
    return DiscretizedGaussianDecoder(levels, variance).log_prob(x_0, x_0, Prediction(mean, None), SCHEDULE)


@given(st.integers(2, 40), st.floats(1e-3, 4), st.integers(0, 10_000), st.sampled_from([np.float64, np.float32]))
def test_masses_are_those_of_the_extended_precision_reference(K, variance, seed, dtype):
    rng, levels = np.random.default_rng(seed), np.linspace(-1, 1, K)
    k = rng.integers(0, K, (5, 3))
    x_0 = levels[k].astype(dtype)
    mean = (levels[k] + rng.standard_normal((5, 3)) * rng.choice([0.1, 1, 5])).astype(dtype)
    expected = discretized_gaussian_mass(k, np.array(K), mean.astype(np.longdouble), np.longdouble(variance))
    got = log_mass(x_0, mean, variance, levels)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected.astype(float), rtol=1e-9 if dtype == np.float64 else 1e-3)


@given(st.floats(0.01, 1), st.floats(-3, 3))
def test_they_sum_to_one_and_are_integrals(variance, mean):
    x_0, deviation = LEVELS[:, None], np.sqrt(variance)
    masses = np.exp(log_mass(x_0, np.full((9, 1), mean), variance))
    assert masses.sum() == pytest.approx(1, rel=1e-12)
    half = 1 / 8
    low, high = (LEVELS[3] - half - mean) / deviation, (LEVELS[3] + half - mean) / deviation
    assert masses[3] == pytest.approx(quad(norm.pdf, low, high)[0], rel=1e-7, abs=1e-13)
    assert masses[0] == pytest.approx(norm.cdf((LEVELS[0] + half - mean) / deviation), rel=1e-9)


def test_far_out_where_ddpm_s_code_says_1e_12():
    for mean in (-30.0, 30.0):  # by Mills' ratio: log Q(z) = -z²/2 - log z √(2π) - ...
        got = log_mass(np.array([[0.0]]), np.array([[mean]]), 1.0)[0]
        assert got == pytest.approx(norm.logsf(30 - 1 / 8), rel=1e-3) and got < -400
        assert log_mass(np.array([[mean / 30]]), np.array([[mean]]), 1.0)[0] == pytest.approx(0, abs=1e-12)


@given(st.integers(0, 10_000))
def test_gradients(seed):
    rng = np.random.default_rng(seed)
    x_0 = LEVELS[rng.integers(0, 9, (3, 2))]
    check_vjp(lambda mean: log_mass(x_0, mean, 0.05), x_0 + 0.3 * rng.standard_normal((3, 2)))
    far = grad(lambda mean: np.sum(log_mass(x_0, mean, 0.05)))(x_0 + 100.0)
    assert np.all(np.isfinite(far)) and np.all(far <= 0)


def test_draws_are_levels_and_have_the_masses():
    decoder, rng = DiscretizedGaussianDecoder(LEVELS, 0.04), np.random.default_rng(0)
    x_1 = np.full((20_000, 1), 0.3)
    draws = decoder.sample(x_1, Prediction(x_1, None), SCHEDULE, rng.standard_normal(x_1.shape))
    masses = np.exp(log_mass(LEVELS[:, None], np.full((9, 1), 0.3), 0.04))
    np.testing.assert_allclose([np.mean(draws == v) for v in LEVELS], masses, atol=0.015)


def test_in_a_model_and_its_errors():
    vdm = VDM(lambda theta, x_t, t: theta * x_t, SCHEDULE, DiscretizedGaussianDecoder(LEVELS, 0.1))
    x_0 = LEVELS[np.random.default_rng(0).integers(0, 9, (4, 2))]
    elbo = vdm.elbo(np.array(0.5), x_0, np.random.default_rng(1))
    assert np.all(elbo.reconstruction < 0) and np.all(np.isfinite(elbo.total))
    assert set(np.ravel(vdm.sample(np.array(0.5), (50, 2), np.random.default_rng(2)))) <= set(LEVELS)
    for bad in ([1.0], [0.0, 0.0], [1.0, 0.0], [0.0, np.nan]):
        with pytest.raises(ValueError, match="DiscretizedGaussianDecoder: levels"):
            DiscretizedGaussianDecoder(bad, 0.1)
    with pytest.raises(ValueError, match="DiscretizedGaussianDecoder: variance"):
        DiscretizedGaussianDecoder(LEVELS, 0.0)
    for decoder in (DiscretizedGaussianDecoder(LEVELS, 0.1), CategoricalDecoder(LEVELS)):
        with pytest.raises(ValueError, match=f"{type(decoder).__name__}: x_0 must hold levels only"):
            decoder.log_prob(x_0 + 0.01, x_0, Prediction(x_0, None), SCHEDULE)
