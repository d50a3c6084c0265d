"""The three restrictions of §13.4.2 as code: a VDM is a Markovian hierarchical VAE.

Its latents have the data's dimension, its encoder is a fixed linear Gaussian (13.22), and x_T is
standard normal in the limit; what is missing from that is the prior KL of 13.24. So 13.18-13.21
hold for it as they stand.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..autodiff import Array
from ..autodiff.tree import Tree
from ..mhvae import MarkovianHVAE
from .decoder import ExactDecoder, GaussianDecoder
from .denoiser import GaussianDenoiser
from .forward import q_step
from .learned import NETWORK
from .model import Decoder, Model

if TYPE_CHECKING:
    from .vdm import VDM


def as_mhvae(vdm: VDM) -> MarkovianHVAE:
    """The VDM as a hierarchical VAE with the latents z_t = x_t, and with the same theta.

    Encoder t is q(x_t | x_{t-1}); decoder t is p(x_{t-1} | x_t), and for t = 1 that of the VDM. It
    must be Gaussian: a GaussianDecoder, or an ExactDecoder of a GaussianDenoiser with diagonal
    covariance. TypeError for others.
    """
    if not _is_gaussian(vdm.decoder):
        raise TypeError("as_mhvae: an HVAE's decoders are Gaussian; expected a GaussianDecoder, or "
                        "an ExactDecoder of a GaussianDenoiser with diagonal covariance, "
                        f"got {type(vdm.decoder).__name__}")

    def encoder(t: int) -> Callable:
        def q(theta: Tree, x: Array) -> tuple[Array, Array]:
            mean, var = q_step(vdm.at(theta).schedule, x, t)
            return mean, np.log(var)
        return q

    def decoder(t: int) -> Callable:
        def p(theta: Tree, x: Array) -> tuple[Array, Array]:
            mean, var = vdm.at(theta).step(x, t) if t > 1 else _first_step(vdm.at(theta), x)
            return mean, np.log(var)
        return p

    levels = range(1, vdm.schedule.T + 1)
    return MarkovianHVAE([encoder(t) for t in levels], [decoder(t) for t in levels])


def _is_gaussian(decoder: Decoder) -> bool:
    if isinstance(decoder, ExactDecoder):
        return isinstance(decoder.denoiser, GaussianDenoiser) and decoder.denoiser.is_diagonal
    return isinstance(decoder, GaussianDecoder)


def _first_step(model: Model, x_1: Array) -> tuple[Array, Array]:
    """(mean, var) of a Gaussian p(x_0 | x_1)."""
    ones, decoder = np.ones(len(x_1), int), model.decoder
    if isinstance(decoder, ExactDecoder):
        return decoder.denoiser(None, x_1, ones), decoder.denoiser.posterior_variance(x_1, ones)
    assert isinstance(decoder, GaussianDecoder)  # as_mhvae has made sure
    prediction = model.predict_with_logits(x_1, ones)
    if prediction.log_variance is not None and decoder.variance == NETWORK:
        return prediction.x_0_hat, np.exp(prediction.log_variance)
    return prediction.x_0_hat, np.full((1,) * x_1.ndim, decoder.variance, x_1.dtype)
