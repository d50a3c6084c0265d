"""Exact denoisers: E[x_0 | x_t] in closed form for data whose distribution is known. A perfect model without training.

Called as every denoiser, (theta, x_t, t) -> x_0 hat, theta ignored; t an integer or real array (batch,) or one number, within
[1, T]. Each also knows its log density at every noise level, its posterior variance, and p(x_0 | x_t) as a density (or, for
points, a mass) and as a sampler: what tests and cross-checks hold a bound against.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri

from .. import checks
from ..autodiff import log_softmax, logsumexp
from ..gaussian import LOG_2PI
from .decoder import choose
from .schedule import Schedule, Scheduled


class _Exact(Scheduled):
    """What the exact denoisers share: data of D dimensions seen through a schedule."""

    def __init__(self, D: int, schedule: Schedule):
        self.D = D
        self.schedule = checks.instance(f"{type(self).__name__}: schedule", schedule, Schedule)

    def __call__(self, theta: Any, x_t: Any, t: Any) -> Any:
        """E[x_0 | x_t], (batch, D); theta is ignored."""
        raise NotImplementedError

    def _check_like(self, name: str, x: Any, x_t: Any) -> None:
        if np.shape(x) != np.shape(x_t):
            raise ValueError(f"{type(self).__name__}: {name} must have x_t's shape {np.shape(x_t)}, got {np.shape(x)}")

    def _level(self, x_t: Any, t: Any) -> tuple[Any, Any]:
        """sqrt(abar_t) and 1 - abar_t as columns (batch, 1), or () for one t, in x_t's dtype."""
        checks.floats(f"{type(self).__name__}: x_t", x_t, ("batch", self.D), finite=False)
        t = np.asarray(t)
        if t.shape not in ((), (len(x_t),)):
            raise ValueError(f"{type(self).__name__}: t must be one number or have shape ({len(x_t)},), got {t.shape}")
        signal, width = self.schedule.scales_at(t, x_t)
        return signal, np.square(width)


