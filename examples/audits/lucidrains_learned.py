"""denoising-diffusion-pytorch: learned variances, their bound at each t, weighted objectives."""
import numpy as np
import torch
from denoising_diffusion_pytorch import LearnedGaussianDiffusion, WeightedObjectiveGaussianDiffusion
from lucidrains_discrete import made

from refvdm.conformance.objects import check_likelihood, check_loss

LIBRARY, DTYPES = "denoising-diffusion-pytorch", ()


def bound(x_0, x_0_hat, t):
    """Its variational term with the variance at its lower end, in nats, for an exact x̂_0."""
    diffusion = made(cls=LearnedGaussianDiffusion, out_dim=2, objective="pred_noise",
                     beta_schedule="linear", vb_loss_weight=1.0)
    x_0, x_0_hat = (torch.tensor(a).reshape(4, 1, 1, 3) for a in (x_0, x_0_hat))
    t, noise = torch.full((4,), t - 1), torch.zeros(4, 1, 1, 3, dtype=torch.float64)
    diffusion.model.answer = lambda x, t: torch.cat([
        diffusion.predict_noise_from_start(x, t, x_0_hat), -torch.ones_like(x)], 1)
    eps = diffusion.predict_noise_from_start(diffusion.q_sample(x_0, t, noise), t, x_0_hat)
    total = diffusion.p_losses(x_0, t, noise, loss_reduction="none")
    return (total - (eps**2).mean((1, 2, 3))) * 3 * np.log(2)


def reports():
    betas = made(beta_schedule="linear").betas.double().numpy()
    yield "LearnedGaussianDiffusion's bound", check_loss(bound, betas, tolerance=1e-4)
    learned = made(lambda x, t: torch.cat([0 * x + 0.3, -torch.ones_like(x)], 1),
                   cls=LearnedGaussianDiffusion, out_dim=2, objective="pred_x0")
    x, t = torch.ones(1, 1, 1, 7, dtype=torch.float64), torch.tensor([9])
    yield "LearnedGaussianDiffusion, pred_x0: x̂_0", check_likelihood(
        lambda _: learned.p_mean_variance(x=x, t=t, clip_denoised=False)[3].ravel(),
        np.zeros((7, 1)), np.full(7, 0.3))
    log_variance = learned.posterior_log_variance_clipped
    yield "LearnedGaussianDiffusion, lower log variance at t = 1", check_likelihood(
        lambda _: log_variance[:1], np.zeros((1, 1)), log_variance[1:2].numpy())
    weighted = made(lambda x, t: torch.cat([x, x, x, x], 1), out_dim=4,
                    cls=WeightedObjectiveGaussianDiffusion)
    yield "WeightedObjectiveGaussianDiffusion.sample, a number", check_likelihood(
        lambda _: 0 * weighted.sample(1).ravel(), np.zeros((7, 1)), np.zeros(7))
