"""Whole objects: the right ones pass, a gallery of wrong ones is caught, each by its name."""

import itertools

import numpy as np
import pytest

from refvdm.conformance.judge import ERROR, FAIL, PASS
from refvdm.conformance.objects import (
    check_ancestral,
    check_continuous_loss,
    check_gradient,
    check_likelihood,
    check_loss,
    check_probability_flow,
    check_sampler,
    check_times,
)
from refvdm.conformance.objects.continuous import bent, eps_hat, straight
from refvdm.ode import adjoint, solve
from refvdm.vdm import Schedule, diffusion_kl

BETAS = np.linspace(0.02, 0.2, 12)
ABARS = np.cumprod(1 - BETAS)
TIMES = [11, 7, 6, 2]
SNR = np.concatenate([[np.inf], ABARS / (1 - ABARS)])


def told(report, words):
    """It fails, and says so."""
    why = " / ".join(f"{v.name}: {v.why}" for v in report.verdicts)
    assert report.status == 1 and words in why, why


# ---------------------------------------------------------------- samplers


READ = {"x_0": lambda value, x, a: value, "eps": lambda value, x, a: (x - np.sqrt(1 - a) * value) / np.sqrt(a),
        "v": lambda value, x, a: np.sqrt(a) * x - np.sqrt(1 - a) * value}


def ddim(denoise, x, following=None, final=1.0, output="x_0"):
    for i, t in enumerate(TIMES):
        s = following(i, t) if following else (TIMES[i + 1] if i + 1 < len(TIMES) else -1)
        a, b = ABARS[t], final if s < 0 else ABARS[s]
        x_0 = READ[output](denoise(x, t), x, a)
        x = np.sqrt(b) * x_0 + np.sqrt(1 - b) * (x - np.sqrt(a) * x_0) / np.sqrt(1 - a)
    return x


def test_a_right_sampler_passes_whatever_the_network_says():
    for output in ("x_0", "eps", "v"):
        run = lambda denoise, x, output=output: ddim(denoise, x, output=output)
        assert check_sampler(run, ABARS, TIMES, output=output).status == 0
    first = check_sampler(lambda d, x: ddim(d, x, final=ABARS[0]), ABARS, TIMES, final="first")
    assert first.status == 0


@pytest.mark.parametrize("run, output, words", [
    (lambda d, x: ddim(d, x, lambda i, t: t - 1), "x_0", "each step goes to t - 1"),
    (lambda d, x: ddim(d, x, lambda i, t: t - 3), "x_0", "one stride T // steps down"),
    (lambda d, x: ddim(d, x, final=ABARS[0]), "x_0", "ends at the other alpha_bar"),
    (lambda d, x: ddim(d, x, output="eps"), "v", "output is read as eps, it is v"),
    (lambda d, x: ddim(d, x, output="x_0"), "eps", "output is read as x_0, it is eps"),
    (lambda d, x: ddim(lambda x, t: d(x, t - 1), x), "x_0", "was asked at [10, 6, 5, 1]"),
    (lambda d, x: ddim(lambda x, t: d(x, t + 1), x), "x_0", "asked about t = 12, outside 0..11"),
    (lambda d, x: 2 * ddim(d, x), "x_0", "no known mistake explains it"),
    (lambda d, x: ddim(d, x)[:3], "x_0", "must have shape (7,)"),
    (lambda d, x: 1 / 0, "x_0", "ZeroDivisionError"), (lambda d, x: np.nan * x, "x_0", "not finite"),
])
def test_wrong_samplers_are_named(run, output, words):
    told(check_sampler(run, ABARS, TIMES, output=output), words)


# ---------------------------------------------------------------- losses, times


def right_loss(x_0, x_0_hat, t):
    if t == 1:
        return np.sum((x_0 - x_0_hat) ** 2 / 0.1 + np.log(2 * np.pi * 0.1), 1) / 2
    return diffusion_kl(Schedule.from_betas(BETAS), x_0, x_0_hat, t)


