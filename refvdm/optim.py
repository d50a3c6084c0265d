"""Adam and the exponential moving average of parameters.

Both are pure: state goes in, a new state comes out, nothing is written into. Inside, all float
parameters are one flat vector, so that an update is a handful of NumPy calls whatever the number of
layers. States are trees of arrays, ready for a checkpoint.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import checks
from .autodiff import ravel, stop_gradient, tree_leaves, tree_map
from .autodiff.tree import Tree, is_float, leaves, matched

__all__ = ["EMA", "Adam"]


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019).

    Step n = 1, 2, ... with the gradient g:

        m = β₁ m + (1 - β₁) g                     v = β₂ v + (1 - β₂) g²
        θ = θ (1 - η_n λ) - η_n (m/(1 - β₁ⁿ)) / (√(v/(1 - β₂ⁿ)) + ε)

    η_n is the learning rate, with cosine_steps=N multiplied by (1 + cos(π min(n - 1, N)/N))/2. The
    decay λ (`weight_decay`) is multiplied by η_n, as in torch's AdamW, and applies to every
    parameter.
    ε stands outside the root. Integer, bool and None leaves are left alone. ValueError for settings
    outside their range.

    >>> from refvdm.optim import Adam
    >>> adam, theta = Adam(0.1), {"w": np.array([1.0, -1.0])}
    >>> theta, state = adam.update(theta, {"w": np.array([5.0, -0.01])}, adam.init(theta))
    >>> theta["w"].round(4).tolist()
    [0.9, -0.9]
    """

    def __init__(self, learning_rate: float = 1e-3, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-8, weight_decay: float = 0.0,
                 cosine_steps: int | None = None):
        # the checks give Python floats: a NumPy float64 would widen float32 parameters
        self.learning_rate = checks.positive("Adam: learning_rate", learning_rate)
        self.beta_1 = checks.number("Adam: beta_1", beta_1, "[0, 1)")
        self.beta_2 = checks.number("Adam: beta_2", beta_2, "[0, 1)")
        self.epsilon = checks.positive("Adam: epsilon", epsilon)
        self.weight_decay = checks.number("Adam: weight_decay", weight_decay, "[0, inf)")
        self.cosine_steps = cosine_steps
        if cosine_steps is not None:
            self.cosine_steps = checks.integer("Adam: cosine_steps", cosine_steps)

    def init(self, theta: Tree) -> dict[str, np.ndarray]:
        """The state before step 1, for n float parameters in all.

        {"step": 0, "m": zeros (n,), "v": zeros (n,)}
        """
        flat, _ = _flat("Adam: theta", theta)
        return {"step": np.array(0), "m": np.zeros_like(flat), "v": np.zeros_like(flat)}

    def rate(self, n: int) -> float:
        """η_n, the learning rate of step n = 1, 2, ..."""
        n = checks.integer("Adam: n", n)
        if self.cosine_steps is None:
            return self.learning_rate
        fraction = min(n - 1, self.cosine_steps) / self.cosine_steps
        return self.learning_rate * (1 + math.cos(math.pi * fraction)) / 2

    def update(self, theta: Tree, grads: Tree, state: dict) -> tuple[Tree, dict]:
        """theta and state after one step; grads is a tree like theta.

        ValueError when trees or shapes differ or a gradient is nan or infinite, TypeError for one
        that is not float, and for a state that neither init nor update gave.
        """
        flat, unravel = _flat("Adam: theta", theta)
        g = _flat_like("theta", theta, "grads", grads)
        if not checks.is_finite(g):
            raise _not_finite(theta, grads)
        n = _steps_taken(state, flat.shape) + 1
        rate = self.rate(n)
        # the formula, term by term in its order; in place only on what was made here
        m = self.beta_1 * state["m"]
        m += (1 - self.beta_1) * g
        v = self.beta_2 * state["v"]
        g *= g
        g *= 1 - self.beta_2
        v += g
        scale = np.divide(v, 1 - self.beta_2**n, out=g)
        np.sqrt(scale, out=scale)
        scale += self.epsilon
        step = m / (1 - self.beta_1**n)
        step *= rate
        step /= scale
        if self.weight_decay:
            flat *= 1 - rate * self.weight_decay
        flat -= step
        return unravel(flat, copy=False), {"step": np.array(n), "m": m, "v": v}


