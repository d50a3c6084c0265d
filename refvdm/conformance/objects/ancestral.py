"""Samplers that draw, step by step: with a linear denoiser each step is affine in x and its noise,

    x_s = slope x_t + offset + width ε

and its three numbers are those of p(x_s | x_t) = N(posterior mean of x_t and x̂_0, variance).
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..judge import Verdict
from ..report import Report
from .model import perfect_denoiser
from .verdict import asked, compared, guarded, of_shape


def check_ancestral(step: Callable, alpha_bars: Any, times: Sequence[int], *, output: str = "x_0",
                    variance: str | Callable = "small", tolerance: float = 1e-4) -> Report:
    """step(denoise, x, i, noise) -> x after the i-th step, from times[i] to times[i + 1].

    denoise(x, t) as in check_sampler; noise is the standard normal array to be used, of x's shape.
    variance: "small", that of the posterior; "large", β between the two times; or a function of
    (β, the posterior's). The last step goes to ᾱ = 1: its mean is x̂_0, and nothing is drawn.
    """
    abar = np.array(alpha_bars, float)
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
            return perfect_denoiser(float(abar[int(np.ravel(np.asarray(t))[0])]), x, output)
        got = np.array([of_shape("x", asked(f"step {i}", step, denoise, x.copy(), i, noise.copy()),
                                 (3,)) for i in range(len(times))])
        mean, width = np.stack([got[:, 1] - got[:, 0], got[:, 0]], 1), got[:, 2] - got[:, 0]
        chained = [*times[1:], None]
        stride = max(len(abar) // len(times), 1)
        right, strided, single = (np.array([expected(i, s) for i, s in enumerate(following)])
                                  for following in (chained, [t - stride for t in times],
                                                    [t - 1 for t in times]))
        widths = _widths(right, variance)
        last = widths.copy()
        last[-1] = np.sqrt({"small": right[-1, 3], "large": right[-1, 2]}.get(
            str(variance), right[-1, 2]))
        ways = {"times do not chain: each step goes one stride T // steps down": strided,
                "times do not chain: each step goes to t - 1": single}
        return [compared("mean", mean, right[:, :2], tolerance,
                         {why: wrong[:, :2] for why, wrong in ways.items()}),
                compared("noise", width, widths, tolerance, {
                    "noise is added at the last step too": last,
                    "its variance is β, not the posterior's": _widths(right, "large"),
                    "its variance is the posterior's, not β": _widths(right, "small"),
                    "it is scaled by the variance, not its root": widths**2,
                    "it is scaled by the root of the root": widths**0.5, "it is missing (0)":
                        0 * widths, **{why: _widths(wrong, variance)
                                       for why, wrong in ways.items()}})]
    return Report(guarded("ancestral sampler", measure))


def _widths(steps: np.ndarray, variance: str | Callable) -> np.ndarray:
    beta, small = steps[:-1, 2], steps[:-1, 3]
    values = {"small": small, "large": beta}[variance] if isinstance(variance, str) else variance(
        beta, small)
    return np.append(np.sqrt(np.maximum(values, 0)), 0.0)
