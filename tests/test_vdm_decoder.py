"""Decoders: densities and masses against scipy.stats and brute force, draws against the probabilities."""
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import norm

from refvdm.autodiff import check_vjp
from refvdm.vdm import VDM, CategoricalDecoder, ExactDecoder, GaussianDecoder, Schedule
from refvdm.vdm.denoiser import PointsDenoiser
from refvdm.vdm.model import Prediction

SCHEDULE = Schedule.linear_gamma(5, -3, 3)
LEVELS = np.array([-1.0, -0.3, 0.2, 1.0])
ABAR_1 = expit(3.0)


def nothing(shape):
    return Prediction(np.zeros(shape), None)


@given(st.floats(1e-3, 10, allow_subnormal=False), st.sampled_from([(3,), (3, 2), (2, 4, 4)]),
       st.integers(0, 2**32 - 1))
def test_gaussian_is_the_density_of_scipy_summed_over_each_example(variance, shape, seed):
    x_0, hat = np.random.default_rng(seed).standard_normal((2, *shape))
    got = GaussianDecoder(variance).log_prob(x_0, None, Prediction(hat, None), SCHEDULE)
    expected = norm.logpdf(x_0, hat, np.sqrt(variance)).reshape(shape[0], -1).sum(1)
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


def test_gaussian_sample_is_mean_plus_standard_deviation_times_eps():
    hat, eps = np.random.default_rng(0).standard_normal((2, 3, 2))
    x = GaussianDecoder(0.09).sample(None, Prediction(hat, None), SCHEDULE, eps)
    np.testing.assert_allclose(x, hat + 0.3 * eps, rtol=1e-14, atol=1e-15)


def test_gaussian_stays_float32():
    x, eps = np.ones((2, 3), np.float32), np.full((2, 3), 0.5, np.float32)
    decoder = GaussianDecoder(0.5)
    assert decoder.sample(x, Prediction(x, None), SCHEDULE, eps).dtype == np.float32
    assert decoder.log_prob(x, x, Prediction(eps, None), SCHEDULE).dtype == np.float32


@pytest.mark.parametrize("variance", [0, -1, np.nan, np.inf])
def test_gaussian_errors(variance):
    with pytest.raises(ValueError, match="variance must be positive and finite"):
        GaussianDecoder(variance)


@pytest.mark.parametrize("shape", [(4,), (4, 3), (2, 3, 3)])
def test_categorical_is_the_normalised_gaussian_likelihood(shape):
    rng = np.random.default_rng(0)
    x_1, x_0 = rng.standard_normal(shape), rng.choice(LEVELS, shape)
    likelihood = norm.pdf(x_1[..., None], np.sqrt(ABAR_1) * LEVELS, np.sqrt(1 - ABAR_1))
    p = likelihood / likelihood.sum(-1, keepdims=True)
    decoder = CategoricalDecoder(LEVELS)
    log_probs = decoder.log_probs(x_1, nothing(shape), SCHEDULE)
    np.testing.assert_allclose(np.exp(log_probs), p, rtol=1e-10, atol=1e-300)
    np.testing.assert_allclose(np.exp(log_probs).sum(-1), 1, rtol=1e-13)
    chosen = np.log(np.take_along_axis(p, np.searchsorted(LEVELS, x_0)[..., None], -1)[..., 0])
    got = decoder.log_prob(x_0, x_1, nothing(shape), SCHEDULE)
    np.testing.assert_allclose(got, chosen.reshape(shape[0], -1).sum(1), rtol=1e-10)


def test_categorical_in_one_dimension_is_the_posterior_of_equal_points():
    x_1 = np.linspace(-2, 2, 8)[:, None]
    x_0 = np.tile(LEVELS, 2)[:, None]
    exact = PointsDenoiser(LEVELS[:, None], SCHEDULE)
    got = CategoricalDecoder(LEVELS).log_prob(x_0, x_1, nothing((8, 1)), SCHEDULE)
    np.testing.assert_allclose(got, exact.log_posterior(x_0, x_1, 1), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(got, ExactDecoder(exact).log_prob(x_0, x_1, None, SCHEDULE), rtol=1e-10, atol=1e-12)


def test_the_denoisers_own_logits_are_used_when_present():
    rng = np.random.default_rng(0)
    x_1, logits = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 4))
    x_0 = rng.choice(LEVELS, (2, 3))
    decoder = CategoricalDecoder(LEVELS)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(decoder.log_probs(x_1, Prediction(x_1, logits), SCHEDULE)), p, rtol=1e-12)
    got = decoder.log_prob(x_0, x_1, Prediction(x_1, logits + 100.0), SCHEDULE)
    expected = [sum(np.log(p[i, j, list(LEVELS).index(x_0[i, j])]) for j in range(3)) for i in range(2)]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_wrong_shapes_of_logits_are_errors():
    x = np.full((2, 2), LEVELS[0])
    decoder = CategoricalDecoder(LEVELS)
    with pytest.raises(ValueError, match=r"logits must have x_t's shape and K behind, \(2, 2, 4\), got \(2, 2, 3\)"):
        decoder.log_prob(x, x, Prediction(x, np.zeros((2, 2, 3))), SCHEDULE)
    with pytest.raises(ValueError, match="logits"):
        decoder.log_prob(x, x, Prediction(x, np.zeros((2, 4))), SCHEDULE)


