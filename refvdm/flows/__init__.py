"""Flows, §13.1.

layer.py    what a layer is, and a table of conventions
plu.py      the PLU layer
glow.py     the other layers of a Glow step
flow.py     composition and likelihood
"""
from .flow import Flow, bits_per_dim, dequantize
from .glow import ActNorm, AffineCoupling, Split, Squeeze
from .layer import Layer
from .plu import PLU

__all__ = [
           "PLU",
           "ActNorm",
           "AffineCoupling",
           "Flow",
           "Layer",
           "Split",
           "Squeeze",
           "bits_per_dim",
           "dequantize",
]
