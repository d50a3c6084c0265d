"""DDIM: eta = 1 over all steps is the ancestral loop, eta = 0 a deterministic map,
and what it costs to take fewer steps."""
import itertools

import numpy as np
import pytest

from refvdm.vdm import (
    VDM,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    Schedule,
    ddim_path,
    ddim_sample,
)
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser

SCHEDULE = Schedule(np.array([-4.0, -2.5, -2.0, 0.3, 0.9, 2.0, 3.5]))
T = SCHEDULE.T


def denoiser(theta, x_t, t):
    assert t.shape == x_t.shape[:1] and t.dtype.kind == "i"
    return np.tanh(theta["w"] * x_t / np.reshape(t, (-1,) + (1,) * (x_t.ndim - 1)).astype(x_t.dtype))


THETA = {"w": np.array(1.7)}
MODEL = VDM(denoiser, SCHEDULE, GaussianDecoder(0.04))


def by_hand(x, eps, times, eta):
    """Song, Meng, Ermon 2021, (12) and (16), down the given times T..1, and the decoder's draw;
    eps[i] goes into times[i]."""
    abar = SCHEDULE.alpha_bar
    for i in range(len(times) - 1, 0, -1):
        s, t = times[i - 1], times[i]
        sigma = eta * np.sqrt((1 - abar[s]) / (1 - abar[t])) * np.sqrt(1 - abar[t] / abar[s])
        hat = np.tanh(1.7 * x / t)
        eps_hat = (x - np.sqrt(abar[t]) * hat) / np.sqrt(1 - abar[t])
        x = np.sqrt(abar[s]) * hat + np.sqrt(1 - abar[s] - sigma**2) * eps_hat + sigma * eps[i]
    return np.tanh(1.7 * x) + 0.2 * eps[0]


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 4, 4)])
def test_eta_1_over_all_steps_is_the_ancestral_loop(shape):
    """eps[i] goes into the i-th time from below, which is t = i + 1; the ancestral eps[t-1] makes x_{t-1}:
    eps[1..] lie one apart."""
    rng = np.random.default_rng(0)
    x_T, eps = rng.standard_normal(shape), rng.standard_normal((T, *shape))
    got = ddim_sample(MODEL, THETA, shape, eta=1, x_T=x_T, eps=eps)
    np.testing.assert_allclose(got, MODEL.sample(THETA, shape, x_T=x_T, eps=eps), rtol=0, atol=1e-12)
    drawn = ddim_sample(MODEL, THETA, shape, np.random.default_rng(4), eta=1.0)
    np.testing.assert_allclose(drawn, MODEL.sample(THETA, shape, np.random.default_rng(4)), rtol=0, atol=1e-12)


TIMES = {1: [1, 7], 2: [1, 4, 7], 3: [1, 3, 5, 7], 4: [1, 2, 4, 6, 7], 6: list(range(1, 8)), None: list(range(1, 8))}


@pytest.mark.parametrize("steps", TIMES)
@pytest.mark.parametrize("eta", [0, 0.3, np.float32(0.5), 1])
def test_is_the_papers_formula(steps, eta):
    times = TIMES[steps]
    rng = np.random.default_rng(1)
    x_T, eps = rng.standard_normal((5, 2)), rng.standard_normal((len(times), 5, 2))
    got = ddim_sample(MODEL, THETA, (5, 2), steps=steps, eta=eta, x_T=x_T, eps=eps)
    np.testing.assert_allclose(got, by_hand(x_T, eps, times, float(eta)), rtol=1e-10, atol=1e-12)


def test_eta_0_is_the_default_and_draws_nothing_on_the_way():
    rng = np.random.default_rng(3)
    x_T, eps_0 = rng.standard_normal((4, 2)), rng.standard_normal((4, 2))
    got = ddim_sample(MODEL, THETA, (4, 2), np.random.default_rng(3))
    for rest in (0.0, 1e6):
        eps = np.concatenate([eps_0[None], np.full((T - 1, 4, 2), rest)])
        np.testing.assert_array_equal(got, ddim_sample(MODEL, THETA, (4, 2), eta=0, x_T=x_T, eps=eps))
    np.testing.assert_array_equal(got, ddim_sample(MODEL, THETA, (4, 2), np.random.default_rng(3), eta=0.0))


