"""The operations, in the order of the report. Each file is a part of the lecture."""
# isort: off
from . import gaussian, schedule, diffusion, bound, training, prediction, sampler

__all__ = ["bound", "diffusion", "gaussian", "prediction", "sampler", "schedule", "training"]