def test_x_0_that_is_no_level_is_an_error_naming_the_index():
    decoder, x_0 = CategoricalDecoder(LEVELS), np.full((2, 3), LEVELS[1])
    for bad in (0.21, 1.5, np.nan):
        x_0[1, 2] = bad
        with pytest.raises(ValueError,
                           match=rf"x_0 must hold levels only \(-1 to 1, K = 4\), got {bad} at index \(1, 2\)"):
            decoder.log_prob(x_0, np.zeros((2, 3)), nothing((2, 3)), SCHEDULE)


def test_categorical_errors_of_construction():
    for levels in ([0.0], [], [[0.0, 1.0]], [1.0, 0.0], [0.0, 0.0, 1.0], [0.0, np.nan], [0.0, np.inf], 3.0):
        with pytest.raises(ValueError, match="levels must be at least two finite rising numbers"):
            CategoricalDecoder(levels)
    assert CategoricalDecoder([0, 1]).levels.tolist() == [0, 1]


def test_frequencies_of_categorical_samples():
    n, decoder = 40_000, CategoricalDecoder(LEVELS)
    x_1 = np.full((n, 1), 0.1)
    p = np.exp(decoder.log_probs(x_1[:1], nothing((1, 1)), SCHEDULE))[0, 0]
    x = decoder.sample(x_1, nothing((n, 1)), SCHEDULE, np.random.default_rng(0).standard_normal((n, 1)))
    frequency = np.array([(x == v).mean() for v in LEVELS])
    assert frequency.sum() == 1
    assert np.all(np.abs(frequency - p) <= 4 * np.sqrt(p * (1 - p) / n))


def test_samples_rise_with_eps_and_switch_at_the_quantiles():
    decoder, p = CategoricalDecoder(LEVELS), np.array([0.1, 0.2, 0.3, 0.4])
    eps = np.sort(np.concatenate([np.linspace(-4, 4, 201), norm.ppf([0.0999, 0.1001, 0.2999, 0.3001, 0.5999, 0.6001])]))
    x_1 = np.zeros(len(eps))
    x = decoder.sample(x_1, Prediction(x_1, np.tile(np.log(p), (len(eps), 1))), SCHEDULE, eps)
    a, b, c = norm.ppf([0.1, 0.3, 0.6])
    assert x.tolist() == [LEVELS[int(e > a) + int(e > b) + int(e > c)] for e in eps]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_extreme_eps_stays_inside_the_levels(dtype):
    decoder, eps = CategoricalDecoder(LEVELS), np.array([[-40.0, -9.0, 9.0, 40.0]], dtype)
    x_1 = np.zeros((1, 4), dtype)
    x = decoder.sample(x_1, nothing((1, 4)), SCHEDULE, eps)
    assert x.dtype == dtype and x.tolist() == [[-1, -1, 1, 1]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_level_without_probability_is_never_drawn(dtype):
    """The mass is on 15 inner levels (e^-500 outside), far out in the tails of eps too."""
    levels, rows = np.linspace(-1, 1, 17), 200
    logits = np.random.default_rng(0).standard_normal((rows, 17)).astype(dtype)
    logits[:, [0, 16]] = -500
    for eps in (-9, -5, 5, 6, 9):
        eps = np.full(rows, eps, dtype)
        x = CategoricalDecoder(levels).sample(eps, Prediction(eps, logits), SCHEDULE, eps)
        assert np.all(np.abs(x) < 0.99)


def test_categorical_float32_agrees():
    rng = np.random.default_rng(0)
    x_1, x_0 = rng.standard_normal((3, 4)), rng.choice(LEVELS, (3, 4))
    decoder = CategoricalDecoder(LEVELS)
    low = decoder.log_prob(x_0.astype(np.float32), x_1.astype(np.float32), nothing((3, 4)), SCHEDULE)
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, decoder.log_prob(x_0, x_1, nothing((3, 4)), SCHEDULE), rtol=1e-4, atol=1e-4)


