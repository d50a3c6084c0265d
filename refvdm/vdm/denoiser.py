"""Exact denoisers, the best x̂_0 of 13.29: E[x_0 | x_t] in closed form for data whose distribution
is known. A perfect model without training.

Called as every denoiser, (theta, x_t, t) -> x̂_0, with theta ignored; x_t (batch, D), t an integer
or real array (batch,) or one number, within [1, T]. Each also knows its log density at every noise
level, its posterior variance, and p(x_0 | x_t) as a density (for points, a mass) and as a sampler:
what a bound can be held against.

In all formulas a = √ᾱ_t and s² = 1 - ᾱ_t.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from .. import checks
from ..autodiff import Array, log_softmax, logsumexp
from ..autodiff.tree import Tree
from ..gaussian import LOG_2PI
from .decoder import choose
from .schedule import Schedule, Scheduled


class _Exact(Scheduled):
    """What the exact denoisers share: data of D dimensions seen through a schedule."""

    def __init__(self, D: int, schedule: Schedule):
        self.D, self._name = D, type(self).__name__
        self.schedule = checks.instance(f"{self._name}: schedule", schedule, Schedule)

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        """E[x_0 | x_t], (batch, D); theta is ignored."""
        raise NotImplementedError

    def _like(self, name: str, x: Array, x_t: Array) -> Array:
        return checks.like(f"{self._name}: {name}", x, "x_t", x_t, finite=True)

    def _level(self, x_t: Array, t: Any) -> tuple[Array, Array]:
        """a and s² as columns (batch, 1), or () for one t, in x_t's dtype."""
        checks.floats(f"{self._name}: x_t", x_t, ("batch", self.D))
        if np.shape(t) not in ((), (len(x_t),)):
            raise ValueError(f"{self._name}: t must be one number or have shape ({len(x_t)},), "
                             f"got {np.shape(t)}")
        signal, width = self.schedule.scales_at(t, x_t)
        return signal, np.square(width)


