"""Variational diffusion models, §13.4: 13.22-13.29.

    schedule.py             the noise levels
    learned.py              noise levels and variances that are learned
    forward.py              q, the encoder
    kl.py                   the KL divergences of the bound
    model.py                p; what a denoiser and a decoder are
    elbo.py                 the bound
    vdm.py                  the model as its users see it
    hvae.py                 the model as a hierarchical VAE
    forms.py                three forms of the bound
    continuous.py           T to infinity
    decoder.py              p(x_0 | x_1)
    denoiser.py             exact denoisers, for known data
    network.py              denoisers that learn
    parametrisation.py      x_0, eps, v and the score as what a network predicts
    sample.py               from noise to data
    probability_flow.py     the same without noise, and log-likelihood
    evaluate.py             the bound over a data set
"""
from .continuous import Integral, continuous_kl, continuous_kl_quadrature
from .decoder import (
    CategoricalDecoder,
    DiscretizedGaussianDecoder,
    ExactDecoder,
    GaussianDecoder,
)
from .denoiser import GaussianDenoiser, MixtureDenoiser, PointsDenoiser
from .elbo import ELBO
from .evaluate import EvaluationError, evaluate
from .forms import Forms, elbo_forms
from .forward import q_marginal, q_posterior, q_step, sample_q
from .kl import diffusion_kl, diffusion_kl_general, prior_kl
from .learned import (
    LearnedSchedule,
    LearnedVariance,
    log_variance_between,
    log_variances,
    optimal_variance,
)
from .model import Decoder, Denoiser, Prediction
from .network import (
    AxialNetwork,
    CategoricalDenoiser,
    MLPNetwork,
    Network,
    RegressionDenoiser,
)
from .parametrisation import (
    ConvertedDenoiser,
    ExplodingDenoiser,
    convert,
    loss_weight,
    weighted_error,
)
from .probability_flow import flow_log_prob, flow_sample
from .sample import ancestral_path, ddim_path, ddim_sample
from .schedule import Schedule
from .vdm import VDM

__all__ = [
    "ELBO",
    "VDM",
    "AxialNetwork",
    "CategoricalDecoder",
    "CategoricalDenoiser",
    "ConvertedDenoiser",
    "Decoder",
    "Denoiser",
    "DiscretizedGaussianDecoder",
    "EvaluationError",
    "ExactDecoder",
    "ExplodingDenoiser",
    "Forms",
    "GaussianDecoder",
    "GaussianDenoiser",
    "Integral",
    "LearnedSchedule",
    "LearnedVariance",
    "MLPNetwork",
    "MixtureDenoiser",
    "Network",
    "PointsDenoiser",
    "Prediction",
    "RegressionDenoiser",
    "Schedule",
    "ancestral_path",
    "continuous_kl",
    "continuous_kl_quadrature",
    "convert",
    "ddim_path",
    "ddim_sample",
    "diffusion_kl",
    "diffusion_kl_general",
    "elbo_forms",
    "evaluate",
    "flow_log_prob",
    "flow_sample",
    "log_variance_between",
    "log_variances",
    "loss_weight",
    "optimal_variance",
    "prior_kl",
    "q_marginal",
    "q_posterior",
    "q_step",
    "sample_q",
    "weighted_error",
]
