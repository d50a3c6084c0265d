"""The linear layer with its activation in one node: the inner loop of every network here.

One node instead of three (matmul, add, activation), the bias and the activation in place, and only
y and, for silu, the sigmoid kept.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .rule import defvjp
from .rules import as_rows
from .tensor import Array
from .tree import numbers

# ---------------------------------------------------------------- activations
#
# Each is a pair: z -> (y, saved), written over z; and (y_bar, y, saved) -> z_bar.


def _tanh(z):
    return np.tanh(z, out=z), None


def _tanh_pull(y_bar, y, _):
    # dy/dz = 1 - y^2
    d = y * y
    np.subtract(1, d, out=d)
    return np.multiply(d, y_bar, out=d)


def _silu(z):
    # y = z s, s = sigmoid(z) = 1/(1 + e^-z) in place: three times faster than expit. Where e^-z
    # overflows, s is the 0 it should be
    s = -z
    with np.errstate(over="ignore"):
        np.exp(s, out=s)
    s += 1
    np.reciprocal(s, out=s)
    z *= s
    return z, s


def _silu_pull(y_bar, y, s):
    # dy/dz = s + z s (1 - s) = s + y (1 - s)
    d = 1 - s
    d *= y
    d += s
    return np.multiply(d, y_bar, out=d)


def _relu(z):
    return np.maximum(z, 0, out=z), None


def _relu_pull(y_bar, y, _):
    # 1 where z > 0, 0 at the kink
    return y_bar * (y > 0)


ACTIVATIONS: dict[str, tuple[Callable, Callable]] = {
    "identity": (lambda z: (z, None), lambda y_bar, y, _: y_bar),
    "tanh": (_tanh, _tanh_pull), "silu": (_silu, _silu_pull), "relu": (_relu, _relu_pull)}

# ---------------------------------------------------------------- the layer


def linear(x: Array, W: Array, b: Array, activation: str = "identity") -> Array:
    """activation(x @ W + b), elementwise "identity", "tanh", "silu" (z sigmoid(z)) or "relu".

    x (..., n_in), W (n_in, n_out), b (n_out,) -> (..., n_out), arrays and Tensors alike. ValueError
    for other shapes or an unknown activation, TypeError for arrays that are not floats.

    >>> from refvdm.autodiff import linear
    >>> linear(np.array([1.0, -2.0]), np.eye(2), np.array([0.5, 0.5]), "relu").tolist()
    [1.5, 0.0]
    """
    if not (type(x) is type(W) is type(b) is np.ndarray
            and x.dtype.kind == W.dtype.kind == b.dtype.kind == "f"):
        x, W, b = numbers("linear: x", x), numbers("linear: W", W), numbers("linear: b", b)
    if W.ndim != 2 or x.ndim < 1 or x.shape[-1] != W.shape[0] or b.shape != W.shape[1:]:
        raise ValueError(f"linear: x must have shape (..., n_in), W (n_in, n_out), b (n_out,), "
                         f"got {x.shape}, {W.shape}, {b.shape}")
    if type(activation) is not str or activation not in ACTIVATIONS:
        raise ValueError(f"linear: activation must be one of {', '.join(ACTIVATIONS)}, "
                         f"got {activation!r}")
    # one product over all leading axes: NumPy would make one for each matrix of a stack
    z = as_rows(x) @ W
    z = np.add(z, b, out=z if z.dtype == b.dtype else None)
    return ACTIVATIONS[activation][0](z if x.ndim == 2 else z.reshape(x.shape[:-1] + b.shape))


def _z_bar(y_bar, y, x, W, b, activation="identity"):
    """dL/dz, z = x W + b, one row for each row of x."""
    return as_rows(ACTIVATIONS[activation][1](y_bar, *y))


linear = defvjp(
    linear,
    lambda z_bar, y, x, W, b, activation="identity": (z_bar @ W.T).reshape(x.shape),
    lambda z_bar, y, x, W, b, activation="identity": as_rows(x).T @ z_bar,
    lambda z_bar, y, x, W, b, activation="identity": np.add.reduce(z_bar, 0),
    shared=_z_bar, saves=True)
