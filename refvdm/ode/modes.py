"""The gradient of a loss that sees the solution of an ODE, 13.10-13.17, in four modes.

    backsolve      adjoint.py: the augmented state, z among it, integrated backward
    interpolated   adjoint.py: the same with z from the interpolant of the forward solution
    discrete       discrete.py: the exact gradient of what the solver computed
    forward        variational.py: d z(t)/d[z0, theta] integrated forward, the oracle; its cost
                   grows with the size of the state and the number of parameters

torchdiffeq's odeint_adjoint and jax's odeint are backsolve with restart=True. diffrax has backsolve
(BacksolveAdjoint) and backpropagation through its steps, which is discrete.
"""
from __future__ import annotations

import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Tensor
from ..autodiff.tree import Tree
from .adjoint import Gradient, Trajectory, backsolve, interpolated
from .controller import rms
from .discrete import discrete
from .field import Field
from .linearise import LinearisedField
from .problem import Options, check_options
from .solve import Solution, Stats
from .state import TreeField, TreeSolution
from .steps import SolverError
from .variational import variational

MODES = ("backsolve", "interpolated", "discrete", "forward")
BACKWARD = ("method", "rtol", "atol", "step", "controller", "max_steps")


class Adjoint(NamedTuple):
    """What `adjoint` returns: dL/dz0 of z0's shape, dL/dtheta as a tree like theta (None for its
    constants) and dL/dts (len(ts),).

    reconstruction_error is z(ts[0]) integrated backward minus z0 (backsolve); trajectory a
    Trajectory (backsolve and interpolated, unless trajectory=False); stats the cost of this pass,
    forward_stats that of the solution; what a mode does not have is None.

    >>> from refvdm.ode import adjoint, solve
    >>> f = lambda z, t, theta: theta * z
    >>> solution = solve(f, np.array([1.0]), [0.0, 1.0], np.array(0.5))
    >>> gradient = adjoint(f, solution, np.array([[0.0], [1.0]]))
    >>> gradient.mode, gradient.ts.round(2).tolist()
    ('backsolve', [-0.82, 0.82])
    """

    z0: np.ndarray
    theta: Tree
    ts: np.ndarray
    mode: str
    reconstruction_error: np.ndarray | None
    trajectory: Trajectory | None
    stats: Stats
    forward_stats: Stats


class ReconstructionWarning(RuntimeWarning):
    """z, integrated backward, missed z0 by so much that backsolve's gradient says nothing.

    >>> import warnings
    >>> from refvdm.ode import adjoint, solve
    >>> f = lambda z, t, theta: -20 * (z - np.cos(t))
    >>> solution = solve(f, np.zeros(1), [0.0, 2.0])
    >>> with warnings.catch_warnings(record=True) as found:
    ...     warnings.simplefilter("always")
    ...     _ = adjoint(f, solution, np.ones((2, 1)))
    >>> found[0].category.__name__
    'ReconstructionWarning'
    """


