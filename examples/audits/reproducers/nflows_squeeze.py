"""SqueezeTransform puts the channels first, then row and column of the square.

adapter: nflows_layers
about: squeeze*
verdict: another convention
third: the order of the four pixels and the channels, read off a numbered image.
"""
import torch
from nflows.transforms import SqueezeTransform

print(SqueezeTransform()(torch.arange(8.0).reshape(1, 2, 2, 2))[0].ravel().tolist())
