"""How far an answer may be from the right one, and how far it is.

The tolerance of every number y comes from the dtype it is computed in, ε = eps(dtype), and from how
much y changes when every input changes by ε relative, measured on the reference:

    tolerance = (32 √n ε + 1e-10) |y| + 32 √n max over 6 changes of |Δy| + ε/1000 max |y|

n is the length of the longest input: rounding errors of sums add up like a random walk. The 1e-10
is for float64, where a formula that loses some digits does no harm (1 - ᾱ from a rounded ᾱ); in
float32 the same loss is seen. Where an approximation is asked for (a differential equation), an
operation's own accuracy times max |y| comes on top. An error is measured in tolerances: up to 1
agrees.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .operation import Arrays, Operation, extended

CHANGES, FACTOR, HARMLESS = 6, 32.0, 1e-10


class Truth(NamedTuple):
    """A case with its right answer, and how far one may be from it."""

    inputs: Arrays
    outputs: Arrays
    tolerances: Arrays


def truth(operation: Operation, inputs: Arrays, dtype: Any) -> Truth:
    """The reference's answer to a case whose floats are of this dtype, and its tolerances."""
    eps = float(np.finfo(dtype).eps)
    outputs = {name: np.asarray(y) for name, y in operation.answer(inputs).items()}
    moved = {name: np.zeros(y.shape) for name, y in outputs.items()}
    rng = np.random.default_rng(0)
    for _ in range(1 if operation.accuracy else CHANGES):  # where it hardly counts
        for name, y in operation.answer(_nearby(inputs, eps, rng)).items():
            with np.errstate(invalid="ignore"):  # inf - inf: where y is infinite it stays so
                moved[name] = np.fmax(moved[name], np.abs(np.asarray(y) - outputs[name]))
    n = max([np.size(x) for x in inputs.values()], default=1)
    tolerances = {}
    for name, y in outputs.items():
        size = np.abs(y)
        largest = np.max(size, initial=0.0, where=np.isfinite(size))
        tolerances[name] = (FACTOR * np.sqrt(n) * (eps * size + moved[name]) + HARMLESS * size
                            + (eps / 1000 + operation.accuracy) * largest)
    return Truth(inputs, outputs, tolerances)


def _nearby(inputs: Arrays, eps: float, rng: np.random.Generator) -> Arrays:
    changed = {}
    for name, x in inputs.items():
        x = extended(x)
        if isinstance(x, np.ndarray) and x.dtype == np.longdouble:
            x = x * (1 + eps * rng.uniform(-1, 1, x.shape))
        changed[name] = x
    return changed


def error(got: Arrays, expected: Arrays, tolerances: Arrays) -> dict[str, np.ndarray]:
    """|got - expected| in tolerances, element by element; inf where only one of them is finite."""
    found = {}
    for name, y in expected.items():
        x, tolerance = np.asarray(got[name]), tolerances[name]
        with np.errstate(all="ignore"):
            units = np.where(x == y, 0.0, np.abs(x.astype(np.longdouble) - y) / tolerance)
        found[name] = np.where(np.isnan(units), np.where(np.isnan(x) & np.isnan(y), 0.0, np.inf),
                               units).astype(float)
    return found


def worst(errors: dict[str, np.ndarray]) -> float:
    return max((float(np.max(units, initial=0.0)) for units in errors.values()), default=0.0)