def adjoint(f: Field, solution: Solution, zs_bar: Any, *, mode: str = "backsolve",
            trajectory: bool = True, method: str | None = None, rtol: float | None = None,
            atol: float | None = None, step: float | None = None, controller: str | None = None,
            max_steps: int | None = None, seminorm: bool = False,
            restart: bool = False) -> Adjoint:
    """The gradient of a loss L by z0, theta and ts, given zs_bar = dL/dzs: 13.10-13.17.

    solution = solve(f, z0, ts, theta) with the same f; zs_bar (len(ts), *z0.shape), a tree like zs
    where that is one; then so is all that has z0's shape here. method, rtol,
    atol, step, controller and max_steps are those of the backward pass, by default the solution's.

    mode        "backsolve": z, a, a_theta and a_t integrated backward; "interpolated": z from the
                solution's interpolant; "discrete": the exact gradient of what the solver computed;
                "forward": the variational equation, the oracle. "interpolated" and "discrete"
                need a solution made with dense=True
    trajectory  keep the augmented state at every step of the way back (backsolve, interpolated)
    seminorm    let only z and a choose the steps: a_theta and a_t feed back into nothing
                (Kidger, Chen, Lyons 2021) (backsolve, interpolated)
    restart     at every inner ts take z from the solution again, as torchdiffeq and jax do; the
                reconstruction error is then that of the last stretch, ts[1] to ts[0] (backsolve)

    In "discrete" with step= the grid moves with ts. The grid of adaptive steps is frozen: the inner
    nodes stay, moving ts[0] or ts[-1] changes the first or the last step, and inner outputs
    differentiate the interpolant.

    A ReconstructionWarning when z misses z0 by more than a tenth of its size; SolverError when the
    way back fails or the gradient is not finite; ValueError or TypeError for arguments that make
    no sense.

    >>> from refvdm.ode import adjoint, solve
    >>> f = lambda z, t, theta: theta * z
    >>> solution = solve(f, np.array([1.0]), [0.0, 1.0], np.array(0.5))
    >>> gradient = adjoint(f, solution, np.array([[0.0], [1.0]]))  # L = z(1) = z0 exp(theta)
    >>> np.allclose([gradient.z0[0], gradient.theta], np.exp(0.5), rtol=1e-4)
    True
    """
    checks.function("adjoint: f", f, "f(z, t, theta)")
    if isinstance(solution, TreeSolution):
        return _of_tree(f, solution, zs_bar, mode=mode, trajectory=trajectory, method=method,
                        rtol=rtol, atol=atol, step=step, controller=controller,
                        max_steps=max_steps, seminorm=seminorm, restart=restart)
    given = {"method": method, "rtol": rtol, "atol": atol, "controller": controller,
             "step": step, "max_steps": max_steps}
    checks.instance("adjoint: solution", solution, Solution)
    return go_back("adjoint", f, solution, zs_bar, mode, given, trajectory=trajectory,
                   seminorm=seminorm, restart=restart)


def go_back(who: str, f: Field, solution: Solution, zs_bar: Any, mode: str, given: dict[str, Any],
            *, trajectory: bool, seminorm: bool, restart: bool) -> Adjoint:
    """`adjoint`, for a caller that calls the mode its own way."""
    if mode in ("interpolated", "discrete") and solution.path is None:
        raise ValueError(
            f"{who}: {named(who, mode)} needs the steps of the way forward, but this solution was "
            f"made with dense=False; solve with dense=True, or use {named(who, 'backsolve')}")
    check_mode(who, mode, seminorm, restart)
    trajectory = checks.flag(f"{who}: trajectory", trajectory)
    zs_bar = _check_zs_bar(zs_bar, solution)
    given = {name: value for name, value in given.items() if value is not None}
    if mode == "discrete" and given:
        raise ValueError(f"{who}: {named(who, mode)} walks back over the solution's own steps and "
                         f"takes no {', '.join(given)}")
    options = check_options(who, **(solution.options._asdict() | given))
    if mode != "discrete" and any(isinstance(x, np.ndarray) for x in (options.rtol, options.atol)):
        raise ValueError(f"{who}: the solution's rtol or atol has a number for every element of "
                         f"z0, the way back has other states: give rtol and atol for it"
                         + (" in backward" if who == "odeint" else ""))

    field = LinearisedField(f, solution.theta, solution.z0)
    try:
        with np.errstate(all="ignore"):  # what overflows is rejected, or refused below
            if mode == "backsolve":
                found = backsolve(field, solution, zs_bar, options,
                                  trajectory=trajectory, seminorm=seminorm, restart=restart)
            elif mode == "interpolated":
                found = interpolated(field, solution, zs_bar, options,
                                     trajectory=trajectory, seminorm=seminorm)
            elif mode == "discrete":
                found = discrete(field, solution, zs_bar)
            else:
                found = variational(field, solution, zs_bar, options)
    except SolverError as error:
        where = f"{named(who, mode)}, " if mode == "forward" else ""
        raise SolverError(error.reason, error.t, f"{where}{error}{_advice(who, mode)}") from None

    _check_found(who, found, mode, solution)
    missed, shape = found.reconstruction_error, solution.z0.shape
    return Adjoint(found.z0.astype(solution.z0.dtype).reshape(shape),
                   field.gradient_tree(found.theta), found.ts, mode,
                   None if missed is None else missed.reshape(shape), found.trajectory,
                   Stats(field.nfev, field.nvjp, found.accepted, found.rejected), solution.stats)


# ---------------------------------------------------------------- what is asked for


