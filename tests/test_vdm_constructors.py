"""Schedules from betas and alpha_bars, numbers that are something else, and zero terminal SNR."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm.vdm import (
    VDM,
    GaussianDecoder,
    Schedule,
    continuous_kl,
    convert,
    ddim_sample,
    diffusion_kl,
    flow_log_prob,
    flow_sample,
    loss_weight,
    prior_kl,
    q_marginal,
    q_posterior,
    q_step,
    sample_q,
    weighted_error,
)
from refvdm.vdm.denoiser import GaussianDenoiser
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

TABLES = ("alpha", "one_minus_alpha", "alpha_bar", "one_minus_alpha_bar", "sqrt_alpha", "sqrt_alpha_bar",
          "sqrt_one_minus_alpha_bar", "snr", "snr_drop", "posterior_x_t", "posterior_x_0", "posterior_var",
          "log_posterior_var", "log_one_minus_alpha")
betas = st.lists(st.floats(1e-4, 0.5), min_size=2, max_size=8)


@given(betas)
def test_three_ways_to_one_schedule(betas):
    betas = np.array(betas)
    schedule = Schedule.from_betas(betas)
    # gamma, up to 6, is rounded to 1e-15; so are their differences
    np.testing.assert_allclose(schedule.one_minus_alpha[1:], betas, rtol=1e-12, atol=4e-15)
    np.testing.assert_allclose(Schedule.from_alphas(1 - betas).gamma[1:], schedule.gamma[1:], atol=1e-10)
    np.testing.assert_allclose(Schedule.from_alpha_bars(np.cumprod(1 - betas)).gamma[1:], schedule.gamma[1:],
                               atol=1e-10)


def test_betas_keep_what_alphas_have_lost():
    betas = np.full(3, 1e-13)
    exact = 1e-13 * np.arange(1, 4)
    np.testing.assert_allclose(Schedule.from_betas(betas).one_minus_alpha_bar[1:], exact, rtol=1e-12)
    assert abs(Schedule.from_alphas(1 - betas).one_minus_alpha_bar[1] / 1e-13 - 1) > 1e-5


def test_ddpm_s_numbers_given_to_the_wrong_one_are_told():
    betas = np.linspace(1e-4, 0.02, 1000)
    alpha_bars = np.cumprod(1 - betas)
    cosine = Schedule.cosine(1000)
    for make, numbers, told in ((Schedule.from_alphas, betas, "end with 0.02 are no α_t; .* like β_t, use from_betas$"),
                                (Schedule.from_alphas, alpha_bars, "no α_t; they look like ᾱ_t, use from_alpha_bars$"),
                                (Schedule.from_betas, 1 - betas, "are no β_t; they look like α_t, use from_alphas$"),
                                (Schedule.from_betas, alpha_bars, "no β_t; they look like ᾱ_t, use from_alpha_bars$"),
                                (Schedule.from_alpha_bars, betas, "; they look like β_t, use from_betas$"),
                                (Schedule.from_alpha_bars, 1 - betas, "no ᾱ_t; they look like α_t, use from_alphas$"),
                                (Schedule.from_alphas, cosine.one_minus_alpha[1:], "like β_t, use from_betas$"),
                                (Schedule.from_alphas, cosine.alpha_bar[1:], "like ᾱ_t, use from_alpha_bars$"),
                                (Schedule.from_betas, cosine.alpha[1:], "like α_t or ᾱ_t, use from_alphas or from_alp"),
                                (Schedule.from_alpha_bars, [1.0, *alpha_bars], "leave out ᾱ_0 = 1$")):
        with pytest.raises(ValueError, match=told):
            make(numbers)


@given(st.sampled_from(["betas", "alphas", "alpha_bars"]), st.integers(2, 400), st.floats(1e-5, 0.1),
       st.floats(0.1, 0.6))
def test_no_schedule_that_somebody_means_is_taken_for_another(name, T, first, last):
    """Betas that rise and leave between 10^-6 and half of the signal: whatever their length, each reading is taken."""
    betas = np.linspace(first, last, T) * min(1, 14 / (T * (first + last)))
    alpha_bars = np.cumprod(1 - betas)
    if 1e-6 < alpha_bars[-1] < 0.5:
        expected = Schedule.from_betas(betas)
        given = {"betas": betas, "alphas": 1 - betas, "alpha_bars": alpha_bars}[name]
        np.testing.assert_allclose(getattr(Schedule, f"from_{name}")(given).gamma[1:], expected.gamma[1:], atol=1e-8)


def test_betas_may_end_in_1_and_only_end_so():
    assert Schedule.from_betas([0.3, 0.2, 1.0]).ends_in_noise
    for bad in ([0.3, 1.0, 1.0], [1.0, 0.2, 0.3], [0.3, 0.2, 0.0]):
        with pytest.raises(ValueError, match="from_betas: expected betas"):
            Schedule.from_betas(bad)


def test_what_the_constructors_refuse():
    betas = np.linspace(1e-4, 0.02, 1000)
    assert Schedule.from_betas(betas).gamma[-1] == pytest.approx(Schedule.linear_beta(1000).gamma[-1], rel=1e-12)
    for bad in ([0.1], [0.1, 0.0], [1.0, 0.1], [0.1, 1.5], [0.1, np.nan], [[0.1, 0.2]]):
        with pytest.raises(ValueError, match="from_betas: expected betas"):
            Schedule.from_betas(bad)
    for bad in ([0.1], [0.5, 0.6], [1.0, 0.5], [0.5, -0.1], [0.5, np.nan], [0.5, 0.5], [0.0, 0.0]):
        with pytest.raises(ValueError, match="from_alpha_bars: expected alpha_bars"):
            Schedule.from_alpha_bars(bad)


# ---------------------------------------------------------------- zero terminal SNR


@given(betas, st.booleans())
def test_tables_take_their_limits(betas, by_betas):
    """Beside a schedule whose last beta is 1 - 1e-9: every table tends to what stands there."""
    with np.errstate(all="raise", under="ignore"):
        limit = (Schedule.from_betas([*betas, 1.0]) if by_betas
                 else Schedule.from_alpha_bars([*np.cumprod(1 - np.array(betas)), 0.0]))
        tables = {name: getattr(limit, name) for name in TABLES}
    near = Schedule.from_betas([*betas, 1 - 1e-9])
    T = len(betas) + 1
    assert limit.T == T and limit.gamma[T] == np.inf and limit.ends_in_noise and not near.ends_in_noise
    assert limit.alpha[T] == limit.alpha_bar[T] == limit.snr[T] == limit.posterior_x_t[T] == 0
    assert limit.one_minus_alpha[T] == limit.one_minus_alpha_bar[T] == 1 and limit.snr_drop[T] == limit.snr[T - 1]
    for name, table in tables.items():
        np.testing.assert_allclose(table[1:], getattr(near, name)[1:], rtol=1e-4, atol=1e-4, err_msg=name)


def test_q_and_the_bound_at_its_end():
    schedule = Schedule.cosine(8).rescale_zero_terminal_snr()
    x_0, eps = np.random.default_rng(0).standard_normal((2, 3, 2))
    mean, var = q_marginal(schedule, x_0, 8)
    assert np.all(mean == 0) and np.all(var == 1) and np.all(prior_kl(schedule, x_0) == 0)
    np.testing.assert_array_equal(sample_q(schedule, x_0, 8, eps=eps), eps)
    mean, var = q_step(schedule, x_0, 8)
    assert np.all(mean == 0) and np.all(var == 1)
    mean, var = q_posterior(schedule, eps, x_0, 8)  # x_T says nothing
    before = q_marginal(schedule, x_0, 7)
    np.testing.assert_allclose(mean, before[0], rtol=1e-13)
    np.testing.assert_allclose(var, before[1], rtol=1e-13)
    np.testing.assert_allclose(diffusion_kl(schedule, x_0, eps, 8), 0.5 * schedule.snr[7] * np.sum((x_0 - eps) ** 2, 1))
    for kind in ("x_0", "v"):
        truth, predicted = (convert(x, eps, 8, schedule, source="x_0", target=kind) for x in (x_0, -x_0))
        np.testing.assert_allclose(weighted_error(schedule, truth, predicted, 8, kind),
                                   diffusion_kl(schedule, x_0, -x_0, 8), rtol=1e-12)


def test_lin_et_al_s_rescaling():
    schedule = Schedule.linear_beta(50)
    rescaled = schedule.rescale_zero_terminal_snr()
    root, old = rescaled.sqrt_alpha_bar[1:], schedule.sqrt_alpha_bar[1:]
    assert root[-1] == 0 and root[0] == pytest.approx(old[0], rel=1e-12)
    np.testing.assert_allclose(np.diff(root) / np.diff(old), old[0] / (old[0] - old[-1]), rtol=1e-9)


def test_models_train_and_sample_from_pure_noise():
    schedule = Schedule.cosine(6).rescale_zero_terminal_snr()
    denoiser = RegressionDenoiser(MLPNetwork(2, 2, 8, 1), schedule)
    theta, rng = denoiser.init(np.random.default_rng(0), np.float64), np.random.default_rng(1)
    vdm = VDM(denoiser, schedule, GaussianDecoder(0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elbo = vdm.elbo(theta, rng.standard_normal((5, 2)), rng)
        assert np.all(np.isfinite(elbo.total)) and np.all(elbo.prior_kl == 0)
        assert np.all(np.isfinite(vdm.sample(theta, (4, 2), rng)))
        assert np.all(np.isfinite(ddim_sample(vdm, theta, (4, 2), rng, steps=3)))
    exact = VDM(GaussianDenoiser(np.ones(2), 2 * np.eye(2), schedule), schedule, GaussianDecoder(0.1))
    draws = exact.sample(None, (4000, 2), np.random.default_rng(2))
    np.testing.assert_allclose(draws.mean(0), 1, atol=0.15)


def test_what_has_no_limit_says_so():
    schedule = Schedule.cosine(6).rescale_zero_terminal_snr()
    x = np.ones((2, 2))
    for source in ("eps", "score"):
        for target in ("x_0", "v"):
            with pytest.raises(ValueError, match="x_t is noise alone"):
                convert(x, x, np.array([3, 6]), schedule, source=source, target=target)
            convert(x, x, 5, schedule, source=source, target=target)
        with pytest.raises(ValueError, match="is infinite"):
            loss_weight(schedule, 6, x, source)
    vdm = VDM(GaussianDenoiser(np.zeros(2), np.eye(2), schedule), schedule, GaussianDecoder(0.1))
    for call in (lambda: flow_sample(vdm, None, (2, 2), np.random.default_rng(0)),
                 lambda: flow_log_prob(vdm, None, x), lambda: continuous_kl(vdm, None, x, np.random.default_rng(0))):
        with pytest.raises(ValueError, match=r"gamma_T = inf \(ᾱ_T = 0\)"):
            call()
    assert schedule.gamma_at(5.0) == schedule.gamma[5] and schedule.gamma_at(5.5) == np.inf


@given(st.lists(st.floats(0.01, 3), min_size=2, max_size=6))
def test_levels_that_explode(factors):
    """x_0 + σ_t eps is x_t/√ᾱ_t."""
    sigmas = np.cumsum(factors)
    schedule = Schedule.from_sigmas(sigmas.tolist())
    np.testing.assert_allclose(schedule.sqrt_one_minus_alpha_bar[1:] / schedule.sqrt_alpha_bar[1:], sigmas, rtol=1e-12)
    for bad in ([0.1], [0.0, 1.0], [-1.0, 1.0], [1.0, 1.0], [0.1, np.inf], [[0.1, 0.2]], []):
        with pytest.raises(ValueError, match="from_sigmas"):
            Schedule.from_sigmas(bad)


@pytest.mark.parametrize("gamma_1", [-10.0, -30.0, -50.0])
def test_rescaling_keeps_the_first_noise_level_where_alpha_bar_is_rounded_to_1(gamma_1):
    """ᾱ_1 stays, so 1 - ᾱ_1 does, and 1 - ᾱ_t rises from there: not formed from a rounded ᾱ."""
    before = Schedule.linear_gamma(10, gamma_1, 10.0)
    after = before.rescale_zero_terminal_snr()
    np.testing.assert_allclose(after.gamma[1], gamma_1, rtol=1e-14)
    assert after.gamma[-1] == np.inf and after.alpha_bar[-1] == 0
    root = before.sqrt_alpha_bar[1:]
    expected = (root - root[-1]) * root[0] / (root[0] - root[-1])
    np.testing.assert_allclose(after.sqrt_alpha_bar[1:], expected, rtol=1e-13)
