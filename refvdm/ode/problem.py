"""What is asked for: the field, where it starts, the times and the options, all checked."""
from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autodiff import Tensor
from .controller import CONTROLLERS
from .tableau import METHODS, Tableau

Tree = Any


class Options(NamedTuple):
    """How to integrate, checked."""

    method: str
    rtol: float
    atol: float
    controller: str
    step: float | None
    max_steps: int

    @property
    def tableau(self) -> Tableau:
        return METHODS[self.method]


def check_options(who: str, **given: Any) -> Options:
    """Options, or a ValueError that names the argument, what was expected and what came."""
    o = Options(**given)
    for name, known in (("method", METHODS), ("controller", CONTROLLERS)):
        if not isinstance(value := getattr(o, name), str) or value not in known:
            raise ValueError(f"{who}: unknown {name} {value!r}; known are {', '.join(known)}")
    for name in ("rtol", "atol") if o.step is None else ("rtol", "atol", "step"):
        value = getattr(o, name)
        if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)) or not 0 < value < math.inf:
            raise ValueError(f"{who}: {name} must be a positive finite number, got {value!r}")
    if o.step is None and o.tableau.e is None:
        raise ValueError(f"{who}: method {o.method!r} has no error estimate: give it a fixed step=, "
                         f"or choose {' or '.join(m for m, tableau in METHODS.items() if tableau.e)}")
    if isinstance(o.max_steps, bool) or not isinstance(o.max_steps, (int, np.integer)) or o.max_steps < 1:
        raise ValueError(f"{who}: max_steps must be a positive integer, got {o.max_steps!r}")
    return o._replace(rtol=float(o.rtol), atol=float(o.atol), step=None if o.step is None else float(o.step))


def check_state(z0: Any) -> np.ndarray:
    """z0 as an array of its own, float64 or float32, finite; TypeError or ValueError otherwise."""
    if type(z0) is Tensor:
        raise TypeError("solve: z0 is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    if isinstance(z0, np.ma.MaskedArray):
        raise TypeError("solve: z0 is a masked array, whose mask would be lost")
    z0 = np.array(z0, order="C")
    if z0.dtype not in (np.float32, np.float64):
        raise TypeError(f"solve: z0 must be of dtype float64 or float32, got {z0.dtype}; cast it with .astype(float)")
    if z0.size == 0 or not np.isfinite(z0).all():
        raise ValueError(f"solve: z0 must hold at least one number and finite ones only, got shape {z0.shape}: {z0}")
    return z0


def check_times(ts: Any) -> np.ndarray:
    """ts as float64 (n,), finite and in order; TypeError or ValueError otherwise."""
    if type(ts) is Tensor:
        raise TypeError("solve: ts is a Tensor; inside vjp or grad use refvdm.ode.odeint")
    ts = np.array(ts)
    if ts.ndim != 1 or ts.size == 0 or ts.dtype.kind not in "fiu":
        raise ValueError(f"solve: ts must be a vector of at least one time, got shape {ts.shape} and dtype {ts.dtype}")
    ts = ts.astype(np.float64)
    with np.errstate(all="ignore"):
        gaps = np.diff(ts)
    if not np.isfinite(ts).all() or not ((gaps >= 0).all() or (gaps <= 0).all()):
        raise ValueError(f"solve: ts must be finite and in increasing or decreasing order, got {ts}")
    return ts


class Field:
    """The user's f(z, t, theta) as a right-hand side over flat states: counted, its answers checked."""

    def __init__(self, f: Callable, theta: Tree, z0: np.ndarray):
        self.f, self.theta, self.shape, self.dtype, self.flat, self.nfev = f, theta, z0.shape, z0.dtype, z0.ndim == 1, 0

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        y.setflags(write=False)  # it is the solver's own state
        self.nfev += 1
        dz = self.f(y if self.flat else y.reshape(self.shape), np.array(t, self.dtype), self.theta)
        if type(dz) is not np.ndarray or dz.shape != self.shape or dz.dtype is not self.dtype:
            dz = self.checked(dz)
        out[:] = dz if self.flat else dz.reshape(-1)

    def checked(self, dz: Any) -> np.ndarray:
        if type(dz) is Tensor:
            raise TypeError("the field returns a Tensor: it closes over one of an outer recording, whose gradient would be lost. "
                            "Pass it in theta, to refvdm.ode.odeint, or use stop_gradient")
        array = np.asarray(dz)
        if array.shape != self.shape:
            raise ValueError(f"the field must return dz/dt of z's shape {self.shape}, got shape {array.shape}")
        if array.dtype != self.dtype:
            raise TypeError(f"the field must return dz/dt of z's dtype {self.dtype}, got {array.dtype}: cast theta, its constants or z0")
        return array