def test_draws_x_T_then_the_noise_from_above_then_the_decoders():
    rng = np.random.default_rng(3)
    x_T = rng.standard_normal((4, 2))
    eps = np.stack([rng.standard_normal((4, 2)) for _ in range(4)])[::-1]
    got = ddim_sample(MODEL, THETA, (4, 2), np.random.default_rng(3), steps=3, eta=0.7)
    np.testing.assert_array_equal(got, ddim_sample(MODEL, THETA, (4, 2), steps=3, eta=0.7, x_T=x_T, eps=eps))


def law(steps, eta, T=60):
    """Mean and covariance of what comes out on exact Gaussian data: the map is affine, unit vectors tell all."""
    mean, cov = np.array([0.5, -1.0]), np.array([[1.0, 0.6], [0.6, 0.8]])
    exact = GaussianDenoiser(mean, cov, Schedule.linear_gamma(T, -8, 10))
    model = VDM(exact, exact.schedule, ExactDecoder(exact))
    m = 2 * (steps + 2)
    noise = np.concatenate([np.zeros((1, m)), np.eye(m)]).reshape(m + 1, steps + 2, 2)
    x = ddim_sample(model, None, (m + 1, 2), steps=steps, eta=eta, x_T=noise[:, 0], eps=np.moveaxis(noise[:, 1:], 0, 1))
    root = x[1:] - x[0]
    return np.abs(x[0] - mean).max(), np.abs(root.T @ root - cov).max()


def test_on_exact_gaussian_data_eta_0_is_the_closed_form_linear_map():
    """Down the eigenvectors, x_s = (a_s g + s_s (1 - a_t g)/s_t) x_t with g = a_t v/(a_t² v + s_t²)."""
    cov, schedule = np.array([[1.0, 0.6], [0.6, 0.8]]), Schedule.linear_gamma(30, -6, 5)
    values, vectors = np.linalg.eigh(cov)
    exact = GaussianDenoiser([0.0, 0.0], cov, schedule)
    x_T = np.random.default_rng(0).standard_normal((3, 2))
    a, s = np.sqrt(schedule.alpha_bar), np.sqrt(1 - schedule.alpha_bar)
    factor = np.ones(2)
    for t in range(30, 1, -1):
        gain = a[t] * values / (a[t] ** 2 * values + s[t] ** 2)
        factor *= a[t - 1] * gain + s[t - 1] * (1 - a[t] * gain) / s[t]
    factor *= a[1] * values / (a[1] ** 2 * values + s[1] ** 2)  # the decoder's mean
    got = ddim_sample(VDM(exact, schedule, GaussianDecoder(1.0)), None, (3, 2), x_T=x_T, eps=np.zeros((30, 3, 2)))
    np.testing.assert_allclose(got, x_T @ vectors * factor @ vectors.T, rtol=1e-11)


def test_the_law_of_the_samples_tends_to_the_data_and_soonest_without_noise():
    errors = {eta: [law(steps, eta)[1] for steps in (10, 20, 59)] for eta in (0.0, 0.5, 1.0)}
    for column in errors.values():
        assert column[0] > column[1] > column[2]
    for at_0, half, at_1 in zip(*errors.values()):
        assert at_0 < half < at_1
    assert errors[0.0][2] < 0.08 and errors[1.0][2] < 0.15
    assert 1.8 < errors[0.0][2] / law(119, 0.0, 120)[1] < 2.2
    assert all(law(59, eta)[0] < 0.02 for eta in (0.0, 1.0))


