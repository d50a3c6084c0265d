"""Gradients: run a function on Tensors, then walk its nodes by falling creation index.

What this leaves out: higher derivatives and forward mode (a Tensor as a primal, or a Tensor of an outer recording, is a
TypeError, never a lost gradient), complex numbers, in-place changes, and every function outside the set of rules.py.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .tensor import Recording, Tensor, _name
from .tree import Tree, is_float, leaves, tree_map


def vjp(f: Callable, *primals: Tree) -> tuple[Tree, Callable[[Tree], tuple]]:
    """value, pullback: f(*primals), and the map from a cotangent of the value to those of the primals.

    Primals are trees of float arrays, any shapes; Python floats count as 0-d arrays. Their integer, bool and None leaves
    are constants: passed on unrecorded, cotangent None. `pullback(cotangent)` takes a tree like the value and returns a
    tuple with one tree for each primal, arrays of the primals' shapes and dtypes. It may be called again with equal bits, and
    what it returns shares no memory with anything.

    TypeError for a primal without a float leaf, a Tensor as a primal, and whatever f does that would lose a gradient.
    """
    recording = Recording()
    inputs = [_lift(primal, recording, i) for i, primal in enumerate(primals)]
    try:
        # containers go in and come out as copies: f may change the dicts and lists that it is given, or those that it returned
        output = _same(f(*map(_same, inputs)))
    finally:
        recording.open = False
    order = _reachable(output, recording)

    def pullback(cotangent: Tree) -> tuple:
        cotangents = _Cotangents()
        tree_map(lambda out, y_bar: _seed(out, y_bar, cotangents), output, cotangent)
        for node in order:
            if (y_bar := cotangents.pop(node)) is not None:
                _pull(node, y_bar, cotangents)
        return tuple(tree_map(lambda leaf: cotangents.take(leaf), primal) for primal in inputs)

    return tree_map(_detach, output), pullback


def value_and_grad(f: Callable, argnum: int = 0, has_aux: bool = False) -> Callable[..., tuple]:
    """g with g(*args) = (f(*args), df/d args[argnum]); f returns a scalar, or (scalar, aux) with has_aux.

    Only args[argnum] is recorded; the gradient is a tree like it. With has_aux the first part is (value, aux), aux as plain
    arrays. ValueError when f does not return a scalar (shape ()); the errors of `vjp`.
    """
    _check_integer(argnum)

    def g(*args, **kwargs):
        _check_range(argnum, args)
        aux = None

        def scalar(x):
            nonlocal aux
            y = f(*_filled(args, argnum, x), **kwargs)
            if has_aux:
                if not (isinstance(y, tuple) and len(y) == 2):
                    raise TypeError(f"has_aux: the function must return (scalar, aux), got {_what(y)}")
                y, aux = y
                _check_recording(aux, next(leaf.recording for leaf in leaves(x) if type(leaf) is Tensor))
                aux = tree_map(_detach, aux)
            if not is_float(y) or np.shape(y) != ():
                raise ValueError(f"a gradient needs a function with one float value of shape (), got {_what(y)}; "
                                 f"sum it, or use vjp or jacobian")
            return y

        y, pullback = vjp(scalar, args[argnum])
        y = np.asarray(y)  # a float when the function is constant
        (x_bar,) = pullback(np.ones_like(y))
        return ((y, aux) if has_aux else y), x_bar

    return g


def grad(f: Callable, argnum: int = 0) -> Callable[..., Tree]:
    """g with g(*args) = df/d args[argnum], a tree like args[argnum]; f returns a scalar. See value_and_grad."""
    both = value_and_grad(f, argnum)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def jacobian(f: Callable, argnum: int = 0) -> Callable[..., Tree]:
    """g with g(*args) = the Jacobian of f by args[argnum]: every float leaf of shape s becomes an array f's shape + s.

    f returns one array. One pullback for each of its elements: for small outputs.
    """
    _check_integer(argnum)

    def g(*args, **kwargs):
        _check_range(argnum, args)
        y, pullback = vjp(lambda x: f(*_filled(args, argnum, x), **kwargs), args[argnum])
        if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
            raise TypeError(f"jacobian: the function must return one float array, got {_what(y)}")
        seeds = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [pullback(seed)[0] for seed in seeds]
        if not rows:
            return tree_map(lambda leaf: np.zeros(y.shape + np.shape(leaf), np.asarray(leaf).dtype) if is_float(leaf) else None, args[argnum])
        return tree_map(lambda *leaf: None if leaf[0] is None else np.stack(leaf).reshape(y.shape + leaf[0].shape), *rows)

    return g


def stop_gradient(tree: Tree) -> Tree:
    """The same numbers as plain arrays (copies): constants for everything that follows."""
    return tree_map(_detach, tree)


# ---------------------------------------------------------------- the pieces


def _same(tree: Tree) -> Tree:
    """The same leaves in new containers."""
    return tree_map(lambda leaf: leaf, tree)


def _lift(primal: Tree, recording: Recording, i: int) -> Tree:
    """The primal with a Tensor, an input of the recording, for every float leaf."""
    def lift(leaf):
        if type(leaf) is Tensor:
            raise TypeError("it holds a Tensor; only first derivatives are supported, so a gradient cannot be taken "
                            "inside another one (use stop_gradient for a constant)")
        return Tensor(np.array(leaf, order="C"), recording) if is_float(leaf) else leaf

    try:
        lifted = tree_map(lift, primal)
    except TypeError as error:
        raise TypeError(f"vjp: primal {i}: {error}") from None
    if not any(type(leaf) is Tensor for leaf in leaves(lifted)):
        raise TypeError(f"vjp: primal {i} has no float leaf to differentiate (cast integers with .astype(float))")
    return lifted


def _check_integer(argnum: Any) -> None:
    if isinstance(argnum, bool) or not isinstance(argnum, int):
        raise TypeError(f"argnum must be an integer, got {argnum!r}")


def _filled(args: tuple, argnum: int, x: Any) -> list:
    """args with x in the place of args[argnum]."""
    filled = list(args)
    filled[argnum] = x
    return filled


def _check_range(argnum: int, args: tuple) -> None:
    if not -len(args) <= argnum < len(args):
        raise ValueError(f"argnum = {argnum} but the function was called with {len(args)} positional arguments")


def _check_recording(output: Tree, recording: Recording) -> None:
    if any(type(leaf) is Tensor and leaf.recording is not recording for leaf in leaves(output)):
        raise TypeError("the function returns a Tensor of an outer recording; only first derivatives are supported")


def _detach(leaf: Any) -> Any:
    if type(leaf) is Tensor:
        return leaf.value.copy()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _reachable(output: Tree, recording: Recording) -> list[Tensor]:
    """The operations that the output depends on, latest first: every node comes before its parents. Inputs are not among them."""
    found: dict[int, Tensor] = {}
    _check_recording(output, recording)
    todo = [leaf for leaf in leaves(output) if type(leaf) is Tensor and leaf.parents]
    while todo:
        node = todo.pop()
        if node.index not in found:
            found[node.index] = node
            todo += [parent for _, parent in node.parents if parent.parents]
    return [found[index] for index in sorted(found, reverse=True)]


class _Cotangents:
    """Sums of cotangents by node. The first is borrowed, the second allocates, from the third on in place."""

    def __init__(self):
        self.sums: dict[int, np.ndarray] = {}
        self.owned: set[int] = set()

    def add(self, node: Tensor, x_bar: np.ndarray) -> None:
        before = self.sums.get(node.index)
        if before is None:
            self.sums[node.index] = x_bar
        elif node.index in self.owned:
            before += x_bar
        else:
            self.sums[node.index] = np.asarray(before + x_bar)
            self.owned.add(node.index)

    def pop(self, node: Tensor) -> np.ndarray | None:
        return self.sums.pop(node.index, None)

    def take(self, leaf: Any) -> np.ndarray | None:
        """The cotangent of an input, as an array of the caller's own; zeros when the output did not depend on it."""
        if type(leaf) is not Tensor:
            return None
        x_bar = self.sums.get(leaf.index)
        if x_bar is None:
            return np.zeros(leaf.value.shape, leaf.value.dtype)  # untouched pages when it is large: zeros_like would write them
        if leaf.index in self.owned:
            return x_bar.astype(leaf.dtype, copy=False)  # a sum is of the machine's byte order
        return np.array(x_bar, order="C")


