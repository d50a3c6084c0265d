"""The whole bound 13.24 on given noise, in nats per example, and its gradient in theta.

Two denoisers that both sides can build: a linear map for each t, x̂_0 = A[t-1] x_t + b[t-1], and a
network of one hidden layer that sees t/T beside x_t. The decoder is N(x̂_0(x_1, 1), variance I).
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ...lecture import vdm
from ...lecture.hvae import N
from ..operation import REGISTER, Arrays, Mistake, operation
from .bound import BITS, MEAN_OVER_BATCH, MEAN_OVER_D, NATS, PRIOR_WRONG, _snr
from .common import BETAS, INDEX, LINEAR, OF_LINEAR, TABLE_LATE, TRANSPOSED, alphas, each, levels
from .diffusion import ALPHA_FOR_ALPHA_BAR

GIVEN = {"variance": "(): of the decoder",
         "eps": "(T, batch, D): eps[t-1] makes x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) eps[t-1]"}
TERMS = {"reconstruction": NATS, "prior_kl": NATS, "diffusion_kl": NATS, "total": NATS}


def _bound_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((4, 3, 2), (7, 2, 3)):
        A = 0.5 * np.eye(D) + 0.2 * rng.standard_normal((T, D, D))
        yield {"x_0": 0.7 + 1.2 * rng.standard_normal((batch, D)), "betas": levels(rng, T),
               "A": A, "b": 0.3 * rng.standard_normal((T, D)), "variance": np.array(0.2),
               "eps": rng.standard_normal((T, batch, D))}


def _terms_of(x_0: Any, betas: Any, x_0_hat: Callable, variance: Any, eps: Any,
              weight: Callable | None = None) -> tuple:
    """reconstruction, prior_kl, diffusion_kl and total, as in lecture.vdm.elbo; or with other
    weights of |x_0 - x̂_0|² in diffusion_kl."""
    a = alphas(betas)

    def one(x: Any, eps: Any) -> tuple:
        p = spec.p_theta(a, x_0_hat, lambda x_1: N(x_0_hat(x_1, 1), variance))
        total, prior = vdm.elbo(x, a, p, eps), vdm.prior_kl(x, a)
        reconstruction = p[1](spec.q_marginal(x, a, 1).draw(eps[0])).log_prob(x)
        diffusion = reconstruction - prior - total
        if weight is not None:
            drawn = {t: spec.q_marginal(x, a, t).draw(eps[t - 1]) for t in range(2, len(a))}
            diffusion = sum(weight(a, t) * np.sum((x - x_0_hat(x_t, t)) ** 2)
                            for t, x_t in drawn.items())
        return reconstruction, prior, diffusion, reconstruction - prior - diffusion
    return each(one, x_0, np.swapaxes(eps, 0, 1))


def _term(name: str, change: Callable) -> Mistake:
    """Of the three terms, others."""
    return Mistake(name, outputs=lambda inputs, outputs: _summed(change(inputs, **{
        key: y for key, y in outputs.items() if key != "total"})))


def _summed(terms: Arrays) -> Arrays:
    total = terms["reconstruction"] - terms["prior_kl"] - terms["diffusion_kl"]
    return {**terms, "total": total}


def _terms(**change: Callable) -> Callable:
    def changed(inputs: Arrays, **terms: Any) -> Arrays:
        return {**terms, **{key: f(inputs, terms[key]) for key, f in change.items()}}
    return changed


def _of_prior(mistake: Mistake) -> Mistake:
    """A mistake of the operation prior_kl, in this sum."""
    return _term(f"in the prior's KL {mistake.name}", lambda i, **terms: {
        **terms, "prior_kl": REGISTER["prior_kl"].answer(
            {key: i[key] for key in ("x_0", "betas")}, (mistake,))["kl"]})


def _snr_drop(a: Any, t: int) -> Any:
    return (_snr(a, t - 1) - _snr(a, t)) / 2


WEIGHTS = {"the KLs' weights are SNR_t/2, not (SNR_{t-1} - SNR_t)/2": lambda a, t: _snr(a, t) / 2,
           "the KLs' weights are those of t + 1": lambda a, t: _snr_drop(
               np.append(a, a.dtype.type(0)), t + 1),
           "the KLs' weights are left out (|x_0 - x̂_0|²)": lambda a, t: 1.0,
           "the KLs' weights are those of eps (SNR_t)": lambda a, t: _snr(a, t),
           "the KLs' sum lacks t = 2": lambda a, t: _snr_drop(a, t) if t > 2 else 0.0,
           "the KLs' sum lacks t = T": lambda a, t: _snr_drop(a, t) if t + 1 < len(a) else 0.0}


def weighed(compute: Callable) -> tuple[Mistake, ...]:
    return tuple(Mistake(name, instead=lambda weight=weight, **i: compute(weight=weight, **i))
                 for name, weight in WEIGHTS.items())


def _adds(name: str) -> Mistake:
    return Mistake(f"the total adds the {name}", outputs=lambda i, outputs: {
        "total": outputs["total"] + 2 * outputs[name]})


NOISE_BACKWARD = Mistake("the noise is read in the other order (eps[T-t] makes x_t)",
                         inputs=lambda eps, **_: {"eps": eps[::-1]})
DEVIATION = Mistake("the decoder's variance is read as a standard deviation",
                    inputs=lambda variance, **_: {"variance": variance**2})
TERMS_WRONG = (
    BITS, MEAN_OVER_D, MEAN_OVER_BATCH, NOISE_BACKWARD, DEVIATION, ALPHA_FOR_ALPHA_BAR,
    _term("the prior's KL is missing", _terms(prior_kl=lambda i, y: 0 * y)),
    _term("the reconstruction is missing", _terms(reconstruction=lambda i, y: 0 * y)),
    _term("the factor 1/2 of the KLs is forgotten", _terms(diffusion_kl=lambda i, y: 2 * y)),
    _term("the KLs' sum is a mean over t", _terms(
        diffusion_kl=lambda i, y: y / (len(i["betas"]) - 1))),
    _term("the KLs' sum counts T terms for T - 1", _terms(
        diffusion_kl=lambda i, y: y * len(i["betas"]) / (len(i["betas"]) - 1))),
    _term("the reconstruction lacks the Gaussian's constants", _terms(
        reconstruction=lambda i, y: y + i["x_0"].shape[-1] / 2 * np.log(
            2 * np.pi * i["variance"]))),
    _term("the reconstruction is minus |x_0 - x̂_0|²", _terms(reconstruction=lambda i, y: (
        2 * i["variance"] * y + i["variance"] * i["x_0"].shape[-1] * np.log(
            2 * np.pi * i["variance"])))),
    _adds("prior_kl"), _adds("diffusion_kl"), *map(_of_prior, PRIOR_WRONG),
    Mistake("the prior's KL is left out of the total", outputs=lambda i, outputs: {
        "total": outputs["total"] + outputs["prior_kl"]}),
    Mistake("the reconstruction is left out of the total", outputs=lambda i, outputs: {
        "total": outputs["total"] - outputs["reconstruction"]}),
    Mistake("the reconstruction is given as a loss, -log p(x_0 | x_1)", outputs=lambda i, outputs: {
        "reconstruction": -outputs["reconstruction"]}),
    Mistake("the total is minus the bound, the loss", outputs=lambda i, outputs: {
        "total": -outputs["total"]}))


# ---------------------------------------------------------------- the linear denoiser


@operation("13.24", cases=_bound_cases, notes=INDEX, outputs=TERMS,
           inputs={"x_0": "(batch, D)", "betas": BETAS, **LINEAR, **GIVEN},
           mistakes=(*TERMS_WRONG, *OF_LINEAR, *weighed(lambda **i: _linear_bound(**i))))
def elbo(x_0: Any, betas: Any, A: Any, b: Any, variance: Any, eps: Any) -> Any:
    """total = reconstruction - prior_kl - diffusion_kl, the sum over t = 2..T on given noise"""
    return _linear_bound(x_0, betas, A, b, variance, eps)


def _linear_bound(x_0: Any, betas: Any, A: Any, b: Any, variance: Any, eps: Any,
                  weight: Callable | None = None) -> Any:
    return _terms_of(x_0, betas, lambda x_t, t: A[t - 1] @ x_t + b[t - 1], variance, eps, weight)


def _weighted(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _bound_cases(rng):
        yield case | {"total_bar": rng.uniform(0.5, 1.5, len(case["x_0"]))}


def _pulls(x_0: Any, betas: Any, x_0_hat: Callable, variance: Any, eps: Any,
           total_bar: Any) -> Iterator[tuple]:
    """(t, x_t, dL/dx̂_0(x_t, t)) for every example and t: only x̂_0 depends on theta.

    ∂total/∂x̂_0 is (SNR_{t-1} - SNR_t) (x_0 - x̂_0), and (x_0 - x̂_0)/variance at t = 1.
    """
    a = alphas(betas)
    snr = [np.inf] + [spec.alpha_bar(a, t) / (1 - spec.alpha_bar(a, t)) for t in range(1, len(a))]
    for x, noise, bar in zip(x_0, np.swapaxes(eps, 0, 1), total_bar):
        for t in range(1, len(a)):
            x_t = spec.q_marginal(x, a, t).draw(noise[t - 1])
            weight = 1 / variance if t == 1 else snr[t - 1] - snr[t]
            yield t, x_t, bar * weight * (x - x_0_hat(x_t, t))


def _rows(change: Callable) -> Callable:
    """Of gradients whose first axis is t, other ones."""
    return lambda i, outputs: {name: change(y, i) for name, y in outputs.items()}


def _first_row(y: Any, factor: Any) -> Any:
    return np.concatenate([factor * y[:1], y[1:]])


def all_times(name: str, factor: Callable) -> Mistake:
    return Mistake(name, outputs=lambda i, outputs: {
        key: factor(i) * y for key, y in outputs.items()})


GRADIENT_WRONG = (
    NOISE_BACKWARD, DEVIATION, ALPHA_FOR_ALPHA_BAR,
    all_times("it is the gradient of minus the bound, the loss", lambda i: -1),
    all_times("it is in bits, not nats", lambda i: 1 / np.log(np.longdouble(2))),
    all_times("it is the gradient of the mean over the batch",
              lambda i: 1 / np.longdouble(len(i["x_0"]))),
    all_times("it is the gradient of the mean over the elements",
              lambda i: 1 / np.longdouble(i["x_0"].shape[-1])),
    Mistake("total_bar is left out", inputs=lambda total_bar, **_: {
        "total_bar": 1 + 0 * total_bar}))


@operation("13.24, its gradient", cases=_weighted, notes=INDEX,
           inputs={"x_0": "(batch, D)", "betas": BETAS, **LINEAR, **GIVEN,
                   "total_bar": "(batch,): dL/dtotal"},
           outputs={"A_bar": "(T, D, D)", "b_bar": "(T, D)"}, mistakes=(
               *GRADIENT_WRONG, TABLE_LATE, TRANSPOSED,
               Mistake("the reconstruction's part is missing (t = 1)", outputs=_rows(
                   lambda y, i: _first_row(y, 0))),
               Mistake("the KLs' part is missing (t = 2..T)", outputs=_rows(
                   lambda y, i: np.concatenate([y[:1], 0 * y[1:]]))),
               Mistake("the factor 1/2 of the KLs is forgotten", outputs=_rows(
                   lambda y, i: np.concatenate([y[:1], 2 * y[1:]]))),
               Mistake("the KLs' sum is a mean over t", outputs=_rows(
                   lambda y, i: np.concatenate([y[:1], y[1:] / (len(i["betas"]) - 1)]))),
               Mistake("the gradient's rows are of t + 1 (they go to A[t])", outputs=_rows(
                   lambda y, i: np.roll(y, 1, 0))),
               Mistake("A_bar is transposed", outputs=lambda i, outputs: {
                   "A_bar": np.swapaxes(outputs["A_bar"], 1, 2)})))
def elbo_gradient(x_0: Any, betas: Any, A: Any, b: Any, variance: Any, eps: Any,
                  total_bar: Any) -> Any:
    """The gradients of L = Σ total_bar total, total as in elbo, in A and b"""
    A_bar, b_bar = np.zeros_like(A), np.zeros_like(b)
    for t, x_t, bar in _pulls(x_0, betas, lambda x_t, t: A[t - 1] @ x_t + b[t - 1], variance, eps,
                              total_bar):
        A_bar[t - 1] = A_bar[t - 1] + np.outer(bar, x_t)
        b_bar[t - 1] = b_bar[t - 1] + bar
    return A_bar, b_bar
