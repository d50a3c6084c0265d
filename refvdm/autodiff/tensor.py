"""Recording: NumPy functions meet Tensors and leave nodes behind.

A Tensor wraps an array and implements NumPy's own protocols, so `np.exp(x) @ w` records itself when x is a Tensor and
costs nothing when it is an array. Each operation makes one node:

    value     the array that the operation gave (0-d results stay arrays)
    parents   ((argument position, Tensor), ...) for the arguments that were Tensors
    rule      how a cotangent of the value becomes cotangents of the parents, see rules.py
    args      the arguments as arrays, kept for the rule; constants are copied, so that a caller who
              changes an array in place afterwards does not change a gradient
    index     creation order: the backward pass (vjp.py) visits nodes by falling index

dtype: 0-d operands (Python and NumPy scalars, 0-d arrays) never widen; arrays of at least one dimension do, as in
NumPy. NumPy 1.26 and 2.x differ in this for plain arrays; a recording does the same on both.
"""
from __future__ import annotations

import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Container
from typing import Any, NamedTuple

import numpy as np
import scipy.special


class Rule(NamedTuple):
    """What the engine knows about one function; made by `defvjp`."""

    forward: Callable
    pulls: tuple[Callable | None, ...]
    each: Callable | None  # the pull of argument i when their number is open (concatenate, stack)
    shared: Callable | None
    saves: bool
    operands: Container[int]  # the positions of arrays that are differentiated; other arguments are constants
    most: int  # positional arguments at the most
    keywords: frozenset[str]


RULES: dict[Callable, Rule] = {}

# Piecewise constant in everything they take: their results are plain arrays and no gradient is lost.
PREDICATES = frozenset({np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal,
                        np.isfinite, np.isnan, np.isinf, np.signbit})
# They look at shape and dtype only.
INSPECTIONS = frozenset({np.shape, np.ndim, np.size, np.zeros_like, np.ones_like, np.empty_like, np.full_like, np.result_type,
                         np.iscomplexobj, np.isrealobj})

# What to write instead, where the spelling alone does not lead there.
NEAREST = {
    "dot": "matmul", "inner": "matmul", "vdot": "matmul", "einsum": "matmul", "tensordot": "matmul", "vecdot": "matmul",
    "outer": "multiply with expand_dims", "max": "maximum, or refvdm.autodiff.logsumexp", "amax": "maximum",
    "min": "minimum", "amin": "minimum", "prod": "exp of a sum of log", "var": "mean of square", "std": "sqrt of mean of square",
    "norm": "sqrt of sum of square", "vstack": "concatenate", "hstack": "concatenate", "column_stack": "concatenate",
    "append": "concatenate", "split": "indexing, x[a:b]", "array_split": "indexing, x[a:b]", "take": "indexing, x[i]",
    "take_along_axis": "indexing, x[i, j]", "diag": "indexing, x[i, i]", "diagonal": "indexing, x[i, i]", "trace": "sum of x[i, i]",
    "atleast_1d": "reshape", "atleast_2d": "reshape", "flip": "indexing, x[::-1]", "tile": "broadcast_to", "repeat": "broadcast_to",
    "log2": "log, divided by log(2)", "log10": "log, divided by log(10)", "exp2": "exp", "float_power": "power", "cbrt": "power",
    "fabs": "absolute", "fmax": "maximum", "fmin": "minimum", "logaddexp2": "logaddexp", "sinh": "exp", "cosh": "exp", "tan": "sin, cos",
    "inv": "refvdm.autodiff.solve_triangular", "solve": "refvdm.autodiff.solve_triangular", "det": "a sum of log of the factors' diagonals",
    "slogdet": "a sum of log of the factors' diagonals", "copy": "the Tensor itself (Tensors never change)",
    "full_like": "zeros_like, plus the Tensor", "softmax": "exp of refvdm.autodiff.log_softmax", "ndtr": "exp of scipy.special.log_ndtr", "logit": "log and log1p",
    "sign": "where", "heaviside": "where", "select": "where", "piecewise": "where", "hypot": "sqrt of sum of square",
}


class Recording:
    """One run of a function inside `vjp`: counts its nodes, and is closed when the function returns."""

    __slots__ = ("count", "open")

    def __init__(self) -> None:
        self.count, self.open = 0, True