def test_random_samples_of_a_mixture_have_its_moments():
    weights, means, sds = np.array([0.3, 0.7]), np.array([-2.0, 1.0]), np.array([0.5, 0.3])
    schedule, n = Schedule.linear_gamma(200, -8, 10), 4000
    exact = MixtureDenoiser(weights, means[:, None], (sds**2)[:, None, None], schedule)
    model = VDM(exact, schedule, ExactDecoder(exact))
    mean = weights @ means
    var = weights @ (sds**2 + means**2) - mean**2
    for eta in (0.0, 1.0):
        x = ddim_sample(model, None, (n, 1), np.random.default_rng(0), eta=eta, steps=100)[:, 0]
        assert abs(x.mean() - mean) < 4 * np.sqrt(var / n)
        assert abs(x.var() - var) < 4 * np.std((x - mean) ** 2) / np.sqrt(n) + 0.05
        assert abs((x < -0.7).mean() - 0.3) < 4 * np.sqrt(0.21 / n)


def test_float32_follows_theta_or_x_T_and_agrees():
    rng = np.random.default_rng(0)
    x_T, eps = rng.standard_normal((4, 3)), rng.standard_normal((T, 4, 3))
    low = ddim_sample(MODEL, {"w": np.array(1.7, np.float32)}, (4, 3), eta=0.5, x_T=x_T.astype(np.float32), eps=eps)
    assert low.dtype == np.float32
    np.testing.assert_allclose(low, ddim_sample(MODEL, THETA, (4, 3), eta=0.5, x_T=x_T, eps=eps), rtol=1e-4, atol=1e-5)
    assert ddim_sample(MODEL, {"w": np.array(1.7, np.float32)}, (4, 3), np.random.default_rng(0)).dtype == np.float32
    assert ddim_sample(MODEL, THETA, (4, 3), np.random.default_rng(0), eta=1).dtype == np.float64


def test_a_learned_schedule():
    learned = LearnedSchedule(8, -4.0, 3.0)
    parameters = learned.init(np.random.default_rng(0)) | {"increments": np.linspace(-1, 1, 7)}
    exact, plain = (GaussianDenoiser([0.4], [[0.5]], s) for s in (Schedule.linear_gamma(8, -1, 1), learned(parameters)))
    theta = {"denoiser": None, "schedule": parameters}
    got = ddim_sample(VDM(exact, learned, ExactDecoder(exact)), theta, (5, 1), np.random.default_rng(0), eta=0.5)
    expected = ddim_sample(VDM(plain, plain.schedule, ExactDecoder(plain)), None, (5, 1), np.random.default_rng(0),
                           eta=0.5)
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_errors():
    rng, x_T, eps = np.random.default_rng(0), np.zeros((3, 2)), np.zeros((T, 3, 2))
    for eta in (-0.01, 1.01, np.nan, True, "0", None, np.inf):
        with pytest.raises(ValueError, match=r"ddim_sample: eta must lie in \[0, 1\], got"):
            ddim_sample(MODEL, THETA, (3, 2), rng, eta=eta)
    for steps in (0, T, -1, 2.0, True):
        with pytest.raises(ValueError, match=rf"ddim_sample: steps must be an integer in 1..{T - 1}, got"):
            ddim_sample(MODEL, THETA, (3, 2), rng, steps=steps)
    assert ddim_sample(MODEL, THETA, (3, 2), rng, steps=np.int64(1)).shape == (3, 2)
    for bad, steps in ((eps, 3), (eps[:3], None), (eps[:, :1], None)):
        with pytest.raises(ValueError, match=r"ddim_sample: eps must have shape"):
            ddim_sample(MODEL, THETA, (3, 2), steps=steps, x_T=x_T, eps=bad)
    with pytest.raises(TypeError, match="eps must be an array of floats"):
        ddim_sample(MODEL, THETA, (3, 2), x_T=x_T, eps=eps.astype(int))
    with pytest.raises(ValueError, match=r"x_T must have shape \(3, 2\)"):
        ddim_sample(MODEL, THETA, (3, 2), x_T=x_T[:2], eps=eps)
    for missing in ({"x_T": x_T}, {"eps": eps}, {"x_T": x_T, "eta": 1}):
        with pytest.raises(ValueError, match="give a numpy.random.Generator"):
            ddim_sample(MODEL, THETA, (3, 2), **missing)
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator"):
        ddim_sample(MODEL, THETA, (3, 2), 0)
    for shape in ((0, 2), (), 3, [2, 2]):
        with pytest.raises(ValueError, match=r"shape must be a tuple \(n, ...\) with n >= 1"):
            ddim_sample(MODEL, THETA, shape, rng)


