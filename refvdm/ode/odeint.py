"""The solution of an ODE as one differentiable operation, for use inside vjp and grad."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import Tensor, defvjp, ravel
from ..autodiff.tree import is_float, leaves
from .adjoint import MODES, adjoint
from .problem import Tree
from .solve import Solution, solve


def odeint(f: Callable, z0: Any, ts: Any, theta: Tree = (), *, gradient: str = "backsolve", backward: dict | None = None,
           **options: Any) -> Any:
    """zs (len(ts), *z0.shape) as `solve` gives them; inside vjp or grad differentiable in z0, ts and theta.

    gradient   the mode of `adjoint`: "backsolve", "interpolated", "discrete" or "forward". "interpolated" and "discrete" keep the
               steps of the forward pass until the pullback is gone, "backsolve" and "forward" keep only zs
    backward   options of the backward pass only, as `adjoint` takes them: {"seminorm": True, "rtol": 1e-4}
    options    as `solve` takes them: method, rtol, atol, controller, step, max_steps

    A Tensor that f closes over is a TypeError: only what comes in as z0, ts or theta has a gradient.
    """
    if gradient not in MODES:
        raise ValueError(f"odeint: unknown gradient {gradient!r}; known are {', '.join(MODES)}")
    if "dense" in options:
        raise ValueError("odeint: dense follows from gradient; use solve for dense output")
    for name, x in (("z0", z0), ("ts", ts)):
        if isinstance(x, (list, tuple)) and any(type(part) is Tensor for part in x):
            raise TypeError(f"odeint: {name} is a list that holds Tensors; make it one with np.stack or np.concatenate")
    flat, unravel = ravel(theta) if any(map(is_float, leaves(theta))) else (np.zeros(0), lambda flat: theta)
    given = (z0, ts, flat)
    problem = _Problem(f, given, unravel, gradient, backward or {}, options)
    # constants stay outside the recording, a 0 in their place: it would cast all to one dtype
    return _odeint(*(x if type(x) is Tensor else 0.0 for x in given), problem)


class _Problem(NamedTuple):
    """What `_odeint` is asked to solve, and how to come back."""

    f: Callable
    given: tuple  # z0, ts, theta as a vector: arrays where they are constants
    unravel: Callable[[np.ndarray], Tree]
    gradient: str
    backward: dict
    options: dict

    def solve(self, *operands: Any) -> tuple[np.ndarray, Solution]:
        z0, ts, flat = (x.astype(g.dtype) if type(g) is Tensor else g for x, g in zip(operands, self.given))
        dense = self.gradient in ("interpolated", "discrete")
        solution = solve(self.f, z0, ts, self.unravel(flat), dense=dense, **self.options)
        return solution.zs, solution

    def adjoint(self, zs_bar: np.ndarray, solution: Solution) -> tuple:
        back = adjoint(self.f, solution, zs_bar, mode=self.gradient, trajectory=False, **self.backward)
        return back.z0, back.ts, ravel(back.theta)[0] if self.given[2].size else self.given[2]


def _odeint(z0, ts, flat, problem):
    return problem.solve(z0, ts, flat)


_odeint = defvjp(
    _odeint,
    lambda bars, y, z0, ts, flat, problem: bars[0],
    lambda bars, y, z0, ts, flat, problem: bars[1],
    lambda bars, y, z0, ts, flat, problem: bars[2],
    shared=lambda zs_bar, y, z0, ts, flat, problem: problem.adjoint(zs_bar, y[1]),
    saves=True)
