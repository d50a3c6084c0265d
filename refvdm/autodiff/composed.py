"""NumPy functions that need no rule of their own: on Tensors they are written in the primitives.

Each does what NumPy's does for the arguments in its signature; other arguments are a TypeError.
On arrays NumPy's own run.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .linalg import einsum_of_arrays
from .rules import _clip
from .tensor import COMPOSED, Array, record
from .vjp import stop_gradient


def composed(*functions: Callable) -> Callable:
    """The function below stands for these on Tensors."""
    def register(written: Callable) -> Callable:
        for function in functions:
            COMPOSED[function] = written
        return written
    return register


# ---------------------------------------------------------------- sums and products


@composed(np.var)
def var(x: Array, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    away = np.square(x - np.mean(x, axis=axis, keepdims=True))
    n = x.size // max(np.size(np.sum(np.empty(x.shape, bool), axis=axis)), 1)
    return np.sum(away, axis=axis, keepdims=keepdims) / (n - ddof)


@composed(np.std)
def std(x: Array, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Array:
    return _root(var(x, axis, ddof=ddof, keepdims=keepdims))


def _root(x: Array) -> Array:
    """The root of a sum of squares, with gradient 0 at 0: there it has a kink, as abs."""
    return np.where(x == 0, x, np.sqrt(np.where(x == 0, 1, x)))


@composed(np.prod)
def prod(x: Any, axis: int | None = None, *, keepdims: bool = False) -> Array:
    """A node for every factor, so that zeros are nothing special."""
    shape = np.shape(np.sum(np.empty(x.shape, bool), axis=axis, keepdims=keepdims))
    if axis is None or x.ndim == 0:
        x, axis = np.ravel(x), 0
    factors = np.moveaxis(x, axis, 0)
    y = np.ones(np.shape(factors)[1:], x.dtype)
    for factor in factors:
        y = y * factor
    return np.reshape(y, shape)


@composed(np.linalg.norm)
def norm(x: Array, ord: None = None, axis: Any = None, keepdims: bool = False) -> Array:
    if ord is not None:
        raise TypeError("np.linalg.norm of a Tensor is the Euclidean one, ord=None; write others "
                        f"with np.abs, np.sum and np.max (ord = {ord!r})")
    return _root(np.sum(np.square(x), axis=axis, keepdims=keepdims))


@composed(np.dot)
def dot(a: Array, b: Array) -> Array:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(a) > 2 or np.ndim(b) > 2:
        raise TypeError("np.dot of Tensors takes vectors and matrices; use @ or np.einsum")
    return np.matmul(a, b)


@composed(np.outer)
def outer(a: Array, b: Array) -> Array:
    return np.expand_dims(np.ravel(a), 1) * np.expand_dims(np.ravel(b), 0)


@composed(np.kron)
def kron(a: Array, b: Array) -> Array:
    """Blocks a_ij b."""
    n = max(np.ndim(a), np.ndim(b))
    rows = (1,) * (n - np.ndim(a)) + np.shape(a)
    columns = (1,) * (n - np.ndim(b)) + np.shape(b)
    blocks = (np.reshape(a, [n for row in rows for n in (row, 1)])
              * np.reshape(b, [n for column in columns for n in (1, column)]))
    return np.reshape(blocks, [row * column for row, column in zip(rows, columns)])


@composed(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1,
          axis: int | None = None) -> Array:
    """Of vectors in three dimensions."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = np.moveaxis(a, axisa, 0), np.moveaxis(b, axisb, 0)
    if len(a) != 3 or len(b) != 3:
        raise TypeError(f"np.cross of Tensors takes vectors of length 3, got {len(a)} and {len(b)}")
    y = [a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)]
    return np.stack(y, axis=axisc)


@composed(np.einsum)
def einsum(subscripts: str, *arrays: Array) -> Array:
    """With explicit subscripts, "ij,jk->ik"; no "..."."""
    if not isinstance(subscripts, str) or "->" not in subscripts or "." in subscripts:
        raise TypeError("np.einsum of a Tensor takes explicit subscripts such as 'ij,jk->ik', "
                        f"got {subscripts!r}")
    return record(einsum_of_arrays, arrays, {"subscripts": subscripts.replace(" ", "")})


@composed(np.clip)
def clip(x: Array, a_min: Any = None, a_max: Any = None, *, min: Any = None,
         max: Any = None) -> Array:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    return record(_clip, (x, -np.inf if low is None else low,
                                 np.inf if high is None else high), {})


