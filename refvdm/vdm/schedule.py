"""The noise schedule: how much of x_0 is left at t = 1..T.

Stored is gamma_t = -log SNR_t = log((1 - abar_t)/abar_t), rising in t. Everything else follows without cancellation:

    abar_t = expit(-gamma_t)      1 - abar_t = expit(gamma_t)      log abar_t = -softplus(gamma_t)      SNR_t = exp(-gamma_t)

Time index, here and everywhere: t = 1..T, x_0 is the data, abar_0 = 1. Others count otherwise:

    DDPM, improved-diffusion, diffusers     their index i = 0..T-1 is t - 1: betas[i] = 1 - alpha_{i+1}
    Kingma et al. 2021 (VDM)                their z at time (t - 1)/T' with T' = T - 1; gamma(0) is gamma_1, gamma(1) is gamma_T,
                                            so that they count T - 1 diffusion terms (t = 2..T) as T'
"""
from __future__ import annotations

import copy
from typing import Any

import numpy as np
from scipy.special import expit

from ..autodiff import stop_gradient


class Schedule:
    """The table of gamma_1..gamma_T. Schedule(gamma) takes those T numbers; see also the named constructors.

    .T, and tables of shape (T+1,) indexed by t: .gamma (gamma[0] = -inf), .alpha_bar (alpha_bar[0] = 1), .snr (snr[0] = inf),
    .alpha (alpha[0] = 1). float64. gamma may be a Tensor (a schedule that is learned); then so are the tables.
    ValueError when T < 2, or gamma is not finite and strictly rising.
    """

    def __init__(self, gamma: Any):
        if np.ndim(gamma) != 1 or len(gamma) < 2:
            raise ValueError(f"Schedule: expected gamma_1..gamma_T with T >= 2, shape (T,), got shape {np.shape(gamma)}")
        if isinstance(gamma, (list, tuple, np.ndarray)):
            gamma = np.array(gamma, np.float64)
        numbers = stop_gradient(gamma)
        if not np.all(np.isfinite(numbers)):
            raise ValueError("Schedule: gamma must be finite")
        if not np.all(np.diff(numbers) > 0):
            t = int(np.argmin(np.diff(numbers) > 0)) + 1
            raise ValueError(f"Schedule: gamma must rise with t (every alpha < 1), but gamma_{t} = {numbers[t - 1]:.17g} "
                             f"and gamma_{t + 1} = {numbers[t]:.17g}")
        self.T = len(numbers)
        # gamma_0 = -inf is a constant beside the T numbers: no gradient passes through it
        self.gamma = np.concatenate([np.array([-np.inf]), gamma])

    @property
    def alpha_bar(self) -> Any:
        return expit(-self.gamma)

    @property
    def snr(self) -> Any:
        # without gamma_0: the inf that stands for SNR_0 would multiply a gradient of 0
        return np.concatenate([np.array([np.inf]), np.exp(-self.gamma[1:])])

    @property
    def alpha(self) -> Any:
        # alpha_t = abar_t / abar_{t-1} = exp(softplus(gamma_{t-1}) - softplus(gamma_t))
        s = softplus(self.gamma)
        return np.concatenate([np.array([1.0]), np.exp(s[:-1] - s[1:])])

    def gamma_at(self, t: Any) -> Any:
        """gamma at real t in [1, T], any shape: straight lines between the table's entries. ValueError outside."""
        t = np.asarray(t)
        if not np.all((t >= 1) & (t <= self.T)):
            raise ValueError(f"gamma_at: t must lie in [1, {self.T}], got {_range(t)}")
        if t.dtype.kind in "iu":
            return self.gamma[t]
        below = np.minimum(np.floor(t).astype(int), self.T - 1)
        weight = t - below
        return (1 - weight) * self.gamma[below] + weight * self.gamma[below + 1]

    def __repr__(self) -> str:
        return f"Schedule(T={self.T}, gamma_1={self.gamma[1]:.4g}, gamma_T={self.gamma[self.T]:.4g})"

    # -- the usual ones

    @classmethod
    def from_alphas(cls, alphas: Any) -> Schedule:
        """From alpha_1..alpha_T (T,), each in (0, 1): log abar_t = sum log alpha_i. ValueError otherwise."""
        alphas = np.asarray(alphas, np.float64)
        if alphas.ndim != 1 or not np.all((alphas > 0) & (alphas < 1)):
            raise ValueError(f"from_alphas: expected alphas of shape (T,), each in (0, 1), got shape {alphas.shape}, {_range(alphas)}")
        return cls._from_log_alphas(np.log(alphas))

    @classmethod
    def linear_beta(cls, T: int, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
        """1 - alpha_t going linearly from beta_1 to beta_T (Ho et al. 2020; there for T = 1000)."""
        if not (0 < beta_1 < 1 and 0 < beta_T < 1):
            raise ValueError(f"linear_beta: beta_1 and beta_T must lie in (0, 1), got {beta_1} and {beta_T}")
        return cls._from_log_alphas(np.log1p(-np.linspace(beta_1, beta_T, _check_T(T))))

    @classmethod
    def cosine(cls, T: int, s: float = 0.008, max_beta: float = 0.999) -> Schedule:
        """abar_t in proportion to cos²(π/2 (t/T + s)/(1 + s)), 1 - alpha_t at most max_beta (Nichol & Dhariwal 2021)."""
        if not s >= 0 or not 0 < max_beta < 1:
            raise ValueError(f"cosine: expected s >= 0 and max_beta in (0, 1), got {s} and {max_beta}")
        angle = np.pi / 2 * (np.arange(_check_T(T) + 1) / T + s) / (1 + s)
        # 1 - cos²b/cos²a = sin(a + b) sin(b - a)/cos²a: they form 1 - abar_t/abar_{t-1}, which cancels for small t
        beta = np.sin(angle[1:] + angle[:-1]) * np.sin(np.diff(angle)) / np.cos(angle[:-1]) ** 2
        return cls._from_log_alphas(np.log1p(-np.minimum(beta, max_beta)))

    @classmethod
    def linear_gamma(cls, T: int, gamma_1: float, gamma_T: float) -> Schedule:
        """gamma from gamma_1 to gamma_T in equal steps: every step divides the SNR by the same number."""
        return cls(np.linspace(gamma_1, gamma_T, _check_T(T)))

    @classmethod
    def _from_log_alphas(cls, log_alphas: np.ndarray) -> Schedule:
        log_abar = np.cumsum(log_alphas)
        return cls(np.log(-np.expm1(log_abar)) - log_abar)


class Scheduled:
    """What holds a schedule that may be learned."""

    schedule: Schedule

    def with_schedule(self, schedule: Schedule) -> Any:
        """The same under another schedule: how a model with a learned one passes it on."""
        other = copy.copy(self)
        other.schedule = schedule
        return other


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return np.logaddexp(0.0, x)


def _check_T(T: int) -> int:
    if isinstance(T, bool) or not isinstance(T, (int, np.integer)) or T < 2:
        raise ValueError(f"T must be an integer of at least 2, got {T!r}")
    return T


def _range(x: np.ndarray) -> str:
    return f"values from {np.min(x)} to {np.max(x)}" if x.size else "no values"
