"""Initial value problems dz/dt = f(z, t, theta), z(ts[0]) = z0 (13.7-13.9), whose every step can be seen.

    solve             checks its arguments, walks the steps, collects what is asked for: a Solution
    rk_step           one Runge-Kutta step
    adaptive_steps, fixed_steps    the two ways to choose its length, as generators of accepted steps

Inside, the state is one vector (n,) and a right-hand side is called as rhs(t, y, out), which writes dy/dt into `out`. Nothing
here knows about gradients: the modes of adjoint.py walk back with the same generators over states of their own.
"""
from __future__ import annotations

import bisect
import itertools
import math
from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import Tensor, tree_map
from .controller import CONTROLLERS
from .tableau import METHODS, Tableau, Weights

Tree = Any
RightHandSide = Callable[[float, np.ndarray, np.ndarray], None]


class Stats(NamedTuple):
    """What one integration cost: evaluations of f, of its vector-Jacobian product, steps accepted and rejected."""

    nfev: int
    nvjp: int
    accepted: int
    rejected: int


class StepRecord(NamedTuple):
    """One attempted step: where it started, its signed length, its error ratio (nan for fixed steps: they have none), its fate."""

    t: float
    h: float
    error_ratio: float
    accepted: bool


class SolverError(ArithmeticError):
    """The integration stopped early.

    .reason "not finite", "step too small" or "too many steps"; .t the time it had reached; .solution the Solution as far as
    it got, whose ts and zs end with the last output before .t (None when it was not `solve` that failed).
    """

    def __init__(self, reason: str, t: float, message: str):
        super().__init__(message)
        self.reason, self.t, self.solution = reason, t, None

    def __reduce__(self):
        return type(self), (self.reason, self.t, str(self))


# ---------------------------------------------------------------- what is asked for


class Options(NamedTuple):
    """How to integrate, checked."""

    method: str
    rtol: float
    atol: float
    controller: str
    step: float | None
    max_steps: int

    @property
    def tableau(self) -> Tableau:
        return METHODS[self.method]


def check_options(who: str, **given: Any) -> Options:
    """Options, or a ValueError that names the argument, what was expected and what came."""
    o = Options(**given)
    for name, known in (("method", METHODS), ("controller", CONTROLLERS)):
        if not isinstance(value := getattr(o, name), str) or value not in known:
            raise ValueError(f"{who}: unknown {name} {value!r}; known are {', '.join(known)}")
    for name in ("rtol", "atol") if o.step is None else ("rtol", "atol", "step"):
        value = getattr(o, name)
        if not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < value < math.inf:
            raise ValueError(f"{who}: {name} must be a positive finite number, got {value!r}")
    if o.step is None and o.tableau.e is None:
        raise ValueError(f"{who}: method {o.method!r} has no error estimate: give it a fixed step=, "
                         f"or choose {' or '.join(m for m, tableau in METHODS.items() if tableau.e)}")
    if isinstance(o.max_steps, bool) or not isinstance(o.max_steps, (int, np.integer)) or o.max_steps < 1:
        raise ValueError(f"{who}: max_steps must be a positive integer, got {o.max_steps!r}")
    return o._replace(rtol=float(o.rtol), atol=float(o.atol), step=None if o.step is None else float(o.step))