# ---------------------------------------------------------------- rearranging


@composed(np.vstack)
def vstack(arrays: Sequence[Array]) -> Array:
    return np.concatenate([atleast_2d(x) for x in arrays], axis=0)


@composed(np.hstack)
def hstack(arrays: Sequence[Array]) -> Array:
    parts = [atleast_1d(x) for x in arrays]
    return np.concatenate(parts, axis=0 if np.ndim(parts[0]) == 1 else 1)


@composed(np.column_stack)
def column_stack(arrays: Sequence[Array]) -> Array:
    return np.concatenate([np.expand_dims(atleast_1d(x), 1) if np.ndim(x) < 2 else x
                           for x in arrays], axis=1)


@composed(np.atleast_1d)
def atleast_1d(x: Array) -> Array:
    return np.reshape(x, (1,)) if np.ndim(x) == 0 else x


@composed(np.atleast_2d)
def atleast_2d(x: Array) -> Array:
    return np.reshape(x, (1, np.size(x))) if np.ndim(x) < 2 else x


@composed(np.atleast_3d)
def atleast_3d(x: Array) -> Array:
    shapes = {0: (1, 1, 1), 1: (1, *np.shape(x), 1), 2: (*np.shape(x), 1)}
    return np.reshape(x, shapes[np.ndim(x)]) if np.ndim(x) < 3 else x


@composed(np.split)
def split(x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    return _pieces(np.split, x, indices_or_sections, axis)


@composed(np.array_split)
def array_split(x: Array, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    return _pieces(np.array_split, x, indices_or_sections, axis)


def _pieces(cut: Callable, x: Array, indices_or_sections: Any, axis: int) -> list[Array]:
    rows = np.swapaxes(x, axis, 0)
    return [np.swapaxes(rows[i[0] : i[-1] + 1] if len(i) else rows[:0], axis, 0)
            for i in cut(np.arange(len(rows)), indices_or_sections)]


@composed(np.diff)
def diff(x: Array, n: int = 1, axis: int = -1) -> Array:
    if n < 0:
        raise ValueError(f"np.diff of a Tensor: n must not be negative, got {n}")
    for _ in range(n):
        rows = np.swapaxes(x, axis, 0)
        x = np.swapaxes(rows[1:] - rows[:-1], axis, 0)
    return x


def _moved(x: Array, places: Callable) -> Array:
    """The elements of x where `places` moves the numbers 0, 1, ... laid out as x."""
    return np.ravel(x)[places(np.arange(np.size(x)).reshape(np.shape(x)))]


@composed(np.repeat)
def repeat(x: Array, repeats: Any, axis: int | None = None) -> Array:
    return _moved(x, lambda i: np.repeat(i, repeats, axis))


@composed(np.tile)
def tile(x: Array, reps: Any) -> Array:
    return _moved(x, lambda i: np.tile(i, reps))


@composed(np.flip)
def flip(x: Array, axis: Any = None) -> Array:
    return _moved(x, lambda i: np.flip(i, axis))


@composed(np.roll)
def roll(x: Array, shift: Any, axis: Any = None) -> Array:
    return _moved(x, lambda i: np.roll(i, shift, axis))


@composed(np.diagonal)
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    return _moved(x, lambda i: np.diagonal(i, offset, axis1, axis2))


@composed(np.trace)
def trace(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    return np.sum(diagonal(x, offset, axis1, axis2), axis=-1)


@composed(np.diag)
def diag(x: Array, k: int = 0) -> Array:
    if np.ndim(x) == 2:
        return diagonal(x, k)
    n, i = len(x) + abs(k), np.arange(len(x))
    of = np.full((n, n), len(x))  # which element of x stands where; elsewhere the 0 behind them
    of[i + max(-k, 0), i + max(k, 0)] = i
    return np.concatenate([x, np.zeros(1, x.dtype)])[of]


@composed(np.take)
def take(x: Array, indices: Any, axis: int | None = None) -> Array:
    return _moved(x, lambda i: np.take(i, indices, axis))


@composed(np.take_along_axis)
def take_along_axis(x: Array, indices: Any, axis: int | None = None) -> Array:
    return _moved(x, lambda i: np.take_along_axis(i, indices, axis))


@composed(np.sort)
def sort(x: Array, axis: int | None = -1) -> Array:
    """The cotangent goes back to where each element came from; equal ones keep their order."""
    order = np.argsort(stop_gradient(x), axis=axis, kind="stable")
    return take_along_axis(x, order, axis)
