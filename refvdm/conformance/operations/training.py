"""What is trained, 13.29, and what is reported of it."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import loss as spec
from ..operation import Arrays, Mistake, operation
from .common import BETAS, INDEX, LINEAR, OF_LINEAR, T_EACH, alphas, each, levels
from .diffusion import ALPHA_FOR_ALPHA_BAR


def _loss_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for T, batch, D in ((5, 4, 3), (9, 3, 2)):
        A = 0.6 * np.eye(D) + 0.15 * rng.standard_normal((T, D, D))
        yield {"x_0": 0.5 + 1.2 * rng.standard_normal((batch, D)), "betas": levels(rng, T),
               "A": A, "b": 0.3 * rng.standard_normal((T, D)),
               "t": np.append([2, T], rng.integers(2, T, batch - 2)),
               "eps": rng.standard_normal((batch, D))}


def _loss_with(weight: Callable) -> Callable:
    def training_loss(x_0: Any, betas: Any, A: Any, b: Any, t: Any, eps: Any) -> Any:
        a = alphas(betas)

        def one(x: Any, t: int, eps: Any) -> tuple:
            hat = A[t - 1] @ spec.q_marginal(x, a, t).draw(eps) + b[t - 1]
            return (weight(a, t) * np.sum((x - hat) ** 2),)
        return each(one, x_0, t, eps)
    return training_loss


def _times(name: str, factor: Callable) -> Mistake:
    """The loss times a factor of α and t, another one for every example."""
    return Mistake(name, outputs=lambda i, outputs: {"loss": outputs["loss"] * np.stack(
        [factor(alphas(i["betas"]), t) for t in i["t"]])})


def _snr(a: Any, t: int) -> Any:
    return spec.alpha_bar(a, t) / (1 - spec.alpha_bar(a, t))


def _scaled(name: str, factor: Callable) -> Mistake:
    return Mistake(name, outputs=lambda inputs, outputs: {
        key: y * factor(inputs) for key, y in outputs.items()})


OF_ANY_LOSS = (
    _scaled("it is in bits, not nats", lambda i: 1 / np.log(np.longdouble(2))),
    _scaled("it is the mean over the elements, not their sum",
            lambda i: 1 / np.longdouble(i["x_0"].shape[-1])),
    _scaled("the factor 1/2 is forgotten", lambda i: 2),
    Mistake("it is the mean over the batch, not one number per example",
            outputs=lambda i, outputs: {"loss": 0 * outputs["loss"] + np.mean(outputs["loss"])}))


@operation("13.29", cases=_loss_cases, notes=INDEX + " Its mean over t uniform in 2..T is the sum "
           "over t = 2..T: hence T - 1. Where t = 1, the reconstruction's term, is drawn too, t is "
           "uniform in 1..T and the factor T: a convention, not a mistake.",
           outputs={"loss": "(batch,) in nats"},
           inputs={"x_0": "(batch, D)", "betas": BETAS, **LINEAR, "t": T_EACH.format(2),
                   "eps": "(batch, D): makes x_t from x_0"}, mistakes=(
               _scaled("the factor T - 1 is missing (13.29 as printed)",
                       lambda i: 1 / np.longdouble(len(i["betas"]) - 1)),
               _scaled("the factor is T, not T - 1 (a convention where t = 1 is drawn too)",
                       lambda i: np.longdouble(len(i["betas"])) / (len(i["betas"]) - 1)),
               *OF_ANY_LOSS,
               Mistake("the weight is missing (|x_0 - x̂_0|²)", instead=_loss_with(
                   lambda a, t: 1)),
               Mistake("the weight is that of eps, |eps - ε̂|² (the \"simple\" loss)",
                       instead=_loss_with(lambda a, t: _snr(a, t))),
               _times("the weight of |eps - ε̂|², β_t²/(2 σ_t² α_t (1 - ᾱ_t)), lacks its 1/α_t",
                      lambda a, t: a[t]),
               _times("σ_t² is β_t, not the posterior's variance", lambda a, t: (
                   1 - spec.alpha_bar(a, t - 1)) / (1 - spec.alpha_bar(a, t))),
               Mistake("the weight is SNR_t/2, not (SNR_{t-1} - SNR_t)/2", instead=_loss_with(
                   lambda a, t: (len(a) - 2) * _snr(a, t) / 2)),
               Mistake("the weight is SNR_t - SNR_{t+1}, of the next step", instead=_loss_with(
                   lambda a, t: (len(a) - 2) * (_snr(a, t) - (
                       _snr(a, t + 1) if t + 1 < len(a) else 0)) / 2)),
               ALPHA_FOR_ALPHA_BAR, *OF_LINEAR))
def training_loss(x_0: Any, betas: Any, A: Any, b: Any, t: Any, eps: Any) -> Any:
    """(T - 1) KL(q(x_{t-1} | x_t, x_0) ‖ p(x_{t-1} | x_t)), p with q's variance"""
    return _loss_with(lambda a, t: (len(a) - 2) * (_snr(a, t - 1) - _snr(a, t)) / 2)(
        x_0, betas, A, b, t, eps)


