"""How wrong is the gradient, and which part of the computation made it so: the four modes beside each other."""
from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autodiff.tree import is_float, leaves
from .adjoint import MODES, Adjoint, ReconstructionWarning, adjoint, backward
from .linearise import LinearisedField
from .problem import Tree
from .solve import Stats, solve
from .steps import SolverError

# the parts of a mode's error, in the order in which the computation makes them
PARTS = ("forward solve", "adjoint quadrature", "reconstruction")


class ModeReport(NamedTuple):
    """One mode: its gradient and the error of it, as norms relative to the exact gradient's."""

    gradient: Adjoint | None  # None: the mode failed
    error: float
    parts: dict[str, float]  # by PARTS; what a mode does not do has no entry
    stats: Stats | None
    failure: str = ""


class GradientReport(NamedTuple):
    """What `gradient_report` returns; print it."""

    modes: dict[str, ModeReport]
    exact: Adjoint  # the variational equation at a tight tolerance
    tolerance: float  # its rtol
    problem: str

    def __str__(self) -> str:
        columns = "".join(f"{part:>20}" for part in PARTS)
        size = _norm(_flat(self.exact))
        lines = [self.problem,
                 f"norm of the exact gradient {size:.4g} (variational equation, rtol {self.tolerance:.0e}); errors relative to it:",
                 f"{'mode':<14}{'total':>10}{columns}{'nfev':>8}{'nvjp':>8}{'steps':>7}"]
        for mode, row in self.modes.items():
            if row.failure:
                lines.append(f"{mode:<14}failed: {row.failure}")
                continue
            parts = "".join(f"{row.parts[part]:>20.1e}" if part in row.parts else f"{'-':>20}" for part in PARTS)
            lines.append(f"{mode:<14}{row.error:>10.1e}{parts}{row.stats.nfev:>8}{row.stats.nvjp:>8}{row.stats.accepted:>7}")
        missed = self.modes["backsolve"].gradient
        if missed is not None:
            lines.append(f"backsolve: z integrated backward misses z0 by {_norm(missed.reconstruction_error):.1e}")
        return "\n".join(lines)


def gradient_report(f: Callable, z0: Any, ts: Any, theta: Tree, zs_bar: Any, **options: Any) -> GradientReport:
    """The gradient of 13.17 in every mode against the exact one, with where each error comes from.

    Arguments as for `solve` and `adjoint` (zs_bar = dL/dzs, held fixed; options: method, rtol, atol, controller, step, max_steps). The
    parts are differences of gradients, which add up to a mode's error before norms are taken:

        forward solve         the solution itself is not exact: the adjoint integrated tightly along its interpolant, against
                              the exact gradient; for discrete and forward this is all there is
        adjoint quadrature    interpolated at the tolerance asked for, against the same integrated tightly
        reconstruction        backsolve against interpolated: z found its own way back

    The cost is dominated by the exact gradient, n pullbacks at each of many times: for small states.
    """
    solution = solve(f, z0, ts, theta, **options)
    eps = np.finfo(solution.z0.dtype).eps
    tight = solution.options._replace(method="dopri5", step=None, rtol=max(1e-4 * solution.options.rtol, 50 * eps),
                                      atol=max(1e-4 * solution.options.atol, eps), max_steps=100 * solution.options.max_steps)
    exact = adjoint(f, solve(f, z0, ts, theta, dense=False, **tight._asdict()), zs_bar, mode="forward")
    size = _norm(_flat(exact)) or 1.0

    gradients, failures = {}, {}
    for mode in MODES:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ReconstructionWarning)  # the report says it in numbers
                gradients[mode] = adjoint(f, solution, zs_bar, mode=mode, trajectory=False)
        except SolverError as error:
            gradients[mode], failures[mode] = None, str(error)

    field = LinearisedField(f, solution.theta, solution.z0)
    bars = np.asarray(zs_bar, solution.z0.dtype).reshape(len(solution.ts), -1)
    along = None  # the exact adjoint along the computed solution
    if gradients["interpolated"] is not None:
        try:
            with np.errstate(all="ignore"):
                along = np.concatenate(backward(field, solution, bars, tight, False, None, False, False)[:3])
        except SolverError:
            pass  # then the modes keep their errors and have no parts

    def off(a: Adjoint | np.ndarray, b: Adjoint | np.ndarray) -> float:
        return _norm(_flat(a) - _flat(b)) / size

    modes = {}
    for mode, gradient in gradients.items():
        if gradient is None:
            modes[mode] = ModeReport(None, np.inf, {}, None, failures[mode])
            continue
        parts = {}
        if mode in ("discrete", "forward"):
            parts["forward solve"] = off(gradient, exact)
        elif along is not None:
            parts |= {"forward solve": off(along, exact), "adjoint quadrature": off(gradients["interpolated"], along)}
            if mode == "backsolve":
                parts["reconstruction"] = off(gradient, gradients["interpolated"])
        modes[mode] = ModeReport(gradient, off(gradient, exact), parts, gradient.stats)
    return GradientReport(modes, exact, tight.rtol, repr(solution))


def _flat(gradient: Adjoint | np.ndarray) -> np.ndarray:
    if isinstance(gradient, np.ndarray):
        return gradient
    theta = [leaf.ravel() for leaf in leaves(gradient.theta) if is_float(leaf)]
    return np.concatenate([gradient.z0.ravel(), *theta, gradient.ts])


def _norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(x.ravel()))