class Tensor:
    """An array inside a recording. Made by `vjp` and by operations, never by hand; immutable.

    First derivatives only. Everything that would quietly turn it into an array (`np.asarray`, `float`, `if x`,
    `array += x`, functions without a rule) raises a TypeError that says what to write instead.
    """

    __slots__ = ("answer", "args", "index", "kwargs", "parents", "recording", "rule", "value")

    def __init__(self, value, recording, parents=(), rule=None, answer=None, args=(), kwargs=None):
        self.value = value
        self.recording = recording
        self.index = recording.count
        recording.count += 1
        self.parents = parents
        self.rule = rule
        self.answer = answer  # what the rule sees as y: the value, or (value, saved)
        self.args = args
        self.kwargs = kwargs

    # -- NumPy's protocols: every operation comes through one of these two

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        if method != "__call__":
            raise TypeError(f"np.{ufunc.__name__}.{method} of a Tensor is not differentiable here; "
                            f"np.sum, np.mean and np.cumsum are")
        if "out" in kwargs:
            raise TypeError(f"np.{ufunc.__name__}: a Tensor cannot be written into an array, nor into a Tensor "
                            f"(out=, array += tensor); write y = x + tensor, which makes a new Tensor")
        if kwargs:
            raise TypeError(f"np.{ufunc.__name__} of a Tensor takes no keyword {', '.join(kwargs)}")
        if ufunc in PREDICATES:
            return ufunc(*map(_plain, inputs))
        return record(ufunc, inputs, kwargs)

    def __array_function__(self, function, types, args, kwargs):
        if function in INSPECTIONS and not (function is np.full_like and any(type(x) is Tensor for x in (*args[1:], *kwargs.values()))):
            return function(*map(_plain, args), **{key: _plain(x) for key, x in kwargs.items()})
        if function in RULES and RULES[function].each is not None and args:  # concatenate(arrays, axis): its arrays are the operands
            if len(args) > 2:
                raise TypeError(f"{_name(function)} of Tensors takes arrays and axis by position, got {len(args)} arguments")
            kwargs = {**kwargs, "axis": args[1]} if len(args) == 2 else kwargs
            args = tuple(args[0])
        return record(function, args, kwargs)

    # -- operators, spelled out: NumPy's operator mixin would also bring in-place ones

    def __add__(self, other): return np.add(self, other)
    def __radd__(self, other): return np.add(other, self)
    def __sub__(self, other): return np.subtract(self, other)
    def __rsub__(self, other): return np.subtract(other, self)
    def __mul__(self, other): return np.multiply(self, other)
    def __rmul__(self, other): return np.multiply(other, self)
    def __truediv__(self, other): return np.divide(self, other)
    def __rtruediv__(self, other): return np.divide(other, self)
    def __matmul__(self, other): return np.matmul(self, other)
    def __rmatmul__(self, other): return np.matmul(other, self)
    def __rpow__(self, other): return np.power(other, self)
    def __neg__(self): return np.negative(self)
    def __pos__(self): return self
    def __abs__(self): return np.absolute(self)
    def __lt__(self, other): return np.less(self, other)
    def __le__(self, other): return np.less_equal(self, other)
    def __gt__(self, other): return np.greater(self, other)
    def __ge__(self, other): return np.greater_equal(self, other)
    def __eq__(self, other): return np.equal(self, other)
    def __ne__(self, other): return np.not_equal(self, other)

    def __pow__(self, other):
        if type(other) in (int, float) and other == 2:  # as ndarray.__pow__ does
            return np.square(self)
        return np.power(self, other)

    def __getitem__(self, index):
        if isinstance(index, tuple):
            return record(_getitem, (self, tuple(map(_as_index, index))), {})
        return record(_getitem, (self, _as_index(index)), {})

    __hash__ = None

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
    def transpose(self, *axes): return np.transpose(self, axes[0] if len(axes) == 1 else axes or None)

    def __len__(self):
        return len(self.value)

    def __iter__(self):
        return (self[i] for i in range(len(self.value)))

    def __repr__(self):
        return f"Tensor({np.array2string(self.value, prefix='Tensor(')}, shape={self.shape}, dtype={self.dtype})"

    # -- what would detach

    def __array__(self, dtype=None, copy=None):
        raise TypeError("a Tensor cannot become a plain array without losing its gradient (np.asarray, np.array([x, y]), or a "
                        "function that does not dispatch). Use np.stack or np.concatenate to build arrays, "
                        "refvdm.autodiff.logsumexp / log_softmax / solve_triangular for SciPy's, and "
                        "refvdm.autodiff.stop_gradient(x) where a constant is meant")

    def _no_scalar(self, *_):
        raise TypeError("a Tensor cannot become a Python number or truth value without losing its gradient; compare it "
                        "(x > 0 gives a plain array), choose with np.where, or use refvdm.autodiff.stop_gradient(x)")

    __float__ = __int__ = __complex__ = __bool__ = __index__ = _no_scalar

    def _no_change(self, *_):
        raise TypeError("a Tensor cannot be changed in place (x[i] = ..., x += ...); write x = x + ..., or np.where")

    def _no_change_but_of_a_number(self, other):
        # total += x[i] means the same for a 0-d Tensor as for NumPy's scalars: a new number under the old name
        return self._no_change() if self.ndim else NotImplemented

    __setitem__ = _no_change
    __iadd__ = __isub__ = __imul__ = __itruediv__ = __imatmul__ = __ipow__ = _no_change_but_of_a_number

    def __reduce_ex__(self, protocol):
        raise TypeError("a Tensor cannot be copied or pickled: it belongs to its recording")

    def __getattr__(self, name):
        raise AttributeError(f"a Tensor has no attribute {name!r}; it has shape, dtype, ndim, size, T, sum, mean, cumsum, clip, "
                             f"ravel, reshape, transpose, swapaxes, squeeze, and takes the NumPy functions that have a rule")


