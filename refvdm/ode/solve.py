"""Initial value problems dz/dt = f(z, t, theta), z(ts[0]) = z0 (13.7-13.9).

Every step can be seen: where it started, how long it was, how large its error, whether it counted.
"""
from __future__ import annotations

import bisect
import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from .. import checks
from ..autodiff import tree_map
from ..autodiff.tree import Tree
from .field import Counted, CountedField, Field, check_z_first
from .problem import Options, check_options, check_state, check_times, spread
from .state import TreeField, TreeSolution, TreeState, is_tree
from .steps import Log, SolverError, Step, StepRecord, fixed_grid, interpolate, walk


class Stats(NamedTuple):
    """What one integration cost: nfev evaluations of f, nvjp of its vector-Jacobian product, and
    how many steps were accepted and rejected.

    >>> from refvdm.ode import solve
    >>> stats = solve(lambda z, t, theta: -z, np.ones(1), [0.0, 1.0], method="rk4", step=0.25).stats
    >>> stats.nfev, stats.accepted, stats.rejected
    (16, 4, 0)
    """

    nfev: int
    nvjp: int
    accepted: int
    rejected: int


class Solution:
    """What `solve` returns.

    .zs (len(ts), *z0.shape)    the solution at every ts
    .ts, .z0, .theta, .options  the problem it solves
    .t (accepted + 1,)          ts[0] and where each accepted step ended
    .steps                      a StepRecord for every attempt
    .stats                      Stats
    solution(t)                 the interpolant at t () or (n,) between ts[0] and ts[-1], of shape
                                (*t.shape, *z0.shape); only with dense=True
    .path                       with dense=True every accepted Step, for those who walk back

    >>> from refvdm.ode import solve
    >>> solution = solve(lambda z, t, theta: -z, np.array([1.0, 2.0]), [0.0, 0.5, 1.0])
    >>> solution.zs.shape, solution(np.array([0.1, 0.2])).shape, float(solution.t[-1])
    ((3, 2), (2, 2), 1.0)
    """

    def __init__(self, field: Counted, ts: np.ndarray, z0: np.ndarray, options: Options,
                 dense: bool):
        self.ts, self.z0, self.theta, self.options = ts, z0, field.theta, options
        self.zs = np.empty((len(ts), *z0.shape), z0.dtype)
        self.path: list[Step] | None = [] if dense else None
        self._field, self._times = field, ts.tolist()
        self._log = Log(keep=options.step is None)  # a fixed grid needs no log

    @property
    def t(self) -> np.ndarray:
        grid = self._grid()
        ends = self._log.ends if grid is None else [t_new for _, _, t_new in grid]
        return np.array([self._times[0], *ends])

    @property
    def steps(self) -> list[StepRecord]:
        grid = self._grid()
        if grid is None:
            return self._log.records(self._times[0])
        return [StepRecord(t, h, math.nan, True) for t, h, _ in grid]

    def _grid(self) -> Iterator[tuple[float, float, float]] | None:
        """The fixed steps that were taken; None when steps were adaptive."""
        if self.options.step is None:
            return None
        accepted = self._log.counts[True]
        return itertools.islice(fixed_grid(self._times, self.options.step), accepted)

    @property
    def stats(self) -> Stats:
        rejected, accepted = self._log.counts
        return Stats(self._field.nfev, 0, accepted, rejected)

    def __call__(self, t: Any) -> np.ndarray:
        if self.path is None:
            raise ValueError("solution(t): this solution was made with dense=False and keeps no "
                             "interpolant; solve with dense=True")
        times = checks.reals("solution(t): t", t, (...,), finite=False)
        low, high = sorted((self.ts[0], self.ts[-1]))
        if times.ndim > 1 or not np.all((times >= low) & (times <= high)):
            raise ValueError(f"solution(t): t must be a time or a vector of times between {low} "
                             f"and {high}, got {t!r}")
        values = [self.interpolate(time) for time in times.ravel().tolist()]
        return np.array(values, self.z0.dtype).reshape((*times.shape, *self.z0.shape))

    def interpolate(self, t: float) -> np.ndarray:
        """z(t) flat (n,); beyond the steps the polynomial of the nearest one goes on."""
        if not self.path:
            return self.z0.reshape(-1)
        sign = 1 if self.path[0].h > 0 else -1
        i = bisect.bisect_left(self.path, sign * t, hi=len(self.path) - 1,
                               key=lambda step: sign * step.t_new)
        weights = self.options.tableau.weights(self.z0.dtype)
        return interpolate(weights, self.complete(self.path[i]), t)

    def complete(self, step: Step) -> Step:
        """The step with its last stage: the last one of fixed steps had no need to compute it."""
        if np.isnan(step.K[-1, 0]):
            self._field(step.t_new, step.y_new, step.K[-1])
        return step

    def __repr__(self) -> str:
        cost = ", ".join(f"{name} {n}" for name, n in self.stats._asdict().items())
        return (f"Solution({self.options.method}, t from {self.ts[0]:g} to {self.ts[-1]:g}, "
                f"zs of shape {self.zs.shape}, {cost})")


