"""What a network may predict: every conversion against the definitions, at both ends of the schedule;
one loss through each."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from refvdm.autodiff import check_vjp
from refvdm.vdm import (
    VDM,
    ConvertedDenoiser,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    Schedule,
    convert,
    diffusion_kl,
    loss_weight,
    prior_kl,
    weighted_error,
)
from refvdm.vdm.denoiser import GaussianDenoiser

KINDS = ("x_0", "eps", "v", "score")
PAIRS = list(itertools.permutations(KINDS, 2))
SHAPES = [(3,), (3, 4), (2, 4, 3)]


def level(gamma):
    """sqrt(abar) and sqrt(1 - abar) in long double, from the definition of gamma."""
    snr = np.exp(-np.asarray(gamma, np.longdouble))
    return np.sqrt(snr / (1 + snr)), np.sqrt(1 / (1 + snr))


def all_of_them(x_0, eps, a, s):
    """x_t, and what a perfect network of each kind says, by the definitions."""
    return a * x_0 + s * eps, {"x_0": x_0, "eps": eps, "v": a * eps - s * x_0, "score": -eps / s}


@st.composite
def problems(draw):
    """(schedule, t, x_0, eps, gamma_t shaped for x_0), t one time or one for each example, integer or real."""
    T, rng = draw(st.integers(2, 20)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    schedule = Schedule(np.cumsum(rng.uniform(0.1, 0.7, T)) - 6)
    shape = draw(st.sampled_from(SHAPES))
    size = draw(st.sampled_from([(), shape[:1]]))
    t = rng.integers(1, T + 1, size) if draw(st.booleans()) else rng.uniform(1, T, size)
    gamma = np.interp(t, np.arange(1, T + 1), schedule.gamma[1:])
    gamma = np.reshape(gamma, np.shape(gamma) + (1,) * (len(shape) - 1)) if size else gamma
    return schedule, t, rng.standard_normal(shape), rng.standard_normal(shape), gamma


# ---------------------------------------------------------------- conversions


@settings(max_examples=25)
@given(problems())
def test_every_pair_by_the_definitions(problem):
    """All twelve, from true values: v = a eps - s x_0, score = -eps/s. Same source and target: the value itself."""
    schedule, t, x_0, eps, gamma = problem
    x_t, true = all_of_them(x_0, eps, np.sqrt(expit(-gamma)), np.sqrt(expit(gamma)))
    for source, target in PAIRS:
        got = convert(true[source], x_t, t, schedule, source=source, target=target)
        np.testing.assert_allclose(got, true[target], rtol=1e-9, atol=1e-9)
    for kind in KINDS:
        assert convert(true[kind], x_t, t, schedule, source=kind, target=kind) is true[kind]


@settings(max_examples=25)
@given(problems())
def test_round_trips_and_detours(problem):
    """Any value, not only a true one: there and back is the identity, and every detour arrives where
    the direct way does."""
    schedule, t, x_t, value, _ = problem
    for source, target in PAIRS:
        there = convert(value, x_t, t, schedule, source=source, target=target)
        np.testing.assert_allclose(convert(there, x_t, t, schedule, source=target, target=source), value,
                                   rtol=1e-8, atol=1e-8)
        for between in set(KINDS) - {source, target}:
            middle = convert(value, x_t, t, schedule, source=source, target=between)
            arrived = convert(middle, x_t, t, schedule, source=between, target=target)
            np.testing.assert_allclose(arrived, there, rtol=1e-8, atol=1e-8 * np.abs(there).max())


LOW, HIGH = [-20.0], [20.0]
GOOD = {("v", "x_0"): LOW + HIGH, ("v", "eps"): LOW + HIGH, ("v", "score"): LOW + HIGH,
        ("eps", "score"): LOW + HIGH, ("score", "eps"): LOW + HIGH,
        ("eps", "x_0"): LOW, ("score", "x_0"): LOW, ("eps", "v"): LOW, ("score", "v"): LOW,
        ("x_0", "eps"): HIGH, ("x_0", "v"): HIGH, ("x_0", "score"): HIGH}


@pytest.mark.parametrize("source, target", PAIRS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-15), (np.float32, 6e-7)])
def test_stable_at_the_ends(source, target, dtype, tolerance):
    """gamma = -20 and 20, wherever the answer is well conditioned: the answer to rounding, against long double."""
    rng = np.random.default_rng(0)
    value, x_t = rng.standard_normal((2, 100)).astype(dtype)
    schedule = Schedule([-20.0, 20.0])
    for gamma in GOOD[source, target]:
        a, s = level(gamma)
        wide, x = value.astype(np.longdouble), x_t.astype(np.longdouble)
        eps = {"x_0": (x - a * wide) / s, "eps": wide, "v": s * x + a * wide, "score": -s * wide}[source]
        x_0 = {"x_0": wide, "v": a * x - s * wide}.get(source, (x - s * eps) / a)
        expected = {"x_0": x_0, "eps": eps, "v": a * eps - s * x_0, "score": -eps / s}[target]
        got = convert(value, x_t, 1 if gamma < 0 else 2, schedule, source=source, target=target)
        assert got.dtype == dtype
        assert np.max(np.abs(got - expected)) <= tolerance * np.max(np.abs(expected))


@pytest.mark.parametrize("kind", ["v", "eps"])
def test_a_true_v_gives_x_0_and_eps_at_both_ends(kind):
    """x_0, eps known, x_t and v rounded to double: neither end loses either, as dividing by sqrt(abar)
    would lose x_0 at the upper one."""
    x_0, eps = np.random.default_rng(1).standard_normal((2, 50))
    for t, gamma in ((1, -20.0), (2, 20.0)):
        x_t, true = all_of_them(x_0, eps, *level(gamma))
        if kind == "v":
            for target, expected in (("x_0", x_0), ("eps", eps)):
                got = convert(true["v"].astype(float), x_t.astype(float), t, Schedule([-20.0, 20.0]),
                              source="v", target=target)
                np.testing.assert_allclose(got, expected, rtol=0, atol=2e-15)
        else:
            got = convert(true["eps"].astype(float), x_t.astype(float), t, Schedule([-20.0, 20.0]),
                          source="eps", target="score")
            np.testing.assert_allclose(got, true["score"].astype(float), rtol=1e-15)


def test_a_round_trip_of_eps_through_x_0_loses_at_the_clean_end():
    """There eps from x_0 is badly conditioned, the division by s that no formula can avoid: 1e-16/s."""
    x_t, eps = np.random.default_rng(1).standard_normal((2, 50))
    schedule = Schedule([-20.0, 20.0])
    there = convert(eps, x_t, 1, schedule, source="eps", target="x_0")
    error = np.max(np.abs(convert(there, x_t, 1, schedule, source="x_0", target="eps") - eps))
    assert 1e-13 < error < 1e-10


@pytest.mark.parametrize("source, target", PAIRS)
def test_gradients(source, target):
    """In value, x_t and the schedule, at an integer and at a real t."""
    rng = np.random.default_rng(2)
    for t in (np.array([1, 3, 2]), np.array([1.3, 2.0, 2.9]), 2):
        def f(value, x, gamma, t=t):
            return convert(value, x, t, Schedule(gamma), source=source, target=target)
        check_vjp(f, *rng.standard_normal((2, 3, 2)), np.array([-1.0, 0.5, 1.2]))


def test_errors_of_convert():
    schedule, x = Schedule([-1.0, 0.0, 1.0]), np.zeros((2, 3))
    for kwargs, name, got in (({"source": "epsilon", "target": "v"}, "source", "epsilon"),
                              ({"source": "v", "target": "x0"}, "target", "x0")):
        with pytest.raises(ValueError, match=f"convert: {name} must be one of x_0, eps, v, score, got '{got}'"):
            convert(x, x, 1, schedule, **kwargs)
    with pytest.raises(ValueError, match=r"convert: value must have x_t's shape \(2, 3\), got \(2, 1\)"):
        convert(x[:, :1], x, 1, schedule, source="v", target="eps")
    with pytest.raises(TypeError, match="x_t must be an array of floats"):
        convert(x, x.astype(int), 1, schedule, source="v", target="eps")
    for t in (np.array([1, 2, 3]), np.array([1]), np.array([[1], [2]])):
        with pytest.raises(ValueError, match=r"convert: t must be one time or have shape \(2,\), got"):
            convert(x, x, t, schedule, source="v", target="eps")
    for t in (0, 4, 0.99, 3.01, np.nan):
        with pytest.raises(ValueError, match=r"t must lie in \[1, 3\]"):
            convert(x, x, t, schedule, source="v", target="eps")
    with pytest.raises(TypeError, match="positional"):
        convert(x, x, 1, schedule, "v", "eps")  # which of the two is the source must be said


# ---------------------------------------------------------------- one loss


@settings(max_examples=25)
@given(problems())
def test_kl_is_one_number_through_each(problem):
    """w_t |truth - prediction|² = KL_t, the prediction x_0 hat said in each parametrisation."""
    schedule, _, x_0, eps, _ = problem
    rng = np.random.default_rng(int(1e6 * abs(eps.flat[0])))
    hat = rng.standard_normal(x_0.shape)
    for t in (rng.integers(2, schedule.T + 1, len(x_0)), schedule.T):
        gamma = np.reshape(schedule.gamma[t], (-1,) + (1,) * (x_0.ndim - 1)) if np.ndim(t) else schedule.gamma[t]
        x_t, true = all_of_them(x_0, eps, np.sqrt(expit(-gamma)), np.sqrt(expit(gamma)))
        expected = diffusion_kl(schedule, x_0, hat, t)
        for kind in KINDS:
            prediction = convert(hat, x_t, t, schedule, source="x_0", target=kind)
            weight = loss_weight(schedule, t, x_0, kind)
            assert np.shape(weight) == np.shape(t)
            error = np.sum(np.reshape((true[kind] - prediction) ** 2, (len(x_0), -1)), axis=1)
            np.testing.assert_allclose(weight * error, expected, rtol=1e-10)
            np.testing.assert_allclose(weighted_error(schedule, true[kind], prediction, t, kind), expected, rtol=1e-10)


@settings(max_examples=25)
@given(problems())
def test_weights_by_their_formulas(problem):
    schedule, _, x_0, _, _ = problem
    t = np.arange(len(x_0)) % (schedule.T - 1) + 2
    snr, abar = schedule.snr, schedule.alpha_bar
    x_0_weight, eps_weight = (snr[t - 1] - snr[t]) / 2, (snr[t - 1] / snr[t] - 1) / 2
    width = 1 - abar[t]
    expected = {"x_0": x_0_weight, "eps": eps_weight, "v": x_0_weight * width, "score": eps_weight * width,
                "simple": np.ones(len(t))}
    for kind, weight in expected.items():
        np.testing.assert_allclose(loss_weight(schedule, t, x_0, kind), weight, rtol=1e-9)
    np.testing.assert_array_equal(loss_weight(schedule, t, x_0), loss_weight(schedule, t, x_0, "eps"))
    truth, prediction = x_0, np.zeros_like(x_0)
    np.testing.assert_array_equal(weighted_error(schedule, truth, prediction, t),
                                  weighted_error(schedule, truth, prediction, t, "eps"))


def test_weights_at_the_ends():
    """No weight is lost where abar or 1 - abar rounds to 1."""
    schedule, x = Schedule([-40.0, -39.0, 39.0, 40.0]), np.zeros((1, 1))
    half = 0.5 * np.expm1(1.0)
    factors_of = {"x_0": [np.exp(39.0), np.exp(-40.0)], "eps": [1, 1], "v": [1, np.exp(-40.0)],
                  "score": [np.exp(-39.0), 1]}
    for kind, factors in factors_of.items():
        np.testing.assert_allclose([loss_weight(schedule, t, x, kind) for t in (2, 4)], half * np.array(factors),
                                   rtol=1e-13)


def test_the_simple_loss_is_no_bound():
    """Unit weight for eps is below the KL wherever SNR_{t-1} > 3 SNR_t:
    in the place of 13.24's sum it passes log p(x_0).

    T = 2, x_0 = 3, x_0 hat = 0: eps hat - eps is sqrt(SNR_2) x_0 for every eps. With p(x_1 | x_2) = N(c x_2, var_q) and
    p(x_0 | x_1) = N(x_1/sqrt(abar_1), u), p(x_0) is the normal density of variance (c² + var_q)/abar_1 + u.
    """
    schedule, x_0, u = Schedule([-8.0, 4.0]), np.full((3, 1), 3.0), 1e-3
    abar, snr = schedule.alpha_bar, schedule.snr
    eps = np.array([[-1.0], [0.0], [2.0]])
    x_t = np.sqrt(abar[2]) * x_0 + np.sqrt(1 - abar[2]) * eps
    eps_hat = convert(np.zeros((3, 1)), x_t, 2, schedule, source="x_0", target="eps")
    simple, kl = (weighted_error(schedule, eps, eps_hat, 2, kind) for kind in ("simple", "eps"))
    np.testing.assert_allclose(kl, (snr[1] - snr[2]) / 2 * 9, rtol=1e-9)
    np.testing.assert_allclose(simple, snr[2] * 9, rtol=1e-9)
    r, alpha = snr[2] / snr[1], abar[2] / abar[1]
    var = (r**2 / alpha + (1 - abar[1]) * (1 - r)) / abar[1] + u
    log_p = -0.5 * (np.log(2 * np.pi * var) + 9 / var)
    others = -0.5 * (np.log(2 * np.pi * u) + (1 - abar[1]) / abar[1] / u) - prior_kl(schedule, x_0)
    assert np.all(others - kl < log_p) and np.all(others - simple > log_p)


def test_errors_of_the_weights():
    schedule, x = Schedule([-1.0, 0.0, 1.0]), np.zeros((2, 3))
    for f in (lambda kind: loss_weight(schedule, 2, x, kind), lambda kind: weighted_error(schedule, x, x, 2, kind)):
        with pytest.raises(ValueError, match="loss_weight: parametrisation must be one of "
                                             "x_0, eps, v, score, simple, got 'noise'"):
            f("noise")
    for t in (1, 4, np.array([2, 1])):
        with pytest.raises(ValueError, match="t must lie in 2..3"):
            loss_weight(schedule, t, x)
    with pytest.raises(TypeError, match="t must be an integer"):
        loss_weight(schedule, 2.0, x, "simple")


def test_weighted_error_needs_one_shape():
    """Broadcast against each other, (3,) and (3, 1) would give the errors of all pairs."""
    schedule = Schedule([-1.0, 0.0, 1.0])
    for truth, prediction in ((np.ones(3), np.ones((3, 1))), (np.ones((3, 4)), np.ones((3, 1)))):
        with pytest.raises(ValueError, match="shape"):
            weighted_error(schedule, truth, prediction, 2)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dtype_of_the_error(dtype):
    schedule, x = Schedule([-1.0, 0.0, 1.0]), np.ones((2, 3), dtype)
    for kind in (*KINDS, "simple"):
        assert weighted_error(schedule, x, 0 * x, np.array([2, 3]), kind).dtype == dtype


# ---------------------------------------------------------------- as a denoiser


def predicts_x_0(theta, x_t, t):
    return np.tanh(theta * x_t) / np.reshape(1.0 + 0.1 * t, (-1,) + (1,) * (np.ndim(x_t) - 1))


@settings(max_examples=20)
@given(problems(), st.sampled_from(["small", "large"]))
def test_bound_is_one_number_through_each_parametrisation(problem, variance):
    """Networks that say the same thing each in its own way: VDM.elbo, sample and gradient do not notice."""
    schedule, _, x_0, _, _ = problem
    rng, theta = np.random.default_rng(0), np.array(0.7)
    eps = rng.standard_normal((schedule.T, *x_0.shape))
    plain = VDM(predicts_x_0, schedule, GaussianDecoder(0.3), variance)
    expected = plain.elbo(theta, x_0, eps=eps)
    for kind in KINDS:
        def network(theta, x_t, t, kind=kind):
            return convert(predicts_x_0(theta, x_t, t), x_t, t, schedule, source="x_0", target=kind)
        vdm = VDM(ConvertedDenoiser(network, schedule, kind), schedule, GaussianDecoder(0.3), variance)
        for got, want in zip(vdm.elbo(theta, x_0, eps=eps), expected):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)
        samples = (v.sample(theta, x_0.shape, x_T=x_0, eps=eps) for v in (vdm, plain))
        np.testing.assert_allclose(*samples, rtol=1e-8, atol=1e-8)


def test_converted_denoiser_under_a_learned_schedule():
    """with_schedule: x_0 hat moves with gamma, and the one it was built with stays."""
    start, learned = Schedule.linear_gamma(3, -1, 1), LearnedSchedule(3, -2, 2)
    denoiser = ConvertedDenoiser(lambda theta, x, t: 0.5 * x, start, "eps")
    vdm, p = VDM(denoiser, learned, GaussianDecoder(0.3)), learned.init(np.random.default_rng(0))
    x = np.ones((2, 1))
    got = vdm.at({"denoiser": None, "schedule": p}).denoiser(None, x, np.array([1, 3]))
    a, s = (np.sqrt(expit(np.array([[2.0], [-2.0]]) * sign)) for sign in (1, -1))
    np.testing.assert_allclose(got, (x - s * 0.5 * x) / a, rtol=1e-12)
    assert denoiser.schedule is start and denoiser.parametrisation == "eps"


def test_errors_of_converted_denoisers():
    schedule, x = Schedule([-1.0, 0.0, 1.0]), np.zeros((2, 3))
    with pytest.raises(ValueError, match="ConvertedDenoiser: parametrisation must be one of "
                                         "x_0, eps, v, score, got 'simple'"):
        ConvertedDenoiser(predicts_x_0, schedule, "simple")
    with pytest.raises(ValueError,
                       match=r"what the network returns must have shape \(2, 3\), got \(1, 3\), asked at t = 1"):
        ConvertedDenoiser(lambda theta, x, t: x[:1], schedule, "v")(None, x, 1)


def test_a_learned_schedule_reaches_what_is_converted():
    """Converting x_0 to x_0 is the identity under a learned schedule too: the inner denoiser gets it."""
    rng, T = np.random.default_rng(0), 6
    schedule, learned = Schedule.linear_gamma(T, -6, 5), LearnedSchedule(T, -6, 5)
    exact = GaussianDenoiser([0.3], [[2.0]], schedule)
    theta = {"denoiser": (), "schedule": learned.init(rng) | {"increments": rng.standard_normal(T - 1)}}
    x, eps = rng.standard_normal((4, 1)), rng.standard_normal((T, 4, 1))
    plain, converted = (VDM(d, learned, GaussianDecoder(0.1)).elbo(theta, x, eps=eps)
                        for d in (exact, ConvertedDenoiser(exact, schedule, "x_0")))
    np.testing.assert_allclose(converted.total, plain.total, rtol=1e-12)


def test_a_denoiser_of_another_schedule_is_refused():
    """It would take t for another noise level: no error, only a worse bound."""
    schedule, other = Schedule.linear_gamma(6, -6, 5), Schedule.linear_gamma(6, -5, 5)
    for denoiser, decoder in ((GaussianDenoiser([0.0], [[1.0]], other), GaussianDecoder(0.1)),
                              (lambda theta, x, t: x, ExactDecoder(GaussianDenoiser([0.0], [[1.0]], other)))):
        with pytest.raises(ValueError, match="denoiser was made for another schedule"):
            VDM(denoiser, schedule, decoder)
    same = Schedule(schedule.gamma[1:])
    VDM(GaussianDenoiser([0.0], [[1.0]], same), schedule, GaussianDecoder(0.1))


def test_between_the_last_two_times_of_zero_terminal_snr_eps_says_nothing_of_x_0():
    """gamma(t) is infinite from T - 1 on, exclusive: an error as at T, no nan."""
    schedule, x = Schedule.from_betas([0.1, 0.3, 1.0]), np.ones((1, 2))
    with pytest.raises(ValueError, match="x_t is noise alone"):
        convert(x, x, 2.5, schedule, source="eps", target="x_0")
    assert np.isfinite(convert(x, x, 2.0, schedule, source="eps", target="x_0")).all()
