"""What several operations have in common: how noise levels and times come in."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

BETAS = "(T,): betas[t-1] = 1 - α_t, t = 1..T"
T_EACH = "(batch,) integers in {}..T"
INDEX = "DDPM's and diffusers' timestep i = 0..T-1 is t - 1."


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
