"""dL/dz0, dL/dtheta and dL/dts of a loss that sees the solution of an ODE at the times ts (13.9-13.17), in four ways.

With the adjoint a(t) = dL/dz(t), a row vector (13.10), and f_aug = d/dt [z, theta, t] = [f, 0, 1] (printed [f, theta, t] in 13.13):

    dz/dt = f,    da/dt = -a df/dz (13.12),    da_theta/dt = -a df/dtheta (13.16),    da_t/dt = -a df/dt

integrated from ts[-1] back to ts[0]. At every ts[i], i >= 1, with g_i = dL/dz(ts[i]), a jumps by g_i and a_t by -g_i f; at the end
    dL/dz0 = a + g_0,    dL/dtheta = a_theta (13.17),    dL/dts[0] = a_t = -a f,    dL/dts[i] = g_i f
where a is still without g_0: z(ts[0]) = z0 does not move with ts[0].

    backsolve      [z, a, a_theta, a_t] as above: no memory of the way forward, but z has to find its own way back
    interpolated   [a, a_theta, a_t]: z from the interpolant of the forward solution
    discrete       discrete.py: the exact gradient of what the solver computed
    forward        variational.py: d z(t)/d[z0, theta] integrated forward, the oracle: cost grows with the number of parameters

torchdiffeq's and jax's odeint are backsolve with restart=True; diffrax has backsolve (BacksolveAdjoint) and backpropagation through
its steps, which is discrete.
"""
from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import Tensor
from .controller import rms
from .discrete import discrete
from .linearise import LinearisedField
from .problem import Options, Tree, check_options
from .solve import Solution, Stats
from .steps import Log, SolverError, adaptive_steps, fixed_steps, interpolate
from .variational import variational

MODES = ("backsolve", "interpolated", "discrete", "forward")


class Trajectory(NamedTuple):
    """The augmented state on its way from ts[-1] down to ts[0]; two rows at an inner ts: before and after the jump."""

    t: np.ndarray  # (rows,)
    z: np.ndarray  # (rows, *z0.shape)
    a: np.ndarray  # (rows, *z0.shape)
    a_theta: np.ndarray  # (rows, P), in ravel order
    a_t: np.ndarray  # (rows,)


class Adjoint(NamedTuple):
    """What `adjoint` returns."""

    z0: np.ndarray  # dL/dz0, of z0's shape
    theta: Tree  # dL/dtheta, a tree like theta; None for its constants
    ts: np.ndarray  # dL/dts (len(ts),)
    mode: str
    reconstruction_error: np.ndarray | None  # backsolve: z(ts[0]) integrated backward minus z0
    trajectory: Trajectory | None  # backsolve and interpolated, unless trajectory=False
    stats: Stats  # of this pass
    forward_stats: Stats  # of the solution


class ReconstructionWarning(RuntimeWarning):
    """z, integrated backward, missed z0 by so much that nothing can be said of the gradient of mode "backsolve"."""


