"""Discretise, then optimise: the exact gradient of what the solver computed, on its frozen grid of accepted steps.

A step is a function of (y, t, t + h, theta); going back over it is the chain rule written out. What moves: the inner nodes of the grid
stay, ts[0] is the start of the first step, ts[-1] the end of the last one where it is one (under step policies that run over
the end it is an output inside the last step, like all others), and an output at another time follows its interpolant.
How long the steps are is not differentiated: torchdiffeq's backpropagation also goes through its first step size.
"""
from __future__ import annotations

import numpy as np

from .linearise import LinearisedField
from .solve import Solution
from .steps import Step
from .tableau import Weights


def discrete(field: LinearisedField, solution: Solution, zs_bar: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dL/dz0 (n,), dL/dtheta (P,), dL/dts (len(ts),), given dL/dzs (len(ts), n)."""
    times, path = solution.ts.tolist(), solution.path
    weights = solution.options.tableau.weights(solution.z0.dtype)
    theta_bar, ts_bar = np.zeros(field.n_theta, zs_bar.dtype), np.zeros(len(times))
    if not path:  # all ts are equal: z(ts[i]) = z0 + (ts[i] - ts[0]) f, to first order
        ts_bar[1:] = zs_bar[1:] @ field.value(times[0], solution.z0)
        ts_bar[0] = -ts_bar[1:].sum()
        return zs_bar.sum(axis=0), theta_bar, ts_bar

    sign, k = 1 if path[0].h > 0 else -1, len(times) - 1  # k: the last output not yet met
    y_bar = np.zeros(solution.z0.size, zs_bar.dtype)  # dL/d(state at the end of the step), then at its start
    for number in range(len(path) - 1, -1, -1):
        step, outputs = path[number], []
        end_moves = number == len(path) - 1 and times[k] == step.t_new
        if end_moves:
            y_bar = y_bar + zs_bar[k]
            k -= 1
        while k > 0 and (sign * (times[k] - step.t) > 0 or number == 0):
            outputs.append(k)
            k -= 1
        if outputs:
            step = solution.complete(step)
        back = _StepBack(field, weights, step, y_bar)
        for i in outputs:
            ts_bar[i] = back.output((times[i] - step.t) / step.h, zs_bar[i])
        y_bar, step_theta_bar, start_bar, h_bar = back.through_the_stages()
        theta_bar += step_theta_bar
        if end_moves:
            ts_bar[-1] += h_bar
        if number == 0:
            ts_bar[0] = start_bar - h_bar  # h = (end of the step) - ts[0]
    return y_bar + zs_bar[0], theta_bar, ts_bar


class _StepBack:
    """One step backward: y_new = y + h sum_i b_i k_i and its outputs y + h sum_i b_i(x) k_i, x = (time - t)/h."""

    def __init__(self, field: LinearisedField, weights: Weights, step: Step, y_new_bar: np.ndarray):
        self.field, self.weights, self.step = field, weights, step
        self.K_bar = np.zeros_like(step.K)
        self.y_bar = np.zeros_like(step.y)
        self.t_bar = self.h_bar = 0.0  # t and h as independent: t is the start, stage i is at t + cs[i] h
        self._sum(weights.b, y_new_bar)

    def _sum(self, b: np.ndarray, bar: np.ndarray) -> None:
        """Back through y + h sum_i b_i k_i, a sum over as many stages as b has."""
        s = len(b)
        self.y_bar += bar
        self.K_bar[:s] += self.step.h * np.outer(b, bar)
        self.h_bar += float(bar @ (b @ self.step.K[:s]))

    def output(self, x: float, g: np.ndarray) -> float:
        """Back through an output at x in [0, 1]; its derivative by its own time."""
        powers = np.arange(1, self.weights.P.shape[1] + 1)
        self._sum(self.weights.P @ x**powers.astype(g.dtype), g)
        slope = float(g @ ((self.weights.P @ (powers * x ** (powers - 1.0)).astype(g.dtype)) @ self.step.K))
        self.t_bar -= slope
        self.h_bar -= slope * x
        return slope

    def through_the_stages(self) -> tuple[np.ndarray, np.ndarray, float, float]:
        """dL/dy, dL/dtheta, dL/dt, dL/dh, from the last stage, k_{s+1} = f(t + h, y_new), to the first."""
        step, w = self.step, self.weights
        rows, cs = (*w.A, w.b), (*w.c, 1.0)  # stage i is at y + h sum_j rows[i]_j k_j, at t + cs[i] h
        theta_bar = np.zeros(self.field.n_theta, step.y.dtype)
        for i in range(len(step.K) - 1, -1, -1):
            if not self.K_bar[i].any():
                continue
            c, y_i = cs[i], step.y + step.h * (rows[i] @ step.K[:i])
            _, y_i_bar, stage_theta_bar, t_i_bar = self.field.pulled(step.t + c * step.h, y_i, self.K_bar[i])
            self._sum(rows[i], y_i_bar)
            theta_bar += stage_theta_bar
            self.t_bar += float(t_i_bar)
            self.h_bar += c * float(t_i_bar)
        return self.y_bar, theta_bar, self.t_bar, self.h_bar