@pytest.mark.parametrize("change, words", [
    (lambda y, e, t: 2 * y, "the factor 1/2 is forgotten"), (lambda y, e, t: y / 3, "the mean over the elements"),
    (lambda y, e, t: e, "it has no weight"), (lambda y, e, t: y / np.log(2), "it is in bits"),
    (lambda y, e, t: e / 3, "the mean of the squares, without its weight"),
    (lambda y, e, t: SNR[t] * e, "the weight is that of eps"), (lambda y, e, t: SNR[t] / 2 * e, "SNR_t/2"),
    (lambda y, e, t: (SNR[t] - (SNR[t + 1] if t < 12 else 0)) / 2 * e, "it is of t + 1"),
    (lambda y, e, t: e if t == 1 else y, "t = 1: it matches the reference if it is |x_0 - x̂_0|²"),
    (lambda y, e, t: 11 * y, "T - 1, for one t of all"),
    (lambda y, e, t: right_loss(e[:, None] ** 0.5, 0 * e[:, None], t - 1) if t > 2 else y, "it is of t - 1"),
    (lambda y, e, t: e / 0.2 if t == 1 else y, "the constants log √(2πσ²) are missing"),
    (lambda y, e, t: 0 * y if t == 1 else y, "it is missing (0)"),
])
def test_losses(change, words):
    assert check_loss(right_loss, BETAS, decoder_variance=0.1).status == 0
    assert check_loss(right_loss, BETAS).status == 0
    told(check_loss(lambda x, y, t: change(right_loss(x, y, t), np.sum((x - y) ** 2, 1), t), BETAS,
                    decoder_variance=0.1), words)


def stratified(rng):
    return np.minimum(2 + np.floor(11 * ((rng.random() + np.arange(8) / 8) % 1)).astype(int), 12)


@pytest.mark.parametrize("draw, words", [
    (lambda rng: rng.integers(1, 13, 8), "expected integers in 2..12, got 1"),
    (lambda rng: rng.integers(2, 12, 8), "only 2..11 was ever drawn"),
    (lambda rng: np.sort(rng.integers(2, 13, 8)), "'s are not"),
    (lambda rng: 2 + np.floor(11 * (rng.random() / 8 + np.arange(8) / 8)).astype(int), "'s are not"),
    (lambda rng: rng.integers(2, 13, 4), "must have shape (8,)"),
    (lambda rng: rng.uniform(2, 12, 8), "expected integers"),
])
def test_drawers_of_times(draw, words):
    rng = np.random.default_rng(0)
    for right in (lambda: rng.integers(2, 13, 8), lambda: stratified(rng)):
        assert check_times(right, 8, 2, 12).status == 0
    told(check_times(lambda: draw(rng), 8, 2, 12), words)


# ---------------------------------------------------------------- gradients, likelihoods


def field(z, t, theta):
    return np.tanh(z @ theta) * np.cos(t)


Z0, TS, A = np.array([1.0, -0.4]), np.array([0.0, 0.7, 1.5]), np.array([[-0.5, 1.2], [-0.9, 0.3]])
WEIGHTS = np.array([[0.3, -1.0], [1.2, 0.5], [-0.7, 0.8]])


def loss(z0, ts, theta):
    return np.sum(WEIGHTS * solve(field, z0, ts, theta, rtol=1e-9, atol=1e-11).zs)


def gradients(z0, ts, theta):
    found = adjoint(field, solve(field, z0, ts, theta, rtol=1e-9, atol=1e-11), WEIGHTS)
    return found.z0, found.ts, found.theta


FOUND = gradients(Z0, TS, A)


@pytest.mark.parametrize("change, words", [
    (lambda z, t, p: (-z, t, p), "z0: it matches the reference if its sign is the other one"),
    (lambda z, t, p: (z, t[::-1], p), "ts, first: it matches the reference if dL/dT0 and dL/dT1 are exchanged"),
    (lambda z, t, p: (z, np.array([-t[0], *t[1:]]), p), "ts, first: it matches the reference if its sign"),
    (lambda z, t, p: (z, np.array([t[0], 0, t[2]]), p), "ts, inner: it matches the reference if it is missing (0)"),
    (lambda z, t, p: (z, t, p.T), "theta: it matches the reference if it is transposed"),
    (lambda z, t, p: (z, t, None), "theta: it matches the reference if it is missing (0)"),
    (lambda z, t, p: (z, t, 2 * p), "it is doubled"), (lambda z, t, p: (z, t, p / 2), "it is halved"),
    (lambda z, t, p: (z, t, p / 4), "divided by the number of elements"),
    (lambda z, t, p: (z + 0.01, t, p), "no known mistake"),
    (lambda z, t, p: (z, t), "must return 3 arrays, got 2"), (lambda z, t, p: (z, t, p[0]), "must have shape (2, 2)"),
    (lambda z, t, p: {}["a"], "raised KeyError"),
])
def test_gradients_of_an_ode_solver(change, words):
    told(check_gradient(loss, lambda *args: change(*FOUND), (Z0, TS, A), names=("z0", "ts", "theta")), words)