def adjoint(f: Callable, solution: Solution, zs_bar: Any, *, mode: str = "backsolve", trajectory: bool = True,
            method: str | None = None, rtol: float | None = None, atol: float | None = None, step: float | None = None,
            controller: str | None = None, max_steps: int | None = None, seminorm: bool = False, restart: bool = False) -> Adjoint:
    """The gradient of a loss L with dL/dzs = zs_bar by z0, theta and ts, for solution = solve(f, z0, ts, theta): 13.10-13.17.

    zs_bar (len(ts), *z0.shape); f the field that was solved. The options of the backward pass default to the solution's.

    mode        "backsolve": z, a, a_theta and a_t integrated backward; "interpolated": z from the solution's interpolant; "discrete":
                the exact gradient of what the solver computed; "forward": the variational equation, the oracle. "interpolated"
                and "discrete" need a solution made with dense=True
    trajectory  keep the augmented state at every step of the way back (backsolve, interpolated)
    seminorm    let only z and a choose the steps: a_theta and a_t feed back into nothing (Kidger, Chen, Lyons 2021)
    restart     backsolve: at every inner ts take z from the solution again, as torchdiffeq and jax do; the reconstruction error
                is then that of the last stretch, from ts[1] to ts[0]

    In "discrete" the grid is frozen: the inner nodes stay, moving ts[0] or ts[-1] changes the first or the last step, and inner
    outputs differentiate the interpolant. A ReconstructionWarning when z misses z0 by more than a tenth of its size;
    SolverError when the way back fails; ValueError or TypeError for arguments that make no sense.
    """
    zs_bar = _check(solution, zs_bar, mode)
    overrides = {"method": method, "rtol": rtol, "atol": atol, "controller": controller, "step": step, "max_steps": max_steps}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    if mode == "discrete" and overrides:
        raise ValueError(f"adjoint: mode 'discrete' walks back over the solution's own steps and takes no {', '.join(overrides)}")
    for name, value, modes in (("seminorm", seminorm, MODES[:2]), ("restart", restart, MODES[:1])):
        if value and mode not in modes:
            raise ValueError(f"adjoint: {name} is an option of mode {' and '.join(map(repr, modes))}, got mode {mode!r}")
    options = check_options("adjoint", **(solution.options._asdict() | overrides))
    field = LinearisedField(f, solution.theta, solution.z0)
    error, rows = None, None
    with np.errstate(all="ignore"):
        if mode == "discrete":
            z0_bar, theta_bar, ts_bar = discrete(field, solution, zs_bar)
            counts = (len(solution.path), 0)
        elif mode == "forward":
            z0_bar, theta_bar, ts_bar, counts = variational(field, solution, zs_bar, options)
        else:
            rows = Rows() if trajectory else None
            z0_bar, theta_bar, ts_bar, error, counts = backward(field, solution, zs_bar, options, mode == "backsolve", rows, seminorm, restart)
    if not all(np.isfinite(bar).all() for bar in (z0_bar, theta_bar, ts_bar)):
        raise SolverError("not finite", float(solution.ts[0]), f"mode {mode!r}: the gradient is not finite; along this solution it, or a "
                                                               f"derivative of f, is infinite or too large for {solution.z0.dtype}")
    if error is not None:
        _warn_if_worthless(error, solution)
    dtype, shape = solution.z0.dtype, solution.z0.shape
    return Adjoint(z0_bar.astype(dtype).reshape(shape), field.gradient_tree(theta_bar), ts_bar, mode,
                   None if error is None else error.reshape(shape), None if rows is None else rows.trajectory(shape),
                   Stats(field.nfev, field.nvjp, *counts), solution.stats)


