"""From numbers to a verdict, for objects: what is compared, and which mistake explains it."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..adapter import WrongAnswer, as_numbers
from ..judge import ERROR, FAIL, PASS, Verdict


def called(name: str, f: Callable, *args: Any) -> Any:
    """f(*args) of the user's f. WrongAnswer with its exception."""
    try:
        return f(*args)
    except WrongAnswer:
        raise
    except Exception as error:  # somebody else's code
        raise WrongAnswer(f"{name} raised {type(error).__name__}: {error}") from error


def asked(name: str, f: Callable, *args: Any) -> np.ndarray:
    """What the user's f returned, as finite numbers. WrongAnswer otherwise, with its exception."""
    y = as_numbers(name, called(name, f, *args))
    if not np.all(np.isfinite(y)):
        raise WrongAnswer(f"{name} returned numbers that are not finite")
    return y.astype(float)


def of_shape(name: str, y: np.ndarray, shape: tuple) -> np.ndarray:
    if y.shape != shape:
        raise WrongAnswer(f"{name} must have shape {shape}, got {y.shape}")
    return y


def compared(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float,
             mistakes: Mapping[str, np.ndarray]) -> Verdict:
    """The verdict on one quantity; errors relative to max(|expected|, 1)."""
    size = _distance(got, expected)
    if size <= tolerance:
        return Verdict(name, PASS, 1, 0, size / tolerance, "")
    why = [mistake for mistake, wrong in mistakes.items() if np.shape(wrong) == got.shape
           and _distance(got, np.asarray(wrong)) <= tolerance]
    at = np.unravel_index(np.argmax(np.abs(got - expected)), got.shape) if got.ndim else ()
    found = f"at {tuple(map(int, at))} it is {got[at]:.6g}, should be {expected[at]:.6g}"
    return Verdict(name, FAIL, 1, 1, size / tolerance,
                   f"it matches the reference if {why[0]}; {found}" if why else
                   f"no known mistake explains it; {found}")


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.max(np.abs(a - b), initial=0.0) / max(1.0, np.max(np.abs(b), initial=0.0)))


def guarded(name: str, measure: Callable[[], list[Verdict]]) -> list[Verdict]:
    """measure(), or one verdict that says what the user's code did instead of answering."""
    try:
        return measure()
    except WrongAnswer as error:
        return [Verdict(name, ERROR, 1, 1, np.inf, str(error))]
