"""The single terms of the bound 13.24, in nats per example.

The decoder is p(x_0 | x_1) = N(x̂_0(x_1, 1), variance I).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ...lecture.hvae import N
from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX, T_EACH, alphas, each, levels
from .diffusion import ALPHA_FOR_ALPHA_BAR, EARLY, LATE

NATS = "(batch,) in nats"
BITS = Mistake("it is in bits, not nats", outputs=lambda inputs, outputs: {
    name: y / np.log(np.longdouble(2)) for name, y in outputs.items()})
MEAN_OVER_D = Mistake("it is the mean over the elements, not their sum",
                      outputs=lambda inputs, outputs: {
                          name: y / inputs["x_0"].shape[-1] for name, y in outputs.items()})
MEAN_OVER_BATCH = Mistake("it is the mean over the batch, not one number per example",
                          outputs=lambda inputs, outputs: {
                              name: np.mean(y) + 0 * y for name, y in outputs.items()})
HALF = Mistake("the factor 1/2 is forgotten", outputs=lambda inputs, outputs: {
    name: 2 * y for name, y in outputs.items()})
SIGN = Mistake("its sign is the other one", outputs=lambda inputs, outputs: {
    name: -y for name, y in outputs.items()})


# ---------------------------------------------------------------- single terms


def _kl_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((5, 4, 3), (12, 6, 2), (40, 5, 7)):
        x_0 = 0.7 + 1.5 * rng.standard_normal((batch, D))
        t = np.concatenate([[1, 2, T], rng.integers(2, T, batch)])[:batch]
        yield {"x_0": x_0, "x_0_hat": x_0 + 0.4 * rng.standard_normal((batch, D)) - 0.1,
               "betas": levels(rng, T), "t": t, "variance": np.array(0.03 * D)}


def _gaussian(x_0: Any, x_0_hat: Any, variance: Any) -> Any:
    return -N(x_0_hat, variance).log_prob(x_0)


def _kl_t(weight: Callable, decoder: Callable = _gaussian) -> Callable:
    """A KL_t that weighs |x_0 - x̂_0|² in another way, and has another term at t = 1."""
    def kl_t(x_0: Any, x_0_hat: Any, betas: Any, t: Any, variance: Any) -> Any:
        a = alphas(betas)

        def one(x: Any, hat: Any, t: int) -> tuple:
            if t == 1:
                return (decoder(x, hat, variance),)
            return (weight(a, t) * np.sum((x - hat) ** 2),)
        return each(one, x_0, x_0_hat, t)
    return kl_t


def _snr(a: Any, t: int) -> Any:
    return spec.alpha_bar(a, t) / (1 - spec.alpha_bar(a, t))


def _weight(a: Any, t: int) -> Any:
    return (_snr(a, t - 1) - _snr(a, t)) / 2


@operation("13.24, 13.28 KL_t", cases=_kl_cases, notes=INDEX,
           inputs={"x_0": "(batch, D)", "x_0_hat": "(batch, D)", "betas": BETAS,
                   "t": T_EACH.format(1), "variance": "(): of the decoder, for t = 1"},
           outputs={"kl": NATS}, mistakes=(
               BITS, MEAN_OVER_D, MEAN_OVER_BATCH, LATE, EARLY, ALPHA_FOR_ALPHA_BAR, SIGN,
               Mistake("the factor 1/2 of KL_t is forgotten",
                       instead=_kl_t(lambda a, t: 2 * _weight(a, t))),
               Mistake("it is the error |x_0 - x̂_0|² without its weight",
                       instead=_kl_t(lambda a, t: 1.0)),
               Mistake("the weight is SNR_t, not SNR_{t-1} - SNR_t",
                       instead=_kl_t(lambda a, t: _snr(a, t) / 2)),
               Mistake("the weight is SNR_t - SNR_{t+1}, of the next step", instead=_kl_t(
                   lambda a, t: _weight(a, min(t + 1, len(a) - 1)))),
               Mistake("p has the variance β_t of DDPM's larger choice, and q its own",
                       instead=lambda x_0, x_0_hat, betas, t, variance: _larger(
                           x_0, x_0_hat, betas, t, variance)),
               Mistake("the term at t = 1 is |x_0 - x̂_0|²/2, without the decoder's variance",
                       instead=_kl_t(_weight, lambda x, hat, v: np.sum((x - hat) ** 2) / 2)),
               Mistake("the term at t = 1 has the variance of t = 2 (clipped, as in DDPM's code)",
                       instead=lambda x_0, x_0_hat, betas, t, variance: _kl_t(
                           _weight, lambda x, hat, v: -N(hat, spec.q_posterior(
                               x, x, alphas(betas), 2).var).log_prob(x))(
                           x_0, x_0_hat, betas, t, variance)),
               Mistake("the term at t = 1 lacks the Gaussian's constants log √(2πσ²)",
                       instead=_kl_t(_weight, lambda x, hat, v: np.sum((x - hat) ** 2) / (2 * v))),
               Mistake("the decoder's variance is read as a standard deviation",
                       inputs=lambda variance, **_: {"variance": variance**2})))
def kl_t(x_0: Any, x_0_hat: Any, betas: Any, t: Any, variance: Any) -> Any:
    """KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), p with q's variance; -log p(x_0 | x_1) at 1"""
    return _kl_t(_weight)(x_0, x_0_hat, betas, t, variance)


