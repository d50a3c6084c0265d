"""Variational diffusion models, 13.4.2-13.4.3.

schedule.py the noise levels | forward.py q | decoder.py p(x_0 | x_1) | elbo.py the model and its bound | sample.py from noise to
data | denoiser.py exact denoisers, known data | network.py denoisers that learn
"""
from .decoder import CategoricalDecoder, ExactDecoder, GaussianDecoder
from .elbo import ELBO, VDM, diffusion_kl, diffusion_kl_general, prior_kl
from .forward import q_marginal, q_posterior, q_step, sample_q
from .sample import ancestral_path
from .schedule import Schedule

__all__ = [
           "ELBO",
           "VDM",
           "CategoricalDecoder",
           "ExactDecoder",
           "GaussianDecoder",
           "Schedule",
           "ancestral_path",
           "diffusion_kl",
           "diffusion_kl_general",
           "prior_kl",
           "q_marginal",
           "q_posterior",
           "q_step",
           "sample_q",
]
