"""How wrong is the gradient of 13.17, and which part of the computation made it so: the modes
compared."""
from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from ..autodiff.tree import Tree, is_float, leaves
from .adjoint import interpolated
from .field import Field
from .linearise import LinearisedField
from .modes import MODES, Adjoint, ReconstructionWarning, adjoint
from .problem import Options
from .solve import Solution, Stats, solve
from .state import TreeField, TreeState, is_tree
from .steps import SolverError

# the parts of a mode's error, in the order in which the computation makes them
PARTS = ("forward solve", "adjoint quadrature", "reconstruction")


class ModeReport(NamedTuple):
    """One mode: its gradient (an Adjoint) and the error of it, as norms relative to the exact
    gradient's; parts of the error by name, what it cost. Of a mode that failed gradient and stats
    are None, and failure says why.

    >>> from refvdm.ode import gradient_report
    >>> f, zs_bar = lambda z, t, theta: -theta * z, np.array([[0.0], [1.0]])
    >>> report = gradient_report(f, np.ones(1), [0.0, 1.0], np.array(2.0), zs_bar)
    >>> report.modes["backsolve"].error < 1e-3
    True
    """

    gradient: Adjoint | None
    error: float
    parts: dict[str, float]  # by PARTS; what a mode does not do has no entry
    stats: Stats | None
    failure: str = ""


class GradientReport(NamedTuple):
    """What `gradient_report` returns; print it. modes has a ModeReport by name, exact is the
    variational equation's gradient at the tight tolerance (an rtol).

    >>> from refvdm.ode import gradient_report
    >>> f, zs_bar = lambda z, t, theta: -theta * z, np.array([[0.0], [1.0]])
    >>> report = gradient_report(f, np.ones(1), [0.0, 1.0], np.array(2.0), zs_bar)
    >>> type(report).__name__, report.exact.mode
    ('GradientReport', 'forward')
    """

    modes: dict[str, ModeReport]
    exact: Adjoint
    tolerance: float
    problem: str

    def __str__(self) -> str:
        columns = "".join(f"{part:>20}" for part in PARTS)
        exact = (f"norm of the exact gradient {_norm(_flat(self.exact)):.4g} (variational "
                 f"equation, rtol {self.tolerance:.0e}); errors relative to it:")
        lines = [self.problem, exact,
                 f"{'mode':<14}{'total':>10}{columns}{'nfev':>8}{'nvjp':>8}{'steps':>7}"]
        lines += [_line(mode, row) for mode, row in self.modes.items()]
        backsolve = self.modes["backsolve"].gradient
        if backsolve is not None and backsolve.reconstruction_error is not None:
            missed = _norm(backsolve.reconstruction_error)
            lines.append(f"backsolve: z integrated backward misses z0 by {missed:.1e}")
        return "\n".join(lines)


def _line(mode: str, row: ModeReport) -> str:
    if row.stats is None:
        return f"{mode:<14}failed: {row.failure}"
    parts = "".join(f"{row.parts[part]:>20.1e}" if part in row.parts else f"{'-':>20}"
                    for part in PARTS)
    cost = f"{row.stats.nfev:>8}{row.stats.nvjp:>8}{row.stats.accepted:>7}"
    return f"{mode:<14}{row.error:>10.1e}{parts}{cost}"


