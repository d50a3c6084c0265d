"""diffusers: whole runs that must agree with each other, or come to their end."""
import numpy as np
import torch
from diffusers import DPMSolverMultistepScheduler, PNDMScheduler

from refvdm.conformance.objects import check_likelihood
from refvdm.conformance.objects.model import perfect_denoiser

LIBRARY, DTYPES = "diffusers", ()
OUTPUT = {"epsilon": "eps", "sample": "x_0", "v_prediction": "v"}


def pndm(spacing, prediction):
    """x_0 of the perfect denoiser, which says it as eps or as v."""
    made = PNDMScheduler(1000, prediction_type=prediction, timestep_spacing=spacing)
    made.set_timesteps(20)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)
    for t in made.timesteps:
        value = perfect_denoiser(float(made.alphas_cumprod[t]), x, OUTPUT[prediction])
        x = made.step(value, t, x).prev_sample
    return x.numpy()


def whole(n, x):
    made = DPMSolverMultistepScheduler(use_beta_sigmas=True, beta_start=0.00085, beta_end=0.012,
                                       beta_schedule="scaled_linear")
    made.set_timesteps(n)
    for t in made.timesteps:
        x = made.step(0 * x, t, x).prev_sample
    return x


def reports():
    for spacing in ("leading", "trailing"):
        runs = [pndm(spacing, prediction) for prediction in ("epsilon", "v_prediction")]
        yield f"PNDM, {spacing}, the same network as v and as eps", check_likelihood(
            lambda _, r=runs: r[1], runs[0][:, None], runs[0], tolerance=1e-4)
    for n in (20, 40):
        yield f"DPMSolverMultistep, use_beta_sigmas, {n} steps, of zeros", check_likelihood(
            lambda x, n=n: whole(n, torch.tensor(x)).ravel(), np.zeros((5, 1)), np.zeros(5))
