"""Ancestral sampling is the loop of the lecture, number by number, and reproduces data whose denoiser is exact."""
import numpy as np
import pytest

from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    ExactDecoder,
    GaussianDecoder,
    Schedule,
    ancestral_path,
)
from refvdm.vdm.denoiser import GaussianDenoiser, PointsDenoiser

SCHEDULE = Schedule.linear_gamma(6, -4, 3)


def denoiser(theta, x_t, t):
    assert t.shape == x_t.shape[:1] and t.dtype.kind == "i"
    return np.tanh(theta["w"] * x_t / np.reshape(t, (-1,) + (1,) * (x_t.ndim - 1)).astype(x_t.dtype))


THETA = {"w": np.array(1.7)}
MODEL = VDM(denoiser, SCHEDULE, GaussianDecoder(0.04))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 8, 8)])
def test_is_the_loop_written_by_hand(shape):
    rng = np.random.default_rng(0)
    x_T, eps = rng.standard_normal(shape), rng.standard_normal((6, *shape))
    alpha = SCHEDULE.alpha
    abar, x, path = np.cumprod(alpha), x_T, [x_T]
    for t in range(6, 1, -1):
        hat = np.tanh(1.7 * x / t)
        mean = (np.sqrt(alpha[t]) * (1 - abar[t - 1]) * x + np.sqrt(abar[t - 1]) * (1 - alpha[t]) * hat) / (1 - abar[t])
        x = mean + np.sqrt((1 - alpha[t]) * (1 - abar[t - 1]) / (1 - abar[t])) * eps[t - 1]
        path.append(x)
    path.append(np.tanh(1.7 * x) + 0.2 * eps[0])
    np.testing.assert_allclose(MODEL.sample(THETA, shape, x_T=x_T, eps=eps), path[-1], rtol=1e-10, atol=1e-12)
    items = list(ancestral_path(MODEL, THETA, shape, x_T=x_T, eps=eps))
    assert [t for t, _ in items] == [6, 5, 4, 3, 2, 1, 0]
    for (_, got), expected in zip(items, path):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_generator_draws_x_T_then_eps_from_the_last_to_the_first(dtype):
    theta, shape = {"w": np.array(1.7, dtype)}, (3, 2)
    rng = np.random.default_rng(3)
    x_T = rng.standard_normal(shape, dtype=dtype)
    eps = np.stack([rng.standard_normal(shape, dtype=dtype) for _ in range(6)])[::-1]
    drawn, again = (MODEL.sample(theta, shape, np.random.default_rng(3)) for _ in range(2))
    assert drawn.dtype == dtype and np.array_equal(drawn, again)
    assert np.array_equal(drawn, MODEL.sample(theta, shape, x_T=x_T, eps=eps))
    half = MODEL.sample(theta, shape, rng=np.random.default_rng(3), eps=eps)
    assert np.array_equal(drawn, half)
    assert not np.array_equal(drawn, MODEL.sample(theta, shape, np.random.default_rng(4)))


def test_dtype_follows_x_T_then_theta_then_float64():
    low = np.zeros((2, 2), np.float32)
    rng = np.random.default_rng(0)
    assert MODEL.sample({"w": np.array(1.0, np.float32)}, (2, 2), rng, x_T=low).dtype == np.float32
    assert MODEL.sample({"w": np.array(1.0, np.float32), "n": np.array(3)}, (2, 2), rng).dtype == np.float32
    plain = VDM(lambda theta, x, t: x / 2, SCHEDULE, GaussianDecoder(1.0))
    assert plain.sample(None, (2, 2), rng).dtype == np.float64
    assert plain.sample(None, (2, 2), rng, x_T=low).dtype == np.float32
    assert all(x.dtype == np.float32 for _, x in ancestral_path(plain, None, (2, 2), rng, x_T=low))


def test_float32_agrees_with_float64():
    rng = np.random.default_rng(0)
    x_T, eps = rng.standard_normal((4, 3)), rng.standard_normal((6, 4, 3))
    low = MODEL.sample({"w": np.array(1.7, np.float32)}, (4, 3), x_T=x_T.astype(np.float32), eps=eps.astype(np.float32))
    np.testing.assert_allclose(low, MODEL.sample(THETA, (4, 3), x_T=x_T, eps=eps), rtol=1e-4, atol=1e-5)


MEAN, COV = np.array([0.5, -1.0]), np.array([[1.0, 0.6], [0.6, 0.8]])


