"""The ways to make a Schedule, the α_t of 13.26: from α, from β = 1 - α, from ᾱ, and the usual
ones by name."""
from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import checks

# Nobody means a schedule of which nothing is left before its end, log ᾱ_{T-1} below NOTHING_LEFT,
# nor a long one that ends with more signal than noise
NOTHING_LEFT, LONG = -16.0, 20
SYMBOLS = {"betas": "β_t", "alphas": "α_t", "alpha_bars": "ᾱ_t"}


def absurd(x: np.ndarray) -> dict[str, bool]:
    """Whether x (T,), each in [0, 1], makes no sense as betas, as alphas, as alpha_bars."""
    with np.errstate(divide="ignore"):
        as_betas, as_alphas = np.sum(np.log1p(-x[:-1])), np.sum(np.log(x[:-1]))
    falls = bool(np.all(np.diff(x) < 0))
    ends = x[-1] <= 0.5 or len(x) < LONG or as_alphas > math.log(0.02)
    return {"betas": as_betas < NOTHING_LEFT, "alphas": as_alphas < NOTHING_LEFT,
            "alpha_bars": not (falls and ends)}


def readings(x: np.ndarray) -> str:
    """What x looks like, as the end of a message."""
    looks = [name for name, no in absurd(x).items() if not no]
    if "betas" in looks and not (np.all(np.diff(x) > 0) and x[0] < 0.05):
        looks.remove("betas")  # they rise from nearly 0
    if not looks:
        return ""
    return (f"; they look like {' or '.join(SYMBOLS[name] for name in looks)}, "
            f"use {' or '.join(f'from_{name}' for name in looks)}")


def check_meant(name: str, x: np.ndarray) -> None:
    """ValueError when x makes no sense as what its name says, and looks like something else."""
    if absurd(x)[name] and readings(x):
        raise ValueError(f"from_{name}: {name} that begin with {x[0]:.3g} and end with {x[-1]:.3g} "
                         f"are no {SYMBOLS[name]}{readings(x)}")


def span(x: np.ndarray) -> str:
    return f"values from {np.min(x)} to {np.max(x)}" if x.size else "no values"


