"""Gradients: run a function on Tensors, then read its tape from the end.

What this leaves out: higher derivatives and forward mode (a Tensor as a primal, or a Tensor of an
outer recording, is a TypeError, never a lost gradient), complex numbers, in-place changes, and
every function outside the set of rules.py.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import refuse
from .tensor import Recording, Rule, Tensor
from .tree import Tree, filled, is_float, leaves, matched, tree_map


def vjp(f: Callable, *primals: Tree) -> tuple[Tree, Callable[[Tree], tuple]]:
    """value, pullback: f(*primals), and the map from a cotangent of the value to the primals'.

    Primals are trees of float arrays, any shapes; Python floats count as 0-d arrays. Their integer,
    bool and None leaves are constants: passed on unrecorded, cotangent None. `pullback(cotangent)`
    takes a tree like the value and returns a tuple with one tree for each primal, arrays of the
    primals' shapes and dtypes. It may be called again with equal bits, and what it returns shares
    no memory with anything.

    TypeError for a primal without a float leaf, a Tensor as a primal, and whatever f does that
    would lose a gradient.
    """
    recording = Recording()
    inputs = [_recorded(i, primal, recording) for i, primal in enumerate(primals)]
    # f may change the containers that it is given, the caller those that went in and came out
    kept = [filled(primal, flat) for primal, flat in zip(primals, inputs)]
    try:
        output = f(*(filled(primal, flat) for primal, flat in zip(primals, inputs)))
    finally:
        tape = recording.close()
    outputs = leaves(output)
    _check_own(outputs, recording)
    like_output = filled(output, outputs)

    def pullback(cotangent: Tree) -> tuple:
        bars = Cotangents(len(tape))
        for y, y_bar in zip(outputs, matched(like_output, cotangent)):
            _seed(y, y_bar, bars)
        for index in range(len(tape) - 1, -1, -1):
            if tape[index] is not None and (y_bar := bars.pop(index)) is not None:
                _pull(tape[index], y_bar, bars)
        return tuple(filled(primal, [bars.of_input(x) for x in flat])
                     for primal, flat in zip(kept, inputs))

    return filled(output, [_detached(y) for y in outputs]), pullback


def value_and_grad(f: Callable, argnum: int = 0, has_aux: bool = False) -> Callable[..., tuple]:
    """g with g(*args) = (f(*args), df/d args[argnum]); f returns a scalar, or (scalar, aux) with
    has_aux.

    Only args[argnum] is recorded; the gradient is a tree like it. With has_aux the first part is
    (value, aux), aux as plain arrays. ValueError when f does not return a scalar (shape ()); the
    errors of `vjp`.
    """
    _check_integer(argnum)

    def g(*args: Any, **kwargs: Any) -> tuple:
        _check_range(argnum, args)
        aux = None

        def scalar(x: Tree) -> Any:
            nonlocal aux
            y = f(*_with(args, argnum, x), **kwargs)
            if has_aux:
                if not (isinstance(y, tuple) and len(y) == 2):
                    raise refuse.no_aux(y)
                y, aux = y
                (own,) = {leaf.recording for leaf in leaves(x) if type(leaf) is Tensor}
                _check_own(leaves(aux), own)
                aux = stop_gradient(aux)
            if not is_float(y) or np.shape(y) != ():
                raise refuse.not_a_scalar(y)
            return y

        y, pullback = vjp(scalar, args[argnum])
        y = np.asarray(y)  # a float when the function is constant
        (x_bar,) = pullback(np.ones((), y.dtype))
        return ((y, aux) if has_aux else y), x_bar

    return g


def grad(f: Callable, argnum: int = 0) -> Callable[..., Tree]:
    """g with g(*args) = df/d args[argnum], a tree like args[argnum]; f returns a scalar. See
    value_and_grad."""
    both = value_and_grad(f, argnum)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def jacobian(f: Callable, argnum: int = 0) -> Callable[..., Tree]:
    """g with g(*args) = the Jacobian of f by args[argnum]: every float leaf of shape s becomes an
    array f's shape + s.

    f returns one array. One pullback for each of its elements: for small outputs.
    """
    _check_integer(argnum)

    def g(*args: Any, **kwargs: Any) -> Tree:
        _check_range(argnum, args)
        y, pullback = vjp(lambda x: f(*_with(args, argnum, x), **kwargs), args[argnum])
        if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
            raise refuse.not_one_array(y)
        units = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [leaves(pullback(unit)[0]) for unit in units]

        def stacked(i: int, x: Any) -> Any:
            if not is_float(x):
                return None
            column = [row[i] for row in rows] or np.zeros((0, *np.shape(x)), np.asarray(x).dtype)
            return np.array(column).reshape(y.shape + np.shape(x))

        return filled(args[argnum], [stacked(i, x) for i, x in enumerate(leaves(args[argnum]))])

    return g


def stop_gradient(tree: Tree) -> Tree:
    """The same numbers as plain arrays (copies): constants for everything that follows."""
    return tree_map(_detached, tree)


# ---------------------------------------------------------------- the way back


class Cotangents:
    """Sums of cotangents by place on the tape. The first is borrowed, the second allocates, from
    the third on it is added in place."""

    def __init__(self, n: int):
        self.sums: list[np.ndarray | None] = [None] * n
        self.owned: set[int] = set()

    def add(self, index: int, x_bar: np.ndarray) -> None:
        before = self.sums[index]
        if before is None:
            self.sums[index] = x_bar
        elif index in self.owned:
            before += x_bar
        else:
            self.sums[index] = np.asarray(before + x_bar)
            self.owned.add(index)

    def pop(self, index: int) -> np.ndarray | None:
        y_bar, self.sums[index] = self.sums[index], None
        return y_bar

    def of_input(self, x: Any) -> np.ndarray | None:
        """An input's cotangent as an array of the caller's own; 0 where nothing depended on it."""
        if type(x) is not Tensor:
            return None
        x_bar = self.sums[x.index]
        if x_bar is None:
            return np.zeros(x.shape, x.dtype)  # leaves large arrays untouched; zeros_like writes
        if x.index in self.owned:
            return x_bar.astype(x.dtype, copy=False)  # a sum is of the machine's byte order
        return x_bar.copy() if x_bar.dtype is x.dtype else np.array(x_bar, x.dtype)


def _seed(y: Any, y_bar: Any, bars: Cotangents) -> None:
    if type(y) is not Tensor and not is_float(y):
        return  # an integer or None in the output: whatever stands in its place is ignored
    array = y_bar if type(y_bar) is np.ndarray else np.asarray(refuse.no_tensor(y_bar))
    unfit = array.dtype.kind != "f" and type(y_bar) is not int
    if unfit or isinstance(y_bar, refuse.EXTRAORDINARY) or array.shape != np.shape(y):
        raise refuse.cotangent(y_bar, np.shape(y))
    if type(y) is Tensor:
        bars.add(y.index, array.astype(y.dtype, copy=False))


def _pull(node: tuple, y_bar: np.ndarray, bars: Cotangents) -> None:
    """One step back: from the cotangent of a node's value to those of its arguments."""
    rule, y, args, kwargs, parents = node
    s = y_bar if rule.shared is None else rule.shared(y_bar, y, *args, **kwargs)
    for position, x in parents:
        if rule.each is None:
            x_bar = rule.pulls[position](s, y, *args, **kwargs)
        else:
            x_bar = rule.each(position, s, y, *args, **kwargs)
        x_bar, value = np.asarray(x_bar), x.value
        if x_bar.shape != value.shape:
            x_bar = unbroadcast(x_bar, value.shape, rule)
        if x_bar.dtype is not value.dtype:
            x_bar = x_bar.astype(value.dtype)
        bars.add(x.index, x_bar)


