"""The bound of a Markovian hierarchical VAE, 13.21, with conditionals that both sides can build."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...lecture import hvae as spec
from ...lecture.hvae import N
from ...lecture.loss import KL
from ..operation import Arrays, Mistake, operation
from .common import each
from .gaussian import BITS, MEAN_OVER_BATCH, SIGN, mean_over

LINEAR = {"A_q": "(T, D, D): q(z_t | z_{t-1}) has the mean A_q[t-1] z_{t-1} + b_q[t-1]",
          "b_q": "(T, D)", "log_var_q": "(T, D)",
          "A_p": "(T, D, D): p(z_{t-1} | z_t) has the mean A_p[t-1] z_t + b_p[t-1]",
          "b_p": "(T, D)", "log_var_p": "(T, D)"}


def _cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((3, 3, 2), (4, 2, 3), (2, 4, 3)):
        case = {"x": 0.5 + rng.standard_normal((batch, D))}
        for side in "qp":
            case |= {f"A_{side}": 0.5 * np.eye(D) + 0.3 * rng.standard_normal((T, D, D)),
                     f"b_{side}": 0.4 * rng.standard_normal((T, D)),
                     f"log_var_{side}": rng.uniform(-1.2, 0.3, (T, D))}
        yield case | {"eps": rng.standard_normal((T, batch, D))}


def _conditionals(A: Any, b: Any, log_var: Any) -> list:
    """[None, conditional 1, ..., conditional T] as the spec has them."""
    return [None] + [lambda z, t=t: N(A[t] @ z + b[t], np.exp(log_var[t])) for t in range(len(A))]


def _elbo(x: Any, A_q: Any, b_q: Any, log_var_q: Any, A_p: Any, b_p: Any, log_var_p: Any, eps: Any,
          change: Any = lambda z, p, q: 0.0) -> Any:
    q, p = _conditionals(A_q, b_q, log_var_q), _conditionals(A_p, b_p, log_var_p)

    def one(x: Any, eps: Any) -> tuple:
        z = spec.draw_posterior(x, q, eps)
        return (spec.elbo(x, p, q, eps) + change(z, p, q),)
    return each(one, x, np.swapaxes(eps, 0, 1))


def _changed(name: str, change: Any) -> Mistake:
    return Mistake(name, instead=lambda **inputs: _elbo(**inputs, change=change))


def _closed_form(z: Any, p: Any, q: Any) -> Any:
    """The last level's terms by their expectation."""
    last, zero = q[-1](z[-2]), 0 * z[-1]
    drawn = last.log_prob(z[-1]) - N(0, 1).log_prob(z[-1])
    return drawn - KL(last, N(zero, 1 + zero))


@operation("13.21", cases=_cases, outputs={"elbo": "(batch,) in nats"},
           inputs={"x": "(batch, D), z_0", **LINEAR,
                   "eps": "(T, batch, D): z_t = mean + exp(log_var/2) eps[t-1]"}, mistakes=(
               BITS, SIGN, MEAN_OVER_BATCH, mean_over("x"),
               _changed("log p(z_T) is missing", lambda z, p, q: -N(0, 1).log_prob(z[-1])),
               _changed("p(x | z_{1:T}) stands for p(x, z_{1:T}) (13.20 as printed)",
                        lambda z, p, q: p[1](z[1]).log_prob(z[0]) - spec.log_joint(z, p)),
               _changed("log q is missing", lambda z, p, q: spec.log_posterior(z, q)),
               _changed("the reconstruction is missing",
                        lambda z, p, q: -p[1](z[1]).log_prob(z[0])),
               _changed("the KL of the last level is in closed form, not drawn", _closed_form),
               Mistake("log_var is read as the log of the deviation",
                       inputs=lambda log_var_q, log_var_p, **_: {
                           "log_var_q": 2 * log_var_q, "log_var_p": 2 * log_var_p}),
               Mistake("log_var is read as the variance", inputs=lambda log_var_q, log_var_p, **_: {
                   "log_var_q": np.log(np.abs(log_var_q)),
                   "log_var_p": np.log(np.abs(log_var_p))}),
               Mistake("q is drawn with the variance for the deviation",
                       inputs=lambda eps, log_var_q, **_: {
                           "eps": eps * np.exp(log_var_q / 2)[:, None]}),
               Mistake("the noise is read in the other order (eps[T-t] makes z_t)",
                       inputs=lambda eps, **_: {"eps": eps[::-1]}),
               Mistake("the levels of p are read in the other order",
                       inputs=lambda A_p, b_p, log_var_p, **_: {
                           "A_p": A_p[::-1], "b_p": b_p[::-1], "log_var_p": log_var_p[::-1]}),
               Mistake("A is applied transposed", inputs=lambda A_q, A_p, **_: {
                   "A_q": np.swapaxes(A_q, 1, 2), "A_p": np.swapaxes(A_p, 1, 2)})))
def hvae_elbo(x: Any, A_q: Any, b_q: Any, log_var_q: Any, A_p: Any, b_p: Any, log_var_p: Any,
              eps: Any) -> Any:
    """log p(x, z_{1:T})/q(z_{1:T} | x) on z drawn from q by given noise"""
    return _elbo(x, A_q, b_q, log_var_q, A_p, b_p, log_var_p, eps)
