"""Trees: nested dicts, lists and tuples whose leaves are arrays.

Parameters, cotangents and results are trees. A dict keeps its insertion order, so the order of the
leaves is the order in which a reader sees them written. Float leaves are differentiated; integer,
bool and None leaves are constants that every function here carries along untouched.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..names import foreign, ordinary, what

# A leaf, or a dict, list or tuple of trees. What a function returns has the structure of what it
# was given, and no type can say so: Any, so that `grads["W1"]` needs no cast.
Tree = Any

# Arrays whose meaning a plain array would lose: the mask, and what * does.
EXTRAORDINARY = (np.ma.MaskedArray, np.matrix)


def children(tree: Tree) -> list[tuple[str, Tree]] | None:
    """The named children of a dict, list or tuple, ("['W1']", child) in order; None for a leaf."""
    if isinstance(tree, dict):
        return [(f"[{key!r}]", child) for key, child in tree.items()]
    if isinstance(tree, (list, tuple)):
        return [(f"[{i}]", child) for i, child in enumerate(tree)]
    return None


def tree_leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf with its path, depth first: ("['encoder'][0]['W1']", array).

    >>> from refvdm.autodiff import tree_leaves
    >>> [path for path, leaf in tree_leaves({"a": np.ones(2), "b": [np.zeros(1), 2]})]
    ["['a']", "['b'][0]", "['b'][1]"]
    """
    below = children(tree)
    if below is None:
        yield path, tree
    else:
        for step, child in below:
            yield from tree_leaves(child, path + step)


def leaves(tree: Tree) -> list:
    """Every leaf, depth first."""
    if not isinstance(tree, (dict, list, tuple)):
        return [tree]
    found = []
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, (dict, list, tuple)):
            found += leaves(child)
        else:
            found.append(child)
    return found


def filled(tree: Tree, flat: Iterable) -> Tree:
    """The tree with the leaves of `flat` in the place of its own, in new containers."""
    return _filled(tree, iter(flat))


def _filled(tree: Tree, flat: Iterator) -> Tree:
    nested = (dict, list, tuple)
    if isinstance(tree, dict):
        return {key: _filled(child, flat) if isinstance(child, nested) else next(flat)
                for key, child in tree.items()}
    if isinstance(tree, (list, tuple)):
        children = [_filled(child, flat) if isinstance(child, nested) else next(flat)
                    for child in tree]
        # a NamedTuple takes its fields one by one
        return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)
    return next(flat)


def matched(tree: Tree, other: Tree) -> list:
    """What stands in `other` in the places of the leaves of `tree`: the same structure down to
    there, dicts with the same keys in any order. ValueError naming the place where they differ."""
    if not isinstance(tree, (dict, list, tuple)):
        return [other]
    if not _same_node(tree, other):
        raise TreesDiffer(tree, other)
    found = []
    for key, child in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if not isinstance(child, (dict, list, tuple)):  # most children are leaves
            found.append(other[key])
            continue
        try:
            found += matched(child, other[key])
        except TreesDiffer as error:
            error.path.append(key)
            raise
    return found


def numbers(name: str, x: Any) -> np.ndarray:
    """The array of floats that a formula takes; complex ones too, for those who differentiate by a
    complex step."""
    if isinstance(x, (float, complex)) or isinstance(x, (np.ndarray, np.generic)) and (
            x.dtype.kind in "fc" and not isinstance(x, EXTRAORDINARY)):
        return np.asarray(x)
    raise TypeError(f"{name} must be an array of floats, got {what(x)}")


def tree_map(f: Callable, tree: Tree, *others: Tree) -> Tree:
    """The tree with f(leaf, *leaves of the others at the same place) for every leaf. ValueError as
    `matched`.

    >>> from refvdm.autodiff import tree_map
    >>> tree_map(lambda x, y: x + y, {"a": 1.0, "b": (2.0,)}, {"a": 10.0, "b": (20.0,)})
    {'a': 11.0, 'b': (22.0,)}
    """
    if not callable(f):
        raise TypeError(f"tree_map: f must be callable as f(*leaves), got {type(f).__name__}")
    return filled(tree, list(map(f, leaves(tree), *[matched(tree, other) for other in others])))