class Constructors:
    """Of Schedule; what it makes is cls(gamma)."""

    sqrt_alpha_bar: Any
    one_minus_alpha_bar: Any

    def __init__(self, gamma: Any):
        raise NotImplementedError

    @classmethod
    def from_alphas(cls, alphas: Any) -> Any:
        """From α_1..α_T (T,), each in (0, 1): log ᾱ_t = Σ log α_i. ValueError otherwise, and for
        numbers that can only be betas or ᾱ."""
        alphas = checks.reals("from_alphas: alphas", alphas, (...,), finite=False)
        if alphas.ndim != 1 or len(alphas) < 2 or not np.all((alphas > 0) & (alphas < 1)):
            raise ValueError("from_alphas: expected alphas of shape (T,), each in (0, 1), T >= 2, "
                             f"got shape {alphas.shape}, {span(alphas)}")
        check_meant("alphas", alphas)
        return cls._from_log_alphas(np.log(alphas))

    @classmethod
    def from_betas(cls, betas: Any) -> Any:
        """From β_t = 1 - α_t, t = 1..T (T,), each in (0, 1); the last may be 1, for zero terminal
        SNR. ValueError otherwise, and for numbers that can only be α or ᾱ."""
        betas = checks.reals("from_betas: betas", betas, (...,), finite=False)
        if betas.ndim != 1 or len(betas) < 2 or not (
                np.all((betas[:-1] > 0) & (betas[:-1] < 1)) and 0 < betas[-1] <= 1):
            raise ValueError("from_betas: expected betas of shape (T,), each in (0, 1), T >= 2, "
                             f"got shape {betas.shape}, {span(betas)}")
        check_meant("betas", betas)
        with np.errstate(divide="ignore"):
            return cls._from_log_alphas(np.log1p(-betas))

    @classmethod
    def from_alpha_bars(cls, alpha_bars: Any) -> Any:
        """From ᾱ_1..ᾱ_T (T,), falling, each in (0, 1); ᾱ_T may be 0. ᾱ near 1 has lost digits of
        1 - ᾱ before it came here. ValueError otherwise, and for numbers that can only be α or β.
        """
        abar = checks.reals("from_alpha_bars: alpha_bars", alpha_bars, (...,), finite=False)
        if abar.ndim != 1 or len(abar) < 2 or not (
                np.all((abar[:-1] > 0) & (abar < 1)[:-1]) and 0 <= abar[-1] < 1
                and np.all(np.diff(abar) < 0)):
            but = "; leave out ᾱ_0 = 1" if abar.size and abar.flat[0] == 1 else ""
            if abar.ndim == 1 and len(abar) > 1 and np.all((abar > 0) & (abar < 1)):
                but = readings(abar)
            raise ValueError("from_alpha_bars: expected alpha_bars, falling numbers of shape (T,) "
                             f"in (0, 1), T >= 2, got shape {abar.shape}, {span(abar)}{but}")
        check_meant("alpha_bars", abar)
        with np.errstate(divide="ignore"):
            return cls(np.log1p(-abar) - np.log(abar))

    @classmethod
    def from_sigmas(cls, sigmas: Any) -> Any:
        """From σ_1..σ_T (T,), rising, of levels that explode, x_0 + σ_t eps: x_t/√ᾱ_t has
        σ_t² = (1 - ᾱ_t)/ᾱ_t, so gamma_t = 2 log σ_t. ValueError otherwise."""
        sigmas = checks.reals("from_sigmas: sigmas", sigmas, (...,))
        if sigmas.ndim != 1 or len(sigmas) < 2 or not (
                sigmas[0] > 0 and np.all(np.diff(sigmas) > 0)):
            raise ValueError("from_sigmas: expected sigmas, rising positive numbers of shape (T,), "
                             f"T >= 2, got shape {sigmas.shape}, {span(sigmas)}")
        return cls(2 * np.log(sigmas))

    def rescale_zero_terminal_snr(self) -> Any:
        """The same levels, stretched until ᾱ_T = 0 and ᾱ_1 stays (Lin et al. 2024, algorithm 1):

            √ᾱ_t' = (√ᾱ_t - √ᾱ_T) √ᾱ_1/(√ᾱ_1 - √ᾱ_T)
        """
        root = np.asarray(checks.unrecorded("rescale_zero_terminal_snr", self.sqrt_alpha_bar[1:],
                                            "a learned schedule keeps its end points"))
        lost = self.one_minus_alpha_bar[1:]
        stretched = (root - root[-1]) * root[0] / (root[0] - root[-1])
        # 1 - √ᾱ_t' = (1 - √ᾱ_1) + (√ᾱ_1 - √ᾱ_t) √ᾱ_1/(√ᾱ_1 - √ᾱ_T), each difference of roots as
        # that of their squares, which know 1 - ᾱ where ᾱ is rounded to 1
        fallen = (lost - lost[0]) / (root[0] + root) * root[0] / (root[0] - root[-1])
        rest = (lost[0] / (1 + root[0]) + fallen) * (1 + stretched)
        with np.errstate(divide="ignore"):
            return type(self)(np.log(rest) - 2 * np.log(stretched))

    @classmethod
    def linear_beta(cls, T: int, beta_1: float = 1e-4, beta_T: float = 0.02) -> Any:
        """1 - α_t going linearly from beta_1 to beta_T (Ho et al. 2020; there for T = 1000).
        gamma_1 stays, however large T is: see cosine."""
        beta_1 = checks.number("linear_beta: beta_1", beta_1, "(0, 1)")
        beta_T = checks.number("linear_beta: beta_T", beta_T, "(0, 1)")
        betas = np.linspace(beta_1, beta_T, checks.integer("T", T, 2))
        return cls._from_log_alphas(np.log1p(-betas))

    @classmethod
    def cosine(cls, T: int, s: float = 0.008, max_beta: float = 0.999) -> Any:
        """ᾱ_t in proportion to cos²(π/2 (t/T + s)/(1 + s)), 1 - α_t at most max_beta
        (Nichol and Dhariwal 2021). gamma_1 falls as T grows, and the first SNRs stay far apart: for
        the bound, and for small T, linear_gamma is better, and a decoder wants 1 - ᾱ_1."""
        T, s = checks.integer("T", T, 2), checks.number("cosine: s", s, "[0, inf)")
        max_beta = checks.number("cosine: max_beta", max_beta, "(0, 1)")
        angle = np.pi / 2 * (np.arange(T + 1) / T + s) / (1 + s)
        # 1 - cos²b/cos²a = sin(a + b) sin(b - a)/cos²a; others form 1 - ᾱ_t/ᾱ_{t-1}, which cancels
        beta = np.sin(angle[1:] + angle[:-1]) * np.sin(np.diff(angle)) / np.cos(angle[:-1]) ** 2
        return cls._from_log_alphas(np.log1p(-np.minimum(beta, max_beta)))

    @classmethod
    def linear_gamma(cls, T: int, gamma_1: float, gamma_T: float) -> Any:
        """gamma from gamma_1 to gamma_T in equal steps: each divides the SNR by the same number."""
        gamma_1 = checks.number("linear_gamma: gamma_1", gamma_1)
        gamma_T = checks.number("linear_gamma: gamma_T", gamma_T)
        return cls(np.linspace(gamma_1, gamma_T, checks.integer("T", T, 2)))

    @classmethod
    def _from_log_alphas(cls, log_alphas: np.ndarray) -> Any:
        log_alpha_bar = np.cumsum(log_alphas)
        return cls(np.log(-np.expm1(log_alpha_bar)) - log_alpha_bar)
