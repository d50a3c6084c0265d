"""denoising-diffusion-pytorch: GaussianDiffusion, each objective and schedule, DDPM and DDIM."""
import torch
from denoising_diffusion_pytorch import denoising_diffusion_pytorch as ddpm

from refvdm.conformance.objects import check_ancestral, check_sampler

LIBRARY, DTYPES = "denoising-diffusion-pytorch", ()
OUTPUT = {"pred_noise": "eps", "pred_x0": "x_0", "pred_v": "v"}


class Network(torch.nn.Module):
    channels = out_dim = 1
    self_condition = random_or_learned_sinusoidal_cond = False

    def forward(self, x, t, *_):
        return self.answer(x, t)


def made(answer=None, cls=ddpm.GaussianDiffusion, out_dim=1, **options):
    network = Network()
    network.out_dim, network.answer = out_dim, answer
    return cls(network, image_size=(1, 7), timesteps=50, auto_normalize=False, **options).double()


def times(T, steps):
    return [int(t) for t in torch.linspace(-1, T - 1, steps + 1).int().flip(0)[:-1]]


def ddim(objective, schedule):
    def run(denoise, x):
        diffusion = made(lambda x, t: torch.as_tensor(denoise(20 * x, t) / 20), objective=objective,
                         beta_schedule=schedule, sampling_timesteps=7)  # within its clip at ±1
        kept, start = torch.randn, torch.tensor(x / 20)[None, None, None]
        ddpm.torch.randn = lambda *_, **__: start
        try:
            return 20 * diffusion.ddim_sample((1, 1, 1, 7)).ravel()
        finally:
            ddpm.torch.randn = kept
    return run


def reports():
    for schedule in ("linear", "cosine", "sigmoid"):
        abar = made(beta_schedule=schedule).alphas_cumprod.numpy()
        for objective, output in OUTPUT.items():
            yield f"DDIM, {schedule}, {objective}", check_sampler(
                ddim(objective, schedule), abar, times(50, 7), output=output)

            def step(denoise, x, i, noise, schedule=schedule, objective=objective):
                diffusion = made(lambda x, t: torch.as_tensor(denoise(20 * x, t) / 20),
                                 objective=objective, beta_schedule=schedule)
                x, t = torch.tensor(x / 20)[None, None, None], torch.tensor([49 - i])
                mean, _, log_variance, _ = diffusion.p_mean_variance(x, t)
                return 20 * mean.ravel() + (log_variance / 2).exp().ravel() * noise * (i < 49)
            yield f"DDPM, {schedule}, {objective}", check_ancestral(
                step, abar, list(range(49, -1, -1)), output=output)