class TreesDiffer(ValueError):
    """Two trees of different structure; the place is known once the error has come all the way."""

    def __init__(self, expected: Tree, got: Tree):
        super().__init__()
        self.path: list[Any] = []
        self.expected, self.got = _describe(expected), _describe(got)

    def __str__(self) -> str:
        place = "".join(f"[{key!r}]" for key in reversed(self.path)) or "the root"
        return f"trees differ at {place}: expected {self.expected}, got {self.got}"


def _same_node(a: Tree, b: Tree) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys()
    return isinstance(b, (list, tuple)) and len(a) == len(b)


def _describe(tree: Tree) -> str:
    if isinstance(tree, dict):
        return f"a dict with keys {list(tree)}"
    if isinstance(tree, (list, tuple)):
        return f"a {type(tree).__name__} of length {len(tree)}"
    return f"a leaf of type {type(tree).__name__}"


def is_float(leaf: Any) -> bool:
    """True for what is differentiated: arrays, NumPy scalars, Python floats and Tensors of a real
    floating dtype.

    TypeError for what is neither that nor a constant (integer, bool, None): complex numbers,
    strings, masked arrays, np.matrix.
    """
    if type(leaf) is np.ndarray and leaf.dtype.kind == "f" or isinstance(leaf, float):
        return True
    if leaf is None or isinstance(leaf, (bool, int)):
        return False
    dtype = getattr(leaf, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub" or foreign(leaf) or (
            isinstance(leaf, EXTRAORDINARY)):
        raise TypeError(f"expected an array of real floats as a leaf of the tree (or an integer, "
                        f"bool or None constant), got {what(leaf)}")
    return dtype.kind == "f"


def float_dtype(tree: Tree) -> np.dtype:
    """The widest dtype of the tree's float arrays; float64 when there are none."""
    dtypes = [leaf.dtype for leaf in leaves(tree)
              if getattr(getattr(leaf, "dtype", None), "kind", "") == "f"]
    return np.result_type(*dtypes) if dtypes else np.dtype(np.float64)


def ravel(tree: Tree) -> tuple[Any, Callable[..., Tree]]:
    """flat, unravel: all float leaves as one vector (n,) in leaf order, and the way back.

    `unravel(flat)` puts the constants (integer, bool and None leaves) back where they were and
    gives every leaf its own shape and dtype; its arrays are copies unless `copy=False`. Leaves of
    several dtypes meet in the widest. Works on Tensors too. ValueError when `flat` does not have
    shape (n,); TypeError when there is no float leaf.

    >>> from refvdm.autodiff import ravel
    >>> flat, unravel = ravel({"w": np.array([[1.0, 2.0]]), "n": 3, "b": np.array([5.0])})
    >>> flat.tolist(), unravel(2 * flat)["w"].tolist(), unravel(flat)["n"]
    ([1.0, 2.0, 5.0], [[2.0, 4.0]], 3)
    """
    given = leaves(tree)
    like = filled(tree, given)
    places = [i for i, leaf in enumerate(given) if is_float(leaf)]
    floats = [leaf if hasattr(leaf, "reshape") else np.asarray(leaf)
              for leaf in map(given.__getitem__, places)]
    if not floats:
        raise TypeError("ravel: expected a tree with at least one float leaf, got none")
    flat = np.concatenate([leaf.reshape(-1) for leaf in floats])
    n = flat.size

    def unravel(flat: Any, copy: bool = True) -> Tree:
        if np.shape(flat) != (n,):
            raise ValueError(f"unravel: flat must have shape ({n},), got {np.shape(flat)}")
        if getattr(getattr(flat, "dtype", None), "kind", "") != "f" or not ordinary(flat):
            raise TypeError(f"unravel: flat must be an array of floats, got {what(flat)}")
        pieces, start = list(given), 0
        for i, leaf in zip(places, floats):
            piece = flat[start : start + leaf.size].reshape(leaf.shape)
            start += leaf.size
            if isinstance(piece, np.ndarray):
                piece = piece.astype(leaf.dtype, copy=copy)
            pieces[i] = piece
        return filled(like, pieces)

    return flat, unravel