class MixtureDenoiser(_Exact):
    """For x_0 ~ Σ_k w_k N(m_k, C_k): weights (K,), means (K, D), covs (K, D, D).

    Given x_t, component k has a weight r_k, and within it x_0 has a mean and a covariance:

        r_k in proportion to w_k N(x_t; a m_k, a² C_k + s² I)
        mean_k = m_k + a C_k (a² C_k + s² I)⁻¹ (x_t - a m_k)
        cov_k  = s² C_k (a² C_k + s² I)⁻¹

    All is diagonal in the eigenbasis of C_k, which is computed once. Weights are normalised.
    ValueError for other shapes, weights not positive, covariances not symmetric or not positive
    semidefinite.

    >>> from refvdm.vdm import Schedule
    >>> from refvdm.vdm.denoiser import MixtureDenoiser
    >>> means, covs = np.array([[-1.0], [1.0]]), np.full((2, 1, 1), 0.01)
    >>> exact = MixtureDenoiser(np.ones(2), means, covs, Schedule.linear_gamma(10, -5.0, 5.0))
    >>> exact(None, np.array([[0.0]]), np.array([10])).tolist()
    [[0.0]]
    """

    def __init__(self, weights: Any, means: Any, covs: Any, schedule: Schedule):
        name = type(self).__name__
        weights = checks.reals(f"{name}: weights", weights, (...,), finite=False)
        means = checks.reals(f"{name}: means", means, (...,))
        covs = checks.reals(f"{name}: covs", covs, (...,))
        if (means.ndim != 2 or not means.size or weights.shape != means.shape[:1]
                or covs.shape != (*means.shape, means.shape[1])):
            raise ValueError(f"{name}: expected weights (K,), means (K, D), covs (K, D, D), "
                             f"got {weights.shape}, {means.shape}, {covs.shape}")
        if not np.all(weights > 0) or not np.all(np.isfinite(weights)):
            raise ValueError(f"{name}: weights must be positive and finite, got {weights}")
        symmetric = np.allclose(covs, np.swapaxes(covs, 1, 2), rtol=1e-10)
        if not symmetric:
            raise ValueError(f"{name}: covariances (covs) must be symmetric")
        eigenvalues, self.vectors = np.linalg.eigh(covs)
        rounding = 1e-10 * np.max(np.abs(eigenvalues), axis=1, keepdims=True)
        if not np.all(eigenvalues >= -rounding):
            raise ValueError(f"{name}: covariances must be positive semidefinite, smallest "
                             f"eigenvalue {eigenvalues.min()}")
        super().__init__(means.shape[1], schedule)
        self.log_weights = np.log(weights / weights.sum())
        self.means, self.eigenvalues = means, np.maximum(eigenvalues, 0.0)

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        a, s2 = self._level(x_t, t)
        u, var = self._project(x_t, a, s2)
        return np.sum(self._responsibility(u, var) * self._component_mean(u, var, a), axis=0)

    def posterior_variance(self, x_t: Array, t: Any) -> Array:
        """Var[x_0 | x_t] of every dimension, (batch, D): the mean of the components' variances plus
        the variance of their means."""
        a, s2 = self._level(x_t, t)
        u, var = self._project(x_t, a, s2)
        r, mean = self._responsibility(u, var), self._component_mean(u, var, a)
        squares = np.swapaxes(self.vectors**2, 1, 2).astype(x_t.dtype)
        within = np.matmul(self._eigen(x_t) * s2 / var, squares)
        return np.sum(r * (within + np.square(mean - np.sum(r * mean, axis=0))), axis=0)

    def log_prob(self, x_t: Array, t: Any) -> Array:
        """log of the density of x_t, (batch,) nats: log Σ_k w_k N(x_t; a m_k, a² C_k + s² I)."""
        return logsumexp(self._log_joint(*self._project(x_t, *self._level(x_t, t))), axis=0)

    def log_prob_data(self, x_0: Array) -> Array:
        """log of the density of x_0 itself, (batch,) nats; -inf or nan where a covariance is
        singular."""
        x_0 = checks.floats(f"{self._name}: x_0", x_0, ("batch", self.D))
        a, s2 = np.ones((1, 1), x_0.dtype), np.zeros((1, 1), x_0.dtype)
        return logsumexp(self._log_joint(*self._project(x_0, a, s2)), axis=0)

    def log_posterior(self, x_0: Array, x_t: Array, t: Any) -> Array:
        """log of the density p(x_0 | x_t), (batch,) nats, by Bayes' rule."""
        a, s2 = self._level(x_t, t)
        x_0 = self._like("x_0", x_0, x_t)
        log_q = -0.5 * np.sum(LOG_2PI + np.log(s2) + np.square(x_t - a * x_0) / s2, axis=1)
        return self.log_prob_data(x_0) + log_q - self.log_prob(x_t, t)

    def sample_posterior(self, x_t: Array, t: Any, eps: Array) -> np.ndarray:
        """x_0 drawn from p(x_0 | x_t), from standard normal eps (batch, D).

        The first element of eps chooses the component, through the uniform number Φ(eps). What is
        left of that number, stretched back to (0, 1), is uniform again and serves within the
        component.
        """
        a, s2 = self._level(x_t, t)
        eps = self._like("eps", eps, x_t)
        u, var = self._project(x_t, a, s2)
        k, rest = choose(self._responsibility(u, var)[:, :, 0].T, eps[:, 0])
        first = ndtri(np.clip(rest, 1e-16, 1 - 1e-16))[:, None]
        width = np.sqrt(self._eigen(x_t) * s2 / var) * np.concatenate([first, eps[:, 1:]], axis=1)
        draws = self._component_mean(u, var, a) + np.matmul(width, np.swapaxes(self.vectors, 1, 2))
        return draws[k, np.arange(len(x_t))].astype(x_t.dtype)

    def _eigen(self, x: Array) -> np.ndarray:
        return self.eigenvalues[:, None, :].astype(x.dtype)

    def _project(self, x_t: Array, a: Array, s2: Array) -> tuple[Array, Array]:
        """x_t - a m_k in the eigenbasis of every component, and the variances of x_t along it: both
        (K, batch, D)."""
        centred = x_t - a * self.means[:, None, :].astype(x_t.dtype)
        return np.matmul(centred, self.vectors.astype(x_t.dtype)), a * a * self._eigen(x_t) + s2

    def _component_mean(self, u: Array, var: Array, a: Array) -> Array:
        back = np.swapaxes(self.vectors, 1, 2).astype(var.dtype)
        gain = a * self._eigen(var) / var
        return self.means[:, None, :].astype(var.dtype) + np.matmul(gain * u, back)

    def _log_joint(self, u: Array, var: Array) -> Array:
        """log w_k + log N(x_t; component k): (K, batch)."""
        log_weights = self.log_weights[:, None].astype(var.dtype)
        return log_weights - 0.5 * np.sum(LOG_2PI + np.log(var) + np.square(u) / var, axis=2)

    def _responsibility(self, u: Array, var: Array) -> Array:
        """r_k as (K, batch, 1)."""
        return np.expand_dims(np.exp(log_softmax(self._log_joint(u, var), axis=0)), 2)


class GaussianDenoiser(MixtureDenoiser):
    """For x_0 ~ N(mean, cov), mean (D,), cov (D, D): the mixture of one component.

    >>> from refvdm.vdm import Schedule
    >>> from refvdm.vdm.denoiser import GaussianDenoiser
    >>> schedule = Schedule.from_alpha_bars([0.8, 0.25])
    >>> exact = GaussianDenoiser(np.zeros(1), np.eye(1), schedule)
    >>> exact(None, np.array([[2.0]]), np.array([2])).round(9).tolist()  # √ᾱ_t x_t
    [[1.0]]
    """

    def __init__(self, mean: Any, cov: Any, schedule: Schedule):
        mean = checks.reals("GaussianDenoiser: mean", mean, (...,))
        cov = checks.reals("GaussianDenoiser: cov", cov, (...,))
        if mean.ndim != 1 or cov.shape != mean.shape * 2:
            raise ValueError("GaussianDenoiser: expected mean (D,) and cov (D, D), "
                             f"got {mean.shape} and {cov.shape}")
        super().__init__([1.0], mean[None], cov[None], schedule)
        self.is_diagonal = not np.any(cov - np.diag(np.diag(cov)))


