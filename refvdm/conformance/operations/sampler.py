"""The steps back from x_t to x_0: the reverse step of 13.28, and DDIM's."""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ...lecture.loss import alpha_bar
from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX, LINEAR, OF_LINEAR, T_EACH, alphas, each, levels, scales
from .diffusion import ALPHA_FOR_ALPHA_BAR, posteriors
from .prediction import to_x_0

# ---------------------------------------------------------------- one step back


def _step_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((5, 4, 3), (12, 6, 2)):
        x_0_hat = 0.5 + 1.2 * rng.standard_normal((batch, D))
        yield {"x_t": 0.7 * x_0_hat + 0.4 * rng.standard_normal((batch, D)), "x_0_hat": x_0_hat,
               "betas": levels(rng, T), "t": np.append([2, T], rng.integers(2, T, batch - 2))}


def _reverse(x_t: Any, x_0_hat: Any, betas: Any, t: Any) -> Any:
    return each(lambda x, hat, t: spec.q_posterior(x, hat, alphas(betas), t), x_t, x_0_hat, t)


def _eps_mean(x_t: Any, x_0_hat: Any, betas: Any, t: Any) -> Any:
    """DDPM's mean from eps, with x_0 hat where eps belongs."""
    a = alphas(betas)

    def one(x: Any, hat: Any, t: int) -> tuple:
        mean = (x - (1 - a[t]) / scales(a, t)[1] * hat) / np.sqrt(a[t])
        return mean, spec.q_posterior(x, hat, a, t).var
    return each(one, x_t, x_0_hat, t)


@operation("13.28 p_θ", outputs={"mean": "(batch, D)", "var": "(batch,)"}, cases=_step_cases,
           inputs={"x_t": "(batch, D)", "x_0_hat": "(batch, D)", "betas": BETAS,
                   "t": T_EACH.format(2)}, notes=INDEX, mistakes=(
               *posteriors(("x_t", "x_0_hat")),
               Mistake("x_0 hat is read as v", instead=lambda x_t, x_0_hat, betas, t: _reverse(
                   x_t, each(lambda x, v, t: (to_x_0("v", v, x, *scales(alphas(betas), t)),),
                             x_t, x_0_hat, t)[0], betas, t)),
               Mistake("x_0 hat is read as eps", instead=_eps_mean)))
def reverse_step(x_t: Any, x_0_hat: Any, betas: Any, t: Any) -> Any:
    """p(x_{t-1} | x_t) = q(x_{t-1} | x_t, x_0 = x̂_0)"""
    return _reverse(x_t, x_0_hat, betas, t)


def ddim(x: Any, hat: Any, a: Any, t: int, s: int, eta: Any = 0, eps: Any = 0,
         fresh: Callable = lambda a, t, s: 1 - alpha_bar(a, t) / alpha_bar(a, s)) -> Any:
    """From t to s < t (Song et al. 2021, 12): √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε̂ + σ eps."""
    (at, nt), (as_, ns) = scales(a, t), scales(a, s)
    sigma = eta * ns / nt * np.sqrt(fresh(a, t, s))
    return as_ * hat + np.sqrt(ns**2 - sigma**2) * (x - at * hat) / nt + sigma * eps


def _ddim_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _step_cases(rng):
        batch, T = len(case["t"]), len(case["betas"])
        t = rng.integers(3, T + 1, batch)
        yield case | {"t": t, "s": t - rng.integers(2, t), "eta": np.array(0.7),
                      "eps": rng.standard_normal(case["x_t"].shape)}


def _ddim_with(step: Callable) -> Callable:
    def ddim_step(x_t: Any, x_0_hat: Any, betas: Any, t: Any, s: Any, eta: Any, eps: Any) -> Any:
        return each(lambda x, hat, t, s, eps: (step(x, hat, alphas(betas), t, s, eta, eps),),
                    x_t, x_0_hat, t, s, eps)
    return ddim_step


def _fresh(change: Callable) -> Callable:
    """A step with something else for 1 - ᾱ_t/ᾱ_s in σ²."""
    return lambda x, hat, a, t, s, eta, eps: ddim(x, hat, a, t, s, eta, eps, change)


def _keeps_direction(x: Any, hat: Any, a: Any, t: int, s: int, eta: Any, eps: Any) -> Any:
    sigma = ddim(0, 0, a, t, s, eta, 1)
    return ddim(x, hat, a, t, s) + sigma * eps


@operation("Song et al. 2021 (DDIM), 12 and 16", cases=_ddim_cases, outputs={"x_s": "(batch, D)"},
           inputs={"x_t": "(batch, D)", "x_0_hat": "(batch, D)", "betas": BETAS,
                   "t": T_EACH.format(2), "s": "(batch,) integers in 1..t-1", "eta": "()",
                   "eps": "(batch, D)"}, notes=INDEX, mistakes=(
               ALPHA_FOR_ALPHA_BAR,
               Mistake("eta is taken for 0", inputs=lambda eta, **_: {"eta": 0 * eta}),
               Mistake("eta is taken for 1", inputs=lambda eta, **_: {"eta": 0 * eta + 1}),
               Mistake("the step goes to t - 1, not to s", inputs=lambda t, **_: {"s": t - 1}),
               Mistake("s is one too small", inputs=lambda s, **_: {"s": s - 1}),
               Mistake("t is one too small", inputs=lambda t, s, **_: {"t": np.maximum(t - 1, 1)}),
               Mistake("σ is not taken out of the direction to x_t (√(1 - ᾱ_s) stays)",
                       instead=_ddim_with(_keeps_direction)),
               Mistake("x_0 hat is read as eps", instead=_ddim_with(
                   lambda x, hat, a, t, s, eta, eps: ddim(
                       x, to_x_0("eps", hat, x, *scales(a, t)), a, t, s, eta, eps))),
               Mistake("x_0 hat is read as v", instead=_ddim_with(
                   lambda x, hat, a, t, s, eta, eps: ddim(
                       x, to_x_0("v", hat, x, *scales(a, t)), a, t, s, eta, eps))),
               Mistake("σ² has β_t for 1 - ᾱ_t/ᾱ_s (right for s = t - 1 alone)",
                       instead=_ddim_with(_fresh(lambda a, t, s: 1 - a[t]))),
               Mistake("σ² lacks its factor (1 - ᾱ_s)/(1 - ᾱ_t)", instead=_ddim_with(
                   _fresh(lambda a, t, s: (1 - alpha_bar(a, t)) / (1 - alpha_bar(a, s)) * (
                       1 - alpha_bar(a, t) / alpha_bar(a, s))))),
               Mistake("σ is used as a variance", instead=_ddim_with(
                   lambda x, hat, a, t, s, eta, eps: ddim(x, hat, a, t, s, eta, 0) + (
                       ddim(0, 0, a, t, s, eta, 1) ** 2 * eps)))))