def solve(f: Field, z0: Any, ts: Any, theta: Tree = (), *, method: str = "dopri5",
          rtol: float = 1e-6, atol: float = 1e-9, controller: str = "scipy",
          step: float | None = None, max_steps: int = 10_000, first_step: float | None = None,
          max_step: float = math.inf, dense: bool = True) -> Solution:
    """z(ts[i]) for dz/dt = f(z, t, theta), z(ts[0]) = z0 (13.7, 13.8 with f at z(t)).

    f(z, t, theta) -> dz/dt as in Field, z first (SciPy has t first); z0 of any shape, float64 or
    float32; ts (n,) times in increasing or decreasing order, equal ones allowed; theta any tree.
    z0 may be a tree of arrays too: then f takes and returns such trees, and the Solution has them.

    method      euler, midpoint, heun, rk4 (classical), rk4_38 (torchdiffeq's rk4), bosh3, dopri5
    rtol, atol  adaptive steps keep the estimated error of each below atol + rtol |z|, by rms over
                the elements; numbers, arrays that broadcast against z0, or trees of these where z0
                is one. The ts never change these steps: outputs inside a step come from the
                interpolant, Shampine's quartic for dopri5, cubic Hermite otherwise
    step        fixed steps instead, each [ts[i], ts[i+1]] in ceil(length / step) equal ones; the
                only way for a method without error estimate
    controller  whose step policy: scipy, torchdiffeq, jax or diffrax (controller.py)
    max_steps   attempted steps at the most
    first_step, max_step    length of the first adaptive step, instead of the controller's choice;
                and of the longest
    dense       keep every step, for solution(t) and the modes "interpolated" and "discrete" of
                `adjoint`

    SolverError with the partial solution when a step size underflows, f or z stops being finite,
    or max_steps is reached; ValueError or TypeError for arguments that make no sense and for what
    f returns.

    >>> from refvdm.ode import solve
    >>> solution = solve(lambda z, t, theta: theta * z, np.array([1.0]), [0.0, 1.0], np.array(0.5))
    >>> np.allclose(solution.zs[-1], np.exp(0.5), rtol=1e-5), solution.zs.shape
    (True, (2, 1))
    """
    checks.function("solve: f", f, "f(z, t, theta)")
    check_z_first(f)
    if is_tree(z0):
        state = TreeState("solve", z0)
        try:
            flat = solve(TreeField(f, state), state.flat, ts, theta, method=method,
                         rtol=state.tolerance("solve: rtol", rtol),
                         atol=state.tolerance("solve: atol", atol), controller=controller,
                         step=step, max_steps=max_steps, first_step=first_step, max_step=max_step,
                         dense=dense)
        except SolverError as error:
            if error.solution is not None:
                error.solution = cast(Solution, TreeSolution(error.solution, state))
            raise
        return cast(Solution, TreeSolution(flat, state))
    options = check_options("solve", method=method, rtol=rtol, atol=atol, controller=controller,
                            step=step, max_steps=max_steps, first_step=first_step,
                            max_step=max_step)
    z0, ts = check_state(z0), check_times(ts)
    options = spread(options, z0)
    dense = checks.flag("solve: dense", dense)
    return solve_field(CountedField(f, tree_map(_kept, theta), z0), z0, ts, options, dense)


def _kept(leaf: Any) -> Any:
    """A copy that nobody changes: the adjoint needs theta as it was."""
    if isinstance(leaf, np.ndarray):
        leaf = leaf.copy()
        leaf.setflags(write=False)
    return leaf


def solve_field(field: Counted, z0: np.ndarray, ts: np.ndarray, options: Options,
                dense: bool) -> Solution:
    """`solve` for checked arguments."""
    solution = Solution(field, ts, z0, options, dense)
    weights, times, path = options.tableau.weights(z0.dtype), ts.tolist(), solution.path
    seen = float(np.spacing(z0.dtype.type(np.abs(ts).max())))  # what the field sees t rounded to
    sign = 1 if times[-1] >= times[0] else -1
    reached = 0
    while reached < len(times) and times[reached] == times[0]:
        solution.zs[reached] = z0
        reached += 1
    try:
        with np.errstate(all="ignore"):  # what overflows is rejected, or an error that says where
            for step in walk(field, times, z0.reshape(-1), options, solution._log):
                if path is not None:
                    if path:
                        path[-1].K[-1] = step.K[0]  # its slope at the end starts the next step
                    path.append(Step(*step[:-1], step.K.copy()))
                while reached < len(times) and sign * (times[reached] - step.t_new) <= 0:
                    z = interpolate(weights, step, times[reached])
                    solution.zs[reached] = z.reshape(z0.shape)
                    reached += 1
    except SolverError as error:
        solution.ts, solution.zs = ts[:reached], solution.zs[:reached]
        error.solution = solution
        raise
    mean_step = abs(times[-1] - times[0]) / max(solution.stats.accepted, 1)
    if 0 < mean_step < 8 * seen:
        _warn_of_time(z0.dtype, mean_step, seen)
    return solution


class TimeWarning(RuntimeWarning):
    """The field sees times so coarsely that neighbouring stages of a step look the same.

    >>> import warnings
    >>> from refvdm.ode import solve
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     _ = solve(lambda z, t, theta: -z, np.ones(1, "f4"), [1e9, 1e9 + 100])
    >>> found[0].category.__name__
    'TimeWarning'
    """


def _warn_of_time(dtype: np.dtype, h: float, seen: float) -> None:
    wider = ", or give z0 in float64" if dtype == np.float32 else ""
    warnings.warn(f"solve: steps of {h:.2g} are hardly more than {seen:.2g}, to which the "
                  f"field sees t rounded in z's dtype {dtype}. Count t from nearer to 0{wider}",
                  TimeWarning, stacklevel=4)
