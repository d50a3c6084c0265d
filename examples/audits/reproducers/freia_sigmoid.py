"""InvertibleSigmoid on images does not add up its log_det.

adapter: freia_layers
about: InvertibleSigmoid on images*
verdict: refused
third: the log-determinant of an elementwise map is one number for each example.
"""
import torch
from FrEIA.modules import InvertibleSigmoid

print(InvertibleSigmoid([(4, 2, 6)])([torch.ones(2, 4, 2, 6)])[1].shape)
