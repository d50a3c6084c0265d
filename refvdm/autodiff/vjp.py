"""Gradients: run a function on Tensors, then read the tape from its end.

What this leaves out: higher derivatives and forward mode (a Tensor as a primal, or a Tensor of an
outer recording, is a TypeError, never a lost gradient), complex numbers, in-place changes, and
every function outside the set of rules.py.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..values import flag, function
from . import refuse
from .tensor import Node, Recording, Rule, Tape, Tensor
from .tree import EXTRAORDINARY, Tree, filled, is_float, leaves, matched, tree_map


def vjp(f: Callable, *primals: Tree) -> tuple[Tree, Callable[[Tree], tuple]]:
    """value, pullback: f(*primals), and the map from a cotangent of the value to the primals'.

    Primals are trees of float arrays, any shapes; Python floats count as 0-d arrays. Their integer,
    bool and None leaves are constants: passed on unrecorded, cotangent None. `pullback(cotangent)`
    takes a tree like the value and returns a tuple with one tree for each primal, arrays of the
    primals' shapes and dtypes. It may be called again with equal bits, and what it returns shares
    no memory with anything.

    TypeError for a primal without a float leaf, a Tensor as a primal, and whatever f does that
    would lose a gradient.

    >>> from refvdm.autodiff import vjp
    >>> y, pullback = vjp(lambda x: np.stack([x[0] * x[1], x[1]]), np.array([2.0, 3.0]))
    >>> y.tolist(), pullback(np.array([1.0, 10.0]))[0].tolist()
    ([6.0, 3.0], [3.0, 12.0])
    """
    function("vjp: f", f, "f(*primals)")
    output, inputs, tape = _record(f, primals)
    outputs = leaves(output)
    like = filled(output, outputs)  # f's owner may change the container that f returned

    def pullback(cotangent: Tree) -> tuple:
        seeds = [_seed(y, y_bar) for y, y_bar in zip(outputs, matched(like, cotangent))]
        return _walk_back(len(tape), reversed(tape), inputs, outputs, seeds)

    return filled(like, [_detach(y) for y in outputs]), pullback


def value_and_grad(f: Callable, argnum: int | tuple[int, ...] = 0,
                   has_aux: bool = False) -> Callable[..., tuple]:
    """g with g(*args) = (f(*args), df/d args[argnum]); f returns a scalar, or (scalar, aux).

    Only args[argnum] is recorded; the gradient is a tree like it, or a tuple of trees for a tuple
    of argnums.
    With has_aux the first part is (value, aux), aux as plain arrays. ValueError when f does not
    return a scalar (shape ()); the errors of `vjp`.

    >>> from refvdm.autodiff import value_and_grad
    >>> value, (x_bar, y_bar) = value_and_grad(lambda x, y: x * y**2, argnum=(0, 1))(3.0, 2.0)
    >>> float(value), float(x_bar), float(y_bar)
    (12.0, 4.0, 12.0)
    """
    function("value_and_grad: f", f, "f(*args)")
    _check_argnum(argnum)
    has_aux = flag("value_and_grad: has_aux", has_aux)

    def g(*args: Any, **kwargs: Any) -> tuple:
        y, inputs, tape = _record(*_of_one(f, argnum, args, kwargs))
        aux = None
        if has_aux:
            if not (isinstance(y, tuple) and len(y) == 2):
                raise refuse.no_aux(y)
            y, aux = y
        value = np.asarray(_detach(y)) if is_float(y) else None  # a float if f is constant
        if value is None or value.shape != ():
            raise refuse.not_a_scalar(y)
        once = iter(tape.pop, None)  # nobody walks again: what a node kept is freed on the way
        (x_bar,) = _walk_back(len(tape), once, inputs, [y], [np.array(1.0, value.dtype)])
        return ((value, stop_gradient(aux)) if has_aux else value), x_bar

    return g


def grad(f: Callable, argnum: int | tuple[int, ...] = 0) -> Callable[..., Tree]:
    """g with g(*args) = df/d args[argnum], a tree like it; f returns a scalar. See value_and_grad.

    >>> from refvdm.autodiff import grad
    >>> grad(lambda x: np.sum(x**2))(np.array([1.0, -3.0])).tolist()
    [2.0, -6.0]
    """
    both = value_and_grad(f, argnum)
    return lambda *args, **kwargs: both(*args, **kwargs)[1]


def jacobian(f: Callable, argnum: int | tuple[int, ...] = 0) -> Callable[..., Tree]:
    """g with g(*args) = the Jacobian of f by args[argnum]: a leaf of shape s becomes f's shape + s.

    f returns one array. One pullback for each of its elements: for small outputs.

    >>> from refvdm.autodiff import jacobian
    >>> jacobian(lambda z: np.stack([z[0] * z[1], z[1]]))(np.array([2.0, 3.0])).tolist()
    [[3.0, 2.0], [0.0, 1.0]]
    """
    function("jacobian: f", f, "f(*args)")
    _check_argnum(argnum)

    def g(*args: Any, **kwargs: Any) -> Tree:
        of_one, primals = _of_one(f, argnum, args, kwargs)
        y, pullback = vjp(of_one, *primals)
        if not isinstance(y, np.ndarray) or y.dtype.kind != "f":
            raise refuse.not_one_array(y)
        seeds = np.eye(y.size, dtype=y.dtype).reshape(y.size, *y.shape)
        rows = [pullback(seed)[0] for seed in seeds]

        def stacked(x: Any, *x_bars: Any) -> np.ndarray | None:
            if not is_float(x):
                return None
            return np.array(x_bars, np.asarray(x).dtype).reshape(y.shape + np.shape(x))

        return tree_map(stacked, primals[0], *rows)

    return g


def stop_gradient(tree: Tree) -> Tree:
    """The same numbers as plain arrays (copies): constants for everything that follows.

    >>> from refvdm.autodiff import grad, stop_gradient
    >>> float(grad(lambda x: x * stop_gradient(x))(3.0))
    3.0
    """
    return tree_map(_detach, tree)


# ---------------------------------------------------------------- the pieces


def _of_one(f: Callable, argnum: Any, args: tuple, kwargs: dict) -> tuple[Callable, tuple]:
    """x -> f(*args, **kwargs) with x in the place of args[argnum], and what stands there now; x is
    a tuple when argnum is one."""
    which = argnum if isinstance(argnum, tuple) else (argnum,)
    for i in which:
        if not -len(args) <= i < len(args):
            raise refuse.argnum_range(i, len(args))
    if len({i % len(args) for i in which}) < len(which):  # -1 may be one that is there already
        raise refuse.argnum_type(argnum)
    every = list(args)

    def of_one(x: Tree) -> Any:
        for i, part in zip(which, x if isinstance(argnum, tuple) else (x,)):
            every[i] = part
        return f(*every, **kwargs)

    there = tuple(args[i] for i in which)
    return of_one, (there if isinstance(argnum, tuple) else there[0],)


def _check_argnum(argnum: Any) -> None:
    which = argnum if isinstance(argnum, tuple) else (argnum,)
    if not which or any(type(i) is not int for i in which) or len(set(which)) < len(which):
        raise refuse.argnum_type(argnum)


def _record(f: Callable, primals: tuple) -> tuple[Any, list[tuple[list, Tree]], Tape]:
    """f's output with its Tensors, the leaves and the tree of every primal's inputs, the tape."""
    tape: Tape = []
    recording, inputs = Recording(tape), []
    for i, primal in enumerate(primals):
        before = len(tape)
        try:
            lifted = [_lift(leaf, recording, tape) for leaf in leaves(primal)]
        except TypeError as error:
            raise refuse.primal(i, error) from None
        if len(tape) == before:
            raise refuse.no_float_leaf(i)
        inputs.append((lifted, filled(primal, lifted)))
    try:
        output = f(*[filled(tree, lifted) for lifted, tree in inputs])  # which f may change
    except ValueError as error:
        if refuse.was_assigned(error):
            raise refuse.assigned() from error
        raise
    finally:
        recording.tape = None
    for y in leaves(output):
        if type(y) is Tensor and y.recording is not recording:
            raise refuse.outer_tensor()
    return output, inputs, tape


def _lift(leaf: Any, recording: Recording, tape: Tape) -> Any:
    """An input of the recording for a float leaf, with an array of its own."""
    if type(leaf) is Tensor:
        raise refuse.tensor_as_primal()
    if not is_float(leaf):
        return leaf
    tape.append(None)
    return Tensor(np.array(leaf, order="C"), recording, len(tape) - 1)


def _detach(leaf: Any) -> Any:
    if type(leaf) is Tensor:
        return leaf.value.copy()
    return leaf.copy() if isinstance(leaf, np.ndarray) else leaf


def _seed(y: Any, y_bar: Any) -> np.ndarray | None:
    """The cotangent of an output as an array of its dtype; None for an integer or None, where
    whatever stands in its place is ignored."""
    if not (type(y) is Tensor or is_float(y)):
        return None
    array = np.asarray(None if type(y_bar) is Tensor else y_bar)
    if isinstance(y_bar, EXTRAORDINARY) or array.shape != np.shape(y) or not (
            array.dtype.kind == "f" or type(y_bar) is int):
        raise refuse.cotangent(y_bar, np.shape(y))
    return array.astype(y.dtype, copy=False) if type(y) is Tensor else array


def _walk_back(places: int, nodes: Iterator, inputs: list[tuple[list, Tree]], outputs: list,
               seeds: list) -> tuple:
    """The trees of the inputs' cotangents. nodes come from the end of a tape of so many places;
    each passes its cotangent on to its parents."""
    sums = _Sums(places)
    for y, y_bar in zip(outputs, seeds):
        if type(y) is Tensor:
            sums.add(y, y_bar)
    for node in nodes:
        if node is None:  # the inputs, which come first
            break
        y_bar = sums.pop()
        if y_bar is not None:  # else the output does not depend on it
            _pull(node, y_bar, sums)
    return tuple([filled(tree, [sums.own(x) for x in lifted]) for lifted, tree in inputs])


def _pull(node: Node, y_bar: np.ndarray, sums: _Sums) -> None:
    """A node's share of the cotangents of its parents, in their shapes and dtypes."""
    rule, y, args, kwargs, parents = node
    s = y_bar if rule.shared is None else rule.shared(y_bar, y, *args, **kwargs)
    for i, x in parents:
        x_bar = np.asarray(rule.each(i, s, y, *args, **kwargs) if rule.each else
                           rule.pulls[i](s, y, *args, **kwargs))
        if x_bar.shape != x.value.shape:
            x_bar = unbroadcast(x_bar, x.value.shape, rule)
        if x_bar.dtype != x.value.dtype:
            x_bar = x_bar.astype(x.value.dtype)
        sums.add(x, x_bar)


