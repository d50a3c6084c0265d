"""z0 as a tree: the solvers walk with one vector, the caller's f and results keep the tree's form.

A dict is a tree, and so is a list or tuple with a dict in it or an array that has axes; nested
lists of numbers are one array. Leaves are floats of one dtype.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import checks
from ..autodiff import Array, Tensor, ravel
from ..autodiff.tree import Tree, TreesDiffer, filled, is_float, leaves, matched, tree_leaves
from .field import Field

if TYPE_CHECKING:
    from .solve import Solution


def is_tree(z0: Any) -> bool:
    if isinstance(z0, (list, tuple)):
        return any(is_tree(part) or isinstance(part, (np.ndarray, Tensor)) and part.ndim > 0
                   for part in z0)
    return isinstance(z0, dict)


class TreeState:
    """A tree of states, .flat (n,) as one vector, and the ways back."""

    def __init__(self, who: str, z0: Tree):
        for path, leaf in tree_leaves(z0):
            try:
                floats = is_float(leaf)
            except TypeError as error:
                raise TypeError(f"{who}: z0{path}: {error}") from None
            if not floats:
                raise TypeError(f"{who}: z0 must hold floats only, got {leaf!r} at {path}; cast "
                                f"integers with .astype(float)")
        if not leaves(z0):
            raise ValueError(f"{who}: z0 must hold at least one number, got {z0!r}")
        dtypes = {np.dtype(leaf.dtype.type) for leaf in leaves(z0) if hasattr(leaf, "dtype")}
        if len(dtypes) > 1:
            raise TypeError(f"{who}: z0 must hold floats of one dtype, got "
                            f"{', '.join(sorted(map(str, dtypes)))}")
        self.flat, self._unravel = ravel(z0)
        self.like, self.shapes = filled(z0, leaves(z0)), [np.shape(leaf) for leaf in leaves(z0)]

    def tree(self, flat: Any) -> Tree:
        """(n,) as a tree like z0."""
        return self._unravel(flat, copy=False)

    def rows(self, flat: Any) -> Tree:
        """(..., n) as a tree with the leading axes in front of every leaf's own."""
        pieces, start, lead = [], 0, np.shape(flat)[:-1]
        for shape in self.shapes:
            n = int(np.prod(shape))
            pieces.append(np.reshape(flat[..., start : start + n], (*lead, *shape)))
            start += n
        return filled(self.like, pieces)

    def joined(self, name: str, tree: Tree, lead: tuple[int, ...] = ()) -> Array:
        """The way back: a tree like z0, its leaves with these axes in front, as (*lead, n)."""
        try:
            parts = matched(self.like, tree)
        except TreesDiffer as error:
            raise ValueError(f"{name} must be a tree like z0: {error}") from None
        for (path, _), part, shape in zip(tree_leaves(self.like), parts, self.shapes):
            if np.shape(part) != (*lead, *shape):
                raise ValueError(f"{name} must have shape {(*lead, *shape)} at {path}, as z0, got "
                                 f"{np.shape(part)}")
        return np.concatenate([np.reshape(part, (*lead, -1)) for part in parts], axis=-1)

    def tolerance(self, name: str, x: Any) -> Any:
        """What is one number for all; a tree like z0, of what broadcasts against its leaves, as
        (n,)."""
        if not isinstance(x, (dict, list, tuple)):  # or what check_options refuses
            return x
        try:
            return np.concatenate([np.broadcast_to(part, shape).reshape(-1)
                                   for part, shape in zip(matched(self.like, x), self.shapes)])
        except ValueError as error:
            raise ValueError(f"{name} must be a number, or a tree like z0 whose leaves broadcast "
                             f"against its: {error}") from None


class TreeField:
    """f(z, t, theta) of a tree z as a field of one vector."""

    def __init__(self, f: Field, state: TreeState):
        self.f, self.state = f, state

    def __call__(self, z: Any, t: Any, theta: Tree) -> Any:
        return self._joined(checks.called("the field, given z as the tree that z0 is,", self.f,
                                          self.state.tree(z), t, theta))

    def t_first(self, t: Any, z: Any, theta: Tree) -> Any:
        """As if f were written f(t, z, theta)."""
        return self._joined(self.f(t, self.state.tree(z), theta))

    def _joined(self, dz: Any) -> Any:
        return self.state.joined("what the field returns, called as f(z, t, theta), z first,", dz)


class TreeSolution:
    """A Solution for a z0 that is a tree: .zs, .z0 and solution(t) are trees like it, with the axis
    of times in front of every leaf's own. The rest is as in Solution; .flat is the solution as the
    solver has it, of one vector.

    >>> from refvdm.ode import solve
    >>> f = lambda z, t, theta: {"x": z["v"], "v": -z["x"]}
    >>> solution = solve(f, {"x": np.ones(3), "v": np.zeros(3)}, [0.0, 0.5, 1.0])
    >>> solution.zs["x"].shape, np.allclose(solution.zs["x"][-1], np.cos(1), rtol=1e-5)
    ((3, 3), True)
    """

    def __init__(self, flat: Solution, state: TreeState):
        self.flat, self.state = flat, state

    @property
    def zs(self) -> Tree:
        return self.state.rows(self.flat.zs)

    @property
    def z0(self) -> Tree:
        return self.state.tree(self.flat.z0)

    def __call__(self, t: Any) -> Tree:
        return self.state.rows(self.flat(t))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("flat", "state"):  # copying asks for what is not there
            raise AttributeError(name)
        return getattr(self.flat, name)

    def __repr__(self) -> str:
        return f"{self.flat!r} of a tree"
