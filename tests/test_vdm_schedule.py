"""Every schedule is its definition, computed in decimals or by another closed form; the tables agree at both ends."""
import math
from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from refvdm.autodiff import check_vjp, grad
from refvdm.vdm import (
    Schedule,
    diffusion_kl,
    diffusion_kl_general,
    prior_kl,
    q_marginal,
    q_posterior,
    q_step,
)

alpha_lists = st.lists(st.floats(0.05, 0.999, allow_subnormal=False), min_size=2, max_size=40)


def exact_tables(alphas):
    """gamma, abar, 1 - abar, SNR for t = 1..T from alphas (Decimals), at 60 digits."""
    with localcontext() as context:
        context.prec = 60
        abar, rows = Decimal(1), []
        for alpha in alphas:
            abar *= alpha
            rows.append([((1 - abar) / abar).ln(), abar, 1 - abar, abar / (1 - abar)])
        return np.array(rows, float).T


def assert_tables(schedule, alphas):
    gamma, abar, not_abar, snr = exact_tables(alphas)
    assert schedule.T == len(gamma) and schedule.gamma.shape == (schedule.T + 1,)
    np.testing.assert_allclose(schedule.gamma[1:], gamma, rtol=1e-13, atol=1e-12)
    # an error of e in gamma is a relative error of e in abar and SNR
    relative = 2e-12 + 1e-13 * np.abs(gamma)
    for got, expected in [(schedule.alpha_bar, abar), (expit(schedule.gamma), not_abar), (schedule.snr, snr)]:
        assert np.all(np.abs(got[1:] / expected - 1) <= relative)
    np.testing.assert_allclose(schedule.alpha[1:], np.array(alphas, float), rtol=1e-12)


@given(alpha_lists)
def test_from_alphas(alphas):
    assert_tables(Schedule.from_alphas(alphas), [Decimal(a) for a in alphas])


@pytest.mark.parametrize("T", [2, 3, 10, 1000])
@pytest.mark.parametrize("ends", [(), (1e-12, 0.5), (0.3, 0.3), (1e-4, 0.02)])
def test_linear_beta(T, ends):
    first, last = (Decimal(b) for b in (ends or (1e-4, 0.02)))
    assert_tables(Schedule.linear_beta(T, *ends),
                  [1 - (first + (last - first) * (t - 1) / (T - 1)) for t in range(1, T + 1)])


@given(st.integers(2, 40), st.floats(0, 0.1, allow_subnormal=False), st.floats(0.9, 0.999, allow_subnormal=False))
def test_cosine_is_the_ratio_of_squared_cosines_capped(T, s, max_beta):
    f = [math.cos(math.pi / 2 * (t / T + s) / (1 + s)) ** 2 for t in range(T + 1)]
    alphas = [max(f[t] / f[t - 1], 1 - max_beta) for t in range(1, T + 1)]
    np.testing.assert_allclose(Schedule.cosine(T, s, max_beta).alpha[1:], alphas, rtol=1e-10)