# ---------------------------------------------------------------- continuous time


def _clock_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for batch, D, ends, power in ((4, 3, (-5.0, 4.0), 1.7), (5, 2, (-3.0, 2.5), 0.6)):
        x_0 = 0.5 + 1.2 * rng.standard_normal((batch, D))
        yield {"x_0": x_0, "x_0_hat": x_0 + 0.4 * rng.standard_normal((batch, D)),
               "t": rng.uniform(0.15, 0.9, batch), "gamma_0": np.array(ends[0]),
               "gamma_1": np.array(ends[1]), "power": np.array(power)}


def _clock(weight: Callable) -> Callable:
    """weight of gamma(t) and its derivative."""
    def continuous_loss(x_0: Any, x_0_hat: Any, t: Any, gamma_0: Any, gamma_1: Any,
                        power: Any) -> Any:
        gamma = gamma_0 + (gamma_1 - gamma_0) * t**power
        slope = (gamma_1 - gamma_0) * power * t ** (power - 1)
        return weight(gamma, slope) * np.sum((x_0 - x_0_hat) ** 2, axis=1)
    return continuous_loss


@operation("Kingma et al. 2021, 18: 13.29 as T -> ∞", cases=_clock_cases,
           outputs={"loss": "(batch,) in nats"},
           inputs={"x_0": "(batch, D)", "x_0_hat": "(batch, D)", "t": "(batch,) in 0..1",
                   "gamma_0": "()", "gamma_1": "()",
                   "power": "(): gamma(t) = gamma_0 + (gamma_1 - gamma_0) t^power, -log SNR"},
           mistakes=(
               Mistake("dgamma/dt is forgotten", instead=_clock(lambda g, slope: np.exp(-g) / 2)),
               Mistake("dgamma/dt is that of a straight line, gamma_1 - gamma_0",
                       instead=lambda **i: _clock(lambda g, slope: (
                           np.exp(-g) * (i["gamma_1"] - i["gamma_0"]) / 2))(**i)),
               Mistake("the weight is that of eps, without the SNR", instead=_clock(
                   lambda g, slope: slope / 2)),
               Mistake("gamma is read as log SNR", instead=_clock(
                   lambda g, slope: np.exp(g) * slope / 2)),
               Mistake("gamma is read as the log of the ratio of deviations", instead=_clock(
                   lambda g, slope: np.exp(-2 * g) * slope)),
               Mistake("SNR is taken for ᾱ", instead=_clock(
                   lambda g, slope: slope / 2 / (1 + np.exp(g)))),
               Mistake("the schedule is taken for linear in t", inputs=lambda power, **_: {
                   "power": 0 * power + 1}),
               _scaled("its sign is the other one", lambda i: -1),
               *OF_ANY_LOSS))
def continuous_loss(x_0: Any, x_0_hat: Any, t: Any, gamma_0: Any, gamma_1: Any, power: Any) -> Any:
    """-½ dSNR/dt |x_0 - x̂_0|² = ½ dgamma/dt e^-gamma |x_0 - x̂_0|²"""
    return _clock(lambda gamma, slope: np.exp(-gamma) * slope / 2)(
        x_0, x_0_hat, t, gamma_0, gamma_1, power)


# ---------------------------------------------------------------- bits per dimension


def _image_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for batch, channels, h, w in ((3, 3, 4, 5), (2, 2, 3, 7)):
        yield {"nats": rng.uniform(20, 400, batch), "shape": np.array([channels, h, w])}