def test_first_inner_and_last_times_are_told_apart():
    z, t, p = FOUND
    for i, part in enumerate(("ts, first", "ts, inner", "ts, last")):
        wrong = t + 0.1 * (np.arange(3) == i)
        found = lambda *args, wrong=wrong: (z, wrong, p)
        report = check_gradient(loss, found, (Z0, TS, A), names=("z0", "ts", "theta"))
        assert [v.name for v in report.verdicts if v.status == FAIL] == [part]


def test_the_right_gradients_of_an_ode_solver():
    assert check_gradient(loss, gradients, (Z0, TS, A), names=("z0", "ts", "theta")).status == 0


@pytest.mark.parametrize("change, words", [
    (lambda y: y / np.log(2), "in bits"), (lambda y: -y, "its sign"), (np.exp, "the density, not its logarithm"),
    (lambda y: y + np.log(2 * np.pi), "the constant D/2 log 2π"), (lambda y: y / 2, "the mean over the elements"),
    (lambda y: -y / np.log(4), "it is bits/dim"),
    (lambda y: 0 * y + y.mean(), "the mean over the batch"), (lambda y: y[:1], "must have shape (5,)"),
])
def test_likelihoods(change, words):
    x = np.random.default_rng(0).standard_normal((5, 2))
    exact = -np.sum(x**2, 1) / 2 - np.log(2 * np.pi)
    assert check_likelihood(lambda x: exact, x, exact).status == 0
    told(check_likelihood(lambda x: change(exact), x, exact), words)


def test_verdicts_are_the_reports():
    report = check_likelihood(lambda x: np.zeros(2), np.zeros((2, 1)), np.ones(2))
    assert report.verdicts[0].status == FAIL and "FAIL" in report.table()
    near = [check_likelihood(lambda x, off=off: [1 + off, 1], np.zeros((2, 1)), np.ones(2)).verdicts[0]
            for off in (5e-7, 3e-6)]
    assert [v.status for v in near] == [PASS, FAIL]  # errors are counted in tolerances
    assert [v.worst for v in near] == pytest.approx([0.5, 3.0])
    assert {v.status for v in check_likelihood(lambda x: None, np.zeros((2, 1)), np.ones(2)).verdicts} == {ERROR}
    assert check_likelihood(lambda x: [1.0, 1.0], np.zeros((2, 1)), np.ones(2)).verdicts[0].status == PASS


# ---------------------------------------------------------------- what draws, what converges, what is integrated


def ancestral(change):
    def step(denoise, x, i, noise):
        s = TIMES[i + 1] if i + 1 < len(TIMES) else -1
        s = change.get("to", lambda i, s: s)(i, s)
        a, b = ABARS[TIMES[i]], 1.0 if s < 0 else ABARS[s]
        beta = 1 - a / b
        x_0 = denoise(x, TIMES[i] + change.get("ask", 0))
        mean = (np.sqrt(b) * beta * x_0 + np.sqrt(1 - beta) * (1 - b) * x) / (1 - a)
        width = change.get("width", lambda beta, small, i: np.sqrt(small))
        return mean + width(beta, beta * (1 - b) / (1 - a), i) * noise
    return step


@pytest.mark.parametrize("change, words", [
    ({"width": lambda beta, small, i: np.sqrt(beta) * (i < 3)}, "its variance is β, not the posterior's"),
    ({"width": lambda beta, small, i: small}, "scaled by the variance, not its root"),
    ({"width": lambda beta, small, i: 0 * small}, "it is missing (0)"),
    ({"width": lambda beta, small, i: small**0.25}, "scaled by the root of the root"),
    ({"width": lambda beta, small, i: np.sqrt(beta)}, "its variance is β at the last step too"),
    ({"to": lambda i, s: s if s < 0 else s - 1}, "no known mistake explains it"),
    ({"ask": -1}, "mean: no known mistake"), ({"ask": 1}, "asked about t = 12, outside 0..11"),
    ({"to": lambda i, s: TIMES[i] - 3}, "one stride T // steps down"), ({"to": lambda i, s: TIMES[i] - 1}, "to t - 1"),
])
def test_ancestral_samplers(change, words):
    assert check_ancestral(ancestral({}), ABARS, TIMES).status == 0
    large = ancestral({"width": lambda beta, small, i: np.sqrt(beta) * (i < 3)})
    assert check_ancestral(large, ABARS, TIMES, variance="large").status == 0
    told(check_ancestral(ancestral({"width": lambda beta, small, i: np.sqrt(beta)}), ABARS, TIMES, variance="large"),
         "noise is added at the last step too")
    assert check_ancestral(lambda denoise, x, i, noise: denoise(x, 0), ABARS, [0]).status == 0  # one step, from t = 0
    assert check_sampler(lambda denoise, x: denoise(x, 0), ABARS, [0]).status == 0
    own = ancestral({"width": lambda beta, small, i: np.sqrt((beta + small) / 2 * (i < 3))})
    assert check_ancestral(own, ABARS, TIMES, variance=lambda beta, small: (beta + small) / 2).status == 0
    assert check_ancestral(large, ABARS, TIMES, variance=lambda beta, small: beta).status == 0
    told(check_ancestral(large, ABARS, TIMES, variance=lambda beta, small: small[0]), "variance must have shape (3,)")
    told(check_ancestral(ancestral({}), ABARS, TIMES, variance="large"), "its variance is the posterior's, not β")
    told(check_ancestral(ancestral(change), ABARS, TIMES), words)


