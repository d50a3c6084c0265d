"""LearnedElementwiseScaling's log_det of the inverse has the sign of the forward one.

adapter: freia_layers
about: LearnedElementwiseScaling*
verdict: wrong
third: log|dx/dy| = -log|dy/dx|; y = e^s x, so it is -Σ s.
"""
import torch
from FrEIA.modules import LearnedElementwiseScaling

layer = LearnedElementwiseScaling([(3,)])
layer.s.data += 0.5
x = [torch.ones(1, 3)]
print([float(layer(x, rev=rev)[1]) for rev in (False, True)])