def ddim_step(x_t: Any, x_0_hat: Any, betas: Any, t: Any, s: Any, eta: Any, eps: Any) -> Any:
    """x_s from x_t: √ᾱ_s x̂_0 + √(1 - ᾱ_s - σ²) ε̂ + σ eps, σ² = η² of the posterior's variance"""
    return _ddim_with(ddim)(x_t, x_0_hat, betas, t, s, eta, eps)


def _run_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D, times in ((7, 3, 2, (7, 6, 3)), (11, 2, 3, (10, 9, 7, 4))):
        A = 0.6 * np.eye(D) + 0.15 * rng.standard_normal((T, D, D))
        yield {"x": 0.3 + rng.standard_normal((batch, D)), "betas": levels(rng, T), "A": A,
               "b": 0.3 * rng.standard_normal((T, D)), "times": np.array(times)}


LAST = {"x_0": lambda x, hat, a, t: hat, "t - 1": lambda x, hat, a, t: ddim(x, hat, a, t, t - 1),
        "1": lambda x, hat, a, t: ddim(x, hat, a, t, 1), "none": lambda x, hat, a, t: x}


def _run_with(step: Callable, follow: Callable = lambda times: times[1:], last: str = "x_0") -> Any:
    def ddim_run(x: Any, betas: Any, A: Any, b: Any, times: Any) -> Any:
        a, following = alphas(betas), list(follow(times))

        def one(x: Any) -> tuple:
            for t, s in zip(times, [*following, None]):
                hat = A[t - 1] @ x + b[t - 1]
                if s is None:
                    return (LAST[last](x, hat, a, t),)
                x = step(x, hat, a, t, s)
            return (x,)
        return each(one, x)
    return ddim_run


@operation("Song et al. 2021 (DDIM), 12, η = 0", cases=_run_cases, outputs={"x_0": "(batch, D)"},
           inputs={"x": "(batch, D): x_t at t = times[0]", "betas": BETAS, **LINEAR,
                   "times": "(steps,) falling integers in 1..T; after the last comes x̂_0 itself"},
           notes=f"{INDEX} Libraries choose times by a spacing; here they are given.", mistakes=(
               Mistake("times do not chain: each step goes to t - 1, whatever comes next",
                       instead=_run_with(lambda x, hat, a, t, s: ddim(x, hat, a, t, t - 1))),
               Mistake("times do not chain: each step goes one stride T/steps down",
                       instead=lambda **i: _run_with(
                           lambda x, hat, a, t, s: ddim(x, hat, a, t, max(
                               t - len(i["betas"]) // len(i["times"]), 0)))(**i)),
               Mistake("times do not chain: each step goes to t - 1, the last one too",
                       instead=_run_with(lambda x, hat, a, t, s: ddim(x, hat, a, t, t - 1),
                                         last="t - 1")),
               Mistake("times do not chain: each step goes one stride T/steps down, the last one "
                       "too", instead=lambda **i: _strides(**i)),
               Mistake("the last step goes to t - 1, not to x̂_0",
                       instead=_run_with(ddim, last="t - 1")),
               Mistake("the last step goes to ᾱ_1, not to x̂_0 (set_alpha_to_one=False)",
                       instead=_run_with(ddim, last="1")),
               Mistake("the last step is missing", instead=_run_with(ddim, last="none")),
               ALPHA_FOR_ALPHA_BAR, *OF_LINEAR,
               Mistake("the network is asked about the time it goes to", instead=lambda **i:
                       _run_late(**i))))
def ddim_run(x: Any, betas: Any, A: Any, b: Any, times: Any) -> Any:
    """x_0 by DDIM steps from times[0] to times[1], ..., and x̂_0 from the last"""
    return _run_with(ddim)(x, betas, A, b, times)


def _strides(x: Any, betas: Any, A: Any, b: Any, times: Any) -> Any:
    a, stride = alphas(betas), len(betas) // len(times)

    def one(x: Any) -> tuple:
        for t in times:
            x = ddim(x, A[t - 1] @ x + b[t - 1], a, t, max(t - stride, 0))
        return (x,)
    return each(one, x)


def _run_late(x: Any, betas: Any, A: Any, b: Any, times: Any) -> Any:
    a = alphas(betas)

    def one(x: Any) -> tuple:
        for t, s in itertools.pairwise(times):
            x = ddim(x, A[s - 1] @ x + b[s - 1], a, t, s)
        return (A[times[-1] - 1] @ x + b[times[-1] - 1],)
    return each(one, x)
