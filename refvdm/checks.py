"""What every public function says to bad input: one vocabulary, used by all.

A check takes an argument's name and the argument, and gives the argument back as the code behind it
wants it, or raises a ValueError or TypeError that names it, says what was expected and what came.
Public functions check once, where an argument comes in; what lies behind them trusts.

Here are arrays, parameters, and what a caller's functions return; numbers, words and shapes are in
values.py. Shapes are written as in the docstrings, ("batch", ..., 3): a number is that length, a
word is any length, ... any number of axes.
"""
from __future__ import annotations

import functools
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .autodiff import Tensor
from .autodiff.tree import leaves
from .names import asked_at, foreign, ordinary, shown, what
from .values import (
    either,
    file,
    flag,
    function,
    generator,
    instance,
    integer,
    lengths,
    number,
    one_of,
    positive,
    sizes,
)

__all__ = [
    "answer",
    "called",
    "either",
    "entries",
    "file",
    "flag",
    "floats",
    "function",
    "generator",
    "instance",
    "integer",
    "integers",
    "keys",
    "lengths",
    "levels",
    "like",
    "listed",
    "noise",
    "number",
    "one_of",
    "parameters",
    "positive",
    "reals",
    "returned",
    "sizes",
    "unrecorded",
    "what",
    "words",
]

BATCH = ("batch", ...)

# ---------------------------------------------------------------- arrays


def floats(name: str, x: Any, shape: Sequence = BATCH, *, finite: bool = True) -> Any:
    """An array or Tensor of real floats, of this shape, finite, in the machine's byte order."""
    if not isinstance(x, (np.ndarray, Tensor)) or x.dtype.kind != "f" or not ordinary(x):
        raise TypeError(f"{name} must be an array of floats, got {what(x)}")
    if x.shape != shape and not _fits(x.shape, tuple(shape)):
        raise ValueError(f"{name} must have shape {shown(shape)}, got {x.shape}")
    if finite:
        _all_finite(name, x)
    return x if isinstance(x, Tensor) or x.dtype.isnative else x.astype(x.dtype.type)


def like(name: str, x: Any, other_name: str, other: Any, *, finite: bool = False) -> Any:
    """An array or Tensor of floats of the other one's shape; not looked at for nan by default."""
    x = floats(name, x, (...,), finite=False)
    if x.shape != np.shape(other):
        raise ValueError(f"{name} must have {other_name}'s shape {np.shape(other)}, got {x.shape}")
    if finite:
        _all_finite(name, x)
    return x


def reals(name: str, x: Any, shape: Sequence, *, finite: bool = True) -> np.ndarray:
    """A float64 array of its own from any real numbers, nested lists and integers included."""
    array = _plain(f"{name} must hold real numbers", x, "fiu", float)
    if not _fits(array.shape, tuple(shape)):
        raise ValueError(f"{name} must have shape {shown(shape)}, got {array.shape}")
    if finite:
        _all_finite(name, array)
    return array.astype(np.float64, copy=False)


def integers(name: str, x: Any, batch: int, least: int, most: int) -> np.ndarray:
    """One integer for all, or an array (batch,) of them, each in least..most."""
    array = _plain(f"{name} must be an integer or an array of integers", x, "iu", int)
    if array.shape not in ((), (batch,)):
        raise ValueError(f"{name} must be one integer or have shape (batch,) = ({batch},), "
                         f"got shape {array.shape}")
    if array.size and not (least <= array.min() and array.max() <= most):
        raise ValueError(f"{name} must lie in {least}..{most}, got {array.min()}..{array.max()}")
    return array


def levels(name: str, x: Any, K: int) -> np.ndarray:
    """An array of any shape of integers in 0..K-1."""
    array = _plain(f"{name} must hold integers 0..{K - 1}", x, "iu", int)
    if array.size and not (0 <= array.min() and array.max() < K):
        raise ValueError(f"{name} must hold integers 0..{K - 1}, "
                         f"got values {array.min()}..{array.max()}")
    return array


def noise(who: str, shape: Sequence[int], dtype: Any, rng: Any, eps: Any, name: str = "eps") -> Any:
    """Standard normal noise of this shape and dtype: the caller's eps, or drawn from rng."""
    dtype = np.dtype(np.dtype(dtype).type)  # of the machine's byte order
    if eps is not None:
        eps = floats(f"{who}: {name}", eps, tuple(shape))
        return eps if isinstance(eps, Tensor) else eps.astype(dtype, copy=False)
    if rng is None:
        raise ValueError(f"{who}: give a numpy.random.Generator as rng, or the noise as {name}")
    drawn_as = dtype if dtype in (np.float32, np.float64) else np.float64
    drawn = generator(f"{who}: rng", rng).standard_normal(tuple(shape), dtype=drawn_as)
    return drawn.astype(dtype, copy=False)


def unrecorded(name: str, tree: Any, why: str) -> Any:
    """A tree without Tensors, for what gives no gradient: better an error than a gradient of 0."""
    if any(isinstance(leaf, Tensor) for leaf in leaves(tree)):
        raise TypeError(f"{name} would lose its gradient: {why}; stop_gradient makes it a constant")
    return tree


def listed(name: str, things: Any) -> list:
    """A list or tuple, or the items of an array along its first axis, as a list."""
    if not isinstance(things, (list, tuple)) and not (isinstance(things, (np.ndarray, Tensor))
                                                      and things.ndim):
        raise TypeError(f"{name} must be a list, got {type(things).__name__}")
    return list(things)


