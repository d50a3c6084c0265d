"""The operations, in the order of the report. Each file is a part of the lecture."""
from . import bound, diffusion, gaussian, schedule

__all__ = ["bound", "diffusion", "gaussian", "schedule"]