@pytest.mark.parametrize("T", [2, 17, 1000, 100_000])
def test_cosine_without_offset_is_twice_the_log_tangent(T):
    """s = 0: abar_t = cos²(πt/2T), 1 - abar_t = sin²(πt/2T), so gamma_t = 2 log tan(πt/2T) before the cap."""
    t = np.arange(1, T // 2 + 1)
    schedule = Schedule.cosine(T, s=0.0)
    np.testing.assert_allclose(schedule.gamma[t], 2 * np.log(np.tan(np.pi * t / (2 * T))), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(expit(schedule.gamma[1]), math.sin(math.pi / (2 * T)) ** 2, rtol=1e-12)


def test_cosine_defaults_and_cap():
    assert np.array_equal(Schedule.cosine(50).gamma, Schedule.cosine(50, 0.008, 0.999).gamma)
    assert Schedule.cosine(50).alpha[50] == pytest.approx(0.001, rel=1e-9)
    assert Schedule.cosine(50, max_beta=0.5).alpha.min() == pytest.approx(0.5, rel=1e-12)


@given(st.integers(2, 40), st.floats(-15, 0, allow_subnormal=False), st.floats(0.1, 20, allow_subnormal=False))
def test_linear_gamma_is_equal_steps(T, gamma_1, rise):
    schedule = Schedule.linear_gamma(T, gamma_1, gamma_1 + rise)
    assert schedule.gamma[1] == gamma_1 and schedule.gamma[T] == gamma_1 + rise and schedule.T == T
    np.testing.assert_allclose(np.diff(schedule.gamma[1:]), rise / (T - 1), rtol=1e-9, atol=1e-14)


@given(alpha_lists)
def test_tables_agree_with_each_other(alphas):
    schedule = Schedule.from_alphas(alphas)
    gamma, alpha, abar, snr = schedule.gamma, schedule.alpha, schedule.alpha_bar, schedule.snr
    assert gamma[0] == -np.inf and abar[0] == 1 and alpha[0] == 1 and snr[0] == np.inf
    for table in (gamma, alpha, abar, snr):
        assert table.shape == (schedule.T + 1,) and table.dtype == np.float64
    np.testing.assert_allclose(alpha[1:], abar[1:] / abar[:-1], rtol=1e-12)
    np.testing.assert_allclose(np.cumprod(alpha), abar, rtol=1e-12)
    np.testing.assert_allclose(snr[1:], abar[1:] / expit(gamma[1:]), rtol=1e-12)
    np.testing.assert_allclose(np.log(snr[1:]), -gamma[1:], atol=1e-12)
    again = Schedule.from_alphas(alpha[1:])
    np.testing.assert_allclose(again.gamma[1:], gamma[1:], rtol=1e-12, atol=1e-11)


def test_precision_at_both_ends():
    assert expit(Schedule.linear_beta(5, 1e-12, 1e-3).gamma[1]) == pytest.approx(1e-12, rel=1e-13)
    assert expit(Schedule.from_alphas([1 - 2.0**-50, 0.5]).gamma[1]) == pytest.approx(2.0**-50, rel=1e-13)
    low = Schedule.from_alphas(np.full(100, 1e-3))
    assert low.alpha_bar[100] == pytest.approx(1e-300, rel=1e-12) and low.snr[100] == pytest.approx(1e-300, rel=1e-12)


def test_own_gamma_is_copied():
    gamma = np.array([-1.0, 0.0, 2.0])
    schedule = Schedule(gamma)
    gamma[:] = 0
    assert schedule.gamma.tolist() == [-np.inf, -1, 0, 2]
    assert Schedule([-1, 0, 2]).gamma.tolist() == schedule.gamma.tolist()
    assert repr(schedule) == "Schedule(T=3, gamma_1=-1, gamma_T=2)"


@given(st.integers(2, 40), st.integers(0, 2**32 - 1))
def test_gamma_at(T, seed):
    """Exactly the table at integers, the straight line between them."""
    rng = np.random.default_rng(seed)
    schedule = Schedule(np.cumsum(rng.uniform(0.01, 1, T)) - 8)
    t = np.arange(1, T + 1)
    assert np.array_equal(schedule.gamma_at(t), schedule.gamma[1:])
    assert np.array_equal(schedule.gamma_at(t.astype(float)), schedule.gamma[1:])
    real = rng.uniform(1, T, (3, 5))
    np.testing.assert_allclose(schedule.gamma_at(real), np.interp(real, t, schedule.gamma[1:]), rtol=1e-12, atol=1e-12)
    assert schedule.gamma_at(1.5) == pytest.approx((schedule.gamma[1] + schedule.gamma[2]) / 2, rel=1e-14)


def test_gamma_at_outside_is_an_error():
    schedule = Schedule.linear_gamma(5, -3, 3)
    for t in (0.999, 0, -1, 5.001, 6, np.nan, [1, 7], np.inf):
        with pytest.raises(ValueError, match=r"t must lie in \[1, 5\]"):
            schedule.gamma_at(t)


def test_errors():
    for make in (Schedule.linear_beta, Schedule.cosine, lambda T: Schedule.linear_gamma(T, -3, 3)):
        for T in (1, 0, -3, 2.0, True, "10", None):
            with pytest.raises(ValueError, match="T must be an integer of at least 2"):
                make(T)
        assert make(2).T == 2 and make(np.int64(3)).T == 3
    for alphas in ([0.5, 1.0], [0.5, 0.0], [0.5, 1.1], [-0.5, 0.5], [0.5, np.nan], [[0.5, 0.5]]):
        with pytest.raises(ValueError, match=r"alphas of shape \(T,\), each in \(0, 1\)"):
            Schedule.from_alphas(alphas)
    for gamma in ([1.0], [], 1.0, [[1.0, 2.0]]):
        with pytest.raises(ValueError, match=r"T >= 2|gamma must have shape \(T,\)"):
            Schedule(gamma)
    with pytest.raises(ValueError, match=r"T >= 2|gamma must have shape \(T,\)"):
        Schedule.from_alphas([0.5])
    for gamma in ([0.0, np.nan], [np.inf, np.inf], [0.0, np.inf, np.inf], [-np.inf, 0.0]):
        with pytest.raises(ValueError, match="gamma must be finite"):
            Schedule(gamma)
    with pytest.raises(ValueError, match="gamma_2 = 1 and gamma_3 = 1"):
        Schedule([0.0, 1.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="gamma_1 = 0 and gamma_2 = -1"):
        Schedule([0.0, -1.0])
    with pytest.raises(ValueError, match="must rise"):
        Schedule.linear_gamma(5, 3, -3)
    for beta in ((0, 0.1), (0.1, 1), (-0.1, 0.2), (0.1, 1.2), (np.nan, 0.1), (1, 0.1), (0.1, 0)):
        with pytest.raises(ValueError, match=r"beta_(1|T) must lie in \(0, 1\)"):
            Schedule.linear_beta(5, *beta)
    for s, max_beta in ((-0.1, 0.9), (0.1, 1.0), (0.1, 0.0), (0.1, 1.5), (np.nan, 0.9)):
        with pytest.raises(ValueError, match=r"cosine: (s must lie in \[0, inf\)|max_beta must lie in \(0, 1\)), got"):
            Schedule.cosine(5, s, max_beta)


# ---------------------------------------------------------------- gamma as a Tensor

GAMMA = np.array([-4.0, -1.5, 0.5, 3.0])
X_0, X_T, X_HAT = np.random.default_rng(0).standard_normal((3, 4, 2))
FUNCTIONS = {
    "alpha_bar": lambda s: s.alpha_bar,
    "alpha": lambda s: s.alpha,
    "snr": lambda s: s.snr[1:],
    "gamma_at": lambda s: s.gamma_at([1, 1.25, 3.5, 4]),
    "q_step at 1": lambda s: q_step(s, X_0, 1),
    "q_step": lambda s: q_step(s, X_0, np.array([1, 2, 3, 4])),
    "q_marginal": lambda s: q_marginal(s, X_0, np.array([1, 2, 3, 4])),
    "q_posterior at 1": lambda s: q_posterior(s, X_T, X_0, 1),
    "q_posterior": lambda s: q_posterior(s, X_T, X_0, np.array([1, 2, 3, 4])),
    "prior_kl": lambda s: prior_kl(s, X_0),
    "diffusion_kl": lambda s: diffusion_kl(s, X_0, X_HAT, np.array([2, 3, 4, 2])),
    "diffusion_kl_general": lambda s: diffusion_kl_general(s, X_T, X_0, X_HAT, np.array([2, 3, 4, 2]), -0.3),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_by_gamma_are_finite_and_right(name):
    """gamma_0 = -inf sends no nan, and no 0 * inf, into the gradient by gamma_1..gamma_T."""
    f = FUNCTIONS[name]

    def total(gamma):
        out = f(Schedule(gamma))
        parts = out if isinstance(out, tuple) else (out,)
        return sum(np.sum(np.sin(part)) for part in parts)

    got = grad(total)(GAMMA)
    h = 1e-5
    expected = [(total(GAMMA + h * e) - total(GAMMA - h * e)) / (2 * h) for e in np.eye(4)]
    assert np.all(np.isfinite(got))
    assert np.any(got != 0) == (name != "q_posterior at 1")  # there the answer is x_0 with variance 0, whatever gamma
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-8)
    check_vjp(lambda gamma: f(Schedule(gamma)), GAMMA)


def test_errors_with_a_tensor():
    with pytest.raises(ValueError, match="gamma_2 = 0 and gamma_3 = 0"):
        grad(lambda gamma: Schedule(gamma).alpha_bar[1])(np.array([-1.0, 0.0, 0.0]))


def test_messages_say_what_came():
    with pytest.raises(ValueError, match=r"got shape \(0, 2\), no values"):
        Schedule.from_alphas(np.ones((0, 2)))
    with pytest.raises(ValueError, match=r"values from 0.5 to 1.5"):
        Schedule.from_alphas([0.5, 1.5])


FIRST = {"gamma": -np.inf, "alpha": 1, "one_minus_alpha": 0, "alpha_bar": 1, "one_minus_alpha_bar": 0, "sqrt_alpha": 1,
         "sqrt_alpha_bar": 1, "sqrt_one_minus_alpha_bar": 0, "snr": np.inf, "snr_drop": np.nan, "posterior_x_t": np.nan,
         "posterior_x_0": np.nan, "posterior_var": np.nan, "log_posterior_var": np.nan, "log_one_minus_alpha": -np.inf}


@pytest.mark.parametrize("name", FIRST)
def test_what_stands_at_0_and_nobody_writes(name):
    schedule = Schedule.cosine(5)
    table = getattr(schedule, name)
    assert table.dtype == np.float64 and table.shape == (6,)
    np.testing.assert_equal(table[0], FIRST[name])
    with pytest.raises(ValueError, match="read-only"):
        table[1] = 0


def test_what_of_the_snr_is_lost_on_the_way():
    schedule = Schedule.linear_gamma(1000, -2, -2 + 1e-6)
    assert schedule.snr_lost(300, 300) == 0
    assert schedule.snr_lost(300, 800) == pytest.approx(1e-6 * 500 / 999, rel=1e-6)
    schedule = Schedule.linear_gamma(5, -3, 3)
    assert schedule.snr_lost(2, 4) == pytest.approx(1 - schedule.snr[4] / schedule.snr[2], rel=1e-14)


@pytest.mark.parametrize("t", [4.0, [1.0, 2.5, 4.0, 4.5, 5.0]])
def test_gamma_at_where_the_last_is_infinite(t):
    with np.errstate(all="raise"):
        got = Schedule(np.array([-2.0, 0.0, 1.0, 4.0, np.inf])).gamma_at(t)
    np.testing.assert_array_equal(got, np.interp(t, [1, 2, 3, 4, 4.1], [-2, 0, 1, 4, np.inf]))


@pytest.mark.parametrize("schedule", [Schedule.cosine(5), Schedule(np.array([-2.0, 0.0, 1.0, np.inf]))])
def test_the_first_step_s_posterior_is_x_0_itself(schedule):
    at_1 = {"posterior_x_t": 0, "posterior_x_0": 1, "posterior_var": 0, "log_posterior_var": -np.inf,
            "snr_drop": np.inf}
    for name, expected in at_1.items():
        assert getattr(schedule, name)[1] == expected, name
    for root, square in (("sqrt_alpha", "alpha"), ("sqrt_alpha_bar", "alpha_bar"),
                         ("sqrt_one_minus_alpha_bar", "one_minus_alpha_bar")):
        np.testing.assert_allclose(getattr(schedule, root) ** 2, getattr(schedule, square), rtol=1e-14)


def test_no_signal_at_all_is_told_as_gamma_30():
    schedule = Schedule(np.array([-2.0, 0.0, 1.0, np.inf]))
    features = schedule.features_at(4, np.zeros((3, 2)))
    angles = 30 * np.geomspace(0.1, 1.0, 4)
    np.testing.assert_allclose(features, [[*np.sin(angles), *np.cos(angles)]] * 3, rtol=1e-14)
    np.testing.assert_array_equal(schedule.features_at(4.0, np.zeros((3, 2))), features)


@pytest.mark.parametrize("schedule", [Schedule.cosine(5), Schedule.linear_gamma(6, -20, 20),
                                      Schedule(np.array([-2.0, 0.0, 1.0, np.inf]))])
def test_logarithms_are_those_of_the_tables(schedule):
    np.testing.assert_allclose(np.exp(schedule.log_posterior_var[2:]), schedule.posterior_var[2:], rtol=1e-13)
    np.testing.assert_allclose(np.exp(schedule.log_one_minus_alpha), schedule.one_minus_alpha, rtol=1e-13)


def test_an_infinite_end_changes_no_entry_before_it():
    ends, stops = Schedule(np.array([-2.0, 0.0, 1.0, np.inf])), Schedule(np.array([-2.0, 0.0, 1.0]))
    for name in FIRST:
        np.testing.assert_array_equal(getattr(ends, name)[:-1], getattr(stops, name), err_msg=name)
    last = {"alpha_bar": 0, "one_minus_alpha_bar": 1, "alpha": 0, "one_minus_alpha": 1, "snr": 0, "posterior_x_t": 0,
            "log_one_minus_alpha": 0}
    for name, expected in last.items():
        assert getattr(ends, name)[-1] == expected, name
    assert ends.posterior_x_0[-1] == stops.sqrt_alpha_bar[-1]
    assert ends.posterior_var[-1] == stops.one_minus_alpha_bar[-1]
    assert ends.snr_drop[-1] == stops.snr[-1]