class MixtureDenoiser(_Exact):
    """For x_0 ~ sum_k w_k N(m_k, C_k): weights (K,), means (K, D), covs (K, D, D).

    Given x_t, component k has weight r_k in proportion to w_k N(x_t; a m_k, a² C_k + s² I) with a² = abar_t, s² = 1 - abar_t, and
    within it x_0 has mean m_k + a C_k (a² C_k + s² I)^-1 (x_t - a m_k) and covariance s² C_k (a² C_k + s² I)^-1. Both are
    diagonal in the eigenbasis of C_k, taken once. Weights are normalised. ValueError for other shapes, weights not positive,
    covariances not symmetric or not positive semidefinite.
    """

    def __init__(self, weights: Any, means: Any, covs: Any, schedule: Schedule):
        weights, means, covs = (np.array(a, np.float64) for a in (weights, means, covs))
        if means.ndim != 2 or weights.shape != means.shape[:1] or covs.shape != (*means.shape, means.shape[1]):
            raise ValueError(f"{type(self).__name__}: expected weights (K,), means (K, D), covs (K, D, D), "
                             f"got {weights.shape}, {means.shape}, {covs.shape}")
        if not np.all(weights > 0) or not np.all(np.isfinite(weights)):
            raise ValueError(f"{type(self).__name__}: weights must be positive and finite, got {weights}")
        if not np.all(np.isfinite(means)) or not np.allclose(covs, np.swapaxes(covs, 1, 2), rtol=1e-10):
            raise ValueError(f"{type(self).__name__}: means must be finite and covariances symmetric")
        eigenvalues, self.vectors = np.linalg.eigh(covs)
        if not np.all(eigenvalues >= -1e-10 * np.max(np.abs(eigenvalues), axis=1, keepdims=True)):
            raise ValueError(f"{type(self).__name__}: covariances must be positive semidefinite, smallest eigenvalue {eigenvalues.min()}")
        super().__init__(means.shape[1], schedule)
        self.log_weights = np.log(weights / weights.sum())
        self.means, self.eigenvalues = means, np.maximum(eigenvalues, 0.0)

    def __call__(self, theta: Any, x_t: Any, t: Any) -> Any:
        a, s2 = self._level(x_t, t)
        u, var = self._project(x_t, a, s2)
        return np.sum(self._responsibility(u, var) * self._component_mean(u, var, a), axis=0)

    def posterior_variance(self, x_t: Any, t: Any) -> Any:
        """Var[x_0 | x_t] of every dimension, (batch, D): mean of the components' variances and variance of their means."""
        a, s2 = self._level(x_t, t)
        u, var = self._project(x_t, a, s2)
        r, mean = self._responsibility(u, var), self._component_mean(u, var, a)
        within = np.matmul(self._eigen(x_t) * s2 / var, np.swapaxes(self.vectors**2, 1, 2).astype(x_t.dtype))
        return np.sum(r * (within + np.square(mean - np.sum(r * mean, axis=0))), axis=0)

    def log_prob(self, x_t: Any, t: Any) -> Any:
        """log of the density of x_t, (batch,) nats: log sum_k w_k N(x_t; a m_k, a² C_k + s² I)."""
        return logsumexp(self._log_joint(*self._project(x_t, *self._level(x_t, t))), axis=0)

    def log_prob_data(self, x_0: Any) -> Any:
        """log of the density of x_0 itself, (batch,) nats; -inf or nan where a covariance is singular."""
        if np.ndim(x_0) != 2 or np.shape(x_0)[1] != self.D:
            raise ValueError(f"{type(self).__name__}: x_0 must have shape (batch, {self.D}), got {np.shape(x_0)}")
        return logsumexp(self._log_joint(*self._project(x_0, np.ones((1, 1), x_0.dtype), np.zeros((1, 1), x_0.dtype))), axis=0)

    def log_posterior(self, x_0: Any, x_t: Any, t: Any) -> Any:
        """log of the density p(x_0 | x_t), (batch,) nats, by Bayes' rule."""
        a, s2 = self._level(x_t, t)
        self._check_like("x_0", x_0, x_t)
        log_q = -0.5 * np.sum(LOG_2PI + np.log(s2) + np.square(x_t - a * x_0) / s2, axis=1)
        return self.log_prob_data(x_0) + log_q - self.log_prob(x_t, t)

    def sample_posterior(self, x_t: Any, t: Any, eps: Any) -> np.ndarray:
        """x_0 drawn from p(x_0 | x_t), from standard normal eps (batch, D).

        The first element of eps chooses the component, through the uniform number Phi(eps); what is left of that number,
        stretched back to (0, 1), is uniform again and serves within the component.
        """
        a, s2 = self._level(x_t, t)
        self._check_like("eps", eps, x_t)
        u, var = self._project(x_t, a, s2)
        k, rest = choose(self._responsibility(u, var)[:, :, 0].T, eps[:, 0])
        eps = np.concatenate([ndtri(np.clip(rest, 1e-16, 1 - 1e-16))[:, None], eps[:, 1:]], axis=1)
        width = np.sqrt(self._eigen(x_t) * s2 / var) * eps
        draws = self._component_mean(u, var, a) + np.matmul(width, np.swapaxes(self.vectors, 1, 2))
        return draws[k, np.arange(len(x_t))].astype(x_t.dtype)

    def _eigen(self, x: Any) -> np.ndarray:
        return self.eigenvalues[:, None, :].astype(x.dtype)

    def _project(self, x_t: Any, a: Any, s2: Any) -> tuple[Any, Any]:
        """x_t - a m_k in the eigenbasis of every component, and its variances there: both (K, batch, D)."""
        u = np.matmul(x_t - a * self.means[:, None, :].astype(x_t.dtype), self.vectors.astype(x_t.dtype))
        return u, a * a * self._eigen(x_t) + s2

    def _component_mean(self, u: Any, var: Any, a: Any) -> Any:
        gain = a * self._eigen(var) / var
        return self.means[:, None, :].astype(var.dtype) + np.matmul(gain * u, np.swapaxes(self.vectors, 1, 2).astype(var.dtype))

    def _log_joint(self, u: Any, var: Any) -> Any:
        """log w_k + log N(x_t; component k): (K, batch)."""
        return self.log_weights[:, None].astype(var.dtype) - 0.5 * np.sum(LOG_2PI + np.log(var) + np.square(u) / var, axis=2)

    def _responsibility(self, u: Any, var: Any) -> Any:
        """r_k as (K, batch, 1)."""
        return np.expand_dims(np.exp(log_softmax(self._log_joint(u, var), axis=0)), 2)


class GaussianDenoiser(MixtureDenoiser):
    """For x_0 ~ N(mean, cov), mean (D,), cov (D, D): the mixture of one component."""

    def __init__(self, mean: Any, cov: Any, schedule: Schedule):
        if np.ndim(mean) != 1 or np.shape(cov) != np.shape(mean) * 2:
            raise ValueError(f"GaussianDenoiser: expected mean (D,) and cov (D, D), got {np.shape(mean)} and {np.shape(cov)}")
        super().__init__([1.0], np.asarray(mean)[None], np.asarray(cov)[None], schedule)
        self.is_diagonal = not np.any(np.asarray(cov) - np.diag(np.diag(cov)))


