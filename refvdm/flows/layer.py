"""What a layer of a flow is, and how others' conventions differ from those here.

    convention      here                                   others
    direction       forward: data x to base z              some papers (x = f(z)): from z
    W               y = W x, rows y = x Wᵀ, as torch's     Glow's TensorFlow: (in, out), which is
                    filters (out, in)                      Wᵀ, with the same log_det
    log_det of      of the inverse map: minus the          some return the forward one again
    the inverse     forward one
    positions       log_det times h w, once for each       forgotten: right on vectors only
                    position
    ActNorm         y = (x + shift) exp(log_scale):        scale first: shift means something else
                    shift first
    its start       standard deviation with ddof = 0,      torch's std: ddof = 1
                    as Glow's
    coupling        halves [:d//2], [d//2:]; scale, then   interleaved halves; (x + t) s;
                    shift; s = bound tanh                  sigmoid(s + 2)
    squeeze         new channels in the order (c, fy, fx), (fy, fx, c), as TensorFlow's
                    as torch's unshuffle                   space_to_depth
    bits/dim        of the integers: minus log_prob,       data in [-1, 1] taken as bins of 1/K:
                    minus log(bin width)                   off by 1
"""
from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from .. import checks
from ..autodiff import Array
from ..autodiff.tree import Tree


class Layer(Protocol):
    """An invertible map from examples to examples, whose log-determinant is known.

        layer.init(rng, data=None, dtype=float64) -> theta
        layer.forward(theta, x) -> (y, log_det (batch,))      log|det dy/dx|
        layer.inverse(theta, y) -> (x, log_det (batch,))      log|det dx/dy|, minus the former
        layer.output_shape(shape) -> shape                    of one example, without batch

    Whatever has these four methods is a layer. One that derives from this class has `init` and
    `output_shape` from here: no parameters, and a shape that does not change. The layers here act
    on the last axis at every position between batch and last axis, and sum log_det over positions.

    >>> from refvdm.flows import Flow, Layer
    >>> class Double(Layer):
    ...     def forward(self, theta, x):
    ...         return 2 * x, np.full(len(x), np.log(2) * x[0].size)
    ...     def inverse(self, theta, y):
    ...         return y / 2, np.full(len(y), -np.log(2) * y[0].size)
    >>> Flow([Double()]).forward([()], np.ones((1, 3)))[0].tolist()
    [[2.0, 2.0, 2.0]]
    """

    def init(self, rng: Any, data: Any = None, dtype: Any = np.float64) -> Tree:
        """theta at the start; data (batch, ...) is what `forward` will see first, or None."""
        return {}

    def forward(self, theta: Tree, x: Array, /) -> tuple[Array, Array]:
        """(y, log|det dy/dx| (batch,), nats) for x (batch, ...)."""

    def inverse(self, theta: Tree, y: Array, /) -> tuple[Array, Array]:
        """(x, log|det dx/dy| (batch,), nats) for y (batch, ...)."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one example of y, given that of x."""
        return checks.lengths(f"{type(self).__name__}: shape", shape)


def is_layer(name: str, layer: Any) -> Layer:
    """An object with the four methods of a layer."""
    methods = ("init", "forward", "inverse", "output_shape")
    lacking = [method for method in methods if not callable(getattr(layer, method, None))]
    if lacking or isinstance(layer, type):
        got = "the class " + layer.__name__ if isinstance(layer, type) else type(layer).__name__
        raise TypeError(f"{name} must be a Layer with {', '.join(methods)}, got {got}")
    return layer


def passed(name: str, layer: Layer, method: str, theta: Tree, x: Array) -> tuple[Array, Array]:
    """layer.forward(theta, x) or layer.inverse(theta, x), once it is what it must be: (y, log_det)
    with x's batch, finite. TypeError or ValueError naming the layer."""
    who = f"{name} ({type(layer).__name__}).{method}"
    made = checks.called(who, getattr(layer, method), theta, x)
    if not isinstance(made, tuple) or len(made) != 2:
        raise TypeError(f"{who} must return a tuple (y, log_det), got {type(made).__name__}")
    y = checks.floats(f"{who}: y", made[0], (len(x), ...))
    return y, checks.floats(f"{who}: log_det", made[1], (len(x),))


def per_example(log_det: Array, x: Array) -> Array:
    """A log-determinant of one position, times the positions of an example of x, (batch,)."""
    # NumPy 1.26 would widen a float32 number times an int
    positions = log_det.dtype.type(math.prod(x.shape[1:-1]))
    return np.broadcast_to(log_det * positions, x.shape[:1])