def _getitem(x, index):
    return x[index]


def _as_index(i: Any) -> Any:
    """One axis's index as the rule knows it: numbers, slices, ... and None as they are, every kind of sequence as an array."""
    if i is None or i is Ellipsis or isinstance(i, (int, slice, np.generic, np.ndarray, Tensor)):
        return i
    return np.array(i, dtype=None if len(i) else int)


def _plain(x: Any) -> Any:
    return x.value if type(x) is Tensor else x


def record(function: Callable, args: tuple, kwargs: dict) -> Tensor:
    """Apply a function with a rule to arguments of which at least one is a Tensor, and make the node."""
    rule = RULES.get(function)
    if rule is None:
        raise TypeError(_outside_the_set(function))
    if len(args) > rule.most or kwargs and not rule.keywords.issuperset(kwargs):
        raise TypeError(f"{_name(function)} of a Tensor takes at most {rule.most} positional arguments and the keywords "
                        f"{sorted(rule.keywords)}, got {len(args)} and {sorted(kwargs)}")
    if kwargs:
        if any(type(x) is Tensor for x in kwargs.values()):
            raise TypeError(f"{_name(function)}: pass Tensors by position, not by keyword")
        kwargs = {key: _frozen(x) for key, x in kwargs.items()}
    operands, recording, parents, fixed, dtype, mixed = rule.operands, None, [], [], None, False
    for position, arg in enumerate(args):
        if type(arg) is Tensor:
            if position not in operands:
                raise TypeError(f"{_name(function)} is not differentiable in argument {position}: it cannot be a Tensor")
            if arg.recording is not recording:
                if recording is not None:
                    raise TypeError(f"{_name(function)} meets Tensors of two recordings: a function inside vjp or grad closes over "
                                    f"a Tensor of an outer one. Pass it as an argument, or use stop_gradient; only first "
                                    f"derivatives are supported")
                recording = arg.recording
            parents.append((position, arg))
            arg = arg.value
        elif position in operands:
            arg = np.array(_ordinary(arg))
        else:
            fixed.append(_frozen(arg))
            continue
        fixed.append(arg)
        if arg.dtype is not dtype:
            mixed = dtype is not None
            dtype = arg.dtype
    if not recording.open:
        raise TypeError(f"{_name(function)} meets a Tensor whose recording has ended: it must not leave the function that was "
                        f"given to vjp or grad")
    if mixed:
        dtype = _unify(function, fixed, operands, parents)
    answer = rule.forward(*fixed, **kwargs)
    value = np.asarray(answer[0] if rule.saves else answer)
    if value.dtype is not dtype:
        value = value.astype(dtype)
    return Tensor(value, recording, parents, rule, answer if rule.saves else value, fixed, kwargs)


def _unify(function: Callable, fixed: list, operands: Container[int], parents: list) -> np.dtype:
    """Cast operands of several dtypes, in place in the list, to the widest of those that count; 0-d ones do not widen."""
    places = [i for i in range(len(fixed)) if i in operands]
    for i in places:
        if fixed[i].dtype.kind not in "fiub":
            raise TypeError(f"{_name(function)}: argument {i} must hold real numbers, got dtype {fixed[i].dtype}")
    dtypes = [fixed[i].dtype for i in places if fixed[i].ndim]
    if not any(d.kind == "f" for d in dtypes):
        dtypes += [parent.dtype for _, parent in parents]
    dtype = dtypes[0] if len(set(dtypes)) == 1 else np.result_type(*dtypes)
    for i in places:
        fixed[i] = fixed[i].astype(dtype, copy=False)
    return dtype


