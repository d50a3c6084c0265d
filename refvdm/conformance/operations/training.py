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


def _snr(a: Any, t: int) -> Any:
    return spec.alpha_bar(a, t) / (1 - spec.alpha_bar(a, t))


def _scaled(name: str, factor: Callable) -> Mistake:
    return Mistake(name, outputs=lambda inputs, outputs: {
        key: y * factor(inputs) for key, y in outputs.items()})


@operation("13.29", cases=_loss_cases, notes=INDEX, outputs={"loss": "(batch,) in nats"},
           inputs={"x_0": "(batch, D)", "betas": BETAS, **LINEAR, "t": T_EACH.format(2),
                   "eps": "(batch, D): makes x_t from x_0"}, mistakes=(
               _scaled("the factor T - 1 is missing (13.29 as printed)",
                       lambda i: 1 / np.longdouble(len(i["betas"]) - 1)),
               _scaled("the factor is T, not T - 1",
                       lambda i: np.longdouble(len(i["betas"])) / (len(i["betas"]) - 1)),
               _scaled("it is in bits, not nats", lambda i: 1 / np.log(np.longdouble(2))),
               _scaled("it is the mean over the elements, not their sum",
                       lambda i: 1 / np.longdouble(i["x_0"].shape[-1])),
               _scaled("the factor 1/2 is forgotten", lambda i: 2),
               Mistake("it is the mean over the batch, not one number per example",
                       outputs=lambda i, outputs: {"loss": 0 * outputs["loss"] + np.mean(
                           outputs["loss"])}),
               Mistake("the weight is missing (|x_0 - x̂_0|²)", instead=_loss_with(
                   lambda a, t: 1)),
               Mistake("the weight is that of eps, |eps - ε̂|² (the \"simple\" loss)",
                       instead=_loss_with(lambda a, t: _snr(a, t))),
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


def _image_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for batch, channels, h, w in ((3, 3, 4, 5), (2, 2, 3, 7)):
        yield {"nats": rng.uniform(20, 400, batch), "shape": np.array([channels, h, w])}


@operation("units", cases=_image_cases, outputs={"bits_per_dim": "(batch,)"},
           inputs={"nats": "(batch,): minus the bound", "shape": "(3,): (channels, h, w)"},
           mistakes=(
               _scaled("it is in nats, not bits", lambda i: np.log(np.longdouble(2))),
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