def _check(solution: Solution, zs_bar: Any, mode: str) -> np.ndarray:
    if not isinstance(solution, Solution):
        raise TypeError(f"adjoint: solution must be what solve returned, got {type(solution).__name__}")
    if mode not in MODES:
        raise ValueError(f"adjoint: unknown mode {mode!r}; known are {', '.join(MODES)}")
    if mode in ("interpolated", "discrete") and solution.path is None:
        raise ValueError(f"adjoint: mode {mode!r} needs the steps of the way forward, but this solution was made with dense=False; "
                         f"solve with dense=True, or use mode 'backsolve' or 'forward'")
    if type(zs_bar) is Tensor:
        raise TypeError("adjoint: zs_bar is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    zs_bar = np.asarray(zs_bar)
    if zs_bar.dtype.kind in "fiu":
        with np.errstate(all="ignore"):
            zs_bar = zs_bar.astype(solution.z0.dtype)
    if zs_bar.shape != solution.zs.shape:
        raise ValueError(f"adjoint: zs_bar must have the shape of solution.zs, {solution.zs.shape}, got {zs_bar.shape}")
    if zs_bar.dtype.kind != "f" or not np.isfinite(zs_bar).all():
        raise ValueError(f"adjoint: zs_bar must hold finite real numbers (in {solution.z0.dtype}), got dtype {zs_bar.dtype}: {zs_bar}")
    return zs_bar.reshape(len(solution.ts), -1)


# ---------------------------------------------------------------- the augmented state, backward in time


class Rows:
    """The trajectory as it grows."""

    def __init__(self) -> None:
        self.rows: list[tuple] = []

    def add(self, t: float, z: np.ndarray, a: np.ndarray, a_theta: np.ndarray, a_t: float) -> None:
        self.rows.append((t, z.copy(), a.copy(), a_theta.copy(), float(a_t)))

    def trajectory(self, shape: tuple) -> Trajectory:
        t, z, a, a_theta, a_t = map(np.array, zip(*self.rows))
        return Trajectory(t, z.reshape(-1, *shape), a.reshape(-1, *shape), a_theta, a_t)


def backward(field: LinearisedField, solution: Solution, zs_bar: np.ndarray, options: Options, reconstruct: bool,
             rows: Rows | None, seminorm: bool, restart: bool) -> tuple:
    """Integrate [z, a, a_theta, a_t] (reconstruct) or [a, a_theta, a_t] from ts[-1] to ts[0], stretch by stretch.

    dL/dz0, dL/dtheta, dL/dts, the reconstruction error or None, (accepted, rejected).
    """
    times, n = solution.ts.tolist(), solution.z0.size
    z = slice(0, n if reconstruct else 0)
    a = slice(z.stop, z.stop + n)
    a_theta = slice(a.stop, a.stop + field.n_theta)

    def z_at(t: float, state: np.ndarray) -> np.ndarray:
        return state[z] if reconstruct else solution.interpolate(t)

    def f_aug(t: float, state: np.ndarray, out: np.ndarray) -> None:
        dz, a_df_dz, a_df_dtheta, a_df_dt = field.pulled(t, z_at(t, state), state[a])
        if reconstruct:
            out[z] = dz
        np.negative(a_df_dz, out=out[a])  # 13.12
        np.negative(a_df_dtheta, out=out[a_theta])  # 13.16
        out[-1] = -a_df_dt

    def keep(t: float, state: np.ndarray) -> None:
        if rows is not None:
            rows.add(t, z_at(t, state), scale * state[a], scale * state[a_theta], scale * state[-1])

    # a scale of the loss is a scale of the gradient; atol would see it when no z stands beside a. A power of 2: no bit is lost
    scale = 1.0 if reconstruct else 2.0 ** min(math.floor(math.log2(np.abs(zs_bar).max() or 1.0)), 1000)
    zs_bar = zs_bar / zs_bar.dtype.type(scale)
    log, counted = Log(keep=False), a.stop if seminorm else None
    state = np.zeros(a_theta.stop + 1, solution.z0.dtype)  # a_theta(ts[-1]) = 0, 13.17
    state[z] = solution.zs[-1].reshape(-1)[: z.stop]
    ts_bar = np.zeros(len(times))
    for i in range(len(times) - 1, 0, -1):
        start, end = times[i], times[i - 1]
        z_i, g_i = solution.zs[i].reshape(-1), zs_bar[i]
        g_f = float(g_i @ field.value(start, z_i))
        state = state.copy()
        state[a] += g_i
        state[-1] -= g_f
        ts_bar[i] = g_f
        if restart:
            state[z] = z_i
        keep(start, state)
        if options.step is None:
            steps = adaptive_steps(f_aug, start, state, end, options, log, counted)
        else:
            steps = fixed_steps(f_aug, [start, end], state, options, log)
        try:
            for step in steps:
                over = (step.t_new - end) * step.h > 0  # some step policies run over the end
                state = interpolate(options.tableau.weights(state.dtype), step, end) if over else step.y_new
                keep(end if over else step.t_new, state)
        except SolverError as error:
            raise SolverError(error.reason, error.t, f"on the way back from t = {start:g} to {end:g}: {error}. Mode "
                              f"{'interpolated' if reconstruct else 'discrete'!r} may get there") from None
    ts_bar[0] = state[-1]
    if rows is not None and not rows.rows:
        keep(times[0], state)
    error = state[z] - solution.z0.reshape(-1) if reconstruct else None
    return scale * (state[a] + zs_bar[0]), scale * state[a_theta], scale * ts_bar, error, log.counts[::-1]


def _warn_if_worthless(error: np.ndarray, solution: Solution) -> None:
    size = max(rms(z.reshape(-1)) for z in solution.zs)
    missed = rms(error)
    if not missed <= 0.1 * size:
        ratio = missed / size if size else math.inf
        warnings.warn(f"mode 'backsolve': z integrated backward misses z0 by {missed:.2g}, {ratio:.2g} times the size of z: what this "
                      f"gradient saw on its way is not the solution, so it is worth nothing without a check. The field contracts too "
                      f"strongly, or the steps are too long, to be followed backward. Use mode 'interpolated' or 'discrete'", ReconstructionWarning, stacklevel=3)
