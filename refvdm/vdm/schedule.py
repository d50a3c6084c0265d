"""The noise levels: how much of x_0 is left in x_t, t = 1..T, and everything computed from it.

Stored is gamma_t = -log SNR_t = log((1 - ᾱ_t)/ᾱ_t), rising in t. All that 13.22-13.29 ask for
follows from it in float64, once, as a table indexed by t. This is the only file in which the
numerics of the levels stand: the others gather from the tables and read as the lecture does.

With r_t = SNR_t/SNR_{t-1} = exp(gamma_{t-1} - gamma_t), nothing here is a difference of two numbers
that nearly agree:

    ᾱ_t = expit(-gamma_t)          1 - ᾱ_t = expit(gamma_t)          log ᾱ_t = -softplus(gamma_t)
    α_t = ᾱ_t/ᾱ_{t-1} = exp(softplus(gamma_{t-1}) - softplus(gamma_t))
    1 - r_t = -expm1(gamma_{t-1} - gamma_t)                          1 - α_t = (1 - ᾱ_t) (1 - r_t)
    SNR_{t-1} - SNR_t = SNR_{t-1} (1 - r_t)

With zero terminal SNR, ᾱ_T = 0, gamma_T is inf: every table takes its limit there, x_T is noise,
restriction 3 of §13.4.2 exact. What has no limit raises: x_0 from eps, the flow that starts at T.

Time index, here and everywhere: t = 1..T, x_0 is the data, ᾱ_0 = 1. Others count otherwise:

    DDPM, improved-diffusion, diffusers   their index i = 0..T-1 is t - 1: betas[i] = 1 - α_{i+1}
    Kingma et al. 2021 (VDM)              their z at time (t - 1)/T' with T' = T - 1: gamma(0) is
                                          gamma_1, gamma(1) is gamma_T, and they count the T - 1
                                          diffusion terms (t = 2..T) as T'
"""
from __future__ import annotations

import copy
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit

from .. import checks
from ..autodiff import Array, Tensor, stop_gradient
from ..gaussian import expm1_minus
from ..nn import time_features
from .constructors import Constructors, span
from .levels import Levels, Rounded, factor, scales, softplus

LEVEL_FEATURES = 8


