"""The closed set of primitives: for each its forward formula and how the cotangent goes back.

Notation: y = f(a, b); L is the scalar at the end; y_bar = dL/dy, a_bar = dL/da, b_bar = dL/db, of
the shapes of y, a, b. Where a broadcasts against b, a rule returns the broadcast shape and the
engine sums (vjp.unbroadcast). The linear layer, with its activation, has a file of its own,
layer.py.

Ties and kinks, where a derivative is a matter of policy:
    maximum, minimum    at a = b the cotangent is halved between both (as JAX; torch.maximum too)
    abs                 0 at 0; hypot at a = b = 0
    max, min            all elements that are the extreme one share equally
    clip                to x on the closed interval [a_min, a_max], outside to the bound (as torch
                        for bounds that are numbers; torch halves at a tensor's, JAX at every)
    where               the branch that was taken; the other gets an exact 0, but if it *computes*
                        inf or nan there, make its argument safe first (where around the argument,
                        then where around the result)
    sqrt, log at 0      inf, as the formula says
    power               b = 0: a_bar = 0; a = 0: b_bar = 0
    logaddexp           equal infinite arguments share equally
    logsumexp           an all -inf slice gets 0
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg
import scipy.special

from ..values import axis as checked_axis
from ..values import flag
from .rule import defvjp
from .tensor import Array, _getitem
from .tree import numbers

# ---------------------------------------------------------------- arithmetic

# y = a + b, a - b, a b, a / b, -x
defvjp(np.add, lambda y_bar, y, a, b: y_bar,
               lambda y_bar, y, a, b: y_bar)
defvjp(np.subtract, lambda y_bar, y, a, b: y_bar,
                    lambda y_bar, y, a, b: -y_bar)
defvjp(np.multiply, lambda y_bar, y, a, b: y_bar * b,
                    lambda y_bar, y, a, b: y_bar * a)
defvjp(np.divide, lambda y_bar, y, a, b: y_bar / b,
                  lambda y_bar, y, a, b: -y_bar * y / b)
defvjp(np.negative, lambda y_bar, y, x: -y_bar)

# y = a^b: dy/da = b a^(b-1), dy/db = a^b log a
defvjp(np.power, lambda y_bar, y, a, b: y_bar * b * np.power(a, np.where(b == 0, 1, b - 1)),
                 lambda y_bar, y, a, b: y_bar * y * np.log(np.where(a == 0, 1, a)))
# y = x^2, x^(1/2), 1/x, |x|
defvjp(np.square, lambda y_bar, y, x: y_bar * (2 * x))
defvjp(np.sqrt, lambda y_bar, y, x: y_bar / (2 * y))
defvjp(np.reciprocal, lambda y_bar, y, x: -y_bar * y * y)
defvjp(np.absolute, lambda y_bar, y, x: y_bar * np.sign(x))

# ---------------------------------------------------------------- exponentials and friends

defvjp(np.exp, lambda y_bar, y, x: y_bar * y)
defvjp(np.expm1, lambda y_bar, y, x: y_bar * (y + 1))
defvjp(np.log, lambda y_bar, y, x: y_bar / x)
defvjp(np.log1p, lambda y_bar, y, x: y_bar / (1 + x))
defvjp(np.sin, lambda y_bar, y, x: y_bar * np.cos(x))
defvjp(np.cos, lambda y_bar, y, x: -y_bar * np.sin(x))
defvjp(np.tan, lambda y_bar, y, x: y_bar * (1 + y * y))
defvjp(np.sinh, lambda y_bar, y, x: y_bar * np.cosh(x))
defvjp(np.cosh, lambda y_bar, y, x: y_bar * np.sinh(x))
defvjp(np.exp2, lambda y_bar, y, x: y_bar * y * math.log(2))
defvjp(np.log2, lambda y_bar, y, x: y_bar / (x * math.log(2)))
defvjp(np.log10, lambda y_bar, y, x: y_bar / (x * math.log(10)))
# y = sqrt(a² + b²)
defvjp(np.hypot, lambda y_bar, y, a, b: y_bar * (a / np.where(y == 0, 1, y)),
                 lambda y_bar, y, a, b: y_bar * (b / np.where(y == 0, 1, y)))
# y = a - b floor(a/b); at its steps, as between them
defvjp(np.remainder, lambda y_bar, y, a, b: y_bar,
                     lambda y_bar, y, a, b: -y_bar * np.floor_divide(a, b))
defvjp(np.tanh, lambda y_bar, y, x: y_bar * (1 - y * y))


def _share(a, b):
    """expit(a - b), the share of a in logaddexp(a, b); 1/2 where both are the same infinity."""
    zeros = np.zeros(np.broadcast_shapes(a.shape, b.shape), a.dtype)
    return scipy.special.expit(np.subtract(a, b, where=a != b, out=zeros))


# y = log(e^a + e^b)
defvjp(np.logaddexp, lambda y_bar, y, a, b: y_bar * _share(a, b),
                     lambda y_bar, y, a, b: y_bar * _share(b, a))

# y = 1/(1 + e^-x); dy/dx = expit(x) expit(-x): y (1 - y) would be 0 from x = 37 on
defvjp(scipy.special.expit, lambda y_bar, y, x: y_bar * y * scipy.special.expit(-x))
# y = log Phi(x); dy/dx = phi(x)/Phi(x) = sqrt(2/pi)/erfcx(-x/sqrt 2), which is about -x far out
# where phi and Phi are both 0
defvjp(scipy.special.log_ndtr, lambda y_bar, y, x:
       y_bar * (math.sqrt(2 / math.pi) / scipy.special.erfcx(x * -math.sqrt(0.5))))
# y = erf(x)
defvjp(scipy.special.erf, lambda y_bar, y, x: y_bar * (np.exp(-x * x) * (2 / math.sqrt(math.pi))))

# ---------------------------------------------------------------- choices


def _larger(y_bar, a, b):
    """y_bar where a > b, half of it where a = b, 0 where a < b."""
    return np.where(a > b, y_bar, np.where(a == b, y_bar / 2, 0))


defvjp(np.maximum, lambda y_bar, y, a, b: _larger(y_bar, a, b),
                   lambda y_bar, y, a, b: _larger(y_bar, b, a))
defvjp(np.minimum, lambda y_bar, y, a, b: _larger(y_bar, b, a),
                   lambda y_bar, y, a, b: _larger(y_bar, a, b))


def _where(condition, a, b):
    dtype = np.asarray(condition).dtype
    if dtype != bool:
        raise TypeError(f"np.where: the condition must be boolean, got dtype {dtype}")
    return np.where(condition, a, b)


defvjp(np.where, None,
       lambda y_bar, y, condition, a, b: np.where(condition, y_bar, 0),
       lambda y_bar, y, condition, a, b: np.where(condition, 0, y_bar),
       forward=_where)


def _clip(x, low, high):
    """np.clip with both bounds, see composed.py; where they cross, it is the upper one."""
    return np.clip(x, low, high)


# y = x on [low, high], low below, high above
defvjp(_clip,
       lambda y_bar, y, x, low, high: np.where((x >= low) & (x <= high), y_bar, 0),
       lambda y_bar, y, x, low, high: np.where((x < low) & (low <= high), y_bar, 0),
       lambda y_bar, y, x, low, high: np.where((x > high) | (low > high), y_bar, 0))

# ---------------------------------------------------------------- sums


def _spread(y_bar, x, axis):
    """y_bar, which lacks the summed axes of x or has them with length 1, repeated along them."""
    x_bar = np.empty(x.shape, y_bar.dtype)
    if axis is not None and x.ndim:  # NumPy allows axis -1 and 0 of a 0-d array
        shape = list(x.shape)
        for i in axis if isinstance(axis, tuple) else (axis,):
            shape[i] = 1
        y_bar = y_bar.reshape(shape)
    x_bar[...] = y_bar
    return x_bar


# y = sum of x over axis. np.sum does the same, and costs twice as much on a small array
defvjp(np.sum, lambda y_bar, y, x, axis=None, *, keepdims=False: _spread(y_bar, x, axis),
       forward=lambda x, axis=None, *, keepdims=False: np.add.reduce(x, axis, keepdims=keepdims))


def _extreme_pull(y_bar, y, x, axis=None, *, keepdims=False):
    # the elements that are largest, or smallest, share y_bar equally
    there = x == _spread(y, x, axis)
    return np.where(there, _spread(y_bar, x, axis) / np.sum(there, axis=axis, keepdims=True), 0)


defvjp(np.max, _extreme_pull)
defvjp(np.min, _extreme_pull)
# y = mean of x over axis; in float16 a large count overflows
defvjp(np.mean, lambda y_bar, y, x, axis=None, *, keepdims=False:
       _spread((y_bar.astype(np.float64) / (x.size / max(y.size, 1))).astype(y_bar.dtype), x, axis))
# y_i = sum_{j <= i} x_j, so x_bar_j = sum_{i >= j} y_bar_i
defvjp(np.cumsum, lambda y_bar, y, x, axis=None:
       np.flip(np.cumsum(np.flip(y_bar, axis or 0), axis or 0), axis or 0).reshape(x.shape))


def logsumexp(x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    """log sum exp(x) over `axis` (all axes when None), of an array or a Tensor; nothing overflows.

    SciPy's function of the same name, which does not dispatch on its own. x may hold -inf, not
    +inf: an all -inf slice gives -inf with gradient 0.

    >>> from refvdm.autodiff import logsumexp
    >>> np.allclose(logsumexp(np.array([-1e4, -1e4])), -1e4 + np.log(2.0), rtol=1e-15)
    True
    """
    x, keepdims = numbers("logsumexp: x", x), flag("logsumexp: keepdims", keepdims)
    return scipy.special.logsumexp(x, checked_axis("logsumexp: axis", axis), keepdims=keepdims)


def _logsumexp_pull(y_bar, y, x, axis=None, keepdims=False):
    y, y_bar = _spread(y, x, axis), _spread(y_bar, x, axis)
    return y_bar * np.exp(x - np.where(y == -np.inf, 0, y))


logsumexp = defvjp(logsumexp, _logsumexp_pull)


def log_softmax(x: Array, axis: Any = None) -> Array:
    """x - logsumexp(x) over `axis` (all axes when None): the log-probabilities of the logits x.

    Of an array or a Tensor. SciPy's function of the same name and default, which does not dispatch
    on its own; JAX's has axis=-1.

    >>> from refvdm.autodiff import log_softmax
    >>> np.exp(log_softmax(np.log([1.0, 3.0]))).round(12).tolist()
    [0.25, 0.75]
    """
    axis = checked_axis("log_softmax: axis", axis)
    return scipy.special.log_softmax(numbers("log_softmax: x", x), axis)


log_softmax = defvjp(log_softmax, lambda y_bar, y, x, axis=None:
                     y_bar - np.exp(y) * np.sum(y_bar, axis=axis, keepdims=True))

# ---------------------------------------------------------------- linear algebra


def _matmul_a(y_bar, y, a, b):
    # Y = A B: A_bar = Y_bar B^T (Giles 2008, 2.2.2); a vector is a row at the left, else a column
    if b.ndim == 1:
        return y_bar[..., None] * b
    if a.ndim == 1:
        return np.matmul(b, y_bar[..., None])[..., 0]
    return np.matmul(y_bar, np.swapaxes(b, -1, -2))


def _matmul_b(y_bar, y, a, b):
    # Y = A B: B_bar = A^T Y_bar
    if a.ndim == 1:
        return y_bar * a if b.ndim == 1 else a[:, None] * y_bar[..., None, :]
    if b.ndim == 1:
        return a * y_bar[..., None]
    if b.ndim == 2:  # one product over all batches, where the engine would sum a product for each
        return as_rows(a).T @ as_rows(y_bar)
    return np.matmul(np.swapaxes(a, -1, -2), y_bar)


def as_rows(x: np.ndarray) -> np.ndarray:
    """(..., n) -> (rows, n)."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


