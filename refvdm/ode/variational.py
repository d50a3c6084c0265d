"""The variational equation, forward in time: how z(t) moves with z0 and theta. No adjoint, no way back: the oracle.

    S = dz/d[z0, theta] (n, n + P),    dS/dt = df/dz S + [0, df/dtheta],    S(ts[0]) = [I, 0]

integrated beside z under the same error control. Then dL/d[z0, theta] = sum_i g_i S(ts[i]); a solution moves with its starting time as
it would with z0 moved by -f, so dL/dts[0] = -sum_{i>=1} g_i S_z0(ts[i]) f(z0, ts[0]); and dL/dts[i] = g_i f.
"""
from __future__ import annotations

import numpy as np

from .linearise import LinearisedField
from .problem import Options
from .solve import Solution, solve_field
from .steps import SolverError


class _Variation:
    """[z, S] as a right-hand side: n pullbacks, of the unit vectors, give the rows of df/dz and df/dtheta."""

    def __init__(self, field: LinearisedField, n: int):
        self.field, self.n, self.theta, self.nfev = field, n, field.theta, 0

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        n = self.n
        S = y[n:].reshape(n, -1)
        dz, pull = self.field.linearise(t, y[:n])
        rows = [pull(unit) for unit in np.eye(n, dtype=y.dtype)]
        df_dz = np.stack([row[0] for row in rows])
        dS = df_dz @ S
        dS[:, n:] += np.stack([row[1] for row in rows])
        out[:n] = dz
        out[n:] = dS.reshape(-1)


def variational(field: LinearisedField, solution: Solution, zs_bar: np.ndarray, options: Options) -> tuple:
    """dL/dz0 (n,), dL/dtheta (P,), dL/dts (len(ts),), (accepted, rejected), given dL/dzs (len(ts), n)."""
    n, z0 = solution.z0.size, solution.z0.reshape(-1)
    S0 = np.eye(n, n + field.n_theta, dtype=z0.dtype)
    try:
        run = solve_field(_Variation(field, n), np.concatenate([z0, S0.reshape(-1)]), solution.ts, options, dense=False)
    except SolverError as error:
        raise SolverError(error.reason, error.t, f"mode 'forward', the variational equation: {error}") from None
    z, S = run.zs[:, :n], run.zs[:, n:].reshape(len(run.zs), n, -1)
    bar = sum(g @ S_i for g, S_i in zip(zs_bar, S))
    ts_bar = np.array([float(g @ field.value(t, z_i)) for g, t, z_i in zip(zs_bar, solution.ts.tolist(), z)])
    moved = sum(g @ S_i[:, :n] for g, S_i in zip(zs_bar[1:], S[1:])) if len(S) > 1 else np.zeros(n)
    ts_bar[0] = -float(moved @ field.value(float(solution.ts[0]), z0))
    return bar[:n], bar[n:], ts_bar, (run.stats.accepted, run.stats.rejected)
