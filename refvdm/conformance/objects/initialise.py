"""Data-dependent starts of flow layers (ActNorm): with what they start, and that it is once."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..judge import Verdict
from ..report import Report
from .verdict import asked, compared, guarded


def check_initialisation(make: Callable, data: Any, *, axes: tuple[int, ...] = (0,),
                         tolerance: float = 1e-3) -> Report:
    """make() -> a fresh layer's forward, x -> (y, log_det), that starts from its first batch.

    data (batch, ...); axes: those to average over (batch, and positions of images). What comes out
    for the first batch has mean 0 and variance 1 in every feature; a second batch changes nothing;
    a feature that is constant gives finite numbers.
    """
    data = np.array(data, float)

    def measure() -> list[Verdict]:
        forward = make()
        first = asked("forward of the first batch", lambda: forward(data.copy())[0])
        mean, variance = first.mean(axes), first.var(axes)
        n = int(np.prod([data.shape[axis] for axis in axes]))
        second = asked("forward of a second batch", lambda: forward(3 + 2 * data)[0])
        moved = second - 2 * first  # the same affine map: a constant for each feature
        left = moved - moved.mean(axes, keepdims=True)
        verdicts = [compared("mean", mean, 0 * mean, tolerance, {}),
                    compared("variance", variance, 1 + 0 * variance, tolerance, {
                        "it is of the sample, n - 1 (ddof 1)": 1 - 1 / n + 0 * variance}),
                    compared("a second batch", left, 0 * left, tolerance, {
                        "it starts again with each batch":
                            first.mean(axes, keepdims=True) - first})]
        flat = data.copy()
        flat[:, 1] = 0.5

        def constant() -> list[Verdict]:
            y = asked("forward", lambda: make()(flat)[0])  # raises unless it is finite
            return [compared("a constant feature", y, y, tolerance, {})]
        return verdicts + guarded("a constant feature", constant)
    return Report(guarded("initialisation", measure))
