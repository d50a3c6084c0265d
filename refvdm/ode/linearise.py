"""The field beside its linearisation, what every backward mode is made of (13.12, 13.15).

That is f and the map a -> a ∂f/∂[z, theta, t].
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..autodiff import vjp
from ..autodiff.tree import Tree, filled, is_float, leaves
from .field import CountedField, Field

Pull = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]


class LinearisedField(CountedField):
    """A field that can also be pulled back: counted in .nvjp, once for every cotangent.

    The generic way is the engine's vjp of f, recorded anew at each time. A field that can do better
    offers a method f.vjp(z, t, theta, a) -> (f, a ∂f/∂z, a ∂f/∂theta, a ∂f/∂t), of the shapes of z,
    z, (P,) in ravel order, (); see MLPField.
    """

    def __init__(self, f: Field, theta: Tree, z0: np.ndarray):
        super().__init__(f, theta, z0)
        self.nvjp = 0
        self.n_theta = sum(np.size(leaf) for leaf in leaves(theta) if is_float(leaf))

    def linearise(self, t: float, z: np.ndarray) -> tuple[np.ndarray, Pull]:
        """f(z, t, theta) flat (n,), and the way back, for any number of cotangents.

        The map takes a (n,) to a ∂f/∂z (n,), a ∂f/∂theta (P,) in ravel order and a ∂f/∂t ().
        """
        z_t = z.reshape(self.shape), np.array(t, self.dtype)
        if hasattr(self.f, "vjp"):
            return self._flat(self.f(*z_t, self.theta)), lambda a: self._by_hand(*z_t, a)[1:]
        theta = (self.theta,) if self.n_theta else ()  # vjp wants something to differentiate
        dz, pullback = vjp(lambda z, t, theta=self.theta: self.f(z, t, theta), *z_t, *theta)
        if isinstance(dz, (list, tuple)):
            raise TypeError("for a gradient the field must return an array, not a list: "
                            "np.stack([...])")

        def pull(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            self.nvjp += 1
            z_bar, t_bar, *theta_bar = pullback(a.reshape(self.shape))
            parts = [leaf.reshape(-1) for leaf in leaves(theta_bar) if leaf is not None]
            flat = np.concatenate(parts) if parts else np.zeros(0, self.dtype)
            return z_bar.reshape(-1), flat, t_bar

        return self._flat(dz), pull

    def pulled(self, t: float, z: np.ndarray, a: np.ndarray) -> Any:
        """f, a ∂f/∂z, a ∂f/∂theta, a ∂f/∂t, in one go."""
        if hasattr(self.f, "vjp"):
            return self._by_hand(z.reshape(self.shape), np.array(t, self.dtype), a)
        dz, pull = self.linearise(t, z)
        return dz, *pull(a)

    def value(self, t: float, z: np.ndarray) -> np.ndarray:
        """f(z, t, theta) flat (n,)."""
        dz = np.empty(z.size, self.dtype)
        self(t, z.reshape(-1).view(), dz)
        return dz

    def gradient_tree(self, theta_bar: np.ndarray) -> Tree:
        """The vector (P,) as a tree like theta, None in the place of constants."""
        pieces: list[np.ndarray | None] = []
        start = 0
        for leaf in leaves(self.theta):
            if not is_float(leaf):
                pieces.append(None)
                continue
            piece = theta_bar[start : start + np.size(leaf)].reshape(np.shape(leaf))
            start += piece.size
            pieces.append(piece.astype(getattr(leaf, "dtype", piece.dtype)))
        return filled(self.theta, pieces)

    def _by_hand(self, z: np.ndarray, t: np.ndarray, a: np.ndarray) -> Any:
        self.nvjp += 1
        field: Any = self.f  # here it has a vjp
        answer = field.vjp(z, t, self.theta, a.reshape(self.shape))
        if not isinstance(answer, tuple) or len(answer) != 4:
            raise TypeError(f"the field's vjp must return a tuple (f, a df/dz, a df/dtheta, "
                            f"a df/dt), got {type(answer).__name__}")
        shapes = {"df/dz": self.shape, "df/dtheta": (self.n_theta,), "df/dt": ()}
        z_bar, theta_bar, t_bar = (_bar(f"a {name}", bar, shape, t)
                                   for bar, (name, shape) in zip(answer[1:], shapes.items()))
        return self._flat(answer[0]), z_bar.reshape(-1), theta_bar, t_bar

    def _flat(self, dz: Any) -> np.ndarray:
        return self.checked(dz).reshape(-1)


def _bar(name: str, bar: Any, shape: tuple, t: np.ndarray) -> np.ndarray:
    """What a field's own vjp returned; nan is for the solver, which may have stepped too far."""
    if type(bar) is not np.ndarray or bar.dtype.kind != "f" or bar.shape != shape:
        bar = np.asarray(bar) if shape == () and isinstance(bar, (float, np.floating)) else bar
        checks.floats(f"{name} of the field's vjp, at t = {t},", bar, shape, finite=False)
    return bar
