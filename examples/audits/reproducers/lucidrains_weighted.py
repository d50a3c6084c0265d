"""WeightedObjectiveGaussianDiffusion cannot draw.

adapter: lucidrains_learned
about: WeightedObjective*
verdict: refused
third: its p_mean_variance takes and returns less than p_sample gives and expects.
"""
import torch
from denoising_diffusion_pytorch import WeightedObjectiveGaussianDiffusion


class Network(torch.nn.Module):
    channels, out_dim, self_condition = 1, 4, False

    def forward(self, x, t, _=None):
        return torch.cat([x, x, x, x], 1)


WeightedObjectiveGaussianDiffusion(Network(), image_size=2, timesteps=20).sample(1)
