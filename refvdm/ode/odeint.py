"""The solution of an ODE, 13.8, as one differentiable operation, for use inside vjp and grad."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import Tensor, defvjp, ravel
from ..autodiff.tree import Tree, is_float, leaves
from .field import Field, check_z_first
from .modes import BACKWARD, check_backward, check_mode, go_back
from .problem import Options, check_options
from .solve import Solution, solve
from .state import TreeField, TreeState, is_tree


def odeint(f: Field, z0: Any, ts: Any, theta: Tree = (), *, gradient: str = "discrete",
           backward: dict[str, Any] | None = None, **options: Any) -> Any:
    """zs (len(ts), *z0.shape) as from `solve`; inside vjp or grad differentiable in z0, ts, theta.
    Of a z0 that is a tree, such a tree.

    gradient   the mode of `adjoint`. "discrete", the gradient of what was computed, never fails
               where the solution did not; "backsolve" is 13.17, "interpolated" between them,
               "forward" the oracle. "discrete" and "interpolated" keep the steps of the forward
               pass until the pullback is gone, the others only zs
    backward   options of `adjoint` for the backward pass only: {"seminorm": True, "rtol": 1e-4}
    options    those of `solve`: method, rtol, atol, controller, step, max_steps

    A Tensor that f closes over is a TypeError: only what comes in as z0, ts or theta has a
    gradient. The errors of `solve`; in the pullback those of `adjoint`.

    >>> from refvdm.autodiff import grad
    >>> from refvdm.ode import odeint
    >>> loss = lambda theta: odeint(lambda z, t, w: w * z, np.ones(1), [0.0, 1.0], theta)[-1, 0]
    >>> np.allclose(grad(loss)(np.array(0.5)), np.exp(0.5), rtol=1e-4)
    True
    """
    check_mode("odeint", gradient)
    if "dense" in options:
        raise ValueError("odeint: dense follows from gradient; use solve for dense output")
    if unknown := set(options) - set(Options._fields):
        raise TypeError(f"odeint: options must be some of {', '.join(Options._fields)}, "
                        f"got {', '.join(sorted(unknown))}")
    for name, x in (("z0", z0), ("ts", ts)):
        if isinstance(x, (list, tuple)) and not (name == "z0" and is_tree(x)) and any(
                type(part) is Tensor for part in x):
            raise TypeError(f"odeint: {name} is a list that holds Tensors; make it one with "
                            f"np.stack or np.concatenate")
    if is_tree(z0):
        check_z_first(f)
        state = TreeState("odeint", z0)
        options |= {name: state.tolerance(f"odeint: {name}", options[name])
                    for name in ("rtol", "atol") if name in options}
        return state.rows(odeint(TreeField(f, state), state.flat, ts, theta, gradient=gradient,
                                 backward=backward, **options))
    flat, unravel = np.zeros(0), lambda flat: theta
    if any(map(is_float, leaves(theta))):
        flat, unravel = ravel(theta)
    given = (z0, ts, flat)
    backward = check_backward(gradient, check_options("odeint", **options), backward)
    problem = _Problem(f, given, unravel, gradient, backward, options)
    # A constant stays outside the recording, a 0 in its place: there it would cast all to one dtype
    return _recorded(*(x if type(x) is Tensor else 0.0 for x in given), problem)


class _Problem(NamedTuple):
    """What is to be solved, and how to come back."""

    f: Field
    given: tuple  # z0, ts, theta as a vector: Tensors, or what the caller gave as constants
    unravel: Callable[[Any], Tree]
    gradient: str
    backward: dict[str, Any]
    options: dict[str, Any]

    def solve(self, *operands: Any) -> tuple[np.ndarray, Solution]:
        z0, ts, flat = (x.astype(g.dtype) if type(g) is Tensor else g
                        for x, g in zip(operands, self.given))
        dense = self.gradient in ("interpolated", "discrete")
        solution = solve(self.f, z0, ts, self.unravel(flat), dense=dense, **self.options)
        return solution.zs, solution

    def adjoint(self, zs_bar: np.ndarray, solution: Solution) -> tuple:
        options = {name: self.backward.get(name) for name in BACKWARD}
        back = go_back("odeint", self.f, solution, zs_bar, self.gradient, options,
                       trajectory=False, seminorm=self.backward.get("seminorm", False),
                       restart=self.backward.get("restart", False))
        flat_bar = ravel(back.theta)[0] if self.given[2].size else self.given[2]
        return back.z0, back.ts, flat_bar


def _odeint(z0: Any, ts: Any, flat: Any, problem: _Problem) -> tuple[np.ndarray, Solution]:
    return problem.solve(z0, ts, flat)


_recorded = defvjp(
    _odeint,  # the engine's messages call it so
    lambda bars, y, z0, ts, flat, problem: bars[0],
    lambda bars, y, z0, ts, flat, problem: bars[1],
    lambda bars, y, z0, ts, flat, problem: bars[2],
    shared=lambda zs_bar, y, z0, ts, flat, problem: problem.adjoint(zs_bar, y[1]),
    saves=True)