def _seed(out: Any, y_bar: Any, cotangents: _Cotangents) -> None:
    if not (type(out) is Tensor or is_float(out)):
        return  # an integer or None in the output: whatever stands in its place is ignored
    if type(y_bar) is Tensor:
        raise TypeError("pullback: the cotangent is a Tensor; only first derivatives are supported")
    array = np.asarray(y_bar)
    if isinstance(y_bar, (np.ma.MaskedArray, np.matrix)) or array.dtype.kind != "f" and type(y_bar) is not int:
        raise TypeError(f"pullback: the cotangent must be real floats, got {_what(y_bar)}")
    if array.shape != np.shape(out):
        raise ValueError(f"pullback: the cotangent must have the value's shape {np.shape(out)}, got {array.shape}")
    if type(out) is Tensor:
        cotangents.add(out, array.astype(out.dtype, copy=False))


def _pull(node: Tensor, y_bar: np.ndarray, cotangents: _Cotangents) -> None:
    rule, y, args, kwargs = node.rule, node.answer, node.args, node.kwargs
    s = y_bar if rule.shared is None else rule.shared(y_bar, y, *args, **kwargs)
    for position, parent in node.parents:
        if rule.each is not None:
            x_bar = rule.each(position, s, y, *args, **kwargs)
        else:
            x_bar = rule.pulls[position](s, y, *args, **kwargs)
        x_bar = np.asarray(x_bar)
        if x_bar.shape != parent.value.shape:
            x_bar = unbroadcast(x_bar, parent.value.shape, rule)
        if x_bar.dtype is not parent.value.dtype:
            x_bar = x_bar.astype(parent.value.dtype)
        cotangents.add(parent, x_bar)


def unbroadcast(x_bar: np.ndarray, shape: tuple, rule: Any = None) -> np.ndarray:
    """The transpose of broadcasting: sum over the axes along which `shape` was repeated to give x_bar's shape.

    ValueError when x_bar's shape is no broadcast of `shape`: the rule is wrong.
    """
    lead = x_bar.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x_bar.shape[lead:])):
        where = f"the rule of {_name(rule.forward)}" if rule else "unbroadcast"
        raise ValueError(f"{where}: expected a cotangent of shape {shape} or a broadcast of it, got {x_bar.shape}")
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1)
    return np.asarray(np.sum(x_bar, axis=axes)).reshape(shape)


def _what(y: Any) -> str:
    if hasattr(y, "shape"):
        return f"{type(y).__name__} of shape {y.shape} and dtype {y.dtype}"
    return f"{type(y).__name__} {y!r}"
