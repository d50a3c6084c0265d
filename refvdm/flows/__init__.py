"""Flows, 13.1: plu.py the PLU layer | glow.py the other layers of a Glow step, and a table of
conventions | flow.py composition, likelihood."""
from .flow import Flow, bits_per_dim, dequantize
from .glow import ActNorm, AffineCoupling, Split, Squeeze
from .plu import PLU

__all__ = [
           "PLU",
           "ActNorm",
           "AffineCoupling",
           "Flow",
           "Split",
           "Squeeze",
           "bits_per_dim",
           "dequantize",
]