def gradient_report(f: Field, z0: Any, ts: Any, theta: Tree, zs_bar: Any,
                    **options: Any) -> GradientReport:
    """The gradient of 13.17 in every mode against the exact one, and where each error comes from.

    Arguments as for `solve` and `adjoint`: zs_bar = dL/dzs is held fixed; options are method, rtol,
    atol, controller, step, max_steps. Where z0 is a tree so is zs_bar; the gradients in the report
    are of one vector, z0's leaves one after the other. The parts are differences of gradients,
    which add up to a mode's error before norms are taken:

        forward solve       the solution itself is not exact: the adjoint integrated tightly along
                            its interpolant, against the exact gradient. For discrete and forward
                            this is all there is
        adjoint quadrature  interpolated at the tolerance asked for, against the same integrated
                            tightly
        reconstruction      backsolve against interpolated: z found its own way back

    The cost is dominated by the exact gradient, n pullbacks at each of many times: for small
    states. The errors of `solve` and `adjoint`; a mode that fails is reported as such.

    >>> from refvdm.ode import gradient_report
    >>> f, zs_bar = lambda z, t, theta: -theta * z, np.array([[0.0], [1.0]])
    >>> report = gradient_report(f, np.ones(1), [0.0, 1.0], np.array(2.0), zs_bar)
    >>> sorted(report.modes)
    ['backsolve', 'discrete', 'forward', 'interpolated']
    """
    if is_tree(z0):
        state = TreeState("gradient_report", z0)
        zs_bar = state.joined("gradient_report: zs_bar = dL/dzs", zs_bar, (len(ts),))
        return gradient_report(TreeField(f, state), state.flat, ts, theta, zs_bar, **options)
    solution = solve(f, z0, ts, theta, **options)
    tight = _tight(solution)
    exact_solution = solve(f, z0, ts, theta, dense=False, **tight._asdict())
    exact = adjoint(f, exact_solution, zs_bar, mode="forward")
    size = _norm(_flat(exact)) or 1.0

    def off(a: np.ndarray, b: np.ndarray) -> float:
        return _norm(a - b) / size

    gradients: dict[str, Adjoint] = {}
    failures: dict[str, str] = {}
    for mode in MODES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReconstructionWarning)  # the report has the numbers
                gradients[mode] = adjoint(f, solution, zs_bar, mode=mode, trajectory=False)
        except SolverError as error:
            failures[mode] = str(error)
    flat = {mode: _flat(gradient) for mode, gradient in gradients.items()}
    along = _along(f, solution, zs_bar, tight) if "interpolated" in gradients else None

    modes = {}
    for mode in MODES:
        if mode in failures:
            modes[mode] = ModeReport(None, np.inf, {}, None, failures[mode])
            continue
        parts = {}
        if mode in ("discrete", "forward"):
            parts["forward solve"] = off(flat[mode], _flat(exact))
        elif along is not None:
            parts["forward solve"] = off(along, _flat(exact))
            parts["adjoint quadrature"] = off(flat["interpolated"], along)
            if mode == "backsolve":
                parts["reconstruction"] = off(flat[mode], flat["interpolated"])
        gradient, total = gradients[mode], off(flat[mode], _flat(exact))
        modes[mode] = ModeReport(gradient, total, parts, gradient.stats)
    return GradientReport(modes, exact, tight.rtol, repr(solution))


def _tight(solution: Solution) -> Options:
    """dopri5 at a ten-thousandth of the solution's tolerances, as far as its dtype allows."""
    asked, eps = solution.options, float(np.finfo(solution.z0.dtype).eps)
    return asked._replace(method="dopri5", step=None, rtol=max(1e-4 * asked.rtol, 50 * eps),
                          atol=max(1e-4 * asked.atol, eps), max_steps=100 * asked.max_steps)


def _along(f: Field, solution: Solution, zs_bar: Any, tight: Options) -> np.ndarray | None:
    """The gradient of the tight adjoint along the solution as it was computed; None: it failed."""
    field = LinearisedField(f, solution.theta, solution.z0)
    bars = np.asarray(zs_bar, solution.z0.dtype).reshape(len(solution.ts), -1)
    try:
        with np.errstate(all="ignore"):
            found = interpolated(field, solution, bars, tight, trajectory=False, seminorm=False)
    except SolverError:
        return None  # the modes keep their errors and have no parts
    return np.concatenate([found.z0, found.theta, found.ts])


def _flat(gradient: Adjoint) -> np.ndarray:
    theta = [leaf.ravel() for leaf in leaves(gradient.theta) if is_float(leaf)]
    return np.concatenate([gradient.z0.ravel(), *theta, gradient.ts])


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.ravel()))
