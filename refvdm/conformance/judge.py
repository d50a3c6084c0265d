"""From answers to a verdict: what agrees, how well, and what explains the rest."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .diagnose import explain
from .operation import Arrays, Operation
from .tolerance import Truth, error, worst

PASS, FAIL, ERROR, MISSING = "pass", "FAIL", "error", "not implemented"


class Verdict(NamedTuple):
    """What came of one operation."""

    name: str
    status: str  # PASS, FAIL, ERROR or MISSING
    cases: int
    failed: int
    worst: float  # the largest error, in tolerances
    why: str  # the mistake that explains it, or what is known of it
    tolerance: float = np.nan  # a typical one, relative to the number


def judge(operation: Operation, truths: list[Truth], answers: list[Arrays]) -> Verdict:
    """The verdict on answers of the right shapes, one for each case."""
    sizes = [worst(error(got, case.outputs, case.tolerances))
             for case, got in zip(truths, answers, strict=True)]
    failed = [i for i, size in enumerate(sizes) if size > 1]
    why = explain(operation, truths, answers, failed) if failed else ""
    return Verdict(operation.name, FAIL if failed else PASS, len(truths), len(failed),
                   max(sizes, default=0.0), why, relative(truths))


def relative(truths: list[Truth]) -> float:
    """A typical tolerance: the median over all numbers, relative to the number."""
    ratios = [tolerance[y != 0] / np.abs(y[y != 0]) for case in truths
              for y, tolerance in zip(case.outputs.values(), case.tolerances.values())]
    every = np.concatenate([np.ravel(ratio) for ratio in ratios]) if ratios else np.array([])
    return float(np.median(every)) if every.size else np.nan