def law_of_the_chain(T):
    """Mean and covariance of sampled x_0, exactly: the chain is affine in its noise, so unit vectors tell all."""
    schedule = Schedule.linear_gamma(T, -8, 10)
    exact = GaussianDenoiser(MEAN, COV, schedule)
    model, n = VDM(exact, schedule, ExactDecoder(exact)), 2 * (T + 1)
    noise = np.concatenate([np.zeros((1, n)), np.eye(n)]).reshape(n + 1, T + 1, 2)
    x = model.sample(None, (n + 1, 2), x_T=noise[:, 0], eps=np.moveaxis(noise[:, 1:], 0, 1))
    root = x[1:] - x[0]
    return model, x[0], root.T @ root


def test_the_exact_gaussian_denoiser_gives_back_mean_and_covariance():
    """The covariance with an error that halves when the steps do: p has q's variance,
    which is right only for small steps."""
    laws = [law_of_the_chain(T)[1:] for T in (100, 200, 400)]
    for mean, _ in laws:
        np.testing.assert_allclose(mean, MEAN, atol=0.01)
    errors = [np.abs(cov - COV).max() for _, cov in laws]
    assert errors[-1] < 0.04
    assert 1.8 < errors[0] / errors[1] < 2.2 and 1.8 < errors[1] / errors[2] < 2.2


def test_random_samples_follow_that_law():
    n = 20_000
    model, mean, cov = law_of_the_chain(50)
    x = model.sample(None, (n, 2), np.random.default_rng(0))
    assert np.all(np.abs(x.mean(0) - mean) < 4 * np.sqrt(np.diag(cov) / n))
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / n)
    assert np.all(np.abs(np.cov(x.T) - cov) < 4 * spread)


def test_the_exact_points_denoiser_gives_back_the_weights():
    points, weights, n = np.array([[-1.0], [0.2], [1.0]]), np.array([0.5, 0.2, 0.3]), 8000
    schedule = Schedule.linear_gamma(100, -7, 7)
    exact = PointsDenoiser(points, schedule, weights)
    for decoder in (ExactDecoder(exact), CategoricalDecoder(points[:, 0])):
        x = VDM(exact, schedule, decoder).sample(None, (n, 1), np.random.default_rng(0))
        frequency = np.array([(x == p).mean() for p in points[:, 0]])
        assert frequency.sum() == 1
        assert np.all(np.abs(frequency - weights) < 4 * np.sqrt(weights * (1 - weights) / n) + 0.01)


def test_errors():
    x_T, eps = np.zeros((3, 2)), np.zeros((6, 3, 2))
    with pytest.raises(ValueError, match="give a numpy.random.Generator"):
        MODEL.sample(THETA, (3, 2))
    with pytest.raises(ValueError, match="give a numpy.random.Generator"):
        MODEL.sample(THETA, (3, 2), x_T=x_T)
    with pytest.raises(ValueError, match="give a numpy.random.Generator"):
        MODEL.sample(THETA, (3, 2), eps=eps)
    with pytest.raises(ValueError, match=r"eps must have shape \(6, 3, 2\), got \(5, 3, 2\)"):
        MODEL.sample(THETA, (3, 2), x_T=x_T, eps=eps[:5])
    with pytest.raises(TypeError, match="eps must be an array of floats"):
        MODEL.sample(THETA, (3, 2), x_T=x_T, eps=eps.astype(int))


def test_errors_in_x_T_name_it():
    eps = np.zeros((6, 3, 2))
    with pytest.raises(ValueError, match=r"x_T must have shape \(3, 2\), got \(3, 1\)"):
        MODEL.sample(THETA, (3, 2), x_T=np.zeros((3, 1)), eps=eps)
    for bad in (np.zeros((3, 2), int), [[0.0, 0.0]] * 3):
        with pytest.raises(TypeError, match="x_T must be an array of floats"):
            MODEL.sample(THETA, (3, 2), x_T=bad, eps=eps)


def test_a_denoiser_of_another_shape_is_an_error():
    model = VDM(lambda theta, x, t: x[:, :1], SCHEDULE, GaussianDecoder(1.0))
    with pytest.raises(ValueError, match="shape"):
        model.sample(None, (3, 2), np.random.default_rng(0))


def test_one_sample_is_a_batch():
    schedule = Schedule.linear_gamma(3, -3, 3)
    model = VDM(lambda theta, x, t: x, schedule, GaussianDecoder(1.0))
    assert model.sample((), (1, 2), np.random.default_rng(0)).shape == (1, 2)
    for shape in ((0, 2), (), 3, [2, 2]):
        with pytest.raises(ValueError, match=r"shape must be a tuple \(n, ...\) with n >= 1"):
            model.sample((), shape, np.random.default_rng(0))
