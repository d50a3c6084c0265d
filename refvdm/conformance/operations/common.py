"""What several operations have in common: how noise levels, times and linear maps come in."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...lecture.loss import alpha_bar
from ..operation import Arrays, Mistake

BETAS = "(T,): betas[t-1] = 1 - α_t, t = 1..T"
T_EACH = "(batch,) integers in {}..T"
INDEX = "DDPM's and diffusers' timestep i = 0..T-1 is t - 1."
LINEAR = {"A": "(T, D, D)", "b": "(T, D): x̂_0(x_t, t) = A[t-1] x_t + b[t-1]"}


def alphas(betas: Any) -> Any:
    """α as the spec indexes it, α_0 = 1."""
    return np.concatenate([[1], 1 - betas])


def each(function: Callable, *batched: Any) -> tuple:
    """function(example's values...) -> tuple, for every example, stacked."""
    rows = [function(*values) for values in zip(*batched)]
    return tuple(np.stack(column) for column in zip(*rows))


def levels(rng: np.random.Generator, T: int) -> np.ndarray:
    """betas that neither rise evenly nor stay: no two tables agree anywhere."""
    return np.sort(rng.uniform(0.02, 0.3, T)) * rng.uniform(0.8, 1.25, T)


def scales(a: Any, t: int) -> tuple[Any, Any]:
    """√ᾱ_t and √(1 - ᾱ_t)."""
    abar = alpha_bar(a, t)
    return np.sqrt(abar), np.sqrt(1 - abar)


# ---------------------------------------------------------------- of all that has LINEAR

TRANSPOSED = Mistake("A is applied transposed", inputs=lambda A, **_: {"A": np.swapaxes(A, 1, 2)})
TABLE_LATE = Mistake("the table of the network is read at t, not t - 1", inputs=lambda A, b, **_: {
    "A": np.roll(A, -1, 0), "b": np.roll(b, -1, 0)})


def _read_as(kind: str, solve: Callable) -> Mistake:
    """x̂_0 = c x_t - n out, with c and n that solve gives for √ᾱ and √(1 - ᾱ): as a linear map."""
    def change(betas: Any, A: Any, b: Any, **_: Any) -> Arrays:
        factors = [solve(*scales(alphas(betas), t)) for t in range(1, len(betas) + 1)]
        eye = np.eye(A.shape[-1])
        return {"A": np.stack([c * eye - n * M for (c, n), M in zip(factors, A)]),
                "b": np.stack([-n * m for (_, n), m in zip(factors, b)])}
    return Mistake(f"the network's output is read as {kind}, and it is x_0", inputs=change)


READ_AS = (_read_as("eps", lambda s, n: (1 / s, n / s)), _read_as("v", lambda s, n: (s, n)),
           _read_as("the score", lambda s, n: (1 / s, -n * n / s)))
OF_LINEAR = (TABLE_LATE, TRANSPOSED, *READ_AS)
