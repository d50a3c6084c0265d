"""sample_dpmpp_2m_sde and 3m_sde cannot take a single step.

adapter: kdiffusion_samplers
about: sample_dpmpp_?m_sde*one step*
verdict: refused
third: one step to σ = 0 is the denoiser's answer, as the other samplers return it.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
import torch
from kdiffusion import load

sigmas = torch.tensor([1.0, 0.0])
load()[0].sample_dpmpp_2m_sde(lambda x, s: x / 2, torch.ones(1, 1), sigmas, eta=0.0)
