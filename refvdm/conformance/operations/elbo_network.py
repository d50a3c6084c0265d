"""The whole bound 13.24 and its gradient once more, for a network that sees t: elbo.py's twin."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX
from .elbo import (
    GIVEN,
    GRADIENT_WRONG,
    TERMS,
    TERMS_WRONG,
    _bound_cases,
    _pulls,
    _terms_of,
    weighed,
)

NETWORK = {"W1": "(D + 1, h)", "b1": "(h,)", "W2": "(h, D)",
           "b2": "(D,): x̂_0(x_t, t) = tanh([x_t, t/T] W1 + b1) W2 + b2"}


def _cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for case, h in zip(_bound_cases(rng), (4, 5)):
        D = case["x_0"].shape[1]
        yield {key: case[key] for key in ("x_0", "betas")} | {
            "W1": 0.4 * rng.standard_normal((D + 1, h)), "b1": 0.3 * rng.standard_normal(h),
            "W2": 0.7 * rng.standard_normal((h, D)), "b2": 0.4 * rng.standard_normal(D),
            } | {key: case[key] for key in ("variance", "eps")}


def _weighted(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _cases(rng):
        yield case | {"total_bar": rng.uniform(0.5, 1.5, len(case["x_0"]))}


def _clock(t: int, T: int) -> Any:
    return np.longdouble(t) / T


def _hidden(i: Arrays, clock: Callable = _clock) -> Callable:
    """(x_t, t) -> what the network gets, its hidden layer, x̂_0."""
    def network(x_t: Any, t: int) -> tuple:
        seen = np.append(x_t, clock(t, len(i["betas"]))).astype(x_t.dtype)
        hidden = np.tanh(seen @ i["W1"] + i["b1"])
        return seen, hidden, hidden @ i["W2"] + i["b2"]
    return network


def _bound(clock: Callable = _clock, weight: Callable | None = None, **i: Any) -> tuple:
    network = _hidden(i, clock)
    return _terms_of(i["x_0"], i["betas"], lambda x_t, t: network(x_t, t)[2], i["variance"],
                     i["eps"], weight)


def _gradient(clock: Callable = _clock, part: Callable = lambda t: True, **i: Any) -> tuple:
    """Of the terms of some t alone."""
    network = _hidden(i, clock)
    W1_bar, b1_bar, W2_bar, b2_bar = (np.zeros_like(i[name]) for name in NETWORK)
    for t, x_t, bar in _pulls(i["x_0"], i["betas"], lambda x_t, t: network(x_t, t)[2],
                              i["variance"], i["eps"], i["total_bar"]):
        if not part(t):
            continue
        seen, hidden, _ = network(x_t, t)
        below = (i["W2"] @ bar) * (1 - hidden**2)
        W1_bar, b1_bar = W1_bar + np.outer(seen, below), b1_bar + below
        W2_bar, b2_bar = W2_bar + np.outer(hidden, bar), b2_bar + bar
    return W1_bar, b1_bar, W2_bar, b2_bar


CLOCKS = {"the network sees (t - 1)/T (a 0-based index)": lambda t, T: np.longdouble(t - 1) / T,
          "the network sees (t - 1)/(T - 1)": lambda t, T: np.longdouble(t - 1) / (T - 1),
          "the network sees t, not t/T": lambda t, T: np.longdouble(t),
          "the network sees no t (0)": lambda t, T: np.longdouble(0)}


def _seen_wrongly(compute: Callable) -> tuple:
    return tuple(Mistake(name, instead=lambda clock=clock, **i: compute(clock=clock, **i))
                 for name, clock in CLOCKS.items())


@operation("13.24", cases=_cases, notes=INDEX, outputs=TERMS,
           inputs={"x_0": "(batch, D)", "betas": BETAS, **NETWORK, **GIVEN},
           mistakes=(*TERMS_WRONG, *_seen_wrongly(_bound), *weighed(_bound)))
def elbo_network(x_0: Any, betas: Any, W1: Any, b1: Any, W2: Any, b2: Any, variance: Any,
                 eps: Any) -> Any:
    """elbo, with a network of one hidden layer that sees t/T"""
    return _bound(x_0=x_0, betas=betas, W1=W1, b1=b1, W2=W2, b2=b2, variance=variance, eps=eps)


@operation("13.24, its gradient", cases=_weighted, notes=INDEX,
           inputs={"x_0": "(batch, D)", "betas": BETAS, **NETWORK, **GIVEN,
                   "total_bar": "(batch,): dL/dtotal"},
           outputs={f"{name}_bar": shape.split(":")[0] for name, shape in NETWORK.items()},
           mistakes=(*GRADIENT_WRONG, *_seen_wrongly(_gradient),
                     Mistake("the reconstruction's part is missing (t = 1)", instead=lambda **i:
                             _gradient(part=lambda t: t > 1, **i)),
                     Mistake("the KLs' part is missing (t = 2..T)", instead=lambda **i:
                             _gradient(part=lambda t: t == 1, **i)),
                     Mistake("the derivative of tanh is left out", instead=lambda **i: dict(zip(
                         [f"{name}_bar" for name in NETWORK], _straight(**i))))))
def elbo_network_gradient(x_0: Any, betas: Any, W1: Any, b1: Any, W2: Any, b2: Any, variance: Any,
                          eps: Any, total_bar: Any) -> Any:
    """The gradients of L = Σ total_bar total, total as in elbo_network, in its weights"""
    return _gradient(x_0=x_0, betas=betas, W1=W1, b1=b1, W2=W2, b2=b2, variance=variance, eps=eps,
                     total_bar=total_bar)


def _straight(**i: Any) -> tuple:
    """As if tanh's slope were 1."""
    network = _hidden(i)
    _, _, W2_bar, b2_bar = _gradient(**i)
    W1_bar, b1_bar = np.zeros_like(i["W1"]), np.zeros_like(i["b1"])
    for t, x_t, bar in _pulls(i["x_0"], i["betas"], lambda x_t, t: network(x_t, t)[2],
                              i["variance"], i["eps"], i["total_bar"]):
        below = i["W2"] @ bar
        W1_bar, b1_bar = W1_bar + np.outer(network(x_t, t)[0], below), b1_bar + below
    return W1_bar, b1_bar, W2_bar, b2_bar
