"""Data-dependent starts of flow layers (ActNorm): with what they start, and that it is once."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ..adapter import WrongAnswer
from ..judge import Verdict
from ..report import Report
from .verdict import asked, called, compared, guarded, of_shape


def check_initialisation(make: Callable, data: Any, *, axes: tuple[int, ...] = (0,),
                         tolerance: float = 1e-3) -> Report:
    """make() -> a fresh layer's forward, x -> (y, log_det), that starts from its first batch.

    data (batch, ...); axes: those to average over (batch, and positions of images). What comes out
    for the first batch has mean 0 and variance 1 in every feature; a second batch changes nothing;
    a feature that is constant gives finite numbers.

    >>> from refvdm.conformance.objects import check_initialisation
    >>> def make():
    ...     kept = []
    ...     def forward(x):
    ...         if not kept:
    ...             kept.extend([x.mean(0), x.std(0, ddof=1) + 1e-6])
    ...         return (x - kept[0]) / kept[1], np.full(len(x), -np.log(kept[1]).sum())
    ...     return forward
    >>> report = check_initialisation(make, [[1.0, -2.0], [2.0, 3.0], [6.0, 2.0]])
    >>> print(report.verdicts[1].why)
    it matches the reference if it is of the sample, n - 1 (ddof 1); at (...) it is 0.666..., ...
    """
    checks.function("check_initialisation: make", make, "make()")
    data = checks.reals("check_initialisation: data", data, ("batch", "n", ...))
    axes, feature = _averaged("check_initialisation: axes", axes, data.ndim)
    checks.positive("check_initialisation: tolerance", tolerance)
    if not data.size or not np.all(data.std(axes) > 0):
        raise ValueError("check_initialisation: data must vary in every feature (over the axes "
                         f"{axes}), got an array {data.shape} that does not")

    def start() -> Callable:
        forward = called("make", make)
        if not callable(forward):
            raise WrongAnswer(f"make must return a function, got {checks.what(forward)}")
        return lambda name, x: of_shape(name, asked(name, lambda: forward(x.copy())[0]), x.shape)

    def measure() -> list[Verdict]:
        forward = start()
        first = forward("forward of the first batch", data)
        second = forward("forward of a second batch", 3 + 2 * data)
        moved = second - 2 * first  # the same affine map: a constant for each feature
        left = moved - moved.mean(axes, keepdims=True)
        n = data.size / data.mean(axes).size
        m, v = data.mean(axes), data.var(axes)
        each = (3 + data.mean(0)) / np.maximum(data.std(0), 1e-12) + 0 * data
        return [compared("mean", first.mean(axes), 0 * m, tolerance, {
                    "the mean is not taken off": m / np.sqrt(v),
                    "the mean is added": 2 * m / np.sqrt(v),
                    "the scale comes before the shift": m / np.sqrt(v) - m}),
                compared("variance", first.var(axes), 1 + 0 * v, tolerance, {
                    "it is of the sample, n - 1 (ddof 1)": 1 - 1 / n + 0 * v,
                    "the scale is missing": v, "the scale is the variance, not its root": 1 / v,
                    "it is multiplied by the scale, not divided": v**2}),
                compared("a second batch", left, 0 * left, tolerance, {
                    "it starts again with each batch": first.mean(axes, keepdims=True) - first,
                    "its statistics are of each position": each - each.mean(axes, keepdims=True)}),
                *guarded("a constant feature", constant)]

    def constant() -> list[Verdict]:
        flat = data.copy()
        np.moveaxis(flat, feature, 0)[-1] = 0.5
        y = start()("forward", flat)  # raises unless it is finite
        return [compared("a constant feature", y, y, tolerance, {})]
    return Report(guarded("initialisation", measure))


def _averaged(name: str, axes: Any, ndim: int) -> tuple[tuple[int, ...], int]:
    """The axes to average over, and the first of the others: of the features."""
    if not isinstance(axes, (tuple, list)):
        raise TypeError(f"{name} must be a tuple of integers, got {checks.what(axes)}")
    found = {checks.integer(f"{name}, each of them,", axis, -ndim, ndim - 1) % ndim
             for axis in axes}
    features = sorted(set(range(ndim)) - found)
    if 0 not in found or not features:
        raise ValueError(f"{name} must have 0, the batch, and leave an axis of features, got "
                         f"{tuple(axes)} for data of {ndim} axes")
    return tuple(sorted(found)), features[0]