def test_gradients():
    rng = np.random.default_rng(0)
    x_1, logits, x_0 = rng.standard_normal((2, 3)), rng.standard_normal((2, 3, 4)), rng.choice(LEVELS, (2, 3))
    categorical, gaussian = CategoricalDecoder(LEVELS), GaussianDecoder(0.4)
    check_vjp(lambda x: categorical.log_prob(x_0, x, nothing((2, 3)), SCHEDULE), x_1)
    check_vjp(lambda z: categorical.log_prob(x_0, x_1, Prediction(x_1, z), SCHEDULE), logits)
    check_vjp(lambda h: gaussian.log_prob(x_0, x_1, Prediction(h, None), SCHEDULE), x_1)
    check_vjp(lambda g: categorical.log_prob(x_0, x_1, nothing((2, 3)), Schedule(g)), np.array([-2.0, 0.0, 1.0]))


class Own:
    """A denoiser with its own categorical; counts what it is asked."""

    def __init__(self, expectation):
        self.calls = []
        if expectation:
            self.expectation = lambda logits: logits @ np.ones(4)

    def __call__(self, theta, x_t, t):
        self.calls.append("call")
        return self.logits(theta, x_t, t) @ np.ones(4)

    def logits(self, theta, x_t, t):
        self.calls.append("logits")
        return x_t[..., None] * LEVELS


def test_one_evaluation_when_the_denoiser_has_expectation():
    x_0 = np.full((3, 2), LEVELS[2])
    one, two = Own(True), Own(False)
    kwargs = {"t": np.array([2, 3, 5]), "eps": np.random.default_rng(0).standard_normal((2, 3, 2))}
    a = VDM(one, SCHEDULE, CategoricalDecoder(LEVELS)).elbo_estimate(None, x_0, **kwargs)
    b = VDM(two, SCHEDULE, CategoricalDecoder(LEVELS)).elbo_estimate(None, x_0, **kwargs)
    assert one.calls == ["logits"] and two.calls == ["logits", "call", "logits"]
    np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_levels_are_recognised_up_to_rounding_and_no_further(dtype):
    """256 grey levels scaled by another formula than linspace, with other last bits."""
    levels, k = np.linspace(-1, 1, 256), np.arange(256).reshape(1, 256)
    x_0 = (k.astype(dtype) / dtype(255) - dtype(0.5)) * dtype(2)
    assert np.any(x_0 != levels.astype(dtype))
    schedule = Schedule.linear_gamma(2, -12.0, 3.0)
    decoder, says = CategoricalDecoder(levels), Prediction(x_0, np.log(np.full((1, 256, 256), 1e-9) + np.eye(256)))
    assert decoder.log_prob(x_0, x_0, says, schedule) == pytest.approx(0, abs=1e-3)
    with pytest.raises(ValueError, match="x_0 must hold levels only"):
        decoder.log_prob(x_0 + dtype(1e-4), x_0, says, schedule)


def test_float32_likelihoods_of_fine_levels_keep_their_digits():
    """256 levels at gamma_1 = -13.3, where SNR-sized terms would cancel to errors of 0.01 nats."""
    levels, schedule = np.linspace(-1, 1, 256), Schedule.linear_gamma(2, -13.3, 3.0)
    x_1 = np.random.default_rng(0).uniform(-1, 1, (1, 200)).astype(np.float32)
    decoder = CategoricalDecoder(levels)
    low = decoder.log_probs(x_1, nothing(x_1.shape), schedule)
    high = decoder.log_probs(x_1.astype(float), nothing(x_1.shape), schedule)
    near = high > -20
    assert low.dtype == np.float32
    assert np.max(np.abs(low - high)[near]) < 1e-3


def test_levels_that_collide_or_nearly_do():
    says = Prediction(np.ones((1, 1)), np.zeros((1, 1, 3)))
    schedule = Schedule.linear_gamma(2, -3.0, 3.0)
    for levels, x in (([0.0, 1.0, 1 + 1e-15], 1.0), ([0.0, 1e-3, 1e9], 0.0)):
        got = CategoricalDecoder(levels).log_prob(np.full((1, 1), x), np.ones((1, 1)), says, schedule)
        np.testing.assert_allclose(got, -np.log(3), rtol=1e-12)
    with pytest.raises(ValueError, match="in float32 two of the levels are the same number"):
        CategoricalDecoder([0.0, 1.0, 1 + 1e-9]).log_prob(np.ones((1, 1), np.float32), np.ones((1, 1), np.float32),
                                                          says, schedule)


@pytest.mark.parametrize("variance", ["a", None, True, [0.1]])
def test_a_variance_that_is_no_number(variance):
    with pytest.raises(ValueError, match="variance must be positive and finite"):
        GaussianDecoder(variance)
