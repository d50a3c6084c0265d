"""Walking, the ODESolver of 13.9: one Runge-Kutta step, and two ways to choose its length, as
generators of steps.

The state is one vector (n,), and a right-hand side is called as f(t, y, out): it writes dy/dt into
`out`. `solve` walks with these from ts[0] on, the modes of `adjoint` walk back with them over
states of their own.
"""
from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .controller import CONTROLLERS
from .problem import Options
from .tableau import Weights

if TYPE_CHECKING:
    from .solve import Solution

RightHandSide = Callable[[float, np.ndarray, np.ndarray], None]


class SolverError(ArithmeticError):
    """The integration stopped early.

    .reason    "not finite", "step too small" or "too many steps"
    .t         the time it had reached
    .solution  the Solution as far as it got, whose ts and zs end with the last output before .t;
               None when it was not `solve` that failed

    >>> from refvdm.ode import SolverError, solve
    >>> try:
    ...     _ = solve(lambda z, t, theta: z**2, np.ones(1), [0.0, 2.0])  # z = 1/(1 - t)
    ... except SolverError as error:
    ...     print(error.reason, round(error.t, 3))
    step too small 1.0
    """

    def __init__(self, reason: str, t: float, message: str):
        super().__init__(message)
        self.reason, self.t = reason, t
        self.solution: Solution | None = None

    def __reduce__(self) -> tuple:
        return type(self), (self.reason, self.t, str(self))


class StepRecord(NamedTuple):
    """One attempted step: the time t it started at, its signed length h, the estimated error over
    the tolerated one (nan for fixed steps, which have no estimate), whether it was accepted.

    >>> from refvdm.ode import solve
    >>> f = lambda z, t, theta: -z
    >>> solution = solve(f, np.ones(1), [0.0, 1.0], method="euler", step=0.5)
    >>> [(record.t, record.h) for record in solution.steps]
    [(0.0, 0.5), (0.5, 0.5)]
    """

    t: float
    h: float
    error_ratio: float
    accepted: bool


class Step(NamedTuple):
    """One accepted step. K (stages + 1, n) is a buffer: the next step overwrites it."""

    t: float
    h: float
    y: np.ndarray
    t_new: float
    y_new: np.ndarray
    K: np.ndarray


class Stages:
    """The buffer K of one integration, and what a step needs of it and of the tableau."""

    def __init__(self, weights: Weights, n: int, dtype: np.dtype):
        s = len(weights.b)
        self.K = np.full((s + 1, n), np.nan, dtype)
        self.first, self.last, self.T = self.K[0], self.K[-1], self.K.T
        # for i = 2..s: the row of k_i, the stages before it as columns, a_i, c_i
        self.inner = [(self.K[i], self.K[:i].T, weights.A[i], weights.c[i]) for i in range(1, s)]
        self.all, self.b = self.K[:s].T, weights.b


def rk_step(f: RightHandSide, t: float, y: np.ndarray, h: float, stages: Stages) -> np.ndarray:
    """y_new (13.6 for Euler's method with h = 1).

    stages.first holds f(t, y) already; the stages up to k_s are filled here.
    """
    # k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j); operations in SciPy's order, for SciPy's bits
    for k_i, before, a, c in stages.inner:
        y_i = before.dot(a)
        y_i *= h
        y_i += y
        f(t + c * h, y_i, k_i)
    # y_new = y + h sum_i b_i k_i
    y_new = stages.all.dot(stages.b)
    y_new *= h
    y_new += y
    return y_new


def interpolate(weights: Weights, step: Step, t: float) -> np.ndarray:
    """y(t) = y + h sum_i b_i(x) k_i with x = (t - step.t)/h, the polynomial of tableau.py."""
    if t == step.t_new:
        return step.y_new
    x = (t - step.t) / step.h
    powers = np.arange(1, weights.P.shape[1] + 1, dtype=weights.P.dtype)
    return step.y + step.h * np.dot(step.K.T, weights.P @ x**powers)


class Log:
    """How many steps were rejected and accepted; with keep=True also every attempt."""

    REJECTED, ACCEPTED, ROUNDED = range(3)  # rounded: accepted, but t_new - t is not quite h

    def __init__(self, keep: bool = False):
        self.keep, self.counts = keep, [0, 0]  # rejected, accepted
        # about 17 bytes for an attempt: an h is kept only where the nodes do not give it
        self.ends, self.error_ratio, self.h = array("d"), array("d"), array("d")
        self.fate = bytearray()

    def add(self, t: float, t_new: float, h: float, error_ratio: float, accepted: bool) -> None:
        self.counts[accepted] += 1
        if not self.keep:
            return
        fate = self.REJECTED
        if accepted:
            fate = self.ACCEPTED if t_new - t == h else self.ROUNDED
            self.ends.append(t_new)
        if fate != self.ACCEPTED:
            self.h.append(h)
        self.error_ratio.append(error_ratio)
        self.fate.append(fate)

    def records(self, t0: float) -> list[StepRecord]:
        t, ends, hs, records = t0, iter(self.ends), iter(self.h), []
        for error_ratio, fate in zip(self.error_ratio, self.fate):
            accepted = fate != self.REJECTED
            t_new = next(ends) if accepted else t
            h = t_new - t if fate == self.ACCEPTED else next(hs)
            records.append(StepRecord(t, h, error_ratio, accepted))
            t = t_new
        return records


