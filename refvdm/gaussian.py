"""Diagonal Gaussians, elementwise and in nats; sum over the axes of one example yourself.

The variance comes as its logarithm, so that no variance is ever rounded to 0. Arrays and Tensors alike.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import hyp1f1

from .autodiff import defvjp

LOG_2PI = math.log(2 * math.pi)


def expm1_minus(d: Any) -> Any:
    """e^d - 1 - d, to full relative accuracy also where it is nearly d²/2 and expm1(d) - d would cancel. Any shape.

    Twice what unequal variances cost in a Gaussian KL (kl_normal). Near 0 it is d²/2 1F1(1; 3; d), Kummer's function.
    """
    near = np.abs(d) < 1
    small = np.where(near, d, 0)
    return np.where(near, hyp1f1(1.0, 3.0, small) * (small * small / 2), np.expm1(d) - d)


expm1_minus = defvjp(expm1_minus, lambda y_bar, y, d: y_bar * np.expm1(d))


def log_normal(x: Any, mean: Any, log_var: Any) -> Any:
    """log N(x; mean, exp(log_var)) for every element: -1/2 (log 2π + log σ² + (x - μ)²/σ²), nats; shapes broadcast."""
    off = x - mean
    log_var = _number(log_var, off)
    return np.square(off) * (-0.5 * np.exp(-log_var)) - 0.5 * (LOG_2PI + log_var)


def kl_normal(mean_q: Any, log_var_q: Any, mean_p: Any, log_var_p: Any) -> Any:
    """KL(q to p) of two Gaussians for every element, nats; shapes broadcast.

    1/2 (σ_q²/σ_p² - 1 - log σ_q²/σ_p² + (μ_q - μ_p)²/σ_p²). The first three terms are e^d - 1 - d with
    d = log σ_q² - log σ_p²: never negative, and right when the variances nearly agree.
    """
    off = mean_q - mean_p
    log_var_q, log_var_p = _number(log_var_q, off), _number(log_var_p, off)
    return 0.5 * (expm1_minus(log_var_q - log_var_p) + np.square(off) * np.exp(-log_var_p))


def _number(c: Any, x: Any) -> Any:
    """A plain number in x's dtype, so that its exponential, a float64 scalar in NumPy, does not widen float32 arrays."""
    return np.asarray(c, getattr(x, "dtype", float)) if isinstance(c, (int, float)) else c
