"""What is asked for in 13.8: where to start, at which times, and how to integrate, all checked."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Tensor
from ..names import foreign
from .controller import CONTROLLERS
from .tableau import METHODS, Tableau


class Options(NamedTuple):
    """How to integrate, checked; the arguments of `solve`."""

    method: str
    rtol: Any  # a number, or one for every element of the state, flat (n,)
    atol: Any
    controller: str
    step: float | None
    max_steps: int
    first_step: float | None = None
    max_step: float = math.inf

    @property
    def tableau(self) -> Tableau:
        return METHODS[self.method]


def check_options(who: str, *, method: Any = "dopri5", rtol: Any = 1e-6, atol: Any = 1e-9,
                  controller: Any = "scipy", step: Any = None, max_steps: Any = 10_000,
                  first_step: Any = None, max_step: Any = math.inf) -> Options:
    """Options, or a ValueError that names the argument, what was expected and what came."""
    options = Options(
        checks.one_of(f"{who}: method", method, METHODS),
        _tolerance(f"{who}: rtol", rtol), _tolerance(f"{who}: atol", atol),
        checks.one_of(f"{who}: controller", controller, CONTROLLERS),
        None if step is None else checks.positive(f"{who}: step", step),
        checks.integer(f"{who}: max_steps", max_steps),
        None if first_step is None else checks.positive(f"{who}: first_step", first_step),
        checks.number(f"{who}: max_step", max_step, "(0, inf]"))
    if options.step is not None and (first_step is not None or options.max_step < math.inf):
        raise ValueError(f"{who}: first_step and max_step are of adaptive steps; step= fixes all")
    if options.step is None and options.tableau.e is None:
        adaptive = " or ".join(name for name, tableau in METHODS.items() if tableau.e)
        raise ValueError(f"{who}: method {method!r} has no error estimate: give it a fixed step=, "
                         f"or choose {adaptive}")
    return options


def _tolerance(name: str, x: Any) -> Any:
    if not isinstance(x, np.ndarray):
        return checks.positive(name, x)
    x = checks.reals(name, x, (...,))
    if not np.all(x > 0):
        raise ValueError(f"{name} must be positive, got {x.min()}")
    return x


def spread(options: Options, z0: np.ndarray) -> Options:
    """The same for this state: tolerances that are arrays broadcast against it, and lie flat."""
    flat: dict[str, Any] = {}
    for name in ("rtol", "atol"):
        x = getattr(options, name)
        if isinstance(x, np.ndarray):
            try:
                flat[name] = np.broadcast_to(x, z0.shape).reshape(-1).astype(z0.dtype)
            except ValueError:
                raise ValueError(f"solve: {name} must be a number or broadcast against z0's shape "
                                 f"{z0.shape}, got shape {x.shape}") from None
    return options._replace(**flat)


def check_state(z0: Any) -> np.ndarray:
    """z0 as an array of its own, float64 or float32, finite; TypeError or ValueError otherwise."""
    if isinstance(z0, Tensor):
        raise TypeError("solve: z0 is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    if not isinstance(z0, np.ndarray) and not foreign(z0):
        try:
            z0 = np.array(z0)  # a number or nested lists
        except ValueError as error:
            raise ValueError(f"solve: z0 must be one array: {error}") from None
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
