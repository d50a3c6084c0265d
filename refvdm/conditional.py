"""A conditional that learns: one q_φ(z_t | z_{t-1}) of 13.19, or p_θ(z_{t-1} | z_t) of 13.18."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from . import checks
from .autodiff import Array
from .autodiff.tree import Tree
from .nn import MLP


class GaussianConditional:
    """A Conditional over n_out numbers given n_in: an MLP with two heads, mean and log-variance.

    part(theta, z (batch, n_in)) -> (mean, log_var), both (batch, n_out). Its parameters are
    theta[name], so that all levels of a model can share one dict. log_var = m tanh(head/m) with
    m = max_log_var: it stays within (-m, m), so that no variance vanishes or overflows.
    ValueError for sizes below 1, an unknown activation, max_log_var not positive, theta without it.

    >>> from refvdm.mhvae import GaussianConditional
    >>> part = GaussianConditional("encoder", 4, 2)
    >>> theta = {"encoder": part.init(np.random.default_rng(0))}
    >>> part(theta, np.zeros((3, 4)))[0].shape
    (3, 2)
    """

    def __init__(self, name: str, n_in: int, n_out: int, hidden: Sequence[int] = (64, 64),
                 max_log_var: float = 10.0, activation: str = "tanh"):
        checks.instance("GaussianConditional: name", name, str)
        self.name, self.n_out = name, checks.integer("GaussianConditional: n_out", n_out)
        n_in = checks.integer("GaussianConditional: n_in", n_in)
        hidden = checks.lengths("GaussianConditional: hidden", hidden)
        self.max_log_var = checks.positive("GaussianConditional: max_log_var", max_log_var)
        self.net = MLP((n_in, *hidden, 2 * n_out), activation)

    def init(self, rng: np.random.Generator, dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """The MLP's, the last weight times 0.3: a chain of wild first guesses trains badly."""
        theta = self.net.init(rng, dtype)
        theta[list(theta)[-2]] *= 0.3
        return theta

    def __call__(self, theta: Tree, z: Array) -> tuple[Array, Array]:
        if not isinstance(theta, dict) or self.name not in theta:
            got = [*theta] if isinstance(theta, dict) else checks.what(theta)
            raise ValueError(f"theta must be a dict with a key {self.name!r}, got {got}")
        out, m = self.net(theta[self.name], z), self.max_log_var
        return out[..., : self.n_out], m * np.tanh(out[..., self.n_out :] / m)