def walk(f: RightHandSide, ts: list[float], y0: np.ndarray, options: Options, log: Log,
         counted: int | None = None) -> Iterator[Step]:
    """Accepted steps from ts[0] to ts[-1]: fixed ones that meet every ts, or adaptive ones."""
    if options.step is None:
        return adaptive_steps(f, ts[0], y0, ts[-1], options, log, counted)
    return fixed_steps(f, ts, y0, options.step, options, log)


def adaptive_steps(f: RightHandSide, t0: float, y0: np.ndarray, t1: float, options: Options,
                   log: Log, counted: int | None = None) -> Iterator[Step]:
    """Accepted steps from t0 until t1 is reached or passed, as the controller has it. SolverError.

    `counted` restricts the error control to the first elements of the state. A step is rejected,
    and tried again smaller, when its error is too large or anything in it is not finite.
    """
    if t0 == t1:
        return
    tableau, rtol, atol = options.tableau, options.rtol, options.atol
    weights = tableau.weights(y0.dtype)
    stages = Stages(weights, y0.size, y0.dtype)
    f0, f_new = stages.first, stages.last
    controller = CONTROLLERS[options.controller](t0, t1, tableau, counted)
    e = controller.error_weights(weights)

    f(t0, y0, f0)
    if not np.isfinite(f0).all():
        raise SolverError(
            "not finite", t0, f"the right-hand side is not finite at the start, t = {t0:g}")

    def probe(t: float, y: np.ndarray) -> np.ndarray:
        f(t, y, f_new)
        return f_new

    h_abs = options.first_step or controller.first_step(probe, y0, f0, rtol, atol)
    t, y, retry, attempts, r = t0, y0, False, 0, 0.0
    while controller.direction * (t1 - t) > 0:
        t_new, h = controller.next_step(t, min(h_abs, options.max_step), retry)
        if not abs(t_new - t) > 0:  # nan too
            raise _stuck(t, r, options)
        if attempts == options.max_steps:
            raise _too_many("attempted steps", t, t1, options)
        y_new = rk_step(f, t, y, h, stages)
        f(t + h, y_new, f_new)
        # an infinite y_new would divide its own error away
        r = math.nan
        if _finite(y_new):
            r = controller.error_ratio(stages.T.dot(e) * h, y, y_new, rtol, atol)
        accepted = controller.accepts(r)
        log.add(t, t_new, h, r, accepted)
        h_abs = abs(h) * controller.factor(r, accepted, retry)
        if accepted:
            yield Step(t, h, y, t_new, y_new, stages.K)
            t, y = t_new, y_new
            f0[:] = f_new
        retry = not accepted
        attempts += 1


def fixed_grid(ts: list[float], step: float) -> Iterator[tuple[float, float, float]]:
    """t, h, t_new of every step: each [ts[i], ts[i+1]] in ceil(length / step) equal ones."""
    for start, end in itertools.pairwise(ts):
        n = fixed_number(start, end, step)
        for j in range(n):
            h = (end - start) / n
            yield start + j * h, h, end if j == n - 1 else start + (j + 1) * h


def fixed_number(start: float, end: float, step: float) -> int:
    """How many equal steps of at most this length lead from start to end."""
    # 1.1/0.1 is 11.000000000000002: that is 11 steps, not 12
    return max(math.ceil(min(abs(end - start) / step, 1e15) - 1e-9), int(end != start))


def fixed_steps(f: RightHandSide, ts: list[float], y0: np.ndarray, step: float, options: Options,
                log: Log) -> Iterator[Step]:
    """The steps of `fixed_grid`. The last row of K, the slope at the end, is not filled.

    SolverError.
    """
    stages, y = Stages(options.tableau.weights(y0.dtype), y0.size, y0.dtype), y0
    for attempts, (t, h, t_new) in enumerate(fixed_grid(ts, step)):
        if attempts == options.max_steps:
            raise _too_many("steps", t, ts[-1], options)
        f(t, y, stages.first)
        y_new = rk_step(f, t, y, h, stages)
        if not _finite(y_new):
            raise SolverError(
                "not finite", t, f"the step from t = {t:g} to {t_new:g} gives values that are not "
                                 f"finite: the solution blows up, or the step is too long for it")
        log.add(t, t_new, h, math.nan, True)
        yield Step(t, h, y, t_new, y_new, stages.K)
        y = y_new


def _stuck(t: float, last_ratio: float, options: Options) -> SolverError:
    """The next step would have no length."""
    if not math.isfinite(last_ratio):
        return SolverError(
            "not finite", t, f"the right-hand side or the solution is not finite beyond t = {t:g}, "
                             f"however small the step: it may blow up there, or leave the domain "
                             f"of f")
    return SolverError(
        "step too small", t, f"the step size fell below the spacing of floating point numbers at "
                             f"t = {t:g} (rtol {_least(options.rtol)}, atol "
                             f"{_least(options.atol)}): the "
                             f"solution may blow up there, or be too stiff")


def _least(tolerance: Any) -> str:
    return f"{np.min(tolerance):g}" + (" at the least" if np.ndim(tolerance) else "")


def _too_many(steps: str, t: float, end: float, options: Options) -> SolverError:
    return SolverError("too many steps", t, f"max_steps = {options.max_steps} {steps} ended at "
                                            f"t = {t:g}, before {end:g}")


def _finite(y: np.ndarray) -> bool:
    return bool(y.dot(y) < math.inf or np.isfinite(y).all())