def _frozen(arg: Any) -> Any:
    """A constant argument as it is now: later changes in place by its owner must not reach the backward pass."""
    if isinstance(arg, np.ndarray):
        return _ordinary(arg).copy()
    if type(arg) in (tuple, list):
        return type(arg)(map(_frozen, arg))
    return arg


def defvjp(function: Callable, *pulls: Callable | None, each: Callable | None = None, shared: Callable | None = None,
           saves: bool = False, forward: Callable | None = None) -> Callable:
    """Give `function` a backward rule; returns a function that takes arrays and Tensors alike.

    For y = function(a, b, ..., key=...) there is one pull for each argument,

        a_bar = pull(y_bar, y, a, b, ..., key=...)         the cotangent of a, given that of y

    or None for an argument that is never a Tensor. Values reach a pull as plain arrays; a pull may return the broadcast
    shape (the engine sums the broadcast axes away) and must not write into what it is given. The signature of the first
    pull says which positional arguments and keywords are supported.

    each     each(i, y_bar, y, *arrays, ...) instead of pulls, when the number of arguments is open
    shared   s = shared(y_bar, y, a, b, ...) is computed once and handed to every pull in place of y_bar
    saves    the function returns (y, saved); pulls get that pair as `y`, callers get y
    forward  what computes y when it is not `function` itself

    A NumPy function or ufunc dispatches by itself; for a function of your own use the returned one:

        defvjp(np.arctan, lambda y_bar, y, x: y_bar / (1 + x * x))
        cube = defvjp(lambda x: x**3, lambda y_bar, y, x: y_bar * 3 * x**2)

    TypeError when a function or pull is not callable or there are none. Check a rule with `check_vjp`.
    """
    named = [p for p in (function, *pulls, each, shared, forward) if p is not None]
    if not all(map(callable, named)) or not (any(pulls) or each):
        raise TypeError("defvjp: expected a function and at least one pull, each callable (or None for a constant argument)")
    like = each or next(p for p in pulls if p)
    parameters = list(inspect.signature(like).parameters.values())[3 if each else 2:]
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rule = Rule(forward or function, pulls, each, shared, saves,
                operands=range(sys.maxsize) if each else frozenset(i for i, pull in enumerate(pulls) if pull),
                most=sys.maxsize if each or any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional),
                keywords=frozenset(p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)))
    RULES[function] = rule
    if isinstance(function, np.ufunc) or getattr(function, "__module__", "").partition(".")[0] == "numpy":
        return function

    @functools.wraps(function)
    def either(*args, **kwargs):
        if any(type(a) is Tensor for a in args) or any(type(a) is Tensor for a in kwargs.values()):
            return record(function, args, kwargs)
        y = function(*args, **kwargs)
        return y[0] if saves else y

    return either


def _ordinary(arg: Any) -> Any:
    if isinstance(arg, np.ma.MaskedArray):
        raise TypeError("a masked array beside a Tensor would lose its mask; use np.where")
    if isinstance(arg, np.matrix):
        raise TypeError("an np.matrix beside a Tensor would lose its meaning of *; use np.asarray(matrix) and @")
    return arg


def _name(function: Callable) -> str:
    """How a user writes it: "np.exp", "np.linalg.norm", "scipy.special.expit", "indexing"."""
    if function is _getitem:
        return "indexing"
    name = getattr(function, "__name__", repr(function)).lstrip("_")
    for prefix, module in (("np.", np), ("np.linalg.", np.linalg), ("np.fft.", np.fft), ("scipy.special.", scipy.special)):
        if getattr(module, name, None) is function:
            return prefix + name
    return name


def _outside_the_set(function: Callable) -> str:
    name = getattr(function, "__name__", repr(function))
    known = sorted({_name(f).removeprefix("np.").removeprefix("scipy.special.") for f in RULES})
    near = NEAREST.get(name) or ", ".join(difflib.get_close_matches(name, known, 2, 0.5)) or "a combination of these"
    return (f"{_name(function)} has no gradient rule. Nearest in the set: {near}. The set: {', '.join(known)}. To add a rule: "
            f"refvdm.autodiff.defvjp({_name(function)}, lambda y_bar, y, x: ...), with one pull for each argument; "
            f"check it with refvdm.autodiff.check_vjp")
