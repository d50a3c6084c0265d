"""interpolate adds the noise of t and begins to take it off at t - 1.

adapter: lucidrains_noise
about: interpolate from*
verdict: wrong
third: x_t of index t has variance 1 - ᾱ_t; a chain that starts at t - 1 takes it for 1 -
    ᾱ_{t-1}. From t = 0 none is taken off at all, although x_0 = 0 is all that the network
    knows.
"""
import torch
from denoising_diffusion_pytorch import GaussianDiffusion


class Network(torch.nn.Module):
    channels, out_dim, self_condition = 1, 1, False

    def forward(self, x, t, _=None):
        return 0 * x


d = GaussianDiffusion(Network(), image_size=64, timesteps=50, objective="pred_x0",
                      beta_schedule="linear")
x = torch.zeros(1, 1, 64, 64)
print(float(d.interpolate(x, x, t=0).var()), float(1 - d.alphas_cumprod[0]))
