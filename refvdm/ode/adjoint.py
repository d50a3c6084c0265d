"""The adjoint of 13.10-13.17: dL/dz0, dL/dθ and dL/dts of a loss L that sees z at the times ts.

The adjoint is a(t) = dL/dz(t), a row vector (13.10). L sees z(t) only through z(t + ε), a little
later. That is the chain rule 13.11, and as ε goes to 0 it becomes 13.12:

    a(t) = a(t + ε) ∂z(t + ε)/∂z(t)                                              (13.11)
    da/dt = -a ∂f/∂z                                                             (13.12)

θ and t are taken as states too, of which θ stands still and t runs at speed 1:

    d/dt [z, θ, t] = f_aug = [f, 0, 1]                      (13.13; printed [f, θ, t])

                         ⎡ ∂f/∂z  ∂f/∂θ  ∂f/∂t ⎤
    ∂f_aug/∂[z, θ, t] =  ⎢   0      0      0   ⎥            (13.14; printed ∂f_aug/∂[f, θ, t])
                         ⎣   0      0      0   ⎦

13.12 holds for them as it does for z, with the adjoints a_θ = dL/dθ and a_t = dL/dt. The rows
below the first are 0, so only a appears on the right:

    d/dt [a, a_θ, a_t] = -[a, a_θ, a_t] ∂f_aug/∂[z, θ, t]
                       = [-a ∂f/∂z, -a ∂f/∂θ, -a ∂f/∂t]     (13.15; printed with -a_θ ∂f/∂θ
                                                             and -a_t ∂f/∂t; its middle is 13.16)

This is integrated backward, from ts[-1] to ts[0]. With g_i = ∂L/∂z(ts[i]), what L itself reads at
ts[i], without what follows from it later:

    start    a_θ = 0 (13.17), and a = 0, a_t = 0
    jumps    at every ts[i], i >= 1, the last one first: a += g_i and a_t -= g_i f.
             dL/dts[i] = g_i f: L sees z(ts[i]), which moves with ts[i] at the speed f
    end      dL/dz0 = a + g_0,  dL/dθ = a_θ (13.17),  dL/dts[0] = a_t

a_t is -a f all the way: to be at z a little later, at t + ε, is to be at z - ε f now. So a_t jumps
where a does. g_0 has no part in dL/dts[0], because z(ts[0]) = z0 does not move with ts[0].

Two modes are this integration. They differ in where z in ∂f/∂z comes from:

    backsolve      dz/dt = f is integrated backward beside a. It needs nothing of the way forward
                   but zs, and z has to find its own way back
    interpolated   z comes from the interpolant of the forward solution
"""
from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from .linearise import LinearisedField
from .problem import Options
from .solve import Solution
from .steps import Log, RightHandSide, SolverError, interpolate, walk


class Trajectory(NamedTuple):
    """The augmented state on its way from ts[-1] down to ts[0], 13.15.

    t (rows,), z and a (rows, *z0.shape), a_theta (rows, P) in ravel order, a_t (rows,). At an inner
    ts there are two rows, before and after the jump.

    >>> from refvdm.ode import adjoint, solve
    >>> f = lambda z, t, theta: theta * z
    >>> solution = solve(f, np.array([1.0]), [0.0, 1.0], np.array(0.5))
    >>> way = adjoint(f, solution, np.array([[0.0], [1.0]])).trajectory
    >>> float(way.t[0]), float(way.t[-1]), way.a[0].tolist(), way.a_theta[0].tolist()
    (1.0, 0.0, [1.0], [0.0])
    """

    t: np.ndarray
    z: np.ndarray
    a: np.ndarray
    a_theta: np.ndarray
    a_t: np.ndarray


class Gradient(NamedTuple):
    """What a mode finds, for a state of n numbers and P of them in theta, and the steps it took."""

    z0: np.ndarray  # dL/dz0 (n,)
    theta: np.ndarray  # dL/dtheta (P,), in ravel order
    ts: np.ndarray  # dL/dts (len(ts),)
    accepted: int
    rejected: int
    reconstruction_error: np.ndarray | None = None  # backsolve: z(ts[0]) as it came back - z0 (n,)
    trajectory: Trajectory | None = None


