"""The field f(z, t, theta) of 13.7: what the caller writes, and the same as the solvers call it."""
from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..autodiff import Tensor
from ..autodiff.tree import Tree
from ..names import foreign, ordinary, what


class Field(Protocol):
    """dz/dt = f(z, t, theta), the right-hand side of 13.7: any function of this shape.

    z      the state: an array of z0's shape and dtype, read-only
    t      the time: a 0-d array of z0's dtype. The solver counts it in float64; a float32 field
           sees it rounded, to 64 at t = 1e9 (a warning when a step is hardly more than that)
    theta  the tree given to `solve` or `odeint`, its arrays read-only

    It returns dz/dt, an array of z's shape and dtype. For a gradient it is called on Tensors too;
    written in plain NumPy it works on both.

    A field that knows its derivatives can bring them as a method

        vjp(z, t, theta, a) -> (f, a ∂f/∂z, a ∂f/∂theta, a ∂f/∂t)

    which is then used in place of the engine. a has z's shape; what is returned has the shapes of
    z, of z, (P,) with theta's float leaves in the order of `ravel`, and (). See MLPField.

    >>> from refvdm.ode import solve
    >>> def pendulum(z, t, theta):
    ...     return np.stack([z[1], -theta["g"] * np.sin(z[0])])
    >>> solve(pendulum, np.array([0.1, 0.0]), [0.0, 1.0], {"g": np.array(9.8)}).zs.shape
    (2, 2)
    """

    def __call__(self, z: np.ndarray, t: np.ndarray, theta: Tree, /) -> np.ndarray: ...


def check_z_first(f: Any) -> None:
    """TypeError for a function whose first parameter is called t: written by another's habit."""
    names = getattr(getattr(f, "__code__", None), "co_varnames", ())
    if names[:1] == ("t",):
        raise _swapped("has t as its first parameter")


def _swapped(what: str) -> TypeError:
    return TypeError(f"the field is called as f(z, t, theta), z first, but {what} and seems to be "
                     "written f(t, z, theta), as for SciPy")


class Counted(Protocol):
    """dy/dt of a flat state y (n,), written into out; it counts how often f was called."""

    theta: Tree
    nfev: int

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray, /) -> None: ...


class CountedField:
    """The caller's f as a Counted right-hand side, its answers checked."""

    def __init__(self, f: Field, theta: Tree, z0: np.ndarray):
        self.f, self.theta, self.nfev = f, theta, 0
        self.shape, self.dtype, self.flat = z0.shape, z0.dtype, z0.ndim == 1

    def __call__(self, t: float, y: np.ndarray, out: np.ndarray) -> None:
        y.setflags(write=False)  # it is the solver's own state
        self.nfev += 1
        z = y if self.flat else y.reshape(self.shape)
        try:
            dz = self.f(z, np.array(t, self.dtype), self.theta)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            if self.nfev == 1 and self._t_first(z, np.array(t, self.dtype)):
                raise _swapped("raises " + type(error).__name__) from error
            raise
        if type(dz) is not np.ndarray or dz.shape != self.shape or dz.dtype is not self.dtype:
            dz = self.checked(dz)
        out[:] = dz if self.flat else dz.reshape(-1)

    def _t_first(self, z: np.ndarray, t: np.ndarray) -> bool:
        """Whether f works when it is given t before z."""
        field: Any = self.f
        try:
            dz = getattr(field, "t_first", field)(t, z, self.theta)
        except Exception:  # noqa: BLE001  it is the caller's, and was not asked for
            return False
        return np.shape(dz) == self.shape != ()

    def checked(self, dz: Any) -> np.ndarray:
        """What f returned, as an array of z's shape and dtype; ValueError or TypeError."""
        if type(dz) is Tensor:
            raise TypeError(
                "the field returns a Tensor: it closes over one of an outer recording, whose "
                "gradient would be lost. Pass it in theta, to refvdm.ode.odeint, "
                "or use stop_gradient")
        if foreign(dz) or not ordinary(dz) or dz is None:
            raise TypeError(f"the field must return dz/dt as an array, got {what(dz)}")
        array = np.asarray(dz)
        if array.shape != self.shape:
            raise ValueError(f"the field must return dz/dt of z's shape {self.shape}, got shape "
                             f"{array.shape}; it is called as f(z, t, theta), z first")
        if array.dtype != self.dtype:
            raise TypeError(f"the field must return dz/dt of z's dtype {self.dtype}, got "
                            f"{array.dtype}: cast theta, its constants or z0")
        return array
