"""How an answer is judged: tolerances, verdicts, and the mistake that explains a wrong answer.

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

import itertools
from typing import Any, NamedTuple

import numpy as np

from .operation import Arrays, Mistake, Operation, extended

PASS, FAIL, ERROR, MISSING = "pass", "FAIL", "error", "not implemented"
CHANGES, FACTOR, HARMLESS = 6, 32.0, 1e-10


class Truth(NamedTuple):
    """A case with its right answer, and how far one may be from it."""

    inputs: Arrays
    outputs: Arrays
    tolerances: Arrays


class Verdict(NamedTuple):
    """What came of one operation."""

    name: str
    status: str  # PASS, FAIL, ERROR or MISSING
    cases: int
    failed: int
    worst: float  # the largest error, in tolerances
    why: str  # the mistake that explains it, or what is known of it


def truth(operation: Operation, inputs: Arrays, dtype: Any) -> Truth:
    """The reference's answer to a case whose floats are of this dtype, and its tolerances."""
    eps = float(np.finfo(dtype).eps)
    outputs = {name: np.asarray(y) for name, y in operation.answer(inputs).items()}
    moved = {name: np.zeros(y.shape) for name, y in outputs.items()}
    rng = np.random.default_rng(0)
    for _ in range(1 if operation.accuracy else CHANGES):  # where it hardly counts
        for name, y in operation.answer(_nearby(inputs, eps, rng)).items():
            moved[name] = np.maximum(moved[name], np.abs(np.asarray(y) - outputs[name]))
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


def judge(operation: Operation, truths: list[Truth], answers: list[Arrays]) -> Verdict:
    """The verdict on answers of the right shapes, one for each case."""
    sizes = [worst(error(got, case.outputs, case.tolerances))
             for case, got in zip(truths, answers, strict=True)]
    failed = [i for i, size in enumerate(sizes) if size > 1]
    why = explain(operation, truths, answers, failed) if failed else ""
    return Verdict(operation.name, FAIL if failed else PASS, len(truths), len(failed),
                   max(sizes, default=0.0), why)


def explain(operation: Operation, truths: list[Truth], answers: list[Arrays],
            failed: list[int]) -> str:
    """The mistake, or the two, with which the reference gives the same wrong answers."""
    pairs = (pair for pair in itertools.combinations(operation.mistakes, 2)
             if not all(mistake.instead for mistake in pair)
             and _made(operation, truths[failed[0]], answers[failed[0]], pair))
    best: tuple[int, str] = (0, "")
    for mistakes in itertools.chain(((mistake,) for mistake in operation.mistakes), pairs):
        agree = sum(_made(operation, truths[i], answers[i], mistakes) for i in failed)
        if agree > best[0]:
            best = agree, " and ".join(mistake.name for mistake in mistakes)
        if agree == len(failed):
            return f"all {len(failed)} match the reference if {best[1]}"
    first = _first(truths[failed[0]], answers[failed[0]], failed[0])
    if best[0]:
        return f"{best[0]} of {len(failed)} match the reference if {best[1]}; {first}"
    return f"no known mistake explains it; {first}"


def _made(operation: Operation, case: Truth, got: Arrays, mistakes: tuple[Mistake, ...]) -> bool:
    """Whether these mistakes give what was got."""
    try:
        with np.errstate(all="ignore"):
            wrong = operation.answer(case.inputs, mistakes)
    except (ArithmeticError, IndexError, ValueError):  # a mistake that cannot be made here
        return False
    if any(np.shape(wrong[name]) != np.shape(y) for name, y in got.items()):
        return False
    wrong = {name: np.asarray(y) for name, y in wrong.items()}
    wider = {}
    for name, tolerance in case.tolerances.items():  # as wide for what is larger than the truth
        with np.errstate(all="ignore"):
            ratio = tolerance / np.abs(case.outputs[name])
        typical = np.median(ratio[np.isfinite(ratio)]) if np.any(np.isfinite(ratio)) else 0.0
        wider[name] = np.broadcast_to(tolerance, wrong[name].shape) + typical * np.abs(wrong[name])
    return worst(error(got, wrong, wider)) <= 1


def _first(case: Truth, got: Arrays, index: int) -> str:
    """Where the first failed case goes wrong."""
    errors, parts = error(got, case.outputs, case.tolerances), []
    for name, units in errors.items():
        wrong = np.argwhere(np.atleast_1d(units) > 1)
        if not len(wrong):
            parts.append(f"{name} agrees")
            continue
        place = tuple(int(i) for i in wrong[0]) if np.ndim(units) else ()
        x, y = np.asarray(got[name])[place], case.outputs[name][place]
        parts.append(f"{name}{list(place) if place else ''} is {float(x):.6g}, should be "
                     f"{float(y):.6g} ({np.asarray(units)[place]:.3g} tolerances; "
                     f"{len(wrong)} of {np.size(units)} numbers differ)")
    return f"case {index}: " + ", ".join(parts)
