"""Adam and the exponential moving average. Both are pure: state goes in, a new state comes out,
nothing is written into.

Inside, all float parameters are one flat vector, so that an update is a handful of NumPy calls
whatever the number of layers. States are trees of arrays, ready for a checkpoint.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .autodiff import ravel, stop_gradient, tree_map
from .autodiff.tree import is_float


class Adam:
    """Adam (Kingma & Ba 2015) with decoupled weight decay (Loshchilov & Hutter 2019), step n = 1,
    2, ...

        m = β₁ m + (1 - β₁) g                     v = β₂ v + (1 - β₂) g²
        θ = θ (1 - η_n λ) - η_n (m/(1 - β₁ⁿ)) / (√(v/(1 - β₂ⁿ)) + ε)

    η_n is the learning rate, with cosine_steps=N times (1 + cos(π min(n - 1, N)/N))/2. The decay λ
    (`weight_decay`) is multiplied by the learning rate, as in torch's AdamW, and applies to every
    parameter. ε stands outside the root. Integer, bool and None leaves are left alone. ValueError
    for settings outside their range.
    """

    def __init__(self, learning_rate: float = 1e-3, beta_1: float = 0.9, beta_2: float = 0.999,
                 epsilon: float = 1e-8,
                 weight_decay: float = 0.0, cosine_steps: int | None = None):
        if not learning_rate > 0 or not epsilon > 0 or not weight_decay >= 0:
            raise ValueError(f"Adam: expected learning_rate > 0, epsilon > 0, weight_decay >= 0, "
                             f"got {learning_rate}, {epsilon}, {weight_decay}")
        if not (0 <= beta_1 < 1 and 0 <= beta_2 < 1):
            raise ValueError(f"Adam: beta_1 and beta_2 must lie in [0, 1), got {beta_1} and "
                             f"{beta_2}")
        if cosine_steps is not None and cosine_steps < 1:
            raise ValueError(f"Adam: cosine_steps must be at least 1, got {cosine_steps}")
        # Python floats: a NumPy float64 would widen float32 parameters
        self.learning_rate = float(learning_rate)
        self.beta_1, self.beta_2 = float(beta_1), float(beta_2)
        self.epsilon, self.weight_decay = float(epsilon), float(weight_decay)
        self.cosine_steps = None if cosine_steps is None else int(cosine_steps)

    def init(self, theta: Any) -> dict[str, np.ndarray]:
        """The state before the first step: {"step": 0, "m": zeros (n,), "v": zeros (n,)}, n all
        float parameters."""
        flat, _ = ravel(theta)
        return {"step": np.array(0), "m": np.zeros_like(flat), "v": np.zeros_like(flat)}

    def rate(self, n: int) -> float:
        """η_n, the learning rate of step n = 1, 2, ..."""
        if self.cosine_steps is None:
            return self.learning_rate
        gone = min(n - 1, self.cosine_steps) / self.cosine_steps
        return self.learning_rate * (1 + math.cos(math.pi * gone)) / 2

    def update(self, theta: Any, grads: Any, state: dict) -> tuple[Any, dict]:
        """theta and state after one step along grads, a tree like theta. ValueError when trees or
        shapes differ."""
        flat, unravel = ravel(theta)
        g = _flat_like(theta, grads)
        if state["m"].shape != flat.shape:
            raise ValueError(f"Adam: state is of {state['m'].size} parameters, theta has "
                             f"{flat.size}")
        n = int(state["step"]) + 1
        rate = self.rate(n)
        # each line of the formula above, term by term in the same order; in place only on what was
        # made here
        m = self.beta_1 * state["m"]
        m += (1 - self.beta_1) * g
        v = self.beta_2 * state["v"]
        np.multiply(g, g, out=g)
        g *= 1 - self.beta_2
        v += g
        step = m / (1 - self.beta_1**n)
        step *= rate
        scale = np.divide(v, 1 - self.beta_2**n, out=g)
        np.sqrt(scale, out=scale)
        scale += self.epsilon
        step /= scale
        if self.weight_decay:
            flat *= 1 - rate * self.weight_decay
        flat -= step
        return unravel(flat, copy=False), {"step": np.array(n), "m": m, "v": v}


class EMA:
    """Exponential moving average of parameters: average = decay average + (1 - decay) θ, begun at
    the first θ.

    No bias correction: it starts at parameters, not at zero. ValueError when decay is not in [0,
    1).
    """

    def __init__(self, decay: float):
        if not 0 <= decay < 1:
            raise ValueError(f"EMA: decay must lie in [0, 1), got {decay}")
        self.decay = float(decay)

    def init(self, theta: Any) -> Any:
        """The state: the average, a tree like theta, at first a copy of it."""
        return stop_gradient(theta)

    def update(self, state: Any, theta: Any) -> Any:
        """The state after one more theta. ValueError when the trees or shapes differ."""
        average, unravel = ravel(state)
        flat = _flat_like(state, theta)
        average *= self.decay
        flat *= 1 - self.decay
        average += flat
        return unravel(average, copy=False)

    def value(self, state: Any) -> Any:
        """The average as parameters of the caller's own."""
        return stop_gradient(state)


def _flat_like(theta: Any, grads: Any) -> np.ndarray:
    """grads as one new vector in theta's leaf order (dicts may list their keys in another), shapes
    checked."""
    pieces = []

    def take(x, g):
        if not is_float(x):
            return
        if not is_float(g):
            raise TypeError(f"optimiser: a float parameter of shape {np.shape(x)} needs a float "
                            f"gradient, got {type(g).__name__}")
        if np.shape(x) != np.shape(g):
            raise ValueError(f"optimiser: parameter of shape {np.shape(x)} got a gradient of "
                             f"shape {np.shape(g)}")
        pieces.append(np.asarray(g).reshape(-1))

    tree_map(take, theta, grads)
    return np.concatenate(pieces)
