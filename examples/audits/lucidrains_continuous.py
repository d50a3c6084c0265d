"""denoising-diffusion-pytorch: the loss in continuous time, and the elucidated samplers."""
import torch
from denoising_diffusion_pytorch import continuous_time_gaussian_diffusion as continuous
from denoising_diffusion_pytorch import elucidated_diffusion as elucidated
from lucidrains_discrete import Network

from refvdm.conformance.objects import check_continuous_loss, check_probability_flow
from refvdm.conformance.objects.continuous import eps_hat

LIBRARY, DTYPES = "denoising-diffusion-pytorch", ()


class Timed(Network):
    random_or_learned_sinusoidal_cond = True


def simple(gamma, x_0, eps, t):
    network = Timed()
    network.answer = lambda x, log_snr: eps_hat(x, -float(log_snr))
    diffusion = continuous.ContinuousTimeGaussianDiffusion(network, image_size=1, channels=3)
    diffusion.log_snr = lambda t: -gamma(t)
    return diffusion.p_losses(torch.tensor(x_0)[None], torch.tensor([t], dtype=torch.float64),
                              torch.tensor(eps)[None])


def heun(sampler):
    def run(denoise, x, n):
        network = Timed()
        network.weight = torch.nn.Parameter(torch.zeros(1))
        edm = elucidated.ElucidatedDiffusion(network, image_size=1, channels=5, num_sample_steps=n,
                                             sigma_min=0.05, sigma_max=4.0, S_churn=0)
        edm.preconditioned_network_forward = lambda x, sigma, *_, **__: (
            denoise(1e3 * x, sigma) / 1e3)
        kept, elucidated.torch.randn = torch.randn, lambda *_, **__: torch.tensor(
            x / 4e3).reshape(1, 5, 1, 1)  # a thousandth, within its clip
        try:
            return 1e3 * (2 * getattr(edm, sampler)(1) - 1).ravel()
        finally:
            elucidated.torch.randn = kept
    return run


def reports():
    yield "loss in continuous time", check_continuous_loss(simple)
    yield "ElucidatedDiffusion.sample", check_probability_flow(heun("sample"), 4.0, 0.05, 2)
    yield "ElucidatedDiffusion.sample_using_dpmpp", check_probability_flow(
        heun("sample_using_dpmpp"), 4.0, 0.05, 2)
