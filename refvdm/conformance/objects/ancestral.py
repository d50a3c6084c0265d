"""Samplers that draw, step by step: with a linear denoiser each step is affine in x and its noise,

    x_s = slope x_t + offset + width ε

and its three numbers are those of p(x_s | x_t) = N(posterior mean of x_t and x̂_0, variance).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import checks
from ..adapter import WrongAnswer
from ..judge import Verdict
from ..report import Report
from .model import perfect_denoiser, run_along
from .verdict import asked, compared, guarded, of_shape


def check_ancestral(step: Callable, alpha_bars: Any, times: Sequence[int], *, output: str = "x_0",
                    variance: str | Callable = "small", tolerance: float = 1e-4) -> Report:
    """step(denoise, x, i, noise) -> x after the i-th step, from times[i] to times[i + 1].

    denoise(x, t), alpha_bars (T,), times and output as in check_sampler; noise is the standard
    normal array to be used, of x's shape. variance: "small", that of the posterior; "large", β
    between the two times; or a function of (β, the posterior's), arrays of a number a step. The
    last step goes to ᾱ = 1: its mean is x̂_0, and nothing is drawn.

    >>> from refvdm.conformance.objects import check_ancestral
    >>> abar = np.array([0.95, 0.8, 0.5, 0.2])
    >>> def step(denoise, x, i, noise):
    ...     a, to = abar[3 - i], abar[2 - i] if i < 3 else 1.0
    ...     beta = 1 - a / to
    ...     mean = np.sqrt(to) * beta * denoise(x, 3 - i) + np.sqrt(1 - beta) * (1 - to) * x
    ...     return mean / (1 - a) + np.sqrt(beta) * noise
    >>> report = check_ancestral(step, abar, [3, 2, 1, 0], variance="large")
    >>> print([verdict.status for verdict in report.verdicts], report.verdicts[1].why)
    ['pass', 'FAIL'] it matches the reference if noise is added at the last step too; at (3,) ...
    """
    checks.function("check_ancestral: step", step, "step(denoise, x, i, noise)")
    abar, times = run_along("check_ancestral", alpha_bars, times)
    checks.one_of("check_ancestral: output", output, ("x_0", "eps", "v", "score"))
    if isinstance(variance, str):
        checks.one_of("check_ancestral: variance", variance, ("small", "large"))
    else:
        checks.function("check_ancestral: variance", variance, "variance(beta, small)")
    checks.positive("check_ancestral: tolerance", tolerance)
    x, noise = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])

    def expected(i: int, following: int | None) -> tuple[float, float, float, float]:
        t = times[i]
        to = 1.0 if following is None or following < 0 else float(abar[following])
        beta = 1 - abar[t] / to
        small = beta * (1 - to) / (1 - abar[t])
        y = (np.sqrt(to) * beta * perfect_denoiser(float(abar[t]), x)
             + np.sqrt(1 - beta) * (1 - to) * x) / (1 - abar[t])
        return y[1] - y[0], y[0], beta, small

    def measure() -> list[Verdict]:
        def denoise(x: Any, t: Any) -> Any:
            t = int(np.ravel(np.asarray(t))[0])
            if not 0 <= t < len(abar):
                raise WrongAnswer(f"the sampler asked about t = {t}, outside 0..{len(abar) - 1}")
            return perfect_denoiser(float(abar[t]), x, output)
        got = np.array([of_shape("x", asked(f"step {i}", step, denoise, x.copy(), i, noise.copy()),
                                 (3,)) for i in range(len(times))])
        mean, width = np.stack([got[:, 1] - got[:, 0], got[:, 0]], 1), got[:, 2] - got[:, 0]
        chained = [*times[1:], None]
        stride = max(len(abar) // len(times), 1)
        right, strided, single = (np.array([expected(i, s) for i, s in enumerate(following)])
                                  for following in (chained, [t - stride for t in times],
                                                    [t - 1 for t in times]))
        widths = _widths(right, variance)
        last = np.append(widths[:-1], np.sqrt(right[-1, 2]))  # β; the posterior's would be 0
        ways = {"times do not chain: each step goes one stride T // steps down": strided,
                "times do not chain: each step goes to t - 1": single}
        return [compared("mean", mean, right[:, :2], tolerance,
                         {why: wrong[:, :2] for why, wrong in ways.items()}),
                compared("noise", width, widths, tolerance, {
                    "noise is added at the last step too": last,
                    "its variance is β, not the posterior's": _widths(right, "large"),
                    "its variance is β at the last step too": np.sqrt(right[:, 2]),
                    "its variance is the posterior's, not β": _widths(right, "small"),
                    "it is scaled by the variance, not its root": widths**2,
                    "it is scaled by the root of the root": widths**0.5, "it is missing (0)":
                        0 * widths, **{why: _widths(wrong, variance)
                                       for why, wrong in ways.items()}})]
    return Report(guarded("ancestral sampler", measure))


def _widths(steps: np.ndarray, variance: str | Callable) -> np.ndarray:
    beta, small = steps[:-1, 2], steps[:-1, 3]
    if isinstance(variance, str):
        values = {"small": small, "large": beta}[variance]
    else:
        values = of_shape("variance", asked("variance", variance, beta, small), beta.shape)
    return np.append(np.sqrt(np.maximum(values, 0)), 0.0)
