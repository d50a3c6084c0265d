"""immiscible=True permutes the noise in x_t, but not the noise that is to be predicted.

adapter: lucidrains_noise
about: the loss of the noise in x_t, immiscible=True*
verdict: wrong
third: ε = (x_t - √ᾱ x_0)/√(1 - ᾱ) is the noise that is in x_t: a network that says it has loss
    0.
"""
import torch
from denoising_diffusion_pytorch import GaussianDiffusion


class Network(torch.nn.Module):
    channels, out_dim, self_condition = 1, 1, False

    def forward(self, x, t, _=None):
        return (x - a**0.5 * x_0) / (1 - a)**0.5


x_0, t = torch.randn(8, 1, 2, 2), torch.full((8,), 500)
for immiscible in (False, True):
    d = GaussianDiffusion(Network(), image_size=2, objective="pred_noise", immiscible=immiscible)
    a = d.alphas_cumprod[500]
    print(immiscible, float(d.p_losses(x_0, t)))
