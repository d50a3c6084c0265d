"""How an equation is measured: its function on random inputs, beside whatever says the same."""
from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..equation import Equation


class Measured(NamedTuple):
    """One quantity, computed in up to four ways; each an array or a list of arrays."""

    spec: Any  # by the spec's function; of an identity the left side
    side: Any = None  # the right side of an identity
    machine: Any = None  # by the machine
    closed: Any = None  # by a closed form, a library, or a second derivation
    printed: Any = None  # as the lecture prints it
    should: Any = None  # what the printed form should equal, where that is not spec


class Result(NamedTuple):
    """What `python -m refvdm.lecture` says of an equation. Residuals are relative, see `distance`;
    None where there is nothing to compare with."""

    section: str
    number: str
    statement: str
    kind: str
    spec: str  # "lecture.loss.q_step"
    machine: str | None
    residual: float | None  # spec from machine; of an identity, also between its sides
    closed_form: float | None  # spec from a closed form or a second derivation
    printed: str | None
    printed_residual: float | None  # the printed form from the corrected one
    tolerance: float
    ok: bool


MEASURES: dict[str, tuple[float, Callable]] = {}
MISPRINT = 1e-3  # a printed form that is wrong is wrong by more than this


def measures(number: str, tolerance: float = 1e-11) -> Callable:
    """The function below, called with a generator, gives this equation's Measured."""
    def register(function: Callable) -> Callable:
        MEASURES[number] = tolerance, function
        return function
    return register


def distance(a: Any, b: Any) -> float:
    """max |a - b| / max(1, max |b|) over everything in them; inf where it is not a number."""
    a, b = (np.concatenate([np.ravel(np.asarray(x, float)) for x in _flat(y)]) for y in (a, b))
    if a.shape != b.shape:
        return np.inf
    found = np.max(np.abs(a - b), initial=0.0) / max(1.0, np.max(np.abs(b), initial=0.0))
    return float(found) if np.isfinite(found) else np.inf


def _flat(x: Any) -> list:
    return [z for y in x for z in _flat(y)] if isinstance(x, (list, tuple)) else [x]


def result(equation: Equation, seed: int) -> Result:
    """The measurement of one equation, on inputs that depend on its number and the seed alone."""
    tolerance, measure = MEASURES[equation.number]
    m = measure(np.random.default_rng([seed, zlib.crc32(equation.number.encode())]))
    found = [distance(m.spec, other) for other in (m.side, m.machine) if other is not None]
    residual = max(found) if found else None
    closed = None if m.closed is None else distance(m.spec, m.closed)
    should = m.spec if m.should is None else m.should
    printed = None if m.printed is None else distance(m.printed, should)
    ok = (all(x <= tolerance for x in (residual, closed) if x is not None)
          and (printed is None or printed > MISPRINT))
    where = f"lecture.{equation.function.__module__.rpartition('.')[2]}.{equation.name}"
    return Result(equation.section, equation.number, equation.statement, equation.kind, where,
                  equation.machine, residual, closed, equation.printed, printed, tolerance, ok)