def flow_solver(order, slope=lambda x, d, s: (x - d) / s):
    def run(denoise, x, n):
        sigmas = np.geomspace(5.0, 0.1, n + 1)
        for s, to in itertools.pairwise(sigmas):
            d = slope(x, denoise(x, s), s)
            y = x + (to - s) * d
            x = y if order == 1 else x + (to - s) / 2 * (d + slope(y, denoise(y, to), to))
        return x
    return run


def test_solvers_of_the_probability_flow():
    for order in (1, 2):
        assert check_probability_flow(flow_solver(order), 5.0, 0.1, order, final="sigma_min").status == 0
    denoised = lambda denoise, x, n: denoise(flow_solver(2)(denoise, x, n), 0.1)
    assert check_probability_flow(denoised, 5.0, 0.1, 2).status == 0
    told(check_probability_flow(flow_solver(1), 5.0, 0.1, 2, final="sigma_min"), "claimed order 2, measured 0.99")
    wrong = flow_solver(2, lambda x, d, s: (x - d) / s / 2)
    told(check_probability_flow(wrong, 5.0, 0.1, 2, final="sigma_min"), "not to the probability flow")
    told(check_probability_flow(lambda d, x, n: np.nan * x, 5.0, 0.1, 2), "not finite")
    end = 0.7 + np.sqrt(0.5 / 25.5) * (5 * np.linspace(-2, 2, 5) - 0.7)  # the flow followed to 0
    for off, options, status in ((1e-5, {}, 1), (1e-5, {"float32": True}, 0), (1e-6, {}, 0)):
        assert check_probability_flow(lambda d, x, n, off=off: end + off, 5.0, 0.1, 1, final="zero",
                                      **options).status == status
    off = check_probability_flow(lambda d, x, n: end + 0.15, 5.0, 0.1, 1, final="zero")
    told(off, "not to the probability flow")
    assert off.verdicts[0][:4] == ("converges", FAIL, 1, 1)
    assert check_probability_flow(lambda d, x, n: d(x, 5.0), 5.0, 5.0, 0, steps=(1, 1)).status == 0  # no step at all


def vdm_loss(factor=lambda slope: slope / 2):
    def loss(gamma, x_0, eps, t):
        g, h = gamma(t), 1e-5
        a2 = 1 / (1 + np.exp(g))
        error = np.sum((eps - eps_hat(np.sqrt(a2) * x_0 + np.sqrt(1 - a2) * eps, g)) ** 2)
        return factor((gamma(t + h) - gamma(t - h)) / (2 * h)) * error
    return loss


@pytest.mark.parametrize("factor, words", [
    (lambda slope: 0 * slope + 0.5, "γ bent: it matches the reference if dγ/dt is forgotten"),
    (lambda slope: slope, "1/2 is forgotten"),
    (lambda slope: 1 / 3, "forgotten, mean over the elements"), (lambda slope: slope / 2 / np.log(2), "in bits"),
    (lambda slope: slope / 6, "the mean over the elements"), (lambda slope: 1.0, "forgotten; at"),
    (lambda slope: 1.0, "the same for both schedules: no known mistake"),
])
def test_losses_in_continuous_time(factor, words):
    assert check_continuous_loss(vdm_loss()).status == 0
    assert straight(0) == bent(0) == -6 and straight(1) == bent(1) == 5
    told(check_continuous_loss(vdm_loss(factor)), words)


def test_real_times_are_uniform_for_each_example():
    rng = np.random.default_rng(0)
    assert check_times(lambda: (rng.random() + np.arange(8) / 8) % 1, 8, 0, 1, integers=False).status == 0
    told(check_times(lambda: (rng.random(8) + np.arange(8)) / 8, 8, 0, 1, integers=False), "'s are not")
    told(check_times(lambda: 2 * rng.random(8), 8, 0, 1, integers=False), "expected numbers in 0..1")
