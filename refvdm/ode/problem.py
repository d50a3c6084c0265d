"""What is asked for: where to start, at which times, and how to integrate, all checked."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Tensor
from .controller import CONTROLLERS
from .tableau import METHODS, Tableau


class Options(NamedTuple):
    """How to integrate, checked; the arguments of `solve`."""

    method: str
    rtol: float
    atol: float
    controller: str
    step: float | None
    max_steps: int

    @property
    def tableau(self) -> Tableau:
        return METHODS[self.method]


def check_options(who: str, method: Any, rtol: Any, atol: Any, controller: Any, step: Any,
                  max_steps: Any) -> Options:
    """Options, or a ValueError that names the argument, what was expected and what came."""
    options = Options(
        checks.one_of(f"{who}: method", method, METHODS),
        checks.positive(f"{who}: rtol", rtol),
        checks.positive(f"{who}: atol", atol),
        checks.one_of(f"{who}: controller", controller, CONTROLLERS),
        None if step is None else checks.positive(f"{who}: step", step),
        checks.integer(f"{who}: max_steps", max_steps))
    if options.step is None and options.tableau.e is None:
        adaptive = " or ".join(name for name, tableau in METHODS.items() if tableau.e)
        raise ValueError(f"{who}: method {method!r} has no error estimate: give it a fixed step=, "
                         f"or choose {adaptive}")
    return options


def check_state(z0: Any) -> np.ndarray:
    """z0 as an array of its own, float64 or float32, finite; TypeError or ValueError otherwise."""
    if isinstance(z0, Tensor):
        raise TypeError("solve: z0 is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    if not isinstance(z0, np.ndarray):
        z0 = np.array(z0)  # a number or nested lists
    z0 = checks.floats("solve: z0", z0, (...,))
    if z0.dtype not in (np.float32, np.float64):
        raise TypeError(f"solve: z0 must be of dtype float64 or float32, got dtype {z0.dtype}; "
                        f"cast it with .astype(float)")
    if z0.size == 0:
        raise ValueError(f"solve: z0 must hold at least one number, got shape {z0.shape}")
    return np.array(z0, order="C")


def check_times(ts: Any) -> np.ndarray:
    """ts as float64 (n,), finite and in order; TypeError or ValueError otherwise."""
    if isinstance(ts, Tensor):
        raise TypeError("solve: ts is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    ts = checks.reals("solve: ts", ts, ("n",))
    if ts.size == 0:
        raise ValueError("solve: ts must hold at least one time, got shape (0,)")
    if not ((ts[:-1] <= ts[1:]).all() or (ts[:-1] >= ts[1:]).all()):
        raise ValueError(f"solve: ts must be in increasing or decreasing order, got {ts}")
    return ts
