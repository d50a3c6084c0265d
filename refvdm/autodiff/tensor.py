"""Recording: NumPy functions meet Tensors and leave nodes on a tape.

A Tensor wraps an array and implements NumPy's own protocols, so `np.exp(x) @ w` records itself when
x is a Tensor and costs nothing when it is an array. Each operation puts one node on the tape of its
recording, and vjp.py reads the tape from the end:

    rule      how a cotangent of the result becomes cotangents of the arguments, see rules.py
    y         what the operation gave (0-d results stay arrays); (y, saved) if the rule saves
    args      the arguments as arrays, kept for the rule; constants are copied, so that a caller
              who changes an array in place afterwards does not change a gradient
    kwargs    the keyword arguments, all constants
    parents   [(argument position, Tensor), ...] for the arguments that were Tensors

dtype: 0-d operands (Python and NumPy scalars, 0-d arrays) never widen; arrays of at least one
dimension do, as in NumPy. NumPy 1.26 and 2.x differ in this for plain arrays; a recording does the
same on both. Whatever would lose a gradient is refused, in the words of refuse.py.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Container, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from . import refuse
from .tree import EXTRAORDINARY


class Rule(NamedTuple):
    """What the engine knows about one function; made by `defvjp`, see rule.py."""

    forward: Callable
    pulls: tuple[Any, ...]  # one for each argument, None for one that is a constant
    each: Callable | None  # the pull of argument i when their number is open (concatenate, stack)
    shared: Callable | None
    saves: bool
    operands: Container[int]  # positions of what is differentiated; the others are constants
    most: int  # the largest number of positional arguments
    keywords: frozenset[str]


RULES: dict[Callable, Rule] = {}
COMPOSED: dict[Callable, Callable] = {}  # written in the primitives, see composed.py

# Piecewise constant in every argument: their results are plain arrays and no gradient is lost.
PREDICATES = frozenset({np.greater, np.greater_equal, np.less, np.less_equal, np.equal,
                        np.not_equal, np.isfinite, np.isnan, np.isinf, np.signbit})
# They look at shape and dtype only.
INSPECTIONS = frozenset({np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like,
                         np.full_like, np.result_type, np.iscomplexobj, np.isrealobj})


# rule, y, args, kwargs, parents
Node = tuple[Rule, Any, list[Any], dict[str, Any], list[tuple[int, "Tensor"]]]
Tape = list[Any]  # of nodes; the inputs come first, each as None


class Recording:
    """One run of a function inside `vjp`, which takes the tape away when the run is over."""

    __slots__ = ("tape",)

    def __init__(self, tape: Tape):
        self.tape: Tape | None = tape


class Tensor(refuse.Refusals):
    """An array inside a recording. Made by `vjp` and by operations, never by hand; immutable.

    First derivatives only. Everything that would quietly turn it into an array (`np.asarray`,
    `float`, `if x`, `array += x`, functions without a rule) raises a TypeError that says what to
    write instead.

    >>> from refvdm.autodiff import vjp
    >>> y, pullback = vjp(lambda x: x * float(x), np.array(2.0))
    Traceback (most recent call last):
        ...
    TypeError: a Tensor cannot become a Python number or truth value ...
    """

    __slots__ = ("index", "recording", "value")

    def __init__(self, value: np.ndarray, recording: Recording, index: int):
        self.value, self.recording, self.index = value, recording, index  # its place on the tape

    # -- NumPy's protocols: every NumPy function comes through one of these two

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method != "__call__" or kwargs:
            raise refuse.ufunc(ufunc, method, kwargs)
        if ufunc in PREDICATES:
            return ufunc(*map(_plain, inputs))
        if ufunc in COMPOSED:
            return COMPOSED[ufunc](*inputs)
        return record(ufunc, inputs, kwargs)

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        if function in INSPECTIONS:
            if function is np.full_like and Tensor in map(type, (*args[1:], *kwargs.values())):
                raise refuse.outside_the_set(function, RULES, COMPOSED)
            return function(*map(_plain, args), **{key: _plain(x) for key, x in kwargs.items()})
        if function in COMPOSED:
            return _composed(function, args, kwargs)
        rule = RULES.get(function)
        if rule is not None and rule.each is not None and args:  # concatenate(arrays, axis)
            if len(args) > 2:
                raise refuse.too_many_to_join(function, len(args))
            kwargs = {**kwargs, "axis": args[1]} if len(args) == 2 else kwargs
            args = tuple(args[0])
        return record(function, args, kwargs)

    # -- operators, spelled out: NumPy's operator mixin would also bring in-place ones

    def __add__(self, other: Any) -> Any: return record(np.add, (self, other), {})
    def __radd__(self, other: Any) -> Any: return record(np.add, (other, self), {})
    def __sub__(self, other: Any) -> Any: return record(np.subtract, (self, other), {})
    def __rsub__(self, other: Any) -> Any: return record(np.subtract, (other, self), {})
    def __mul__(self, other: Any) -> Any: return record(np.multiply, (self, other), {})
    def __rmul__(self, other: Any) -> Any: return record(np.multiply, (other, self), {})
    def __truediv__(self, other: Any) -> Any: return record(np.divide, (self, other), {})
    def __rtruediv__(self, other: Any) -> Any: return record(np.divide, (other, self), {})
    def __matmul__(self, other: Any) -> Any: return record(np.matmul, (self, other), {})
    def __rmatmul__(self, other: Any) -> Any: return record(np.matmul, (other, self), {})
    def __rpow__(self, other: Any) -> Any: return record(np.power, (other, self), {})
    def __mod__(self, other: Any) -> Any: return record(np.remainder, (self, other), {})
    def __rmod__(self, other: Any) -> Any: return record(np.remainder, (other, self), {})
    def __neg__(self) -> Any: return record(np.negative, (self,), {})
    def __pos__(self) -> Any: return self
    def __abs__(self) -> Any: return record(np.absolute, (self,), {})
    def __lt__(self, other: Any) -> Any: return np.less(self, other)
    def __le__(self, other: Any) -> Any: return np.less_equal(self, other)
    def __gt__(self, other: Any) -> Any: return np.greater(self, other)
    def __ge__(self, other: Any) -> Any: return np.greater_equal(self, other)
    def __eq__(self, other: object) -> Any: return np.equal(self.value, _plain(other))
    def __ne__(self, other: object) -> Any: return np.not_equal(self.value, _plain(other))

    def __pow__(self, other: Any) -> Any:
        if type(other) in (int, float) and other == 2:  # as ndarray.__pow__ does
            return record(np.square, (self,), {})
        return record(np.power, (self, other), {})

    def __getitem__(self, index: Any) -> Any:
        each = tuple(map(_as_index, index)) if isinstance(index, tuple) else _as_index(index)
        return record(_getitem, (self, each), {})

    # -- what an ndarray answers about itself, and its methods that are in the set

    shape = property(lambda self: self.value.shape)
    dtype = property(lambda self: self.value.dtype)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    T = property(lambda self: np.transpose(self))

    def sum(self, axis=None, *, keepdims=False): return np.sum(self, axis=axis, keepdims=keepdims)
    def mean(self, axis=None, *, keepdims=False): return np.mean(self, axis=axis, keepdims=keepdims)
    def cumsum(self, axis=None): return np.cumsum(self, axis=axis)
    def clip(self, min=None, max=None): return np.clip(self, min, max)
    def ravel(self): return np.ravel(self)
    def squeeze(self, axis=None): return np.squeeze(self, axis=axis)
    def swapaxes(self, axis1, axis2): return np.swapaxes(self, axis1, axis2)
    def reshape(self, *shape): return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes):
        return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def __len__(self) -> int:
        return len(self.value)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self.value)))

    def __repr__(self) -> str:
        numbers = np.array2string(self.value, prefix="Tensor(")
        return f"Tensor({numbers}, shape={self.shape}, dtype={self.dtype})"


Array: TypeAlias = "np.ndarray | Tensor"


def record(function: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Apply a function with a rule to arguments, at least one a Tensor, and leave a node."""
    rule = RULES.get(function)
    if rule is None:
        raise refuse.outside_the_set(function, RULES, COMPOSED)
    if len(args) > rule.most or kwargs and not rule.keywords.issuperset(kwargs):
        raise refuse.signature(function, rule.most, rule.keywords, args, kwargs)
    if kwargs:
        if Tensor in map(type, kwargs.values()):
            raise refuse.tensor_by_keyword(function)
        kwargs = {key: _frozen(x) for key, x in kwargs.items()}
    # the arguments as arrays; the Tensors among them are the parents
    arrays, parents, numbers = list(args), [], []
    recording, dtype, mixed = None, None, False
    for i, arg in enumerate(args):
        if type(arg) is Tensor:
            if i not in rule.operands:
                raise refuse.tensor_for_constant(function, i)
            if arg.recording is not recording:
                if recording is not None:
                    raise refuse.two_recordings(function)
                recording = arg.recording
            parents.append((i, arg))
            array = arg.value
        elif i not in rule.operands:
            arrays[i] = _frozen(arg)
            continue
        elif type(arg) in (float, int):
            numbers.append(i)  # takes whatever dtype the others have
            continue
        else:
            array = np.array(_ordinary(arg))
        arrays[i] = array
        if dtype is None:
            dtype = array.dtype
        elif array.dtype != dtype:
            mixed = True
    if recording is None or recording.tape is None:
        raise refuse.ended(function)
    # one dtype for all that is differentiated, and for the result
    if mixed:
        dtype = _unify(function, arrays, rule.operands, parents)
    for i in numbers:
        arrays[i] = np.array(arrays[i], dtype)
    y = rule.forward(*arrays, **kwargs)
    value = np.asarray(y[0] if rule.saves else y)
    if value.dtype != dtype:
        value = value.astype(dtype)
    tape = recording.tape
    tape.append((rule, y if rule.saves else value, arrays, kwargs, parents))
    return Tensor(value, recording, len(tape) - 1)