def _larger(x_0: Any, x_0_hat: Any, betas: Any, t: Any, variance: Any) -> Any:
    a = alphas(betas)

    def one(x: Any, hat: Any, t: int) -> tuple:
        if t == 1:
            return (-N(hat, variance).log_prob(x),)
        q, p = (spec.q_posterior(0 * x, y, a, t) for y in (x, hat))
        return (spec.KL(N(q.mean, q.var + 0 * x), N(p.mean, 1 - a[t])),)
    return each(one, x_0, x_0_hat, t)


def _prior_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((5, 4, 3), (12, 6, 2), (20, 5, 7)):
        yield {"x_0": 0.7 + 1.5 * rng.standard_normal((batch, D)), "betas": levels(rng, T)}


def _prior_of(kl: Callable) -> Callable:
    def prior_kl(x_0: Any, betas: Any) -> Any:
        a = alphas(betas)
        return each(lambda x: (kl(spec.q_marginal(x, a, len(a) - 1), x),), x_0)
    return prior_kl


def _prior_and(name: str, term: Callable) -> Mistake:
    """A term more: mistakes of this kind can be paired."""
    return Mistake(name, outputs=lambda i, outputs: {
        "kl": outputs["kl"] + _prior_of(term)(i["x_0"], i["betas"])[0]})


def _both(q: N, x: Any) -> tuple[N, N]:
    return N(q.mean, q.var + 0 * x), N(0 * x, 1 + 0 * x)


PRIOR_WRONG = (
    Mistake("its direction is KL(p ‖ q)", instead=_prior_of(
        lambda q, x: spec.KL(*reversed(_both(q, x))))),
    Mistake("the variance of q(x_T | x_0) is taken for 1", instead=_prior_of(
        lambda q, x: np.sum(q.mean**2) / 2)),
    _prior_and("the mean of q(x_T | x_0) has √(1 - ᾱ_T) for √ᾱ_T (σ for α)",
               lambda q, x: np.sum(q.var * x**2 - q.mean**2) / 2),
    _prior_and("the log-variance has the other sign",
               lambda q, x: np.sum(np.log(q.var + 0 * x))),
    _prior_and("the log-variance is missing",
               lambda q, x: np.sum(np.log(q.var + 0 * x)) / 2),
    Mistake("the variance of q(x_T | x_0) is read as a standard deviation",
            instead=_prior_of(lambda q, x: spec.KL(*_both(N(q.mean, q.var**2), x)))),
    Mistake("one step's levels α_T stand for ᾱ_T",
            inputs=lambda betas, **_: {"betas": betas[-1:]}),
    Mistake("it is taken at T - 1", inputs=lambda betas, **_: {"betas": betas[:-1]}))


@operation("13.24", cases=_prior_cases, inputs={"x_0": "(batch, D)", "betas": BETAS},
           outputs={"kl": NATS}, mistakes=(
               BITS, MEAN_OVER_D, MEAN_OVER_BATCH, SIGN, HALF,
               *PRIOR_WRONG,
               Mistake("it is missing (0)", outputs=lambda inputs, outputs: {
                   "kl": 0 * outputs["kl"]})))
def prior_kl(x_0: Any, betas: Any) -> Any:
    """KL(q(x_T | x_0) ‖ N(0, I))"""
    return _prior_of(lambda q, x: spec.KL(*_both(q, x)))(x_0, betas)


def _any_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _kl_cases(rng):
        batch, D = case["x_0"].shape
        t = np.maximum(case["t"], 2)
        yield {key: case[key] for key in ("x_0", "x_0_hat", "betas")} | {
            "x_t": 0.5 + rng.standard_normal((batch, D)), "t": t,
            "p_var": case["betas"][t - 1] * rng.uniform(0.3, 1.7, batch)}


def _any_of(kl: Callable) -> Callable:
    def kl_t_any_variance(x_t: Any, x_0: Any, x_0_hat: Any, betas: Any, t: Any, p_var: Any) -> Any:
        a = alphas(betas)

        def one(x_t: Any, x: Any, hat: Any, t: int, var: Any) -> tuple:
            q, p = spec.q_posterior(x_t, x, a, t), spec.q_posterior(x_t, hat, a, t)
            return (kl(N(q.mean, q.var + 0 * x), N(p.mean, var + 0 * x)),)
        return each(one, x_t, x_0, x_0_hat, t, p_var)
    return kl_t_any_variance


@operation("13.24", cases=_any_cases, notes=INDEX, inputs={
               "x_t": "(batch, D)", "x_0": "(batch, D)", "x_0_hat": "(batch, D)", "betas": BETAS,
               "t": T_EACH.format(2), "p_var": "(batch,): the variance of p(x_{t-1} | x_t)"},
           outputs={"kl": NATS}, mistakes=(
               BITS, MEAN_OVER_D, MEAN_OVER_BATCH, HALF, LATE, EARLY, SIGN,
               Mistake("it runs from p to q (13.24 as printed)",
                       instead=_any_of(lambda q, p: spec.KL(p, q))),
               Mistake("p's variance is read as a standard deviation",
                       inputs=lambda p_var, **_: {"p_var": p_var**2}),
               Mistake("p is given q's variance", instead=_any_of(
                   lambda q, p: spec.KL(q, N(p.mean, q.var)))),
               Mistake("only the means are compared, the variances are not", instead=_any_of(
                   lambda q, p: np.sum((q.mean - p.mean) ** 2 / (2 * p.var))))))
def kl_t_any_variance(x_t: Any, x_0: Any, x_0_hat: Any, betas: Any, t: Any, p_var: Any) -> Any:
    """KL(q(x_{t-1} | x_t, x_0) ‖ N(mean of q(x_{t-1} | x_t, x_0 = x̂_0), p_var))"""
    return _any_of(spec.KL)(x_t, x_0, x_0_hat, betas, t, p_var)