def check_mode(who: str, mode: Any, seminorm: Any = False, restart: Any = False) -> None:
    """The mode, and the options that only some modes have."""
    checks.one_of(f"{who}: {'mode' if who == 'adjoint' else 'gradient'}", mode, MODES)
    for name, value, modes in (("seminorm", seminorm, MODES[:2]), ("restart", restart, MODES[:1])):
        if checks.flag(f"{who}: {name}", value) and mode not in modes:
            known = " and ".join(named(who, mode) for mode in modes)
            raise ValueError(f"{who}: {name} is an option of {known}, got {mode!r}")


def check_backward(mode: str, options: Options, backward: Any) -> dict[str, Any]:
    """odeint's options for the way back, checked before the way forward."""
    if backward is None:
        return {}
    if not isinstance(backward, dict) or not set(backward) <= {*BACKWARD, "seminorm", "restart"}:
        got = list(backward) if isinstance(backward, dict) else backward
        raise ValueError("odeint: backward must be a dict with some of the keys "
                         f"{', '.join((*BACKWARD, 'seminorm', 'restart'))}, got {got!r}")
    check_mode("odeint", mode, backward.get("seminorm", False), backward.get("restart", False))
    given = {name: backward[name] for name in BACKWARD if backward.get(name) is not None}
    if mode == "discrete" and given:
        raise ValueError(f"odeint: gradient='discrete' walks back over the solution's own steps "
                         f"and takes no {', '.join(given)} in backward")
    check_options("odeint: backward", **(options._asdict() | given))
    return backward


def _of_tree(f: Field, solution: TreeSolution, zs_bar: Tree, **options: Any) -> Adjoint:
    """`adjoint` where z0 is a tree: so are zs_bar and all that has the shape of z0."""
    state, flat = solution.state, solution.flat
    zs_bar = state.joined("adjoint: zs_bar = dL/dzs", zs_bar, (len(flat.ts),))
    found = adjoint(TreeField(f, state), flat, zs_bar, **options)
    missed, way = found.reconstruction_error, found.trajectory
    return found._replace(
        z0=state.tree(found.z0),
        reconstruction_error=None if missed is None else state.tree(missed),
        trajectory=way and way._replace(z=state.rows(way.z), a=state.rows(way.a)))


def _check_zs_bar(zs_bar: Any, solution: Solution) -> np.ndarray:
    """dL/dzs as (len(ts), n), in z0's dtype."""
    if isinstance(zs_bar, Tensor):
        raise TypeError("adjoint: zs_bar is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    zs_bar = checks.reals("adjoint: zs_bar = dL/dzs", zs_bar, solution.zs.shape, finite=False)
    dtype = solution.z0.dtype
    with np.errstate(over="ignore"):
        zs_bar = zs_bar.astype(dtype)
    checks.floats(f"adjoint: zs_bar = dL/dzs, in {dtype},", zs_bar, (...,))
    return zs_bar.reshape(len(zs_bar), -1)


# ---------------------------------------------------------------- what came of it


def named(who: str, mode: str) -> str:
    """A mode by the argument that this function's caller has."""
    return f"{'gradient' if who == 'odeint' else 'mode'}={mode!r}"


def _advice(who: str, mode: str) -> str:
    other = {"backsolve": "interpolated", "interpolated": "discrete"}.get(mode)
    return f". {named(who, other)} may get there" if other else ""


def _check_found(who: str, found: Gradient, mode: str, solution: Solution) -> None:
    """SolverError for a gradient that is not finite; a warning for one that is worth nothing."""
    if not all(np.isfinite(bar).all() for bar in (found.z0, found.theta, found.ts)):
        raise SolverError("not finite", float(solution.ts[0]), (
            f"{named(who, mode)}: the gradient is not finite; along this solution it, or a "
            f"derivative of f, is infinite or too large for {solution.z0.dtype}"))
    if found.reconstruction_error is None:
        return
    missed = rms(found.reconstruction_error)
    size = max(rms(z.reshape(-1)) for z in solution.zs)
    if not missed <= 0.1 * size:
        ratio = missed / size if size else math.inf
        warnings.warn(
            f"{named(who, mode)}: z integrated backward misses z0 by {missed:.2g}, {ratio:.2g} "
            f"times the size of z. This gradient was taken along something that is not the "
            f"solution, so it is worth nothing without a check. The field contracts too strongly, "
            f"or the steps are too long, to be followed backward. Use {named(who, 'discrete')}",
            ReconstructionWarning, stacklevel=4)