class PointsDenoiser(_Exact):
    """For x_0 one of N points p_i (N, D) with weights w_i (N,), equal unless given.

    Given x_t, point i has a weight in proportion to w_i N(x_t; a p_i, s² I), and E[x_0 | x_t] is
    the mean under these. p(x_0 | x_t) is this one categorical over the points (not one for each
    dimension), a probability mass. ValueError for other shapes, weights not positive, or a point
    listed twice.

    >>> from refvdm.vdm import Schedule
    >>> from refvdm.vdm.denoiser import PointsDenoiser
    >>> exact = PointsDenoiser(np.array([[-1.0], [1.0]]), Schedule.linear_gamma(10, -9.0, 9.0))
    >>> exact(None, np.array([[0.9]]), np.array([1])).round(6).tolist()
    [[1.0]]
    """

    def __init__(self, points: Any, schedule: Schedule, weights: Any = None):
        points = checks.reals("PointsDenoiser: points", points, (...,), finite=False)
        if points.ndim != 2 or len(points) == 0 or not np.all(np.isfinite(points)):
            raise ValueError("PointsDenoiser: expected finite points of shape (N, D), "
                             f"got shape {points.shape}")
        n = len(points)
        weights = np.ones(n) if weights is None else weights
        weights = checks.reals("PointsDenoiser: weights", weights, (...,), finite=False)
        if weights.shape != (n,) or not np.all((weights > 0) & (weights < np.inf)):
            raise ValueError(f"PointsDenoiser: weights must be {n} positive numbers, "
                             f"got {weights!r}")
        if len(np.unique(points, axis=0)) < n:
            raise ValueError("PointsDenoiser: the points must differ from each other; give a "
                             "repeated one more weight")
        super().__init__(points.shape[1], schedule)
        self.points, self.log_weights = points, np.log(weights / weights.sum())

    def __call__(self, theta: Tree, x_t: Array, t: Any) -> Array:
        return np.matmul(np.exp(self.log_masses(x_t, t)), self.points.astype(x_t.dtype))

    def posterior_variance(self, x_t: Array, t: Any) -> Array:
        """Var[x_0 | x_t] of every dimension, (batch, D)."""
        masses, mean = np.exp(self.log_masses(x_t, t)), self(None, x_t, t)
        points = self.points.astype(x_t.dtype)
        columns = [np.sum(masses * np.square(points[:, d] - mean[:, d : d + 1]), axis=1)
                   for d in range(self.D)]
        return np.stack(columns, axis=1)

    def log_masses(self, x_t: Array, t: Any) -> Array:
        """log p(x_0 = point i | x_t): (batch, N)."""
        return log_softmax(self._log_joint(x_t, *self._level(x_t, t)), axis=1)

    def log_prob(self, x_t: Array, t: Any) -> Array:
        """log of the density of x_t, (batch,) nats: log Σ_i w_i N(x_t; a p_i, s² I)."""
        a, s2 = self._level(x_t, t)
        base = np.sum(-0.5 * (LOG_2PI + np.log(s2)) + 0 * x_t, axis=1)
        return logsumexp(self._log_joint(x_t, a, s2), axis=1) + base

    def log_posterior(self, x_0: Array, x_t: Array, t: Any) -> Array:
        """log p(x_0 | x_t), (batch,) nats, a mass. ValueError when an x_0 is none of the points."""
        x_0 = self._like("x_0", x_0, x_t)
        chosen = np.all(x_0[:, None, :] == self.points.astype(x_0.dtype), axis=2)
        known = np.any(chosen, axis=1)
        if not np.all(known):
            raise ValueError("PointsDenoiser: x_0 must hold points only, example "
                             f"{int(np.argmin(known))} is none of them")
        return logsumexp(np.where(chosen, self.log_masses(x_t, t), -np.inf), axis=1)

    def sample_posterior(self, x_t: Array, t: Any, eps: Array) -> np.ndarray:
        """Points drawn from p(x_0 | x_t), from standard normal eps (batch, D), of which only the
        first element is used."""
        eps = self._like("eps", eps, x_t)
        i, _ = choose(np.exp(self.log_masses(x_t, t)), eps[:, 0])
        return self.points[i].astype(x_t.dtype)

    def _log_joint(self, x_t: Array, a: Array, s2: Array) -> Array:
        """log w_i - |x_t - a p_i|²/(2 s²): (batch, N). The difference is squared as it stands:
        multiplied out, it would cancel where s is small."""
        points = self.points.astype(x_t.dtype)
        distance = sum(np.square(x_t[:, d : d + 1] - a * points[:, d]) for d in range(self.D))
        return self.log_weights.astype(x_t.dtype) - 0.5 * distance / s2
