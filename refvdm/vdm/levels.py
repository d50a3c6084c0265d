"""How a schedule's tables, α_t and ᾱ_t of 13.26-13.28, meet examples x: at t, in x's dtype, as
factors of the right shape."""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from ..autodiff import Array, Tensor


class Levels:
    """A schedule's tables at t as factors for x: `at.alpha_bar` is alpha_bar[t] in x's dtype, of
    shape () or (batch, 1, ...), so that `at.alpha_bar * x` means what it says."""

    def __init__(self, schedule: Any, t: Any, x: Array):
        self._tables, self._t = schedule._tables(x.dtype), t
        self._shape = np.shape(t) + (1,) * (x.ndim - 1) if np.ndim(t) else ()

    def __getattr__(self, table: str) -> Any:
        return getattr(self._tables, table)[self._t].reshape(self._shape)


class Rounded:
    """The tables of a schedule in another dtype, each rounded from float64 when first asked for."""

    def __init__(self, schedule: Any, dtype: np.dtype):
        self._of, self._dtype = schedule, dtype

    def __getattr__(self, table: str) -> np.ndarray:
        if table.startswith("_"):  # copying and pickling ask for what is not there
            raise AttributeError(table)
        rounded = getattr(self._of, table).astype(self._dtype)
        setattr(self, table, rounded)
        return rounded


def scales(gamma: Any) -> tuple[Any, Any]:
    """√ᾱ and √(1 - ᾱ) at the level gamma."""
    return np.sqrt(expit(-gamma)), np.sqrt(expit(gamma))


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return np.logaddexp(0.0, x)


def factor(c: Any, x: Array) -> Any:
    """c of shape () or (batch,) as a factor for x (batch, ...): axes of 1 behind, and x's dtype."""
    if type(c) is not Tensor:
        c = np.asarray(c, x.dtype)
    return c.reshape(c.shape + (1,) * (x.ndim - 1)) if c.ndim and x.ndim > 1 else c