def _check_state(z0: Any) -> np.ndarray:
    if type(z0) is Tensor:
        raise TypeError("solve: z0 is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    z0 = np.array(z0, order="C")
    if z0.dtype not in (np.float32, np.float64):
        raise TypeError(f"solve: z0 must be of dtype float64 or float32, got {z0.dtype}; cast it with .astype(float)")
    if z0.size == 0 or not np.isfinite(z0).all():
        raise ValueError(f"solve: z0 must hold at least one number and finite ones only, got shape {z0.shape}: {z0}")
    return z0


def _check_times(ts: Any) -> np.ndarray:
    if type(ts) is Tensor:
        raise TypeError("solve: ts is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    ts = np.array(ts)
    if ts.ndim != 1 or ts.size == 0 or ts.dtype.kind not in "fiu":
        raise ValueError(f"solve: ts must be a vector of at least one time, got shape {ts.shape} and dtype {ts.dtype}")
    ts = ts.astype(np.float64)
    gaps = np.diff(ts)
    if not np.isfinite(ts).all() or not ((gaps >= 0).all() or (gaps <= 0).all()):
        raise ValueError(f"solve: ts must be finite and in increasing or decreasing order, got {ts}")
    return ts


class Field:
    """The user's f(z, t, theta) as a right-hand side over flat states: counted, its answers checked."""

    def __init__(self, f: Callable, theta: Tree, z0: np.ndarray):
        self.f, self.theta, self.shape, self.dtype, self.flat, self.nfev = f, theta, z0.shape, z0.dtype, z0.ndim == 1, 0

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        y.setflags(write=False)  # it is the solver's own state
        self.nfev += 1
        dz = self.f(y if self.flat else y.reshape(self.shape), np.array(t, self.dtype), self.theta)
        if type(dz) is not np.ndarray or dz.shape != self.shape or dz.dtype is not self.dtype:
            dz = self.checked(dz)
        out[:] = dz if self.flat else dz.reshape(-1)

    def checked(self, dz: Any) -> np.ndarray:
        if type(dz) is Tensor:
            raise TypeError("the field returns a Tensor: it closes over one of an outer recording, whose gradient would be lost. "
                            "Pass it in theta, to refvdm.ode.odeint, or use stop_gradient")
        array = np.asarray(dz)
        if array.shape != self.shape:
            raise ValueError(f"the field must return dz/dt of z's shape {self.shape}, got shape {array.shape}")
        if array.dtype != self.dtype:
            raise TypeError(f"the field must return dz/dt of z's dtype {self.dtype}, got {array.dtype}: cast theta, its constants or z0")
        return array


# ---------------------------------------------------------------- steps


class Step(NamedTuple):
    """One accepted step. K (stages + 1, n) is a buffer: the next step overwrites it."""

    t: float
    h: float
    y: np.ndarray
    t_new: float
    y_new: np.ndarray
    K: np.ndarray


class Stages:
    """The buffer K of one integration, with what a step needs of it and of the tableau laid out once."""

    def __init__(self, weights: Weights, n: int, dtype: np.dtype):
        s = len(weights.b)
        self.K = np.full((s + 1, n), np.nan, dtype)
        self.first, self.last, self.T = self.K[0], self.K[-1], self.K.T
        # for i = 2..s: the row of k_i, the stages before it as columns, a_i, c_i
        self.inner = [(self.K[i], self.K[:i].T, weights.A[i], weights.c[i]) for i in range(1, s)]
        self.all, self.b = self.K[:s].T, weights.b


def rk_step(f: RightHandSide, t: float, y: np.ndarray, h: float, stages: Stages) -> np.ndarray:
    """y_new (13.6 for Euler's method with h = 1). stages.first holds f(t, y); the others up to k_s are filled."""
    # k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j); the operations in SciPy's order, so that every bit is SciPy's
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
    return step.y + step.h * np.dot(step.K.T, weights.P @ x ** np.arange(1, weights.P.shape[1] + 1, dtype=weights.P.dtype))


class Log:
    """How many steps were accepted and rejected; with keep=True every attempt and every node, in 25 bytes each."""

    def __init__(self, keep: bool) -> None:
        self.keep, self.counts = keep, [0, 0]  # rejected, accepted
        self.ends, self.h, self.error_ratio, self.accepted = array("d"), array("d"), array("d"), bytearray()

    def add(self, t_new: float, h: float, error_ratio: float, accepted: bool) -> None:
        self.counts[accepted] += 1
        if self.keep:
            self.h.append(h)
            self.error_ratio.append(error_ratio)
            self.accepted.append(accepted)
            if accepted:
                self.ends.append(t_new)

    def records(self, t0: float) -> list[StepRecord]:
        t, ends, records = t0, iter(self.ends), []
        for h, error_ratio, accepted in zip(self.h, self.error_ratio, self.accepted):
            records.append(StepRecord(t, h, error_ratio, bool(accepted)))
            t = next(ends) if accepted else t
        return records


def adaptive_steps(f: RightHandSide, t0: float, y0: np.ndarray, t1: float, options: Options, log: Log,
                   counted: int | None = None) -> Iterator[Step]:
    """Accepted steps from t0 until t1 is reached or passed, as the controller has it. SolverError.

    `counted` restricts the error control to the first elements of the state. A step is rejected, and tried again smaller, when
    its error is too large or anything in it is not finite.
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
        raise SolverError("not finite", t0, f"the right-hand side is not finite at the start, t = {t0:g}")

    def probe(t, y):
        f(t, y, f_new)
        return f_new

    h_abs = controller.first_step(probe, y0, f0, rtol, atol)
    t, y, retry, attempts, r = t0, y0, False, 0, 0.0
    while controller.direction * (t1 - t) > 0:
        t_new, h = controller.next_step(t, h_abs, retry)
        if t_new == t:
            if not math.isfinite(r):
                raise SolverError("not finite", t, f"the right-hand side or the solution is not finite beyond t = {t:g}, however "
                                                   f"small the step: it may blow up there, or leave the domain of f")
            raise SolverError("step too small", t, f"the step size fell below the spacing of floating point numbers at t = {t:g} "
                                                   f"(rtol {rtol:g}, atol {atol:g}): the solution may blow up there, or be too stiff")
        if attempts == options.max_steps:
            raise SolverError("too many steps", t, f"max_steps = {options.max_steps} attempted steps ended at t = {t:g}, before {t1:g}")
        y_new = rk_step(f, t, y, h, stages)
        f(t + h, y_new, f_new)
        # an infinite y_new would divide its own error away
        r = controller.error_ratio(stages.T.dot(e) * h, y, y_new, rtol, atol) if _finite(y_new) else math.nan
        accepted = controller.accepts(r)
        log.add(t_new, h, r, accepted)
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
        n = math.ceil(abs(end - start) / step - 1e-9)  # 1.1/0.1 is 11.000000000000002
        for j in range(n):
            h = (end - start) / n
            yield start + j * h, h, end if j == n - 1 else start + (j + 1) * h


def fixed_steps(f: RightHandSide, ts: list[float], y0: np.ndarray, options: Options, log: Log) -> Iterator[Step]:
    """The steps of `fixed_grid`. The last stage of K, the slope at the end, stays empty. SolverError."""
    stages, y = Stages(options.tableau.weights(y0.dtype), y0.size, y0.dtype), y0
    for attempts, (t, h, t_new) in enumerate(fixed_grid(ts, options.step)):
        if attempts == options.max_steps:
            raise SolverError("too many steps", t, f"max_steps = {options.max_steps} steps ended at t = {t:g}, before {ts[-1]:g}")
        f(t, y, stages.first)
        y_new = rk_step(f, t, y, h, stages)
        if not _finite(y_new):
            raise SolverError("not finite", t, f"the step from t = {t:g} to {t_new:g} gives values that are not finite: "
                                               f"the solution blows up, or the step is too long for it")
        log.add(t_new, h, math.nan, True)
        yield Step(t, h, y, t_new, y_new, stages.K)
        y = y_new


def _finite(y: np.ndarray) -> bool:
    return bool(y.dot(y) < math.inf or np.isfinite(y).all())


# ---------------------------------------------------------------- the solution


class Solution:
    """What `solve` returns.

    .zs (len(ts), *z0.shape)        the solution at every ts
    .ts, .z0, .theta, .options      the problem it solves
    .t (accepted + 1,)              ts[0] and where each accepted step ended
    .steps                          a StepRecord for every attempt
    .stats                          Stats
    solution(t)                     the interpolant at t () or (n,), between ts[0] and ts[-1]; only with dense=True
    .path                           with dense=True every accepted Step, for those who walk back
    """

    def __init__(self, field: Field, ts: np.ndarray, z0: np.ndarray, options: Options, dense: bool):
        self.ts, self.z0, self.theta, self.options = ts, z0, field.theta, options
        self.zs = np.empty((len(ts), *z0.shape), z0.dtype)
        self.path: list[Step] | None = [] if dense else None
        self._field, self._times = field, ts.tolist()
        self._log = Log(keep=options.step is None)  # a fixed grid needs no log

    @property
    def t(self) -> np.ndarray:
        ends = self._log.ends if self.options.step is None else [t_new for _, _, t_new in self._grid()]
        return np.array([self._times[0], *ends])

    @property
    def steps(self) -> list[StepRecord]:
        if self.options.step is None:
            return self._log.records(self._times[0])
        return [StepRecord(t, h, math.nan, True) for t, h, _ in self._grid()]

    def _grid(self) -> Iterator[tuple[float, float, float]]:
        return itertools.islice(fixed_grid(self._times, self.options.step), self._log.counts[True])

    @property
    def stats(self) -> Stats:
        rejected, accepted = self._log.counts
        return Stats(self._field.nfev, 0, accepted, rejected)

    def __call__(self, t: Any) -> np.ndarray:
        if self.path is None:
            raise ValueError("solution(t): this solution was made with dense=False and keeps no interpolant; solve with dense=True")
        times = np.asarray(t, np.float64)
        low, high = sorted((self.ts[0], self.ts[-1]))
        if times.ndim > 1 or not np.all((times >= low) & (times <= high)):
            raise ValueError(f"solution(t): t must be a time or a vector of times between {low} and {high}, got {t!r}")
        values = [self.interpolate(time) for time in times.ravel().tolist()]
        return np.array(values, self.z0.dtype).reshape(*times.shape, *self.z0.shape)

    def interpolate(self, t: float) -> np.ndarray:
        """z(t) flat (n,); before the first step and after the last one their polynomials go on."""
        if not self.path:
            return self.z0.reshape(-1)
        sign = 1 if self.path[0].h > 0 else -1
        i = bisect.bisect_left(self.path, sign * t, hi=len(self.path) - 1, key=lambda step: sign * step.t_new)
        return interpolate(self.options.tableau.weights(self.z0.dtype), self.complete(self.path[i]), t)

    def complete(self, step: Step) -> Step:
        """The step with its last stage, which after fixed steps is missing at the very end: no step needed it."""
        if np.isnan(step.K[-1, 0]):
            self._field(step.t_new, step.y_new, step.K[-1])
        return step

    def __repr__(self) -> str:
        cost = ", ".join(f"{name} {n}" for name, n in self.stats._asdict().items())
        return f"Solution({self.options.method}, t from {self.ts[0]:g} to {self.ts[-1]:g}, zs of shape {self.zs.shape}, {cost})"


def solve(f: Callable, z0: Any, ts: Any, theta: Tree = (), *, method: str = "dopri5", rtol: float = 1e-6, atol: float = 1e-9,
          controller: str = "scipy", step: float | None = None, max_steps: int = 10_000, dense: bool = True) -> Solution:
    """z(ts[i]) for dz/dt = f(z, t, theta), z(ts[0]) = z0 (13.7, 13.8 with f at z(t)).

    f(z, t, theta) -> dz/dt of z's shape and dtype; t a 0-d array of z's dtype. z0 of any shape, float64 or float32; ts (n,) times in
    increasing or decreasing order, equal ones allowed; theta any tree.

    method      euler, midpoint, heun, rk4 (classical), rk4_38 (torchdiffeq's rk4), bosh3, dopri5
    rtol, atol  adaptive steps keep the estimated error of each below atol + rtol |z|, by rms over the elements. The ts never
                change these steps: outputs inside a step come from the interpolant, Shampine's quartic for dopri5, cubic Hermite
                otherwise
    step        fixed steps instead, each [ts[i], ts[i+1]] in ceil(length / step) equal ones; the only way for a method
                without error estimate
    controller  whose step policy: scipy, torchdiffeq, jax or diffrax (controller.py)
    max_steps   attempted steps at the most
    dense       keep every step, for solution(t) and the modes "interpolated" and "discrete" of `adjoint`

    SolverError with the partial solution when a step size underflows, f or z stops being finite, or max_steps is reached;
    ValueError or TypeError for arguments that make no sense and for what f returns.
    """
    options = check_options("solve", method=method, rtol=rtol, atol=atol, controller=controller, step=step, max_steps=max_steps)
    z0, ts = _check_state(z0), _check_times(ts)
    field = Field(f, tree_map(lambda leaf: leaf.copy() if isinstance(leaf, np.ndarray) else leaf, theta), z0)
    return solve_field(field, z0, ts, options, dense)


def solve_field(field: Field, z0: np.ndarray, ts: np.ndarray, options: Options, dense: bool) -> Solution:
    """`solve` for checked arguments."""
    solution = Solution(field, ts, z0, options, dense)
    weights, times, y0 = options.tableau.weights(z0.dtype), ts.tolist(), z0.reshape(-1)
    sign = 1 if times[-1] >= times[0] else -1
    if options.step is None:
        steps = adaptive_steps(field, times[0], y0, times[-1], options, solution._log)
    else:
        steps = fixed_steps(field, times, y0, options, solution._log)
    reached = 0
    while reached < len(times) and times[reached] == times[0]:
        solution.zs[reached] = z0
        reached += 1
    try:
        with np.errstate(all="ignore"):  # what overflows is rejected, or an error that says where
            for step in steps:
                if dense:
                    if solution.path:
                        solution.path[-1].K[-1] = step.K[0]  # the slope at the end of a step is the first stage of the next
                    solution.path.append(Step(*step[:-1], step.K.copy()))
                while reached < len(times) and sign * (times[reached] - step.t_new) <= 0:
                    solution.zs[reached] = interpolate(weights, step, times[reached]).reshape(z0.shape)
                    reached += 1
    except SolverError as error:
        solution.ts, solution.zs = ts[:reached], solution.zs[:reached]
        error.solution = solution
        raise
    return solution
