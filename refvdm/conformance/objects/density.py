"""Likelihoods against exact ones."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ..judge import Verdict
from ..report import Report
from .verdict import asked, compared, guarded, of_shape


def examples(name: str, x: Any) -> np.ndarray:
    """(batch, n, ...) real numbers, at least one."""
    x = checks.reals(name, x, ("batch", "n", ...))
    if x.size == 0:
        raise ValueError(f"{name} must hold at least one example, got shape {x.shape}")
    return x


def check_likelihood(log_prob: Callable, x: Any, exact: Any, *, tolerance: float = 1e-6) -> Report:
    """log_prob(x) -> (batch,) beside the exact log densities (batch,) in nats at x (batch, ...).

    >>> from refvdm.conformance.objects import check_likelihood
    >>> x = np.array([[0.3, -1.2], [2.0, 0.1]])
    >>> exact = -np.sum(x**2, axis=1) / 2 - np.log(2 * np.pi)
    >>> report = check_likelihood(lambda x: -np.sum(x**2, axis=1) / 2, x, exact)
    >>> print(report.verdicts[0].why)
    it matches the reference if the constant D/2 log 2π is missing; at (0,) it is -0.765, ...
    """
    checks.function("check_likelihood: log_prob", log_prob, "log_prob(x)")
    checks.positive("check_likelihood: tolerance", tolerance)
    x = examples("check_likelihood: x", x)
    exact = checks.reals("check_likelihood: exact", exact, (len(x),))
    D = x[0].size

    def measure() -> list[Verdict]:
        got = of_shape("log_prob", asked("log_prob", log_prob, x.copy()), exact.shape)
        known = {"it is in bits, not nats": exact / np.log(2), "its sign is the other one": -exact,
                 "it is the density, not its logarithm": np.exp(exact),
                 "it is the mean over the elements": exact / D,
                 "it is bits/dim": -exact / (D * np.log(2)),
                 "the constant D/2 log 2π is missing": exact + D / 2 * np.log(2 * np.pi),
                 "it is the mean over the batch": 0 * exact + exact.mean()}
        return [compared("log_prob", got, exact, tolerance, known)]
    return Report(guarded("log_prob", measure))