# ---------------------------------------------------------------- given times, the path, clipping


def test_given_times_are_the_steps_taken_and_the_path_tells_them():
    schedule = Schedule.linear_gamma(11, -5.0, 4.0)
    vdm = VDM(lambda theta, x_t, t: 0.8 * x_t - 0.01 * t[:, None], schedule, GaussianDecoder(0.1))
    x_T, eps = np.random.default_rng(0).standard_normal((3, 2)), np.random.default_rng(1).standard_normal((4, 3, 2))
    times = [11, 7, 6, 1]
    path = list(ddim_path(vdm, None, (3, 2), times=times, eta=0.6, x_T=x_T, eps=eps))
    assert [t for t, _ in path] == [11, 7, 6, 1, 0]
    x = x_T
    for i, (t, s) in enumerate(itertools.pairwise(times)):  # Song et al. 2021, 12 and 16, written out
        a, b = schedule.alpha_bar[t], schedule.alpha_bar[s]
        hat = vdm.denoiser(None, x, np.full(3, t))
        sigma = 0.6 * np.sqrt((1 - b) / (1 - a)) * np.sqrt(1 - a / b)
        x = np.sqrt(b) * hat + np.sqrt(1 - b - sigma**2) * (x - np.sqrt(a) * hat) / np.sqrt(1 - a) + sigma * eps[3 - i]
        np.testing.assert_allclose(path[i + 1][1], x, rtol=1e-11)
    np.testing.assert_array_equal(path[-1][1], ddim_sample(vdm, None, (3, 2), times=times, eta=0.6, x_T=x_T, eps=eps))
    whole = ddim_sample(vdm, None, (3, 2), times=range(11, 0, -1), x_T=x_T, eps=np.zeros((11, 3, 2)))
    np.testing.assert_array_equal(whole, ddim_sample(vdm, None, (3, 2), x_T=x_T, eps=np.zeros((11, 3, 2))))
    for wrong in ([11, 7], [1, 1], [11, 7, 7, 1], [11, 8, 9, 1], [11, 0], [12, 1], [11], [], 11, [11.0, 1.0], "no"):
        with pytest.raises((TypeError, ValueError), match="times"):
            ddim_path(vdm, None, (3, 2), times=wrong, x_T=x_T, eps=eps)
    lower = list(ddim_path(vdm, None, (3, 2), times=[7, 6, 1], eta=0.6, x_T=path[1][1], eps=eps[:3]))
    assert [t for t, _ in lower] == [7, 6, 1, 0]  # x_T is what stands at the first of the times
    for (_, a), (_, b) in zip(lower, path[1:]):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="steps or times, not both"):
        ddim_path(vdm, None, (3, 2), times=times, steps=3, x_T=x_T)


def test_clipping_is_of_x_0_hat():
    schedule = Schedule.linear_gamma(6, -4.0, 3.0)
    wild = VDM(lambda theta, x_t, t: 5 * x_t, schedule, GaussianDecoder(0.1))
    tame = VDM(lambda theta, x_t, t: np.clip(5 * x_t, -1, 0.5) if t[0] > 1 else 5 * x_t, schedule, GaussianDecoder(0.1))
    given = {"x_T": np.random.default_rng(0).standard_normal((4, 2)), "eps": np.zeros((6, 4, 2))}
    np.testing.assert_array_equal(ddim_sample(wild, None, (4, 2), clip=(-1, 0.5), **given),
                                  ddim_sample(tame, None, (4, 2), **given))
    for bad in ((1, -1), (0, 0), 3, (1,), (0, np.nan), ("a", "b")):
        with pytest.raises(ValueError, match="clip"):
            ddim_sample(wild, None, (4, 2), clip=bad, **given)
