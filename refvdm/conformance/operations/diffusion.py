"""q and its KLs, 13.25-13.29: what every diffusion model has.

The noise levels come as betas (T,), betas[t-1] = 1 - α_t for t = 1..T: DDPM's betas[i], i = t - 1.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ...lecture.hvae import N
from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX, T_EACH, alphas, each, levels

# ---------------------------------------------------------------- the usual mistakes


def other_levels(name: str, change: Callable) -> Mistake:
    return Mistake(name, inputs=lambda betas, **_: {"betas": change(betas)})


def _off_by(many: int) -> Callable:
    def shift(t: Any, betas: Any, **_: Any) -> Arrays:
        return {"t": np.clip(t + many, 1, len(betas))}
    return shift


LATE = Mistake("t is one too large (a 0-based table read at t)", inputs=_off_by(1))
EARLY = Mistake("t is one too small", inputs=_off_by(-1))
FROM_ZERO = (
    Mistake("t is one too small, and t = 1 reads ᾱ_0 = 1", inputs=lambda t, **_: {"t": t - 1}),
    Mistake("t is one too small, and t = 1 reads the last entry (a table read at t - 2)",
            inputs=lambda t, betas, **_: {"t": np.where(t == 1, len(betas), t - 1)}))
ALPHA_BAR_IS_ALPHA = "α_t stands in the place of ᾱ_t"


def _alpha_alone(betas: Any, **_: Any) -> Arrays:
    """Levels whose products are the α of these."""
    a = alphas(betas)
    return {"betas": 1 - a[1:] / a[:-1]}


ALPHA_FOR_ALPHA_BAR = Mistake(ALPHA_BAR_IS_ALPHA, inputs=_alpha_alone)  # where only ᾱ matters
DEVIATION = Mistake("the second output is a standard deviation",
                    outputs=lambda inputs, outputs: {"var": np.sqrt(outputs["var"])})
LOG_VARIANCE = Mistake("the second output is the logarithm of the variance",
                       outputs=lambda inputs, outputs: {"var": np.log(outputs["var"])})


def _cases(names: tuple[str, ...], first: int = 1) -> Callable:
    def cases(rng: np.random.Generator) -> Iterator[Arrays]:
        for T, batch, D in ((5, 4, 3), (12, 6, 2), (40, 5, 7)):
            case = {name: 0.7 + 1.5 * rng.standard_normal((batch, D)) for name in names}
            t = rng.permutation(np.arange(first, T + 1))[:batch]
            t = np.concatenate([[first, T], t])[:batch]
            yield case | {"betas": levels(rng, T), "t": t}
    return cases


# ---------------------------------------------------------------- q


def _q_step_with(mean: Callable, var: Callable) -> Callable:
    def q_step(x_prev: Any, betas: Any, t: Any) -> Any:
        return each(lambda x, t: (mean(x, alphas(betas), t), var(alphas(betas), t)), x_prev, t)
    return q_step


@operation("13.26", inputs={"x_prev": "(batch, D)", "betas": BETAS, "t": T_EACH.format(1)},
           outputs={"mean": "(batch, D)", "var": "(batch,)"}, cases=_cases(("x_prev",)),
           notes=INDEX, mistakes=(
               DEVIATION, LOG_VARIANCE, LATE, EARLY, *FROM_ZERO,
               Mistake("the variance is α_t, not 1 - α_t", outputs=lambda i, outputs: {
                   "var": 1 - outputs["var"]}),
               Mistake("the variance is (1 - ᾱ_t) - (1 - ᾱ_{t-1}) (the factor ᾱ_t/ᾱ_{t-1} before "
                       "1 - ᾱ_{t-1} is forgotten)", instead=_q_step_with(
                           lambda x, a, t: np.sqrt(a[t]) * x,
                           lambda a, t: spec.alpha_bar(a, t - 1) - spec.alpha_bar(a, t))),
               Mistake("ᾱ_t stands in the place of α_t", instead=_q_step_with(
                   lambda x, a, t: np.sqrt(spec.alpha_bar(a, t)) * x,
                   lambda a, t: 1 - spec.alpha_bar(a, t))),
               Mistake("the mean has α_t for √α_t", instead=_q_step_with(
                   lambda x, a, t: a[t] * x, lambda a, t: 1 - a[t])),
               Mistake("the mean is x_{t-1} itself (variance exploding)", instead=_q_step_with(
                   lambda x, a, t: x, lambda a, t: 1 - a[t]))))
def q_step(x_prev: Any, betas: Any, t: Any) -> Any:
    """q(x_t | x_{t-1}) = N(√α_t x_{t-1}, (1 - α_t) I)"""
    return each(lambda x, t: spec.q_step(x, alphas(betas), t), x_prev, t)


def _sigma_for_alpha(i: Arrays, outputs: Arrays) -> Arrays:
    alpha_bar = np.stack([spec.alpha_bar(alphas(i["betas"]), t) for t in i["t"]])
    return {"mean": outputs["mean"] * np.sqrt((1 - alpha_bar) / alpha_bar)[:, None]}


def _q_marginal_with(mean: Callable, var: Callable) -> Callable:
    def q_marginal(x_0: Any, betas: Any, t: Any) -> Any:
        return each(lambda x, t: (mean(x, alphas(betas), t), var(alphas(betas), t)), x_0, t)
    return q_marginal


@operation("13.28", inputs={"x_0": "(batch, D)", "betas": BETAS, "t": T_EACH.format(1)},
           outputs={"mean": "(batch, D)", "var": "(batch,)"}, cases=_cases(("x_0",)),
           notes=INDEX, mistakes=(
               DEVIATION._replace(name=DEVIATION.name + " (13.28 as printed)"),
               LOG_VARIANCE, LATE, EARLY, *FROM_ZERO,
               Mistake("the mean has √(1 - ᾱ_t) for √ᾱ_t (σ for α)", outputs=_sigma_for_alpha),
               Mistake("the variance is ᾱ_t, not 1 - ᾱ_t", outputs=lambda i, outputs: {
                   "var": 1 - outputs["var"]}),
               Mistake(ALPHA_BAR_IS_ALPHA, instead=_q_marginal_with(
                   lambda x, a, t: np.sqrt(a[t]) * x, lambda a, t: 1 - a[t])),
               Mistake("the mean has ᾱ_t for √ᾱ_t", instead=_q_marginal_with(
                   lambda x, a, t: spec.alpha_bar(a, t) * x,
                   lambda a, t: 1 - spec.alpha_bar(a, t))),
               Mistake("ᾱ is read as √ᾱ: the variance is 1 - ᾱ²", instead=_q_marginal_with(
                   lambda x, a, t: spec.alpha_bar(a, t) * x,
                   lambda a, t: 1 - spec.alpha_bar(a, t) ** 2)),
               Mistake("the mean is x_0 itself (variance exploding)", instead=_q_marginal_with(
                   lambda x, a, t: x,
                   lambda a, t: (1 - spec.alpha_bar(a, t)) / spec.alpha_bar(a, t)))))
def q_marginal(x_0: Any, betas: Any, t: Any) -> Any:
    """q(x_t | x_0) = N(√ᾱ_t x_0, (1 - ᾱ_t) I)"""
    return each(lambda x, t: spec.q_marginal(x, alphas(betas), t), x_0, t)


def posterior(x_t: Any, x_0: Any, a: Any, t: int, abar: Callable = spec.alpha_bar, back: int = 1,
              root: Callable = np.sqrt, root_0: Callable = np.sqrt) -> N:
    """q(x_{t-1} | x_t, x_0) with something else for ᾱ, t - 1 or the roots."""
    now, before = abar(a, t), abar(a, t - back)
    mean = (root(a[t]) * (1 - before) * x_t + root_0(before) * (1 - a[t]) * x_0) / (1 - now)
    return N(mean, (1 - a[t]) * (1 - before) / (1 - now))


def posteriors(names: tuple[str, str]) -> tuple[Mistake, ...]:
    """The usual mistakes of an operation that has x_t and x_0 under these names."""
    def of(**how: Any) -> Callable:
        def q_posterior(betas: Any, t: Any, **x: Any) -> Any:
            a = alphas(betas)
            return each(lambda x_t, x_0, t: posterior(x_t, x_0, a, t, **how),
                        *(x[name] for name in names), t)
        return q_posterior

    def variance(name: str, of_levels: Callable) -> Mistake:
        return Mistake(name, outputs=lambda i, outputs: {"var": np.stack(
            [of_levels(alphas(i["betas"]), t) for t in i["t"]])})
    return (DEVIATION, LOG_VARIANCE, LATE, EARLY,
            variance("the variance is β_t, DDPM's larger choice", lambda a, t: 1 - a[t]),
            variance("the variance is 1 - ᾱ_{t-1}, that of q(x_{t-1} | x_0)",
                     lambda a, t: 1 - spec.alpha_bar(a, t - 1)),
            variance("the variance is 1 - ᾱ_t, that of q(x_t | x_0)",
                     lambda a, t: 1 - spec.alpha_bar(a, t)),
            Mistake(ALPHA_BAR_IS_ALPHA, instead=of(abar=lambda a, t: a[t])),
            Mistake("ᾱ_t stands in the place of ᾱ_{t-1} (the table before is not shifted)",
                    instead=of(back=0)),
            Mistake("the mean's coefficients lack their roots (α_t, ᾱ_{t-1})",
                    instead=of(root=lambda x: x, root_0=lambda x: x)),
            Mistake(f"the mean has α_t for √α_t before {names[0]}", instead=of(root=lambda x: x)),
            Mistake(f"the mean has ᾱ_(t-1) for √ᾱ_(t-1) before {names[1]}",
                    instead=of(root_0=lambda x: x)),
            Mistake(f"{names[0]} and {names[1]} are exchanged", inputs=lambda **x: {
                names[0]: x[names[1]], names[1]: x[names[0]]}))


@operation("13.25", inputs={"x_t": "(batch, D)", "x_0": "(batch, D)", "betas": BETAS,
                            "t": T_EACH.format(2)},
           outputs={"mean": "(batch, D)", "var": "(batch,)"},
           cases=_cases(("x_t", "x_0"), first=2), notes=INDEX, mistakes=posteriors(("x_t", "x_0")))
def q_posterior(x_t: Any, x_0: Any, betas: Any, t: Any) -> Any:
    """q(x_{t-1} | x_t, x_0), normal"""
    return each(lambda x_t, x_0, t: spec.q_posterior(x_t, x_0, alphas(betas), t), x_t, x_0, t)