class Schedule(Constructors):
    """The noise levels gamma_1..gamma_T. Schedule(gamma) takes those T numbers; see also the named
    constructors.

    .T, and tables (T+1,) indexed by t, float64 and read-only:

        gamma                      -log SNR_t;  gamma[0] = -inf
        alpha, one_minus_alpha     α_t and 1 - α_t of one step, 13.26;  alpha[0] = 1
        alpha_bar, one_minus_alpha_bar    ᾱ_t and 1 - ᾱ_t of the whole way, 13.28;  alpha_bar[0] = 1
        sqrt_alpha, sqrt_alpha_bar, sqrt_one_minus_alpha_bar      their roots
        snr, snr_drop              ᾱ_t/(1 - ᾱ_t), and SNR_{t-1} - SNR_t of kl.py;  snr[0] = inf
        posterior_x_t, posterior_x_0, posterior_var      q(x_{t-1} | x_t, x_0), 13.25: the factors
                                   of x_t and x_0 in its mean, its variance;  nan at t = 0
        log_posterior_var, log_one_minus_alpha          log of what the names say

    gamma may be a Tensor (a schedule that is learned); then so are the tables.
    ValueError when T < 2, or gamma is not finite and strictly rising; gamma_T may be inf.

    >>> from refvdm.vdm import Schedule
    >>> schedule = Schedule.from_betas([0.1, 0.2, 0.5])
    >>> schedule.T, schedule.alpha_bar.round(4).tolist(), schedule.snr.round(4).tolist()
    (3, [1.0, 0.9, 0.72, 0.36], [inf, 9.0, 2.5714, 0.5625])
    """

    gamma: Any

    def __init__(self, gamma: Any):
        if isinstance(gamma, Tensor):
            gamma = checks.floats("Schedule: gamma", gamma, ("T",))
        else:
            gamma = checks.reals("Schedule: gamma", gamma, ("T",), finite=False)
            if len(gamma) and not (gamma[-1] == np.inf and np.isfinite(gamma[:-1]).all()):
                gamma = checks.reals("Schedule: gamma", gamma, ("T",))  # only gamma_T may be inf
        if len(gamma) < 2:
            raise ValueError("Schedule: gamma must be gamma_1..gamma_T with T >= 2, shape (T,), "
                             f"got shape {gamma.shape}")
        numbers = stop_gradient(gamma)
        if not np.all(np.diff(numbers) > 0):
            t = int(np.argmin(np.diff(numbers) > 0)) + 1
            raise ValueError(f"Schedule: gamma must rise with t (every alpha < 1), but gamma_{t} = "
                             f"{numbers[t - 1]:.17g} and gamma_{t + 1} = {numbers[t]:.17g}")
        self.T = len(numbers)
        self.gamma = _table([-np.inf], gamma)

    @property
    def ends_in_noise(self) -> bool:
        """Whether ᾱ_T = 0, the SNR at T is zero. A gamma that is learned is finite."""
        return not isinstance(self.gamma, Tensor) and bool(np.isinf(self.gamma[-1]))

    # -- the tables. Entries whose gradient would be 0 * inf are constants, put in front

    @cached_property
    def alpha_bar(self) -> Any:
        return _table([1.0], expit(-self.gamma[1:]))

    @cached_property
    def one_minus_alpha_bar(self) -> Any:
        return _table([0.0], expit(self.gamma[1:]))

    @cached_property
    def sqrt_alpha_bar(self) -> Any:
        return _table([1.0], np.sqrt(self.alpha_bar[1:]))

    @cached_property
    def sqrt_one_minus_alpha_bar(self) -> Any:
        return _table([0.0], np.sqrt(self.one_minus_alpha_bar[1:]))

    @cached_property
    def _log_alpha(self) -> Any:
        s = softplus(self.gamma)
        return s[:-1] - s[1:]

    @cached_property
    def alpha(self) -> Any:
        return _table([1.0], np.exp(self._log_alpha))

    @cached_property
    def sqrt_alpha(self) -> Any:
        return _table([1.0], np.exp(0.5 * self._log_alpha))

    @cached_property
    def _one_minus_r(self) -> Any:
        return -np.expm1(self.gamma[:-1] - self.gamma[1:])

    @cached_property
    def one_minus_alpha(self) -> Any:
        return _table([0.0], self.one_minus_alpha_bar[1:] * self._one_minus_r)

    @cached_property
    def snr(self) -> Any:
        return _table([np.inf], np.exp(-self.gamma[1:]))

    @cached_property
    def snr_drop(self) -> Any:
        # SNR_{t-1} (1 - r_t); SNR_t expm1(...) has no limit where SNR_T = 0
        return _table([np.nan, np.inf], np.exp(-self.gamma[1:-1]) * self._one_minus_r[1:])

    @cached_property
    def posterior_x_t(self) -> Any:
        # √α_t (1 - ᾱ_{t-1})/(1 - ᾱ_t) = r_t/√α_t
        log_r = self.gamma[:-1] - self.gamma[1:]
        if self.ends_in_noise:  # 0 at T
            return _table([np.nan], np.append(np.exp(log_r[:-1] - 0.5 * self._log_alpha[:-1]), 0.0))
        return _table([np.nan], np.exp(log_r - 0.5 * self._log_alpha))

    @cached_property
    def posterior_x_0(self) -> Any:
        # √ᾱ_{t-1} (1 - α_t)/(1 - ᾱ_t) = √ᾱ_{t-1} (1 - r_t)
        return _table([np.nan], self.sqrt_alpha_bar[:-1] * self._one_minus_r)

    @cached_property
    def posterior_var(self) -> Any:
        # (1 - α_t) (1 - ᾱ_{t-1})/(1 - ᾱ_t) = (1 - ᾱ_{t-1}) (1 - r_t)
        return _table([np.nan], self.one_minus_alpha_bar[:-1] * self._one_minus_r)

    @cached_property
    def log_posterior_var(self) -> Any:
        log_var = np.log(self._one_minus_r[1:]) - softplus(-self.gamma[1:-1])
        return _table([np.nan, -np.inf], log_var)

    @cached_property
    def log_one_minus_alpha(self) -> Any:
        log_var = np.log(self._one_minus_r) - softplus(-self.gamma[1:])
        return _table([-np.inf], log_var)

    @cached_property
    def level_features(self) -> Any:
        """What tells a network the level, (T+1, 8); nan at t = 0. See features_at."""
        return _table(np.full((1, LEVEL_FEATURES), np.nan), level_features(self.gamma[1:]))

    # -- what others ask of them

    def at(self, t: Any, x: Array) -> Levels:
        """The tables at t, one integer or (batch,), as factors for x (batch, ...)."""
        return Levels(self, t, x)

    def gamma_at(self, t: Any) -> Any:
        """gamma at real t in [1, T], any shape: straight lines between the table's entries.
        ValueError outside."""
        t = self._time(t)
        if t.dtype.kind in "iu":
            return self.gamma[t]
        below = np.minimum(np.floor(t).astype(int), self.T - 1)
        weight = t - below
        above = np.where(weight > 0, self.gamma[below + 1], 0.0)  # gamma_T may be inf, not 0 * inf
        return (1 - weight) * self.gamma[below] + weight * above

    def scales_at(self, t: Any, x: Array) -> tuple[Any, Any]:
        """√ᾱ_t and √(1 - ᾱ_t) of 13.28 as factors for x; t real in [1, T], a number or (batch,)."""
        t = self._time(t)
        if t.dtype.kind in "iu":
            at = self.at(t, x)
            return at.sqrt_alpha_bar, at.sqrt_one_minus_alpha_bar
        signal, noise = scales(self.gamma_at(t))
        return factor(signal, x), factor(noise, x)

    def features_at(self, t: Any, x: Array) -> Any:
        """Sines and cosines of gamma_t in x's dtype (batch, 8), for x (batch, ...); t as in
        scales_at. The slowest is nearly linear over gamma in [-10, 10], the fastest has a period
        of 6."""
        t = self._time(t)
        t = t if t.ndim else np.full(len(x), t)
        if t.dtype.kind in "iu" and not isinstance(self.gamma, Tensor):
            return self._tables(x.dtype).level_features[t]
        return level_features(self.gamma_at(t), x.dtype)

    def _time(self, t: Any) -> np.ndarray:
        if type(t) is not np.ndarray or t.dtype.kind not in "iu":
            t = checks.reals("t", t, (...,), finite=False)
        if t.size and not 1 <= np.minimum.reduce(t, None) <= np.maximum.reduce(t, None) <= self.T:
            raise ValueError(f"t must lie in [1, {self.T}], got {span(t)}")
        return t

    @cached_property
    def prior_spread(self) -> Any:
        """-ᾱ_T - log(1 - ᾱ_T), as e^d - 1 - d with d = log(1 - ᾱ_T): for small ᾱ_T it is nearly
        ᾱ_T²/2, and the difference would be rounded to 0."""
        return expm1_minus(-softplus(-self.gamma[self.T]))

    def snr_lost(self, s: int, t: int) -> Any:
        """1 - SNR_t/SNR_s for 1 <= s <= t."""
        return -np.expm1(self.gamma[s] - self.gamma[t])

    def __repr__(self) -> str:
        return f"Schedule(T={self.T}, gamma_1={self.gamma[1]:.4g}, gamma_T={self.gamma[-1]:.4g})"

    @cached_property
    def _rounded(self) -> dict[np.dtype, Rounded]:
        return {}

    def _tables(self, dtype: np.dtype) -> Any:
        """Itself, or its tables rounded to this dtype."""
        if dtype.type is np.float64 or isinstance(self.gamma, Tensor):
            return self
        if dtype not in self._rounded:
            self._rounded[dtype] = Rounded(self, dtype)
        return self._rounded[dtype]


class Scheduled:
    """Base of what holds a schedule that may be learned."""

    schedule: Schedule

    def with_schedule(self, schedule: Schedule) -> Any:
        """The same under another schedule: how a model with a learned one passes it on."""
        other = copy.copy(self)
        other.schedule = schedule
        return other


def level_features(gamma: Any, dtype: Any = np.float64) -> Array:
    """(..., 8) from gamma (...); inf counts as 30."""
    if not isinstance(gamma, Tensor):
        gamma = np.where(np.isinf(gamma), 30.0, gamma)
    return time_features(gamma, LEVEL_FEATURES, 0.1, 1.0, dtype)


def _table(first: Any, rest: Any) -> Any:
    """Constants for the first t, then the rest; read-only."""
    table = np.concatenate([np.array(first), rest])
    if isinstance(table, np.ndarray):
        table.setflags(write=False)
    return table
