"""denoising-diffusion-pytorch: the noise that is put in, predicted and taken off again."""
import numpy as np
import torch
from lucidrains_discrete import made

from refvdm.conformance.objects import check_likelihood

LIBRARY, DTYPES = "denoising-diffusion-pytorch", ()


def reports():
    x_0, eps = torch.randn(4, 1, 1, 7, dtype=torch.float64), torch.randn(4, 1, 1, 7)
    for immiscible in (False, True):
        diffusion = made(objective="pred_noise", immiscible=immiscible)
        a = diffusion.alphas_cumprod[9]
        diffusion.model.answer = lambda x, t, a=a: (x - a.sqrt() * x_0) / (1 - a).sqrt()
        yield f"the loss of the noise in x_t, immiscible={immiscible}", check_likelihood(
            lambda _, d=diffusion: d.p_losses(x_0, torch.full((4,), 9), eps.double(),
                                              loss_reduction="none"), x_0, np.zeros(4))
    for t in (0, 3):
        diffusion = made(lambda x, t: 0 * x, objective="pred_x0")  # all data is 0: so is the end
        yield f"interpolate from t = {t}", check_likelihood(
            lambda x, t=t, d=diffusion: d.interpolate(*2 * (torch.tensor(x),), t=t).ravel(),
            np.zeros((7, 1)), np.zeros(7))
