"""The operations, in the order of the report. Each file is a part of the lecture."""
# isort: off
from . import gaussian, flows, glow, schedule, diffusion, bound, training, prediction, sampler

__all__ = ["bound", "diffusion", "flows", "gaussian", "glow", "prediction", "sampler", "schedule",
           "training"]
