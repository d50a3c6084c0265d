"""The field beside its linearisation: f and a -> a df/d[z, theta, t], what every backward mode is
made of (13.12, 13.15)."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import tree_map, vjp
from ..autodiff.tree import Tree, is_float, leaves
from .field import CountedField, Field

Pulled = tuple[np.ndarray, np.ndarray, np.ndarray, float]  # f, a df/dz, a df/dtheta, a df/dt
Pull = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, float]]


class LinearisedField(CountedField):
    """A field that can also be pulled back: counted in .nvjp, once for every cotangent.

    The generic way is the engine's vjp of f, recorded anew at each time. A field that can do better
    offers a method f.vjp(z, t, theta, a) -> (f, a df/dz, a df/dtheta, a df/dt), of the shapes of z,
    z, (P,) in ravel order, (); see MLPField.
    """

    def __init__(self, f: Field, theta: Tree, z0: np.ndarray):
        super().__init__(f, theta, z0)
        self.nvjp = 0
        self.by_hand: Any = getattr(f, "vjp", None)
        self.varies = [is_float(leaf) for leaf in leaves(theta)]
        self.n_theta = sum(np.size(leaf) for leaf, varies in zip(leaves(theta), self.varies)
                           if varies)

    def linearise(self, t: float, z: np.ndarray) -> tuple[np.ndarray, Pull]:
        """f(z, t, theta) flat (n,), and the map from a (n,) to a df/dz (n,), a df/dtheta (P,) in
        ravel order, a df/dt."""
        z, time = z.reshape(self.shape), np.array(t, self.dtype)
        if self.by_hand:
            dz = self.checked(self.f(z, time, self.theta))
            return dz.reshape(-1), lambda a: self._by_hand(z, time, a)[1:]
        if any(self.varies):
            dz, pullback = vjp(self.f, z, time, self.theta)
        else:  # nothing in theta to differentiate
            dz, pullback_z_t = vjp(lambda z, t: self.f(z, t, self.theta), z, time)

            def pullback(a):
                return *pullback_z_t(a), ()

        def pull(a: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
            self.nvjp += 1
            z_bar, t_bar, theta_bar = pullback(a.reshape(self.shape))
            return z_bar.reshape(-1), self._flat(theta_bar), t_bar

        if isinstance(dz, (list, tuple)):
            raise TypeError("for a gradient the field must return an array, not a list: "
                            "np.stack([...])")
        return self.checked(dz).reshape(-1), pull

    def pulled(self, t: float, z: np.ndarray, a: np.ndarray) -> Pulled:
        """f, a df/dz, a df/dtheta, a df/dt, in one go."""
        if self.by_hand:
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
        start = 0

        def take(leaf):
            nonlocal start
            if not is_float(leaf):
                return None
            piece = theta_bar[start : start + np.size(leaf)].reshape(np.shape(leaf))
            start += piece.size
            return piece.astype(getattr(leaf, "dtype", piece.dtype))

        return tree_map(take, self.theta)

    def _by_hand(self, z: np.ndarray, t: np.ndarray, a: np.ndarray) -> Pulled:
        self.nvjp += 1
        dz, z_bar, theta_bar, t_bar = self.by_hand(z, t, self.theta, a.reshape(self.shape))
        if theta_bar.shape != (self.n_theta,):
            raise ValueError(f"the field's vjp must return a df/dtheta of shape "
                             f"({self.n_theta},), got {theta_bar.shape}")
        return self.checked(dz).reshape(-1), z_bar.reshape(-1), theta_bar, t_bar

    def _flat(self, theta_bar: Tree) -> np.ndarray:
        parts = [leaf.reshape(-1) for leaf, varies in zip(leaves(theta_bar), self.varies) if varies]
        return np.concatenate(parts) if parts else np.zeros(0, self.dtype)
