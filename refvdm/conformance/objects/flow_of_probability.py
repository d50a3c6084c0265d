"""Samplers of the probability flow: do they converge to it, and as fast as they say?

In x / √ᾱ, with σ² = (1 - ᾱ)/ᾱ, the flow of the Gaussian data of model.py is a closed form,

    x(σ) = m + √((s² + σ²)/(s² + σ_max²)) (x(σ_max) - m)

and so is the last denoising step at σ_min, whose error no number of steps makes smaller.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ... import checks
from ..judge import FAIL, PASS, Verdict
from ..report import Report
from .model import MEAN, VARIANCE
from .verdict import asked, guarded, of_shape

SLACK, EXACT = 0.4, 2e-6  # of the order measured; below this an error may be rounding


def denoiser(x: Any, sigma: Any) -> Any:
    """E[x_0 | x] of that data, x = x_0 + σ ε; any arrays."""
    return MEAN + VARIANCE / (VARIANCE + sigma**2) * (x - MEAN)


def check_probability_flow(run: Callable, sigma_max: float, sigma_min: float, order: int, *,
                           final: str = "denoised", steps: Sequence[int] = (20, 40, 80),
                           float32: bool = False) -> Report:
    """run(denoise, x, n) -> x after n steps from sigma_max, denoise(x, sigma) as denoiser above.

    final: "sigma_min", the run ends there; "denoised", one denoising step from there to 0 comes
    after; "zero", the flow itself is followed to 0. order: what the method claims. The verdict
    "order" compares the last two errors, unless they are as small as rounding (in float32: 2e-5).

    >>> from refvdm.conformance.objects import check_probability_flow
    >>> def euler(denoise, x, n):
    ...     sigmas = np.geomspace(5.0, 0.1, n + 1)
    ...     for s, to in zip(sigmas[:-1], sigmas[1:]):
    ...         x = x + (to - s) * (x - denoise(x, s)) / s
    ...     return x
    >>> check_probability_flow(euler, 5.0, 0.1, 1, final="sigma_min").status
    0
    >>> report = check_probability_flow(euler, 5.0, 0.1, 2, final="sigma_min")
    >>> print(report.verdicts[1].why)
    claimed order 2, measured 0.99: errors ...
    """
    checks.function("check_probability_flow: run", run, "run(denoise, x, n)")
    sigma_max = checks.positive("check_probability_flow: sigma_max", sigma_max)
    sigma_min = checks.positive("check_probability_flow: sigma_min", sigma_min)
    if sigma_min > sigma_max:
        raise ValueError(f"check_probability_flow: sigma_min must be at most sigma_max = "
                         f"{sigma_max:g}, got {sigma_min:g}")
    order = checks.integer("check_probability_flow: order", order, 0)
    checks.one_of("check_probability_flow: final", final, ("denoised", "sigma_min", "zero"))
    steps = [checks.integer("check_probability_flow: steps, each of them,", n)
             for n in checks.listed("check_probability_flow: steps", steps)]
    if len(steps) < 2 or any(n > m for n, m in pairwise(steps)):
        raise ValueError(f"check_probability_flow: steps must be at least two integers that rise, "
                         f"got {steps}")
    checks.flag("check_probability_flow: float32", float32)
    x = sigma_max * np.linspace(-2, 2, 5)

    def measure() -> list[Verdict]:
        end = {"zero": 0.0}.get(final, sigma_min)
        exact = MEAN + np.sqrt((VARIANCE + end**2) / (VARIANCE + sigma_max**2)) * (x - MEAN)
        if final == "denoised":
            exact = denoiser(exact, sigma_min)
        errors = [float(np.max(np.abs(of_shape("x", asked(f"x after {n} steps", run, denoiser,
                                                          x.copy(), n), x.shape) - exact)))
                  for n in steps]
        rounding = 2e-5 if float32 else EXACT
        told = "errors " + ", ".join(f"{e:.2g} ({n} steps)" for e, n in zip(errors, steps))
        near = errors[-1] / 0.1  # 80 steps of Euler's method come that near
        verdicts = [Verdict("converges", PASS if near <= 1 else FAIL, 1, int(near > 1), near,
                            "" if near <= 1 else f"not to the probability flow: {told}")]
        with np.errstate(divide="ignore", invalid="ignore"):
            measured = np.log(np.divide(errors[-2], errors[-1])) / np.log(steps[-1] / steps[-2])
        missing = 0.0 if errors[-1] <= rounding else order - SLACK - measured
        why = f"claimed order {order}, measured {measured:.2f}: {told}"
        return [*verdicts, Verdict("order", PASS if missing <= 0 else FAIL, 1, int(missing > 0),
                                   float(2.0**missing), why if missing > 0 else "")]
    return Report(guarded("probability flow", measure))
