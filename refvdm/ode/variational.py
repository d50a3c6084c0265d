"""The variational equation, forward in time: how z(t) moves with z0 and theta. It is the oracle,
for it has no adjoint and no way back.

    S = ∂z/∂[z0, theta] (n, n + P),    dS/dt = ∂f/∂z S + [0, ∂f/∂theta],    S(ts[0]) = [I, 0]

is integrated beside z under the same error control. With g_i = dL/dz(ts[i]),

    dL/d[z0, theta] = sum_i g_i S(ts[i])
    dL/dts[i] = g_i f,    i >= 1
    dL/dts[0] = -sum_{i>=1} g_i S_z0(ts[i]) f(z0, ts[0]),    S_z0 the columns of z0

The last one because, seen from any later time, starting later by dt is starting from z0 - f dt.
"""
from __future__ import annotations

import numpy as np

from .adjoint import Gradient
from .linearise import LinearisedField
from .problem import Options
from .solve import Solution, solve_field
from .steps import SolverError


class _Variation:
    """[z, S] as a right-hand side: n pullbacks of unit vectors are the rows of ∂f/∂z, ∂f/∂theta."""

    def __init__(self, field: LinearisedField, n: int):
        self.field, self.n, self.theta = field, n, field.theta
        self.nfev = 0  # the field counts

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        n = self.n
        S = y[n:].reshape(n, -1)
        dz, pull = self.field.linearise(t, y[:n])
        rows = [pull(unit) for unit in np.eye(n, dtype=y.dtype)]
        df_dz = np.stack([row[0] for row in rows])
        df_dtheta = np.stack([row[1] for row in rows])
        dS = df_dz @ S
        dS[:, n:] += df_dtheta
        out[:n] = dz
        out[n:] = dS.reshape(-1)


def variational(field: LinearisedField, solution: Solution, zs_bar: np.ndarray,
                options: Options) -> Gradient:
    """The gradient of the loss, given zs_bar = dL/dzs (len(ts), n)."""
    n, z0, ts = solution.z0.size, solution.z0.reshape(-1), solution.ts.tolist()
    S0 = np.eye(n, n + field.n_theta, dtype=z0.dtype)
    start = np.concatenate([z0, S0.reshape(-1)])
    try:
        run = solve_field(_Variation(field, n), start, solution.ts, options, dense=False)
    except SolverError as error:
        raise SolverError(error.reason, error.t, f"the variational equation: {error}") from None
    zs, S = run.zs[:, :n], run.zs[:, n:].reshape(len(ts), n, -1)
    bar = sum((g @ S_i for g, S_i in zip(zs_bar, S)), np.zeros(n + field.n_theta, z0.dtype))
    later = sum((g @ S_i[:, :n] for g, S_i in zip(zs_bar[1:], S[1:])), np.zeros(n, z0.dtype))
    ts_bar = np.array([float(g @ field.value(t, z)) for g, t, z in zip(zs_bar, ts, zs)])
    ts_bar[0] = -float(later @ field.value(ts[0], z0))
    return Gradient(bar[:n], bar[n:], ts_bar, run.stats.accepted, run.stats.rejected)