class EMA:
    """Exponential moving average: average = decay average + (1 - decay) θ, begun at the first θ.

    No bias correction: it starts at parameters, not at zero. ValueError when decay is not in
    [0, 1).

    >>> from refvdm.optim import EMA
    >>> ema = EMA(0.75)
    >>> state = ema.update(ema.init(np.array([0.0])), np.array([4.0]))
    >>> ema.value(state).tolist()
    [1.0]
    """

    def __init__(self, decay: float):
        self.decay = checks.number("EMA: decay", decay, "[0, 1)")

    def init(self, theta: Tree) -> Tree:
        """The state: the average, a tree like theta, at first a copy of it."""
        _flat("EMA: theta", theta)
        return stop_gradient(theta)

    def update(self, state: Tree, theta: Tree) -> Tree:
        """The state after one more theta. ValueError when the trees or shapes differ."""
        average, unravel = _flat("EMA: state", state)
        flat = _flat_like("state", state, "theta", theta)
        average *= self.decay
        flat *= 1 - self.decay
        average += flat
        return unravel(average, copy=False)

    def value(self, state: Tree) -> Tree:
        """The average as parameters of the caller's own."""
        _flat("EMA: state", state)
        return stop_gradient(state)


def _not_finite(theta: Tree, grads: Tree) -> ValueError:
    """The first gradient that is not finite, by the place of its parameter."""
    named = tree_map(lambda _, g: g if is_float(g) else 0.0, theta, grads)
    for place, g in tree_leaves(named):
        finite = np.isfinite(g)
        if not finite.all():
            at = tuple(map(int, np.argwhere(~finite)[0])) if np.ndim(g) else ()
            return ValueError(f"Adam: the gradient of parameter {place or 'theta'} must be finite, "
                              f"got {np.asarray(g)[at]} at index {at}")
    raise AssertionError("all gradients are finite")


def _steps_taken(state: Any, shape: tuple) -> int:
    """The step of Adam's state, once its arrays are of this shape; nan in them is not looked for:
    they are made of gradients that were finite."""
    if not isinstance(state, dict) or state.keys() != {"step", "m", "v"}:
        raise TypeError(f"Adam: state must be what init or update gave, a dict of step, m and v, "
                        f"got {list(state) if isinstance(state, dict) else state!r}")
    for name in ("m", "v"):
        x = state[name]
        if type(x) is not np.ndarray or x.dtype.kind != "f":
            checks.floats(f"Adam: state[{name!r}]", x, (...,), finite=False)
        if x.shape != shape:
            raise ValueError(f"Adam: state is of {x.size} parameters, theta has {shape[0]}")
    step = state["step"]
    if type(step) is np.ndarray and step.shape == ():
        step = step[()]
    return checks.integer("Adam: state['step']", step, 0)


def _flat(name: str, tree: Tree) -> Any:
    """ravel(tree), whose errors name the argument."""
    try:
        return ravel(tree)
    except TypeError as error:
        raise TypeError(f"{name}: {error}") from None


def _flat_like(name: str, tree: Tree, other_name: str, other: Tree) -> np.ndarray:
    """other as one new vector in the tree's leaf order: dicts may list their keys in another."""
    pieces = []
    try:
        for x, y in zip(leaves(tree), matched(tree, other)):
            differentiated = is_float(x)
            if differentiated != is_float(y):
                raise TypeError(f"{name} has {_called(x)}, {other_name} {_called(y)}")
            if differentiated:
                y = np.asarray(y)
                if y.shape != np.shape(x):
                    raise ValueError(f"expected {name}'s shape {np.shape(x)}, got {y.shape}")
                pieces.append(y.reshape(-1))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"optimiser: {other_name} beside {name}: {error}") from None
    return np.concatenate(pieces)


def _called(x: Any) -> str:
    return f"floats of shape {np.shape(x)}" if is_float(x) else f"a constant ({type(x).__name__})"
