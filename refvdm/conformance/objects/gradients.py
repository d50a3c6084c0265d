"""Is this the gradient of that function? By finite differences of the user's own code."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ... import checks
from ..adapter import WrongAnswer
from ..judge import Verdict
from ..report import Report
from .verdict import asked, called, compared, guarded, of_shape


def check_gradient(f: Callable, gradient: Callable, args: Sequence[Any], *,
                   names: Sequence[str] | None = None, tolerance: float = 1e-5,
                   step: float = 1e-4) -> Report:
    """f(*args) -> a number; gradient(*args) -> a sequence of arrays, one for each of args (NumPy
    float arrays). A verdict for each argument by its name.

    An ODE solver's gradients are checked by f(z0, ts, theta) = a loss of the solution at ts, first,
    inner and last times among them: names=("z0", "ts", "theta"); for "ts" the verdict tells first,
    inner and last apart. tolerance is relative; differences are of fourth order with this step.

    >>> from refvdm.conformance.objects import check_gradient
    >>> def loss(x, W):
    ...     return np.sum((x @ W)**2)
    >>> def gradient(x, W):
    ...     return 2 * W @ (W.T @ x), np.outer(x @ W, x)  # transposed, and without its 2
    >>> report = check_gradient(loss, gradient, ([1.0, -2.0], [[1.0, 2.0], [0.0, -1.0]]),
    ...                         names=("x", "W"))
    >>> [(verdict.name, verdict.status) for verdict in report.verdicts]
    [('x', 'pass'), ('W', 'FAIL')]
    """
    checks.function("check_gradient: f", f, "f(*args)")
    checks.function("check_gradient: gradient", gradient, "gradient(*args)")
    checks.positive("check_gradient: tolerance", tolerance)
    checks.positive("check_gradient: step", step)
    args = [checks.reals(f"check_gradient: args[{i}]", a, (...,))
            for i, a in enumerate(checks.listed("check_gradient: args", args))]
    if names is None:
        names = [f"argument {i}" for i in range(len(args))]
    names = checks.words("check_gradient: names", names)
    if not args or len(names) != len(args):
        raise ValueError(f"check_gradient: names and args must be as many, at least one, "
                         f"got {len(names)} and {len(args)}")

    def measure() -> list[Verdict]:
        found = called("gradient", lambda: list(gradient(*[a.copy() for a in args])))
        if len(found) != len(args):
            raise WrongAnswer(f"gradient must return {len(args)} arrays, got {len(found)}")
        verdicts = []
        for i, (name, a) in enumerate(zip(names, args)):
            one = np.zeros(a.shape) if found[i] is None else found[i]
            got = of_shape(name, asked(name, lambda one: one, one), a.shape)
            verdicts += _of(name, got, _differences(f, args, i, step), tolerance)
        return verdicts
    return Report(guarded("gradient", measure))


def _of(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float) -> list[Verdict]:
    known = {"its sign is the other one": -expected, "it is missing (0)": 0 * expected,
             "it is doubled": 2 * expected, "it is halved": expected / 2,
             "it is divided by the number of elements": expected / max(expected.size, 1)}
    if expected.ndim == 2 and expected.shape[0] == expected.shape[1]:
        known["it is transposed"] = expected.T
    if name != "ts" or expected.ndim != 1 or len(expected) < 2:
        return [compared(name, got, expected, tolerance, known)]
    ends = {"dL/dT0 and dL/dT1 are exchanged": expected[::-1]}
    parts = {"first": slice(0, 1), "inner": slice(1, -1), "last": slice(-1, None)}
    return [compared(f"ts, {part}", got[at], expected[at], tolerance,
                     {mistake: wrong[at] for mistake, wrong in (known | ends).items()})
            for part, at in parts.items() if expected[at].size]


def _differences(f: Callable, args: list, i: int, step: float) -> np.ndarray:
    """df/d args[i], central differences of fourth order."""
    slopes, a = np.zeros(args[i].size), args[i]
    for k in range(a.size):
        values = []
        for h in (2, 1, -1, -2):
            moved = a.copy()
            moved.reshape(-1)[k] += h * step * max(1.0, abs(a.reshape(-1)[k]))
            values.append(of_shape("f", asked("f", f, *args[:i], moved, *args[i + 1:]), ()))
        width = 12 * step * max(1.0, abs(a.reshape(-1)[k]))
        slopes[k] = (-values[0] + 8 * values[1] - 8 * values[2] + values[3]) / width
    return slopes.reshape(a.shape)
