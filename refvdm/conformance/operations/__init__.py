"""The operations, in the order of the report. Each file is a part of the lecture."""
# isort: off
from . import gaussian, discretized, flows, glow, hvae, mlp, ode, ode_gradient
from . import schedule, diffusion, bound, elbo, elbo_network, training, prediction, sampler

__all__ = ["bound", "diffusion", "discretized", "elbo", "elbo_network", "flows", "gaussian", "glow",
           "hvae", "mlp", "ode", "ode_gradient", "prediction", "sampler", "schedule", "training"]