class _Sums:
    """The cotangents so far, each at its Tensor's place on the tape. The first to come is borrowed
    from the rule that gave it, the second makes a sum of its own, the others are added to that."""

    __slots__ = ("bars", "owned")

    def __init__(self, n: int):
        self.bars: list[np.ndarray | None] = [None] * n
        self.owned: set[int] = set()

    def add(self, x: Tensor, x_bar: np.ndarray) -> None:
        before = self.bars[x.index]
        if before is None:
            self.bars[x.index] = x_bar
        elif x.index in self.owned:
            before += x_bar
        else:
            self.bars[x.index] = np.asarray(before + x_bar)
            self.owned.add(x.index)

    def pop(self) -> np.ndarray | None:
        """The cotangent at the last place, which is dropped."""
        return self.bars.pop()

    def own(self, x: Any) -> np.ndarray | None:
        """The cotangent of an input, as an array of the caller's own; None for a constant."""
        if type(x) is not Tensor:
            return None
        x_bar, self.bars[x.index] = self.bars[x.index], None  # freed: the next copy may use it
        if x_bar is None:  # zeros, not zeros_like, which would write every page
            return np.zeros(x.value.shape, x.value.dtype)
        if x.index in self.owned:  # a sum is of the machine's byte order
            return x_bar.astype(x.value.dtype, copy=False)
        return x_bar.copy()


def unbroadcast(x_bar: np.ndarray, shape: tuple[int, ...], rule: Rule | None = None) -> np.ndarray:
    """The transpose of broadcasting: the sum over the axes along which `shape` was repeated.

    ValueError when x_bar's shape is no broadcast of `shape`: the rule is wrong.
    """
    lead = x_bar.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x_bar.shape[lead:])):
        raise refuse.no_broadcast(x_bar.shape, shape, rule and rule.forward)
    axes = tuple(range(lead)) + tuple(lead + i for i, n in enumerate(shape) if n == 1)
    return np.asarray(np.add.reduce(x_bar, axis=axes)).reshape(shape)