def words(name: str, things: Any) -> list[str]:
    """A list of strings, or a tuple."""
    if not isinstance(things, (list, tuple)) or not all(isinstance(word, str) for word in things):
        raise TypeError(f"{name} must be a list of strings, got {things!r}")
    return list(things)


# ---------------------------------------------------------------- parameters


def parameters(name: str, theta: Any, shapes: Mapping[str, tuple],
               integers: Collection[str] = ()) -> dict[str, Any]:
    """A dict with exactly these keys, of floats (some of integers) of these shapes; not looked at
    for nan."""
    # every call of a network comes here: nothing but comparisons as long as all is well
    there: Any = isinstance(theta, dict) and theta.keys() == shapes.keys()
    for key, shape in shapes.items() if there else ():
        x, kinds = theta[key], "iu" if key in integers else "f"
        if (not isinstance(x, (np.ndarray, np.floating, Tensor)) or x.dtype.kind not in kinds
                or not ordinary(x)):
            if type(x) is not float:
                word, kind = ("integers", int) if key in integers else ("floats", float)
                raise TypeError(f"{name}[{key!r}] must be an array of {word}, got {what(x, kind)}")
            x = np.array(x)
        there = there and x.shape == shape
    if not there:
        got: Any = type(theta).__name__
        if isinstance(theta, dict):
            got = {key: getattr(x, "shape", ()) for key, x in theta.items()}
        raise ValueError(f"{name} must be a dict of shapes {dict(shapes)}, got {got}")
    return theta


def keys(name: str, theta: Any, expected: Collection[str]) -> dict[str, Any]:
    """A dict with exactly these keys."""
    if not isinstance(theta, dict) or theta.keys() != set(expected):
        got = f"the keys {list(theta)}" if isinstance(theta, dict) else what(theta)
        raise ValueError(f"{name} must be a dict with the keys {list(expected)}, got {got}")
    return theta


def entries(name: str, theta: Any, shapes: Mapping[str, tuple]) -> dict[str, Any]:
    """The same, and every leaf is finite floats; a number counts as an array ()."""
    for key, x in parameters(name, theta, shapes).items():
        x = np.asarray(x) if isinstance(x, (float, np.generic)) else x
        floats(f"{name}[{key!r}]", x, (...,))
    return theta


# ---------------------------------------------------------------- what a caller's functions return


def answer(by: str, f: Callable, args: Sequence, shape: Sequence, t: Any = None, *,
           log: bool = False) -> Any:
    """f(*args) of a caller's f, as `called` and `returned` have it."""
    return returned(by, called(by, f, *args, t=t), shape, t, log=log)


def called(who: str, f: Callable, *args: Any, t: Any = None) -> Any:
    """f(*args) of a caller's f, where an error tells whose it is, and the t it was asked at."""
    try:
        return f(*args)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        kind = TypeError if isinstance(error, (TypeError, AttributeError)) else ValueError
        raise kind(f"{who} raised {type(error).__name__}: {error}{asked_at(t)}") from error


def returned(by: str, y: Any, shape: Sequence, t: Any = None, *, log: bool = False) -> Any:
    """What a caller's function gave back: finite floats of this shape; log-probabilities, which may
    be -inf, with log=True. The error tells the t, () or (batch,), it was asked at."""
    try:
        y = floats(f"what {by} returns", y, shape, finite=False)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}{asked_at(t)}") from None
    values = y.value if isinstance(y, Tensor) else y
    if not is_finite(values):
        good = values < np.inf if log else np.isfinite(values)  # nan is below nothing
        if not good.all():
            bad, at = _first(values, ~good)
            raise ValueError(f"what {by} returns must be {'below inf' if log else 'finite'}, got "
                             f"{bad} at index {at}{asked_at(t[at[0]] if np.ndim(t) else t)}")
    return y


# ---------------------------------------------------------------- the pieces


def _plain(expected: str, x: Any, kinds: str, wanted: type) -> np.ndarray:
    """A new array of the numbers in x, whose dtype must be of these kinds."""
    if isinstance(x, Tensor):
        raise TypeError(f"{expected}, got a Tensor, which would lose its gradient")
    try:
        array = np.array(x)
    except ValueError as error:  # ragged lists
        raise ValueError(f"{expected}: {error}") from None
    except RuntimeError:  # torch's, for a tensor with a gradient
        raise TypeError(f"{expected}, got {what(x, wanted)}") from None
    if array.dtype.kind not in kinds or not ordinary(x):
        told = x if foreign(x) or not ordinary(x) else array
        raise TypeError(f"{expected}, got {what(told, wanted)}")
    return array


@functools.lru_cache(1024)  # a training step asks the same dozen questions every time
def _fits(got: tuple, shape: tuple) -> bool:
    if ... in shape:
        at, many = shape.index(...), len(got) - len(shape) + 1
        shape = (*shape[:at], *got[at : at + many], *shape[at + 1:])
    return len(got) == len(shape) and all(n == m or isinstance(m, str) for n, m in zip(got, shape))


def is_finite(x: np.ndarray) -> bool:
    """Whether all of it is finite: one pass, and a closer look when a square overflows."""
    return math.isfinite(np.vdot(x, x)) or bool(np.isfinite(x).all())


def _all_finite(name: str, x: Any) -> None:
    values = x.value if isinstance(x, Tensor) else x
    if not is_finite(values):
        bad, at = _first(values, ~np.isfinite(values))
        raise ValueError(f"{name} must be finite, got {bad} at index {at}")


def _first(values: np.ndarray, bad: np.ndarray) -> tuple:
    """The first of the bad numbers, and its index."""
    at = tuple(map(int, np.argwhere(bad)[0]))
    return values[at], at
