"""The operations, in the order of the report. Each file is a part of the lecture."""
from . import diffusion

__all__ = ["diffusion"]
