"""Flow layers against their own Jacobian, and likelihoods against exact ones."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ..judge import Verdict
from ..report import Report
from .verdict import asked, compared, guarded, of_shape


def check_flow_layer(forward: Callable, inverse: Callable, x: Any, *,
                     tolerance: float = 1e-5) -> Report:
    """forward(x) -> (y, log_det (batch,)), inverse(y) -> (x, log_det of the inverse map (batch,)).

    x (batch, ...) as the layer takes it, with positions if it has them; y has as many elements.
    The Jacobian is taken of each example by central differences of forward itself, in float64.

    >>> from refvdm.conformance.objects import check_flow_layer
    >>> scale = np.array([2.0, 0.5, 3.0])
    >>> def forward(x):
    ...     return x * scale, np.full(len(x), np.log(scale).sum())  # of one pixel
    >>> def inverse(y):
    ...     return y / scale, np.full(len(y), -np.log(scale).sum())
    >>> images = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    >>> print(check_flow_layer(forward, inverse, images).verdicts[0].why)
    it matches the reference if it forgets the positions (channels last); at (...) it is ...
    """
    checks.function("check_flow_layer: forward", forward, "forward(x)")
    checks.function("check_flow_layer: inverse", inverse, "inverse(y)")
    checks.positive("check_flow_layer: tolerance", tolerance)
    x = _examples("check_flow_layer: x", x)
    batch, D = len(x), x[0].size

    def measure() -> list[Verdict]:
        y = asked("forward: y", lambda: forward(x.copy())[0])
        log_det = of_shape("forward: log_det",
                           asked("forward: log_det", lambda: forward(x.copy())[1]), (batch,))
        back = of_shape("inverse: x", asked("inverse: x", lambda: inverse(y.copy())[0]), x.shape)
        inverse_log_det = asked("inverse: log_det", lambda: inverse(y.copy())[1])
        rows = y.reshape(batch, -1)
        jacobian, h = np.zeros((batch, rows.shape[1], D)), 1e-5
        for k in range(D):
            step = np.zeros((batch, D))
            step[:, k] = h
            high, low = (asked("forward: y", lambda at: forward(at)[0], x + move)
                         for move in (step.reshape(x.shape), -step.reshape(x.shape)))
            jacobian[:, :, k] = (high - low).reshape(batch, -1) / (2 * h)
        sign, expected = np.linalg.slogdet(jacobian)
        several = x.ndim > 2
        positions = max(int(np.prod(x.shape[1:-1])), 1) if several else 1
        channels_first = max(int(np.prod(x.shape[2:])), 1) if several else 1
        known = {"its sign is the other one": -expected, "it is missing (0)": 0 * expected,
                 "it is the determinant, not its logarithm": np.exp(np.clip(expected, -700, 700)),
                 "it is doubled": 2 * expected, "it is halved": expected / 2,
                 "it is the mean over the elements": expected / D,
                 "it is summed over the batch": 0 * expected + expected.sum(),
                 "it is the mean over the batch": 0 * expected + expected.mean()}
        if several:
            known |= {"it forgets the positions (channels last)": expected / positions,
                      "it forgets the positions (channels first)": expected / channels_first}
        verdicts = [compared("log_det", log_det, expected, tolerance, known),
                    compared("inverse of forward", back, x, tolerance, {
                        "the inverse is the forward map": _maybe(forward, y, x)}),
                    compared("log_det of the inverse", inverse_log_det, -log_det, tolerance, {
                        "it has the sign of the forward one": log_det, "it is missing (0)":
                            0 * log_det})]
        return verdicts if np.all(sign != 0) else verdicts[1:]
    return Report(guarded("flow layer", measure))


def _maybe(forward: Callable, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    try:
        return asked("forward", lambda: forward(y.copy())[0]).reshape(x.shape)
    except ValueError:
        return np.full(x.shape, np.inf)


def _examples(name: str, x: Any) -> np.ndarray:
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
    x = _examples("check_likelihood: x", x)
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
