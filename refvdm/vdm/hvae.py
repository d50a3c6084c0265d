"""The three restrictions of 13.4.2 as code: a VDM is a Markovian hierarchical VAE.

Its latents have the data's dimension, its encoder is a fixed linear Gaussian, 13.22, and x_T is standard normal in the limit (what is
missing is the prior KL of 13.24). So 13.18-13.21 hold for it as they stand.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from ..mhvae import MarkovianHVAE
from .decoder import ExactDecoder, GaussianDecoder
from .denoiser import GaussianDenoiser
from .forward import q_step


def as_mhvae(vdm: Any) -> MarkovianHVAE:
    """The VDM as a hierarchical VAE whose latents z_t = x_t have the data's dimension and whose encoder is fixed (13.22): same theta.

    Encoder t is q(x_t given x_{t-1}), decoder t >= 2 p(x_{t-1} given x_t), decoder 1 that of the VDM, which must be Gaussian: a GaussianDecoder, or
    an ExactDecoder of a GaussianDenoiser with diagonal covariance. TypeError for others.
    """
    exact = vdm.decoder.denoiser if isinstance(vdm.decoder, ExactDecoder) else None
    if not isinstance(vdm.decoder, GaussianDecoder) and not (isinstance(exact, GaussianDenoiser) and exact.is_diagonal):
        raise TypeError(f"as_mhvae: an HVAE's decoders are Gaussian; expected a GaussianDecoder, or an ExactDecoder of a "
                        f"GaussianDenoiser with diagonal covariance, got {type(vdm.decoder).__name__}")

    def encoder(t: int) -> Any:
        def q(theta: Any, x: Any) -> tuple[Any, Any]:
            mean, var = q_step(vdm.at(theta).schedule, x, t)
            return mean, np.log(var)
        return q

    def decoder(t: int) -> Any:
        def p(theta: Any, x: Any) -> tuple[Any, Any]:
            mean, var = vdm.at(theta).step(x, t) if t > 1 else _first_step(vdm.at(theta), x)
            return mean, np.log(var)
        return p

    levels = range(1, vdm.schedule.T + 1)
    return MarkovianHVAE([encoder(t) for t in levels], [decoder(t) for t in levels])


def _first_step(model: Any, x_1: Any) -> tuple[Any, Any]:
    """(mean, var) of a Gaussian p(x_0 given x_1)."""
    ones = np.ones(len(x_1), int)
    prediction = model.predict(x_1, ones)
    if isinstance(model.decoder, GaussianDecoder):
        return prediction.x_0_hat, np.full((1,) * x_1.ndim, model.decoder.variance, x_1.dtype)
    return model.decoder.denoiser(None, x_1, ones), model.decoder.denoiser.posterior_variance(x_1, ones)