def backward(field: LinearisedField, solution: Solution, zs_bar: np.ndarray, options: Options, *,
             reconstruct: bool, trajectory: bool, seminorm: bool, restart: bool) -> Gradient:
    """13.15 from ts[-1] back to ts[0], given zs_bar = dL/dzs (len(ts), n).

    reconstruct: with z beside it, integrated backward; else z comes from the interpolant. The
    other options are those of `adjoint`.
    """
    # the augmented state is one vector, [z, a, a_theta, a_t]; without reconstruct z is empty
    n, n_z = solution.z0.size, solution.z0.size if reconstruct else 0
    z, a = slice(0, n_z), slice(n_z, n_z + n)
    a_theta, a_t = slice(a.stop, a.stop + field.n_theta), a.stop + field.n_theta

    def z_at(t: float, state: np.ndarray) -> np.ndarray:
        return state[z] if reconstruct else solution.interpolate(t)

    def derivative(t: float, state: np.ndarray, out: np.ndarray) -> None:
        f, a_df_dz, a_df_dtheta, a_df_dt = field.pulled(t, z_at(t, state), state[a])
        if reconstruct:
            out[z] = f  # 13.7
        np.negative(a_df_dz, out=out[a])  # 13.12
        np.negative(a_df_dtheta, out=out[a_theta])  # 13.16
        out[a_t] = -a_df_dt

    def keep(t: float, state: np.ndarray) -> None:
        if trajectory:
            rows.append((t, z_at(t, state), state))

    ts, zs = solution.ts.tolist(), solution.zs.reshape(len(solution.ts), n)
    ts_bar, log = np.empty(len(ts)), Log()
    rows: list[tuple[float, np.ndarray, np.ndarray]] = []
    counted = a.stop if seminorm else None  # seminorm: only z and a choose the steps
    # the start: the adjoints are 0, a_theta as 13.17 has it
    state = np.zeros(a_t + 1, zs.dtype)
    state[z] = zs[-1, :n_z]
    for i in range(len(ts) - 1, 0, -1):
        # the jumps at ts[i]
        g_f = float(zs_bar[i] @ field.value(ts[i], zs[i]))
        state = state.copy()
        state[a] += zs_bar[i]
        state[a_t] -= g_f
        ts_bar[i] = g_f
        if restart:
            state[z] = zs[i]
        keep(ts[i], state)
        # the way back to ts[i - 1]
        stretch = _stretch(derivative, ts[i], state, ts[i - 1], options, log, counted)
        for t, state in stretch:
            keep(t, state)
    # the end
    ts_bar[0] = state[a_t]
    z0_bar, theta_bar = state[a] + zs_bar[0], state[a_theta]

    if not rows:  # one time: there is no way back
        keep(ts[0], state)
    way = _trajectory(rows, solution.z0.shape, a, a_theta) if trajectory else None
    error = state[z] - solution.z0.reshape(-1) if reconstruct else None
    rejected, accepted = log.counts
    return Gradient(z0_bar, theta_bar, ts_bar, accepted, rejected, error, way)


def _stretch(derivative: RightHandSide, start: float, state: np.ndarray, end: float,
             options: Options, log: Log, counted: int | None) -> Iterator[tuple[float, np.ndarray]]:
    """The time and the state after every step from start to end; the last time is end."""
    weights = options.tableau.weights(state.dtype)
    try:
        for step in walk(derivative, [start, end], state, options, log, counted):
            if (step.t_new - end) * step.h > 0:  # some step policies run over the end
                yield end, interpolate(weights, step, end)
            else:
                yield step.t_new, step.y_new
    except SolverError as error:
        where = f"on the way back from t = {start:g} to {end:g}"
        raise SolverError(error.reason, error.t, f"{where}: {error}") from None


def _trajectory(rows: list[tuple[float, np.ndarray, np.ndarray]], shape: tuple[int, ...],
                a: slice, a_theta: slice) -> Trajectory:
    """From rows of t, z and the augmented state, for a z of this shape."""
    t, z, states = (np.array(column) for column in zip(*rows))
    shape = (len(rows), *shape)
    return Trajectory(t, z.reshape(shape), states[:, a].reshape(shape), states[:, a_theta],
                      states[:, -1].astype(float))


def backsolve(field: LinearisedField, solution: Solution, zs_bar: np.ndarray, options: Options, *,
              trajectory: bool, seminorm: bool, restart: bool) -> Gradient:
    """The gradient with z integrated backward; see `backward`."""
    return backward(field, solution, zs_bar, options, reconstruct=True, trajectory=trajectory,
                    seminorm=seminorm, restart=restart)


def interpolated(field: LinearisedField, solution: Solution, zs_bar: np.ndarray, options: Options,
                 *, trajectory: bool, seminorm: bool) -> Gradient:
    """The gradient with z from the interpolant; see `backward`.

    The gradient of s L is s times that of L, and the steps to it should be the same. But atol is
    an absolute error, and the state holds nothing but adjoints, which grow with s. So zs_bar is
    divided by a power of 2, which rounds nothing, to have its largest number between 1 and 2; what
    comes out is multiplied by it. backsolve is not scaled: its state holds z, whose size does
    not depend on s.
    """
    scale = 2.0 ** (math.frexp(np.abs(zs_bar).max())[1] - 1)
    found = backward(field, solution, zs_bar / zs_bar.dtype.type(scale), options,
                     reconstruct=False, trajectory=trajectory, seminorm=seminorm, restart=False)
    if (way := found.trajectory) is not None:
        way = way._replace(a=scale * way.a, a_theta=scale * way.a_theta, a_t=scale * way.a_t)
    return found._replace(z0=scale * found.z0, theta=scale * found.theta, ts=scale * found.ts,
                          trajectory=way)