defvjp(np.matmul, _matmul_a, _matmul_b)

# y = x with everything above (tril) or below (triu) diagonal k set to 0
defvjp(np.tril, lambda y_bar, y, x, k=0: np.tril(y_bar, k))
defvjp(np.triu, lambda y_bar, y, x, k=0: np.triu(y_bar, k))

# ---------------------------------------------------------------- shapes: the cotangent goes back

defvjp(np.reshape, lambda y_bar, y, x, shape: y_bar.reshape(x.shape))
defvjp(np.ravel, lambda y_bar, y, x: y_bar.reshape(x.shape))
defvjp(np.expand_dims, lambda y_bar, y, x, axis: y_bar.reshape(x.shape))
defvjp(np.squeeze, lambda y_bar, y, x, axis=None: y_bar.reshape(x.shape))
defvjp(np.transpose, lambda y_bar, y, x, axes=None:
       np.transpose(y_bar, None if axes is None else np.argsort(np.mod(axes, x.ndim))))
defvjp(np.swapaxes, lambda y_bar, y, x, axis1, axis2: np.swapaxes(y_bar, axis1, axis2))
defvjp(np.moveaxis, lambda y_bar, y, x, source, destination:
       np.moveaxis(y_bar, destination, source))
defvjp(np.broadcast_to, lambda y_bar, y, x, shape: y_bar)  # the engine sums


def _concatenate_pull(i, y_bar, y, *arrays, axis=0):
    if axis is None:
        start = sum(a.size for a in arrays[:i])
        return y_bar[start : start + arrays[i].size].reshape(arrays[i].shape)
    start = sum(a.shape[axis] for a in arrays[:i])
    part = np.swapaxes(y_bar, axis, 0)[start : start + arrays[i].shape[axis]]
    return np.swapaxes(part, axis, 0)


defvjp(np.concatenate, each=_concatenate_pull,
       forward=lambda *arrays, axis=0: np.concatenate(arrays, axis))
defvjp(np.stack, each=lambda i, y_bar, y, *arrays, axis=0: np.moveaxis(y_bar, axis, 0)[i],
       forward=lambda *arrays, axis=0: np.stack(arrays, axis))


def _getitem_pull(y_bar, y, x, index):
    # y = x[index]: y_bar goes back to where y was taken from; an element taken twice gets both
    x_bar = np.zeros_like(x)
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(p, np.ndarray) and p.dtype != bool for p in parts):
        np.add.at(x_bar, index, y_bar)
    else:
        x_bar[index] = y_bar
    return x_bar


defvjp(_getitem, _getitem_pull)