class PointsDenoiser(_Exact):
    """For x_0 one of N points (N, D) with weights (N,), equal unless given: E[x_0 | x_t] is their softmax-weighted mean.

    Given x_t, point i has weight in proportion to w_i N(x_t; a p_i, s² I). p(x_0 | x_t) is that categorical over the points (not
    one for each dimension), a probability mass. ValueError for other shapes, weights not positive, or a point listed twice.
    """

    def __init__(self, points: Any, schedule: Schedule, weights: Any = None):
        points = np.array(points, np.float64)
        if points.ndim != 2 or len(points) == 0 or not np.all(np.isfinite(points)):
            raise ValueError(f"PointsDenoiser: expected finite points of shape (N, D), got shape {points.shape}")
        weights = np.ones(len(points)) if weights is None else np.array(weights, np.float64)
        if weights.shape != points.shape[:1] or not np.all(weights > 0) or not np.all(np.isfinite(weights)):
            raise ValueError(f"PointsDenoiser: weights must be {len(points)} positive numbers, got {weights!r}")
        if len(np.unique(points, axis=0)) < len(points):
            raise ValueError("PointsDenoiser: the points must differ from each other; give a repeated one more weight")
        super().__init__(points.shape[1], schedule)
        self.points, self.log_weights = points, np.log(weights / weights.sum())

    def __call__(self, theta: Any, x_t: Any, t: Any) -> Any:
        return np.matmul(np.exp(self.log_masses(x_t, t)), self.points.astype(x_t.dtype))

    def posterior_variance(self, x_t: Any, t: Any) -> Any:
        """Var[x_0 | x_t] of every dimension, (batch, D)."""
        masses, mean = np.exp(self.log_masses(x_t, t)), self(None, x_t, t)
        columns = [np.sum(masses * np.square(self.points[:, d].astype(x_t.dtype) - mean[:, d : d + 1]), axis=1) for d in range(self.D)]
        return np.stack(columns, axis=1)

    def log_masses(self, x_t: Any, t: Any) -> Any:
        """log p(x_0 = point i | x_t): (batch, N)."""
        return log_softmax(self._log_joint(x_t, *self._level(x_t, t)), axis=1)

    def log_prob(self, x_t: Any, t: Any) -> Any:
        """log of the density of x_t, (batch,) nats: log sum_i w_i N(x_t; a p_i, s² I)."""
        a, s2 = self._level(x_t, t)
        base = np.sum(-0.5 * (LOG_2PI + np.log(s2)) + 0 * x_t, axis=1)
        return logsumexp(self._log_joint(x_t, a, s2), axis=1) + base

    def log_posterior(self, x_0: Any, x_t: Any, t: Any) -> Any:
        """log p(x_0 | x_t), (batch,) nats, a mass. ValueError when an x_0 is none of the points."""
        self._check_like("x_0", x_0, x_t)
        chosen = np.all(x_0[:, None, :] == self.points.astype(x_0.dtype), axis=2)
        if not np.all(np.any(chosen, axis=1)):
            raise ValueError(f"PointsDenoiser: x_0 must hold points only, example {int(np.argmin(np.any(chosen, axis=1)))} is none of them")
        return logsumexp(np.where(chosen, self.log_masses(x_t, t), -np.inf), axis=1)

    def sample_posterior(self, x_t: Any, t: Any, eps: Any) -> np.ndarray:
        """Points drawn from p(x_0 | x_t), from standard normal eps (batch, D), of which only the first element is used."""
        self._check_like("eps", eps, x_t)
        i, _ = choose(np.exp(self.log_masses(x_t, t)), eps[:, 0])
        return self.points[i].astype(x_t.dtype)

    def _log_joint(self, x_t: Any, a: Any, s2: Any) -> Any:
        """log w_i - |x_t - a p_i|²/(2 s²): (batch, N). From differences: x_t p_i - |p_i|²/2 would cancel where s is small."""
        points = self.points.astype(x_t.dtype)
        distance = sum(np.square(x_t[:, d : d + 1] - a * points[:, d]) for d in range(self.D))
        return self.log_weights.astype(x_t.dtype) - 0.5 * distance / s2
