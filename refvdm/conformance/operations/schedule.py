"""The noise levels as tables, from betas."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX

TABLE = "(T,): entry t-1 is of t = 1..T"
TABLES = {"alpha": TABLE, "alpha_bar": TABLE, "one_minus_alpha_bar": TABLE,
          "gamma": f"{TABLE}; log((1 - ᾱ_t)/ᾱ_t) = -log SNR_t",
          "posterior_var": "(T,): (1 - α_t)(1 - ᾱ_{t-1})/(1 - ᾱ_t), 0 at t = 1",
          "snr_drop": "(T-1,): SNR_{t-1} - SNR_t for t = 2..T"}


def _cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, lowest, highest in ((6, 0.05, 0.4), (20, 3e-6, 0.3), (200, 1e-4, 0.05)):
        yield {"betas": np.geomspace(lowest, highest, T) * rng.uniform(0.9, 1.1, T)}


def _tables(betas: Any, log_alpha_bar: Any) -> tuple:
    """In forms that lose nothing where ᾱ is near 1."""
    one_minus = -np.expm1(log_alpha_bar)
    gamma = np.log(one_minus) - log_alpha_bar
    before = np.concatenate([[0], one_minus[:-1]]).astype(betas.dtype)
    drop = np.exp(-gamma[1:]) * np.expm1(np.diff(gamma))
    return (1 - betas, np.exp(log_alpha_bar), one_minus, gamma, betas * before / one_minus, drop)


def _with(**tables: Callable) -> Mistake:
    """Some tables made of the others in another way."""
    (name, change), = tables.items()
    return Mistake(change.__doc__ or "", outputs=lambda inputs, outputs: {
        name: change(inputs["betas"], **outputs)})


def _beta(betas: Any, **_: Any) -> Any:
    "the posterior's variance is β_t"
    return betas


def _clipped(betas: Any, posterior_var: Any, **_: Any) -> Any:
    "the posterior's variance at t = 1 is that of t = 2 (clipped, as DDPM's logarithms of it)"
    return np.concatenate([posterior_var[1:2], posterior_var[1:]])


def _log_snr(betas: Any, gamma: Any, **_: Any) -> Any:
    "gamma is log SNR: its sign is the other one"
    return -gamma


def _half(betas: Any, gamma: Any, **_: Any) -> Any:
    "gamma is half of it, the log of the ratio of deviations"
    return gamma / 2


def _root(betas: Any, alpha_bar: Any, **_: Any) -> Any:
    "ᾱ is given as √ᾱ"
    return np.sqrt(alpha_bar)


def _after(betas: Any, snr_drop: Any, **_: Any) -> Any:
    "SNR_t - SNR_{t-1} is given, negative"
    return -snr_drop


def _rounded(dtype: Any) -> Callable:
    def tables(betas: Any) -> tuple:
        alpha_bar = np.cumprod((1 - betas).astype(dtype))
        one_minus = (1 - alpha_bar).astype(np.longdouble)
        before, snr = np.concatenate([[0], one_minus[:-1]]), alpha_bar / (1 - alpha_bar)
        return (1 - betas, alpha_bar.astype(np.longdouble), one_minus,
                -np.log(snr.astype(np.longdouble)), betas * before / one_minus,
                (snr[:-1] - snr[1:]).astype(np.longdouble))
    return tables


@operation("13.26, 13.28", inputs={"betas": BETAS}, outputs=TABLES, cases=_cases, notes=INDEX,
           mistakes=(
               Mistake("α_t stands in the place of ᾱ_t",
                       instead=lambda betas: _tables(betas, np.log1p(-betas))),
               Mistake("ᾱ begins with ᾱ_0 = 1 (entry t is of t)", instead=lambda betas: _tables(
                   betas, np.cumsum(np.concatenate([[-1e-30], np.log1p(-betas[:-1])])))),
               Mistake("1 - ᾱ is formed in float32 from a rounded ᾱ", instead=_rounded(np.float32)),
               *(_with(**{table: change}) for table, change in (
                   ("posterior_var", _beta), ("posterior_var", _clipped), ("gamma", _log_snr),
                   ("gamma", _half), ("alpha_bar", _root), ("snr_drop", _after)))))
def schedule_tables(betas: Any) -> Any:
    """α, ᾱ, 1 - ᾱ, gamma, the posterior's variance and the drop of the SNR, from betas"""
    return _tables(betas, np.cumsum(np.log1p(-betas)))


def _log_variance(first: Callable) -> Callable:
    def posterior_log_variance(betas: Any) -> Any:
        posterior_var = _tables(betas, np.cumsum(np.log1p(-betas)))[4]
        with np.errstate(divide="ignore"):
            log_var = np.log(posterior_var)
        return np.concatenate([first(betas, log_var), log_var[1:]])
    return posterior_log_variance


@operation("Ho et al. 2020, their code", inputs={"betas": BETAS}, cases=_cases, notes=INDEX,
           outputs={"log_var": "(T,): entry t-1 is of t; at t = 1, where the variance is 0, that "
                               "of t = 2 (\"clipped\")"}, mistakes=(
               *(Mistake(f"at t = 1 the variance is clamped to {floor:g}", instead=_log_variance(
                   lambda betas, log_var, floor=floor: np.log(np.full_like(betas[:1], floor))))
                 for floor in (1e-20, 1e-12, 1e-10)),
               Mistake("at t = 1 it is -inf, the variance itself is not clipped",
                       instead=_log_variance(lambda betas, log_var: np.full_like(
                           betas[:1], -np.inf))),
               Mistake("at t = 1 it is log β_1", instead=_log_variance(
                   lambda betas, log_var: np.log(betas[:1]))),
               Mistake("it is log β_t, that of the larger choice", instead=lambda betas: np.log(
                   betas)),
               Mistake("it is the log of the deviation", outputs=lambda i, outputs: {
                   "log_var": outputs["log_var"] / 2}),
               Mistake("it is the variance itself", outputs=lambda i, outputs: {
                   "log_var": np.exp(outputs["log_var"])})))
def posterior_log_variance(betas: Any) -> Any:
    """log of the posterior's variance, clipped at t = 1"""
    return _log_variance(lambda betas, log_var: log_var[1:2])(betas)
