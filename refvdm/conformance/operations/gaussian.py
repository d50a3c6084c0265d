"""Gaussians: log densities and KLs. Nats; variances, never deviations."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture.hvae import N
from ...lecture.loss import KL
from ..operation import Arrays, Mistake, operation
from .common import each

NATS = "(batch,) in nats"


def pi(like: Any) -> Any:
    """π to the precision of this number."""
    return 4 * np.arctan(np.ones_like(like))


def scaled(name: str, factor: Callable) -> Mistake:
    """All outputs times a factor of the inputs."""
    return Mistake(name, outputs=lambda inputs, outputs: {
        key: y * factor(inputs) for key, y in outputs.items()})


BITS = scaled("it is in bits, not nats", lambda inputs: 1 / np.log(np.longdouble(2)))
SIGN = scaled("its sign is the other one", lambda inputs: -1)
TWICE = scaled("the factor 1/2 is forgotten", lambda inputs: 2)
MEAN_OVER_BATCH = Mistake("it is the mean over the batch, not one number per example",
                          outputs=lambda inputs, outputs: {
                              key: np.mean(y) + 0 * y for key, y in outputs.items()})


def mean_over(name: str) -> Mistake:
    return scaled("it is the mean over the elements, not their sum",
                  lambda inputs: 1 / np.longdouble(inputs[name].shape[-1]))


def read_as(meaning: str, change: Callable, *names: str) -> Mistake:
    return Mistake(f"{' and '.join(names)} {'are' if len(names) > 1 else 'is'} read as {meaning}",
                   inputs=lambda **inputs: {name: change(inputs[name]) for name in names})


def deviation(*names: str) -> Mistake:
    return read_as("a standard deviation", lambda var: var**2, *names)


def log_variance(*names: str) -> Mistake:
    return read_as("a log-variance", np.exp, *names)


# ---------------------------------------------------------------- diagonal


def _rows(rng: np.random.Generator, *names: str) -> Iterator[Arrays]:
    for batch, D in ((4, 3), (3, 5), (5, 2)):
        yield {name: (rng.uniform(0.2, 3.0, (batch, D)) if name.startswith("var")
                      else 0.4 + 1.3 * rng.standard_normal((batch, D))) for name in names}


@operation("13.20, the normal density", cases=lambda rng: _rows(rng, "x", "mean", "var"),
           inputs={"x": "(batch, D)", "mean": "(batch, D)", "var": "(batch, D)"},
           outputs={"log_prob": NATS}, mistakes=(
               BITS, SIGN, mean_over("x"), MEAN_OVER_BATCH, deviation("var"), log_variance("var"),
               Mistake("the constant D/2 log 2π is missing", outputs=lambda inputs, outputs: {
                   "log_prob": outputs["log_prob"] + inputs["x"].shape[-1] / 2 * np.log(
                       2 * pi(inputs["x"][0, 0]))}),
               Mistake("(x - μ)² is divided by var², not var", instead=lambda x, mean, var: each(
                   lambda x, m, v: (N(m, v).log_prob(m) - np.sum(((x - m) / v) ** 2) / 2,),
                   x, mean, var)),
               Mistake("the log-variance is missing", outputs=lambda inputs, outputs: {
                   "log_prob": outputs["log_prob"] + np.sum(np.log(inputs["var"]), -1) / 2})))
def gaussian_log_density(x: Any, mean: Any, var: Any) -> Any:
    """log N(x; mean, diag(var)), summed over D"""
    return each(lambda x, mean, var: (N(mean, var).log_prob(x),), x, mean, var)


@operation("13.28 KL", inputs={"mean_q": "(batch, D)", "var_q": "(batch, D)",
                               "mean_p": "(batch, D)", "var_p": "(batch, D)"},
           cases=lambda rng: _rows(rng, "mean_q", "var_q", "mean_p", "var_p"),
           outputs={"kl": NATS}, mistakes=(
               BITS, SIGN, TWICE, mean_over("mean_q"), MEAN_OVER_BATCH,
               deviation("var_q", "var_p"), log_variance("var_q", "var_p"),
               Mistake("it runs from p to q", inputs=lambda mean_q, var_q, mean_p, var_p: {
                   "mean_q": mean_p, "var_q": var_p, "mean_p": mean_q, "var_p": var_q}),
               Mistake("(μ_q - μ_p)² is divided by q's variance, not p's", instead=lambda **x: each(
                   lambda m, v, n, w: (KL(N(m, v), N(m, w)) + np.sum((m - n) ** 2 / (2 * v)),),
                   x["mean_q"], x["var_q"], x["mean_p"], x["var_p"])),
               Mistake("log var_q - log var_p has the other sign", outputs=lambda inputs, outputs: {
                   "kl": outputs["kl"] + np.sum(
                       np.log(inputs["var_q"]) - np.log(inputs["var_p"]), -1)}),
               Mistake("log var_q - log var_p is missing", outputs=lambda inputs, outputs: {
                   "kl": outputs["kl"] + np.sum(
                       np.log(inputs["var_q"]) - np.log(inputs["var_p"]), -1) / 2}),
               Mistake("(μ_q - μ_p)² is missing", inputs=lambda mean_p, **_: {"mean_q": mean_p}),
               Mistake("the -1 of each element is missing", outputs=lambda inputs, outputs: {
                   "kl": outputs["kl"] + inputs["mean_q"].shape[-1] / 2})))
def gaussian_kl(mean_q: Any, var_q: Any, mean_p: Any, var_p: Any) -> Any:
    """KL(q ‖ p) for q = N(mean_q, diag(var_q)) and p, summed over D"""
    return each(lambda m, v, n, w: (KL(N(m, v), N(n, w)),), mean_q, var_q, mean_p, var_p)


# ---------------------------------------------------------------- full covariance


def cholesky(cov: Any) -> Any:
    """L with L L^T = cov, row by row; LAPACK knows no extended precision."""
    L = np.zeros_like(cov)
    for i in range(len(cov)):
        for j in range(i):
            L[i, j] = (cov[i, j] - L[i, :j] @ L[j, :j]) / L[j, j]
        L[i, i] = np.sqrt(cov[i, i] - L[i, :i] @ L[i, :i])
    return L


def forward_substitution(L: Any, b: Any) -> Any:
    x = np.zeros_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return x


def _covariances(rng: np.random.Generator, *names: str) -> Iterator[Arrays]:
    for batch, D in ((3, 3), (2, 4), (4, 2)):
        case = {}
        for name in names:
            A = rng.standard_normal((batch, D, D)) + 1.5 * np.eye(D)
            cov = A @ np.swapaxes(A, 1, 2) / D + 0.2 * np.eye(D)
            case[name] = cov if name.startswith("cov") else rng.standard_normal((batch, D)) + 0.5
        yield case


def _log_density(x: Any, mean: Any, cov: Any) -> Any:
    L = cholesky(cov)
    z = forward_substitution(L, x - mean)
    return -np.sum(z * z) / 2 - np.sum(np.log(np.diag(L))) - len(x) * np.log(2 * pi(x[0])) / 2


DIAGONAL = "the covariances are taken for diagonal"


def only_diagonal(*names: str) -> Mistake:
    return Mistake(DIAGONAL, inputs=lambda **inputs: {
        name: inputs[name] * np.eye(inputs[name].shape[-1]) for name in names})


def factors(*names: str) -> Mistake:
    return read_as("a Cholesky factor", lambda cov: np.tril(cov) @ np.swapaxes(np.tril(cov), 1, 2),
                   *names)


@operation("13.20, the normal density", cases=lambda rng: _covariances(rng, "x", "mean", "cov"),
           inputs={"x": "(batch, D)", "mean": "(batch, D)", "cov": "(batch, D, D)"},
           outputs={"log_prob": NATS}, mistakes=(
               BITS, SIGN, mean_over("x"), MEAN_OVER_BATCH, only_diagonal("cov"), factors("cov"),
               Mistake("the constant D/2 log 2π is missing", outputs=lambda inputs, outputs: {
                   "log_prob": outputs["log_prob"] + inputs["x"].shape[-1] / 2 * np.log(
                       2 * pi(inputs["x"][0, 0]))}),
               Mistake("log |cov| is not halved", instead=lambda x, mean, cov: each(
                   lambda x, m, c: (_log_density(x, m, c) - np.sum(np.log(np.diag(cholesky(c)))),),
                   x, mean, cov))))
def gaussian_log_density_full(x: Any, mean: Any, cov: Any) -> Any:
    """log N(x; mean, cov)"""
    return each(lambda *example: (_log_density(*example),), x, mean, cov)


def _kl_full(mean_q: Any, cov_q: Any, mean_p: Any, cov_p: Any) -> Any:
    """½ (|L_p^-1 L_q|² - D + |L_p^-1 (μ_q - μ_p)|²) + log |L_p| - log |L_q|"""
    L_q, L_p = cholesky(cov_q), cholesky(cov_p)
    z, M = forward_substitution(L_p, mean_q - mean_p), forward_substitution(L_p, L_q)
    logs = np.sum(np.log(np.diag(L_p)) - np.log(np.diag(L_q)))
    return (np.sum(M * M) - len(z) + np.sum(z * z)) / 2 + logs


@operation("13.28 KL, full covariances", outputs={"kl": NATS},
           inputs={"mean_q": "(batch, D)", "cov_q": "(batch, D, D)", "mean_p": "(batch, D)",
                   "cov_p": "(batch, D, D)"},
           cases=lambda rng: _covariances(rng, "mean_q", "cov_q", "mean_p", "cov_p"), mistakes=(
               BITS, SIGN, TWICE, mean_over("mean_q"), MEAN_OVER_BATCH,
               only_diagonal("cov_q", "cov_p"), factors("cov_q", "cov_p"),
               Mistake("it runs from p to q", inputs=lambda mean_q, cov_q, mean_p, cov_p: {
                   "mean_q": mean_p, "cov_q": cov_p, "mean_p": mean_q, "cov_p": cov_q}),
               Mistake("the -D is missing", outputs=lambda inputs, outputs: {
                   "kl": outputs["kl"] + inputs["mean_q"].shape[-1] / 2})))
def gaussian_kl_full(mean_q: Any, cov_q: Any, mean_p: Any, cov_p: Any) -> Any:
    """KL(q ‖ p) for q = N(mean_q, cov_q) and p = N(mean_p, cov_p)"""
    return each(lambda *example: (_kl_full(*example),), mean_q, cov_q, mean_p, cov_p)
