"""Discretise, then optimise: the exact gradient of what the solver computed, in place of 13.17.

A step is a function of (y, t, t + h, theta), and going back over it is the chain rule written out.
With step= the grid moves with ts: all steps from ts[i] to ts[i+1] have one n-th of its length, and
n stays. Adaptive steps are a frozen grid:

    the inner nodes stay where they are
    ts[0] is the start of the first step
    ts[-1] is the end of the last step, under the step policies that end there; under those that run
    over the end it is an output inside the last step
    an output at any other time follows its interpolant

How the solver came to choose its steps is not differentiated. torchdiffeq's backpropagation does go
through its first step size.
"""
from __future__ import annotations

import numpy as np

from .adjoint import Gradient
from .linearise import LinearisedField
from .solve import Solution
from .steps import Step, fixed_number
from .tableau import Weights


def discrete(field: LinearisedField, solution: Solution, zs_bar: np.ndarray) -> Gradient:
    """The gradient of the loss, given zs_bar = dL/dzs (len(ts), n). The solution is a dense one."""
    ts, path = solution.ts.tolist(), solution.path
    weights = solution.options.tableau.weights(solution.z0.dtype)
    theta_bar, ts_bar = np.zeros(field.n_theta, zs_bar.dtype), np.zeros(len(ts))
    if not path:  # all ts are equal: z(ts[i]) = z0 + (ts[i] - ts[0]) f, to first order
        ts_bar[1:] = zs_bar[1:] @ field.value(ts[0], solution.z0)
        ts_bar[0] = -ts_bar[1:].sum()
        return Gradient(zs_bar.sum(axis=0), theta_bar, ts_bar, 0, 0)

    if (longest := solution.options.step) is not None:
        return _on_a_moving_grid(field, solution, zs_bar, longest)

    sign, k = 1 if path[0].h > 0 else -1, len(ts) - 1  # k: the last output not yet met
    y_bar = np.zeros(solution.z0.size, zs_bar.dtype)  # dL/dy at the end of a step, then its start
    for number in range(len(path) - 1, -1, -1):
        step, outputs = path[number], []
        end_moves = number == len(path) - 1 and ts[k] == step.t_new
        if end_moves:
            y_bar = y_bar + zs_bar[k]
            k -= 1
        while k > 0 and (sign * (ts[k] - step.t) > 0 or number == 0):
            outputs.append(k)
            k -= 1
        if outputs:
            step = solution.complete(step)
        back = _StepBack(field, weights, step, y_bar)
        for i in outputs:
            ts_bar[i] = back.output((ts[i] - step.t) / step.h, zs_bar[i])
        y_bar, step_theta_bar, start_bar, h_bar = back.through_the_stages()
        theta_bar += step_theta_bar
        if end_moves:
            ts_bar[-1] += h_bar
        if number == 0:
            ts_bar[0] = start_bar - h_bar  # h = (end of the step) - ts[0]
    return Gradient(y_bar + zs_bar[0], theta_bar, ts_bar, len(path), 0)


def _on_a_moving_grid(field: LinearisedField, solution: Solution, zs_bar: np.ndarray,
                      longest: float) -> Gradient:
    """Step j of the n from ts[i] on starts at ts[i] + j h, h = (ts[i+1] - ts[i])/n; every output is
    the end of one."""
    ts, steps = solution.ts.tolist(), list(solution.path or ())
    weights = solution.options.tableau.weights(solution.z0.dtype)
    theta_bar, ts_bar = np.zeros(field.n_theta, zs_bar.dtype), np.zeros(len(ts))
    y_bar = np.zeros(solution.z0.size, zs_bar.dtype)
    for i in range(len(ts) - 2, -1, -1):
        y_bar = y_bar + zs_bar[i + 1]
        if ts[i] == ts[i + 1]:  # no step: z + (ts[i+1] - ts[i]) f, to first order
            slope = y_bar @ field.value(ts[i], solution.zs[i].reshape(-1))
            ts_bar[i + 1] += slope
            ts_bar[i] -= slope
            continue
        n = fixed_number(ts[i], ts[i + 1], longest)
        for j in range(n - 1, -1, -1):
            back = _StepBack(field, weights, steps.pop(), y_bar)
            y_bar, step_theta_bar, start_bar, h_bar = back.through_the_stages()
            theta_bar += step_theta_bar
            later = (j * start_bar + h_bar) / n  # what of it moves with ts[i+1]
            ts_bar[i + 1] += later
            ts_bar[i] += start_bar - later
    return Gradient(y_bar + zs_bar[0], theta_bar, ts_bar, len(solution.path or ()), 0)


class _StepBack:
    """One step backward: y_new = y + h sum_i b_i k_i, and its outputs y + h sum_i b_i(x) k_i.

    x = (time - t)/h. Bars are derivatives of L: y_bar = dL/dy. t, the start of the step, and h are
    independent here: stage i is at t + c_i h.
    """

    def __init__(self, field: LinearisedField, weights: Weights, step: Step, y_new_bar: np.ndarray):
        self.field, self.weights, self.step = field, weights, step
        self.K_bar = np.zeros_like(step.K)
        self.y_bar = np.zeros_like(step.y)
        self.t_bar = self.h_bar = 0.0
        self._sum(weights.b, y_new_bar)

    def _sum(self, b: np.ndarray, bar: np.ndarray) -> None:
        """Back through y + h sum_i b_i k_i, a sum over as many stages as b has."""
        s = len(b)
        self.y_bar += bar
        self.K_bar[:s] += self.step.h * np.outer(b, bar)
        self.h_bar += float(bar @ (b @ self.step.K[:s]))

    def output(self, x: float, g: np.ndarray) -> float:
        """Back through an output at x in [0, 1]; returns dL/d(its time)."""
        P, K = self.weights.P, self.step.K
        m = np.arange(1, P.shape[1] + 1)
        self._sum(P @ x**m.astype(g.dtype), g)  # b_i(x) = sum_m P[i, m - 1] x^m
        slope = float(g @ ((P @ (m * x ** (m - 1.0)).astype(g.dtype)) @ K))
        self.t_bar -= slope
        self.h_bar -= slope * x
        return slope

    def through_the_stages(self) -> tuple[np.ndarray, np.ndarray, float, float]:
        """dL/dy, dL/dtheta, dL/dt, dL/dh: from the last stage, f(t + h, y_new), to the first."""
        step, w = self.step, self.weights
        # stage i is f at t + cs[i] h and y + h sum_{j<i} rows[i]_j k_j
        rows, cs = (*w.A, w.b), (*w.c, 1.0)
        theta_bar = np.zeros(self.field.n_theta, step.y.dtype)
        for i in range(len(step.K) - 1, -1, -1):
            if not self.K_bar[i].any():
                continue
            c, y_i = cs[i], step.y + step.h * (rows[i] @ step.K[:i])
            _, y_i_bar, stage_theta_bar, t_i_bar = self.field.pulled(step.t + c * step.h, y_i,
                                                                     self.K_bar[i])
            self._sum(rows[i], y_i_bar)
            theta_bar += stage_theta_bar
            self.t_bar += float(t_i_bar)
            self.h_bar += c * float(t_i_bar)
        return self.y_bar, theta_bar, self.t_bar, self.h_bar