def _composed(function: Callable, args: tuple, kwargs: dict) -> Any:
    """A function that is written in the primitives, by its own signature."""
    written = COMPOSED[function]
    try:
        inspect.signature(written).bind(*args, **kwargs)
    except TypeError as error:
        raise refuse.composed(function, inspect.signature(written), error) from None
    return written(*args, **kwargs)


def _unify(function: Callable, arrays: list, operands: Container[int], parents: list) -> np.dtype:
    """Cast operands of several dtypes, in place in the list, to the widest that counts."""
    places = [i for i, array in enumerate(arrays)
              if i in operands and isinstance(array, np.ndarray)]
    for i in places:
        if arrays[i].dtype.kind not in "fiub":
            raise refuse.not_real(function, i, arrays[i].dtype)
    dtypes = [arrays[i].dtype for i in places if arrays[i].ndim]
    if not any(d.kind == "f" for d in dtypes):  # arrays of integers, or 0-d operands only
        dtypes += [parent.dtype for _, parent in parents]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else np.result_type(*dtypes)
    for i in places:
        arrays[i] = arrays[i].astype(dtype, copy=False)
    return dtype


def _plain(x: Any) -> Any:
    return x.value if type(x) is Tensor else x


def _ordinary(arg: Any) -> Any:
    if isinstance(arg, EXTRAORDINARY):
        raise refuse.extraordinary(arg)
    return arg


def _frozen(arg: Any) -> Any:
    """A constant argument as it is now, whatever its owner does to it before the backward pass."""
    if isinstance(arg, np.ndarray):
        return _ordinary(arg).copy()
    if type(arg) in (tuple, list):
        return type(arg)(map(_frozen, arg))
    return arg


def _getitem(x: np.ndarray, index: Any) -> np.ndarray:
    return x[index]


def _as_index(i: Any) -> Any:
    """One axis's index as the rule knows it: every kind of sequence becomes an array."""
    if i is None or i is Ellipsis or isinstance(i, (int, slice, np.generic, np.ndarray, Tensor)):
        return i
    return np.array(i, dtype=None if len(i) else int)