@operation("units", cases=_image_cases, outputs={"bits_per_dim": "(batch,)"},
           inputs={"nats": "(batch,): minus the bound", "shape": "(3,): (channels, h, w)"},
           mistakes=(
               _scaled("it is in nats, not bits", lambda i: np.log(np.longdouble(2))),
               _scaled("nats are multiplied by log 2, not divided",
                       lambda i: np.log(np.longdouble(2)) ** 2),
               _scaled("channels are forgotten", lambda i: i["shape"][0]),
               _scaled("h and w are forgotten", lambda i: i["shape"][1] * i["shape"][2]),
               _scaled("it is not per dimension", lambda i: np.prod(i["shape"])),
               _scaled("an image is taken for square, h = w", lambda i: (
                   i["shape"][2] / np.longdouble(i["shape"][1]))),
               _scaled("its sign is the other one", lambda i: -1),
               Mistake("it is the mean over the batch", outputs=lambda i, outputs: {
                   "bits_per_dim": 0 * outputs["bits_per_dim"] + np.mean(
                       outputs["bits_per_dim"])})))
def bits_per_dim(nats: Any, shape: Any) -> Any:
    """nats/(D log 2), D = channels h w"""
    return nats / (np.prod(shape) * np.log(np.ones_like(nats) + 1))


def _density_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for batch, channels, h, w, K in ((2, 3, 2, 4, 256), (3, 2, 3, 2, 17)):
        yield {"log_prob": 0.4 + 1.5 * rng.standard_normal((batch, channels, h, w)),
               "K": np.array(K)}


def _density(average: Callable = lambda x: np.mean(x, axis=(1, 2, 3)),
             width: Callable = lambda K: 2 / (K - 1), log: Any = None) -> Callable:
    def image_bits_per_dim(log_prob: Any, K: Any) -> Any:
        K = np.asarray(K).astype(log_prob.dtype)
        return -(average(log_prob) + np.log(width(K))) / (np.log(2 * np.ones_like(K)) if log is None
                                                          else log)
    return image_bits_per_dim


@operation("units", cases=_density_cases, outputs={"bits_per_dim": "(batch,)"},
           inputs={"log_prob": "(batch, channels, h, w): log density of each element, in nats, of "
                               "images scaled to [-1, 1]",
                   "K": "(): level k = 0..K-1 was scaled to 2k/(K - 1) - 1"},
           notes="A level's mass is its density times the bin's width, 2/(K - 1).", mistakes=(
               Mistake("the scaling to [-1, 1] is forgotten", instead=_density(width=lambda K: 1)),
               Mistake("the bin's width is taken for 2/K", instead=_density(width=lambda K: 2 / K)),
               Mistake("the bin's width is taken for 1/(K - 1), as on [0, 1]",
                       instead=_density(width=lambda K: 1 / (K - 1))),
               Mistake("the bin's width is taken for 1/K, of images dequantised to [0, 1) (a "
                       "convention, not a mistake)", instead=_density(width=lambda K: 1 / K)),
               Mistake("log(2/(K - 1)) is in nats and the rest in bits", outputs=lambda i, o: {
                   "bits_per_dim": o["bits_per_dim"] + (1 / np.log(np.longdouble(2)) - 1) * (
                       np.log(2 / np.longdouble(int(i["K"]) - 1)))}),
               Mistake("the bin's width is multiplied where it must be divided",
                       instead=_density(width=lambda K: (K - 1) / 2)),
               Mistake("it is in nats, not bits", instead=_density(log=1)),
               Mistake("nats are multiplied by log 2, not divided", outputs=lambda i, outputs: {
                   "bits_per_dim": outputs["bits_per_dim"] * np.log(np.longdouble(2)) ** 2}),
               Mistake("it is not per dimension, but their sum", outputs=lambda i, outputs: {
                   "bits_per_dim": outputs["bits_per_dim"] * i["log_prob"][0].size}),
               Mistake("channels are forgotten (the sum is divided by h w)", outputs=lambda i, o: {
                   "bits_per_dim": o["bits_per_dim"] * i["log_prob"].shape[1]}),
               Mistake("log densities are summed over channels, then averaged",
                       instead=_density(lambda x: np.mean(np.sum(x, axis=1), axis=(1, 2)))),
               Mistake("its sign is the other one", outputs=lambda i, outputs: {
                   "bits_per_dim": -outputs["bits_per_dim"]}),
               Mistake("it is the mean over the batch", outputs=lambda i, outputs: {
                   "bits_per_dim": 0 * outputs["bits_per_dim"] + np.mean(
                       outputs["bits_per_dim"])})))
def image_bits_per_dim(log_prob: Any, K: Any) -> Any:
    """-[mean of log_prob over channels, h, w + log(2/(K - 1))]/log 2, each image's"""
    return _density()(log_prob, K)
