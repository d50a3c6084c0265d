"""Denoiser(weighting=a function) always raises: it is accepted, then compared with names.

adapter: kdiffusion_losses
about: Denoiser's loss, weighting a function*
verdict: refused
third: its own signature takes a callable, and sets it before it raises.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import torch
from kdiffusion import load

load()[1].Denoiser(torch.nn.Identity(), weighting=lambda sigma: sigma)
