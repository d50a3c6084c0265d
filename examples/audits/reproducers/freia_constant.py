"""FrEIA's ActNorm divides, too, by the standard deviation of a constant feature: inf, then nan.

adapter: freia_layers
about: ActNorm's start, *: a constant feature
verdict: numerically poor
third: any finite scale maps a constant to a constant; normflows adds 1e-6 to the deviation.
"""
import torch
from FrEIA.modules import ActNorm

print(ActNorm([(2,)])([torch.tensor([[1.0, 0.7], [2.0, 0.7], [4.0, 0.7]])]))
