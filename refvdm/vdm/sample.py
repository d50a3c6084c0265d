"""Ancestral sampling: from x_T down the chain p(x_{t-1} | x_t) to data."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..autodiff.tree import float_dtype
from .decoder import predict, predict_x_0
from .forward import noise, q_posterior


def ancestral_path(vdm: Any, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *, x_T: Any = None,
                   eps: Any = None) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (t, x_t) for t = T, T-1, ..., 1, 0: the chain of p from noise to data; shape (n, ...).

    x_T (n, ...) and eps (T, n, ...) are standard normal, drawn from rng unless given; eps[t-1] makes x_{t-1} from x_t:

        x_{t-1} = mean of q(x_{t-1} | x_t, x_0 hat(x_t, t)) + its standard deviation eps[t-1]     for t = T..2,

    and eps[0] the decoder's draw of x_0. The dtype is that of x_T, or of theta's parameters, or float64.
    """
    if not isinstance(shape, tuple) or not shape or shape[0] < 1:
        raise ValueError(f"sample: shape must be a tuple (n, ...) with n >= 1, got {shape!r}")
    schedule, T, n = vdm.schedule, vdm.schedule.T, shape[0]
    x = noise("sample", shape, getattr(x_T, "dtype", None) or float_dtype(theta), rng, x_T, "x_T")
    if eps is not None:
        eps = noise("sample", (T, *shape), x.dtype, None, eps)
    yield T, x
    for t in range(T, 0, -1):
        eps_t = noise("sample", shape, x.dtype, rng, None) if eps is None else eps[t - 1]
        times = np.full(n, t)
        if t == 1:
            yield 0, vdm.decoder.sample(x, predict(vdm.denoiser, theta, x, times), schedule, eps_t)
        else:
            mean, var = q_posterior(schedule, x, predict_x_0(vdm.denoiser, theta, x, times), t)
            x = mean + np.sqrt(var) * eps_t
            yield t - 1, x