def unbroadcast(x_bar: np.ndarray, shape: tuple, rule: Rule | None = None) -> np.ndarray:
    """The transpose of broadcasting: sum over the axes along which `shape` was repeated to give
    x_bar's shape.

    ValueError when x_bar's shape is no broadcast of `shape`: the rule is wrong.
    """
    lead = x_bar.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x_bar.shape[lead:])):
        raise refuse.no_broadcast(x_bar.shape, shape, rule)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1)
    return np.asarray(np.add.reduce(x_bar, axis=axes)).reshape(shape)


# ---------------------------------------------------------------- in and out


def _recorded(i: int, primal: Tree, recording: Recording) -> list:
    """The leaves of primal i, a Tensor for every float one: an input, with no node on the tape."""
    flat, tape = [], recording.tape
    for leaf in leaves(primal):
        if type(leaf) is Tensor:
            raise refuse.primal(i, refuse.tensor_as_primal())
        try:
            if is_float(leaf):
                tape.append(None)
                own = leaf.copy() if type(leaf) is np.ndarray else np.array(leaf, order="C")
                leaf = Tensor(own, recording, len(tape) - 1)
        except TypeError as error:
            raise refuse.primal(i, error) from None
        flat.append(leaf)
    if Tensor not in map(type, flat):
        raise refuse.no_float_leaf(i)
    return flat


def _detached(leaf: Any) -> Any:
    if type(leaf) is Tensor:
        return leaf.value.copy()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _check_own(outputs: list, recording: Recording) -> None:
    if any(type(leaf) is Tensor and leaf.recording is not recording for leaf in outputs):
        raise refuse.outer_tensor()


def _with(args: tuple, argnum: int, x: Any) -> list:
    """args with x in the place of args[argnum]."""
    filled_in = list(args)
    filled_in[argnum] = x
    return filled_in


def _check_integer(argnum: Any) -> None:
    if isinstance(argnum, bool) or not isinstance(argnum, int):
        raise refuse.argnum_type(argnum)


def _check_range(argnum: int, args: tuple) -> None:
    if not -len(args) <= argnum < len(args):
        raise refuse.argnum_range(argnum, len(args))
