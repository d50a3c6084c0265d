"""The variance of p(x_{t-1} | x_t) for each element, from a network's second output, its term at t = 1 included."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logit
from scipy.stats import norm

from refvdm.autodiff import check_vjp, value_and_grad
from refvdm.vdm import (
    VDM,
    ConvertedDenoiser,
    DiscretizedGaussianDecoder,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    convert,
    elbo_forms,
    log_variance_between,
)

LEVELS = np.linspace(-1, 1, 5)
SCHEDULE = Schedule.linear_gamma(5, -4.0, 3.0)


class Two:
    """x̂_0 and a share, smooth in theta, x_t and t."""

    def __call__(self, theta, x_t, t):
        return self.with_variance(theta, x_t, t)[0]

    def with_variance(self, theta, x_t, t):
        t = np.reshape(t, (-1,) + (1,) * (x_t.ndim - 1)).astype(x_t.dtype)
        return np.tanh(theta["w"] * x_t / t), 0.5 + 0.4 * np.sin(theta["v"] * x_t + t)


class Constant(Two):
    def __init__(self, shares):
        self.shares = shares  # (T+1,)

    def with_variance(self, theta, x_t, t):
        share = np.reshape(self.shares[t], (-1,) + (1,) * (x_t.ndim - 1))
        return super().with_variance(theta, x_t, t)[0], share + 0 * x_t


THETA = {"w": np.array(1.3), "v": np.array(0.7)}


def usual(schedule):
    """log σ_q² and log β (T+1,) by their definitions, at t = 1 the first that of t = 2."""
    alpha, abar = schedule.alpha, schedule.alpha_bar
    small = np.full(schedule.T + 1, np.nan)
    small[2:] = np.log((1 - alpha[2:]) * (1 - abar[1:-1]) / (1 - abar[2:]))
    small[1] = small[2]
    with np.errstate(divide="ignore"):
        return small, np.log(1 - alpha)


@given(st.integers(0, 10_000), st.integers(2, 6))
def test_between_is_the_line_between_the_logs(seed, T):
    rng = np.random.default_rng(seed)
    schedule = Schedule(np.cumsum(rng.uniform(0.2, 2, T)) - 5)
    small, large = usual(schedule)
    t, share = rng.integers(1, T + 1, 3), rng.uniform(-0.5, 1.5, (3, 2, 2))
    expected = [[v * large[i] + (1 - v) * small[i] for v in share[n].ravel()] for n, i in enumerate(t)]
    np.testing.assert_allclose(log_variance_between(schedule, share, t).reshape(3, 4), expected, rtol=1e-9)
    np.testing.assert_allclose(log_variance_between(schedule, share[:1], int(t[0])).ravel(), expected[0], rtol=1e-9)


def test_shares_0_and_1_are_the_usual_variances_and_one_number_for_each_t_the_learned_one():
    rng = np.random.default_rng(0)
    x_0, eps = rng.standard_normal((3, 2)), rng.standard_normal((5, 3, 2))
    shares = rng.uniform(0.1, 0.9, 6)
    learned = {"denoiser": THETA, "variance": {"raw": logit(shares[2:])}}
    for share, variance, theta in ((np.zeros(6), "small", THETA), (np.ones(6), "large", THETA),
                                   (shares, LearnedVariance(5), learned)):
        got = VDM(Constant(share), SCHEDULE, GaussianDecoder(0.3), "network")
        other = VDM(Two(), SCHEDULE, GaussianDecoder(0.3), variance)
        for a, b in zip(got.elbo(THETA, x_0, eps=eps), other.elbo(theta, x_0, eps=eps)):
            np.testing.assert_allclose(a, b, rtol=1e-11)
        np.testing.assert_allclose(got.sample(THETA, (3, 2), x_T=x_0, eps=eps),
                                   other.sample(theta, (3, 2), x_T=x_0, eps=eps), rtol=1e-11)


def by_hand(x_0, eps, discrete):
    """13.24 with KLs of one-dimensional Gaussians, element by element, in plain alpha and alpha_bar."""
    alpha, abar = SCHEDULE.alpha, SCHEDULE.alpha_bar
    small, large = usual(SCHEDULE)
    kls = np.zeros((6, *x_0.shape))
    for t in range(1, 6):
        x_t = np.sqrt(abar[t]) * x_0 + np.sqrt(1 - abar[t]) * eps[t - 1]
        hat, share = Two().with_variance(THETA, x_t, np.full(len(x_0), t))
        var_p = np.exp(share * large[t] + (1 - share) * small[t])
        if t == 1:
            mean_1, var_1 = hat, var_p
            continue
        mean_q, mean_p = ((np.sqrt(alpha[t]) * (1 - abar[t - 1]) * x_t + np.sqrt(abar[t - 1]) * (1 - alpha[t]) * x)
                          / (1 - abar[t]) for x in (x_0, hat))
        var_q = np.exp(small[t])
        kls[t] = 0.5 * (np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1)
    if discrete:
        sd, half = np.sqrt(var_1), 0.25
        mass = norm.cdf(x_0 + half, mean_1, sd) - norm.cdf(x_0 - half, mean_1, sd)
        mass = np.where(x_0 == -1, norm.cdf(-1 + half, mean_1, sd), mass)
        return np.log(np.where(x_0 == 1, norm.sf(1 - half, mean_1, sd), mass)).sum(1), kls.sum(2)
    return norm.logpdf(x_0, mean_1, np.sqrt(var_1)).sum(1), kls.sum(2)


@pytest.mark.parametrize("discrete", [False, True])
def test_every_term_by_hand_and_t_1_too(discrete):
    rng = np.random.default_rng(1)
    x_0, eps = LEVELS[rng.integers(0, 5, (6, 3))], rng.standard_normal((5, 6, 3))
    decoder = DiscretizedGaussianDecoder(LEVELS, "network") if discrete else GaussianDecoder("network")
    vdm = VDM(Two(), SCHEDULE, decoder, "network")
    elbo, (reconstruction, kls) = vdm.elbo(THETA, x_0, eps=eps), by_hand(x_0, eps, discrete)
    np.testing.assert_allclose(elbo.reconstruction, reconstruction, rtol=1e-9)
    np.testing.assert_allclose(vdm.kl_per_t(THETA, x_0, eps=eps), kls, rtol=1e-9)
    np.testing.assert_allclose(elbo.diffusion_kl, kls.sum(0), rtol=1e-9)
    for t in range(2, 6):
        one = vdm.elbo_estimate(THETA, x_0, t=t, eps=np.stack([eps[0], eps[t - 1]]))
        np.testing.assert_allclose(one.diffusion_kl, 4 * kls[t], rtol=1e-9)
        np.testing.assert_allclose(one.reconstruction, reconstruction, rtol=1e-9)


def test_samples_have_it_at_every_step_and_at_the_last():
    rng, small_large = np.random.default_rng(2), usual(SCHEDULE)
    x_T, eps = rng.standard_normal((4, 2)), rng.standard_normal((5, 4, 2))
    alpha, abar, x = SCHEDULE.alpha, SCHEDULE.alpha_bar, x_T
    for t in range(5, 0, -1):
        hat, share = Two().with_variance(THETA, x, np.full(4, t))
        sd = np.exp(0.5 * (share * small_large[1][t] + (1 - share) * small_large[0][t]))
        mean = hat if t == 1 else (np.sqrt(alpha[t]) * (1 - abar[t - 1]) * x
                                   + np.sqrt(abar[t - 1]) * (1 - alpha[t]) * hat) / (1 - abar[t])
        x = mean + sd * eps[t - 1]
    given = {"x_T": x_T, "eps": eps}
    vdm = VDM(Two(), SCHEDULE, GaussianDecoder("network"), "network")
    np.testing.assert_allclose(vdm.sample(THETA, (4, 2), **given), x, rtol=1e-10)
    got = VDM(Two(), SCHEDULE, DiscretizedGaussianDecoder(LEVELS, "network"), "network").sample(THETA, (4, 2), **given)
    np.testing.assert_array_equal(got, LEVELS[np.argmin(np.abs(x[..., None] - LEVELS), -1)])


def test_the_joint_form_and_the_hierarchical_vae_say_the_same():
    rng = np.random.default_rng(3)
    x_0, eps = rng.standard_normal((4, 2)), rng.standard_normal((5, 4, 2))
    vdm = VDM(Two(), SCHEDULE, GaussianDecoder("network"), "network")
    forms = elbo_forms(vdm, THETA, x_0, eps=eps)
    np.testing.assert_allclose(vdm.as_mhvae().elbo(THETA, x_0, eps=list(eps)), forms.joint, rtol=1e-10)
    many = np.random.default_rng(4).standard_normal((5, 40_000, 2))
    forms = elbo_forms(vdm, THETA, np.tile(x_0[:1], (40_000, 1)), eps=many)
    for other in (forms.consistency, forms.denoising):
        assert abs(np.mean(forms.joint - other)) < 4 * np.std(forms.joint - other) / 200


def test_a_model_from_another_process_is_the_same():
    rng = np.random.default_rng(7)
    x_0 = LEVELS[rng.integers(0, 5, (3, 2))]
    for decoder in (GaussianDecoder("network"), DiscretizedGaussianDecoder(LEVELS, "network")):
        vdm = VDM(Two(), SCHEDULE, decoder, "network")
        there = pickle.loads(pickle.dumps(vdm))
        here, other = (one.elbo(THETA, x_0, np.random.default_rng(0)) for one in (vdm, there))
        np.testing.assert_array_equal(here, other)
        np.testing.assert_array_equal(vdm.sample(THETA, (2, 2), np.random.default_rng(0)),
                                      there.sample(THETA, (2, 2), np.random.default_rng(0)))


def test_gradients_reach_both_outputs():
    rng = np.random.default_rng(5)
    x_0, eps = LEVELS[rng.integers(0, 5, (3, 2))], rng.standard_normal((5, 3, 2))
    for decoder in (GaussianDecoder("network"), DiscretizedGaussianDecoder(LEVELS, "network")):
        vdm = VDM(Two(), SCHEDULE, decoder, "network")
        check_vjp(lambda theta, vdm=vdm: vdm.elbo(theta, x_0, eps=eps).total, THETA)
        check_vjp(lambda theta, vdm=vdm: vdm.elbo(theta, x_0, eps=eps).reconstruction, THETA)
        single = {name: x.astype(np.float32) for name, x in THETA.items()}
        value, grads = value_and_grad(lambda theta, vdm=vdm: np.sum(vdm.elbo_estimate(
            theta, x_0.astype(np.float32), t=np.array([2, 5, 3]), eps=eps[:2].astype(np.float32)).total))(single)
        assert value.dtype == grads["v"].dtype == np.float32 and grads["v"] != 0


def test_a_network_of_eps_with_two_outputs_learned_levels_and_zero_terminal_snr():
    def network(theta, x_t, t):
        return np.tanh(theta["w"] * x_t), 0.5 + 0 * x_t

    rng = np.random.default_rng(6)
    x_0, eps = rng.standard_normal((3, 2)), rng.standard_normal((5, 3, 2))
    denoiser = ConvertedDenoiser(network, SCHEDULE, "eps", variance=True)
    t = np.array([1, 3, 5])
    hat, share = denoiser.with_variance(THETA, x_0, t)
    np.testing.assert_array_equal(hat, convert(np.tanh(1.3 * x_0), x_0, t, SCHEDULE, source="eps", target="x_0"))
    assert np.all(share == 0.5)
    np.testing.assert_array_equal(denoiser(THETA, x_0, t), hat)
    learned = LearnedSchedule(5, -4.0, 3.0)
    theta = {"denoiser": THETA, "schedule": learned.init(rng)}
    got = VDM(denoiser, learned, GaussianDecoder("network"), "network").elbo(theta, x_0, eps=eps)
    fixed = VDM(denoiser, SCHEDULE, GaussianDecoder("network"), "network").elbo(THETA, x_0, eps=eps)
    np.testing.assert_allclose(got.total, fixed.total, rtol=1e-10)
    limit = Schedule.cosine(5).rescale_zero_terminal_snr()
    denoiser = ConvertedDenoiser(network, limit, "v", variance=True)
    assert np.all(np.isfinite(VDM(denoiser, limit, GaussianDecoder("network"), "network").elbo(THETA, x_0, rng).total))


def test_errors():
    x_0, rng = np.zeros((2, 2)), np.random.default_rng(0)
    with pytest.raises(TypeError, match=r"must have with_variance\(theta, x_t, t\) -> \(x_0 hat, share\)"):
        VDM(lambda theta, x_t, t: x_t, SCHEDULE, GaussianDecoder(0.1), "network")
    for decoder in (GaussianDecoder("network"), DiscretizedGaussianDecoder(LEVELS, "network")):
        with pytest.raises(ValueError, match="decoder's variance is 'network', so the model's must be"):
            VDM(Two(), SCHEDULE, decoder)
        with pytest.raises(ValueError, match="variance must be positive and finite, got 'net'"):
            type(decoder)(*([LEVELS] if isinstance(decoder, DiscretizedGaussianDecoder) else []), "net")

    class Wrong(Two):
        def with_variance(self, theta, x_t, t):
            return x_t, x_t[:, :1]

    with pytest.raises(ValueError, match=r"denoiser.with_variance as the share returns must have shape \(.*, 2\)"):
        VDM(Wrong(), SCHEDULE, GaussianDecoder(0.1), "network").elbo(None, x_0, rng)
    one = ConvertedDenoiser(lambda theta, x_t, t: x_t, SCHEDULE, "eps", variance=True)
    with pytest.raises(TypeError, match=r"network returns must be two arrays .* \(prediction, share\), got ndarray"):
        one(None, x_0, np.array([1, 2]))
    assert not hasattr(ConvertedDenoiser(lambda theta, x_t, t: x_t, SCHEDULE, "eps"), "with_variance")
    with pytest.raises(TypeError, match="variance must be True or False"):
        ConvertedDenoiser(lambda theta, x_t, t: x_t, SCHEDULE, "eps", variance=1)
