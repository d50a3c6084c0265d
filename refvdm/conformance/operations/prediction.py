"""What a network may predict, and how each says the others: x_0, eps, v and the score."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX, T_EACH, alphas, each, levels, scales
from .diffusion import EARLY, LATE

KINDS = ("x_0", "eps", "v", "score")


def to_x_0(kind: str, value: Any, x_t: Any, s: Any, n: Any) -> Any:
    """x_0 from what is predicted, with s = √ᾱ, n = √(1 - ᾱ): x_t = s x_0 + n eps solved for it."""
    return {"x_0": lambda: value, "eps": lambda: (x_t - n * value) / s,
            "v": lambda: s * x_t - n * value, "score": lambda: (x_t + n * n * value) / s}[kind]()


def from_x_0(kind: str, x_0: Any, x_t: Any, s: Any, n: Any) -> Any:
    eps = (x_t - s * x_0) / n
    return {"x_0": x_0, "eps": eps, "v": s * eps - n * x_0, "score": -eps / n}[kind]


# ---------------------------------------------------------------- conversions


def _convert(source: str, target: str, **change: Any) -> Callable:
    def convert(value: Any, x_t: Any, betas: Any, t: Any) -> Any:
        def one(value: Any, x_t: Any, t: int) -> tuple:
            s, n = change.get("scales", scales)(alphas(betas), t)
            x_0 = change.get("to", to_x_0)(source, value, x_t, s, n)
            return (change.get("back", from_x_0)(target, x_0, x_t, s, n),)
        return each(one, value, x_t, t)
    convert.__name__ = f"{source}_to_{target}"
    convert.__doc__ = (f"{target} from {source}, where x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) eps, "
                       "v = √ᾱ_t eps - √(1 - ᾱ_t) x_0, score = -eps/√(1 - ᾱ_t)")
    return convert


def _convert_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((5, 4, 3), (12, 6, 2)):
        yield {"value": 0.5 + rng.standard_normal((batch, D)),
               "x_t": 0.5 + 1.2 * rng.standard_normal((batch, D)), "betas": levels(rng, T),
               "t": rng.integers(2, T, batch)}


def _squared(a: Any, t: int) -> tuple:
    return spec.alpha_bar(a, t), 1 - spec.alpha_bar(a, t)


def _one_step(a: Any, t: int) -> tuple:
    return np.sqrt(a[t]), np.sqrt(1 - a[t])


def _rest_without_root(a: Any, t: int) -> tuple:
    return np.sqrt(spec.alpha_bar(a, t)), 1 - spec.alpha_bar(a, t)


def _abar_without_root(a: Any, t: int) -> tuple:
    return spec.alpha_bar(a, t), np.sqrt(1 - spec.alpha_bar(a, t))


def _exchanged(a: Any, t: int) -> tuple:
    return scales(a, t)[::-1]


REST, ABAR = "1 - ᾱ stands for √(1 - ᾱ)", "ᾱ stands for √ᾱ"


def _score_is_eps(source: str, target: str) -> Mistake:
    if source == "score":
        return Mistake("the score is read as -eps (in x_0, √(1 - ᾱ) stands for 1 - ᾱ)",
                       inputs=lambda value, betas, t, **_: {"value": value / _rests(betas, t)})
    return Mistake("the output is -eps, not the score (from x_0, √(1 - ᾱ) stands for 1 - ᾱ)",
                   outputs=lambda i, outputs: {
                       "converted": outputs["converted"] * _rests(i["betas"], i["t"])})


def _rests(betas: Any, t: Any) -> Any:
    """√(1 - ᾱ_t) of every example."""
    return np.stack([scales(alphas(betas), one)[1] for one in t])[:, None]


def _conversions() -> None:
    for source in KINDS:
        for target in KINDS:
            if source == target:
                continue
            others = [Mistake(f"the input is {kind}, not {source}", instead=_convert(kind, target))
                      for kind in KINDS if kind not in (source, target)]
            others += [Mistake(f"the output is {kind}, not {target}",
                               instead=_convert(source, kind))
                       for kind in KINDS if kind not in (source, target)]
            others += [Mistake("the input is returned as it is",
                               instead=lambda value, x_t, betas, t: value),
                       Mistake("its sign is the other one", outputs=lambda inputs, outputs: {
                           "converted": -outputs["converted"]}),
                       Mistake("α_t stands in the place of ᾱ_t",
                               instead=_convert(source, target, scales=_one_step)),
                       Mistake("ᾱ and 1 - ᾱ are used without their roots",
                               instead=_convert(source, target, scales=_squared)), LATE, EARLY]
            if {source, target} != {"eps", "score"}:  # there it is the output's
                others.append(Mistake("the input has the other sign",
                                      inputs=lambda value, **_: {"value": -value}))
            if "score" in (source, target):
                others.append(_score_is_eps(source, target))
            elif "x_0" in (source, target):
                others += [Mistake(name, instead=_convert(source, target, scales=wrong)) for
                           name, wrong in ((REST, _rest_without_root), (ABAR, _abar_without_root),
                                           ("√ᾱ and √(1 - ᾱ) are exchanged", _exchanged))]
            operation("13.28, solved for it", outputs={"converted": "(batch, D)"},
                      inputs={"value": f"(batch, D): {source}", "x_t": "(batch, D)",
                              "betas": BETAS, "t": T_EACH.format(1)},
                      cases=_convert_cases, notes=INDEX, mistakes=tuple(others),
                      )(_convert(source, target))


_conversions()
