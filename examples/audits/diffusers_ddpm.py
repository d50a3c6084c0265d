"""diffusers: DDPMScheduler step by step, for every spacing of its times, output and variance."""
import numpy as np
import torch
from diffusers.schedulers import scheduling_ddpm

from refvdm.conformance.objects import check_ancestral

LIBRARY, DTYPES = "diffusers", ()
OUTPUT = {"epsilon": "eps", "sample": "x_0", "v_prediction": "v"}
FRACTION = 0.65  # of a learned range between the two variances, in logarithms


def between(beta, small):
    return np.exp(FRACTION * np.log(beta) + (1 - FRACTION) * np.log(small))


VARIANCES = {"fixed_small": "small", "fixed_small_log": "small", "fixed_large": "large",
             "fixed_large_log": "large", "learned_range": between,
             "learned": lambda beta, small: 0 * beta + np.exp(-2.0)}


def stepper(scheduler, learned):
    def step(denoise, x, i, noise):
        scheduling_ddpm.randn_tensor = lambda *_, **__: torch.tensor(noise).reshape(1, 1, -1, 1)
        t, x = scheduler.timesteps[i], torch.tensor(x).reshape(1, 1, -1, 1)
        out = torch.as_tensor(denoise(x.numpy(), int(t)))
        if learned is not None:
            out = torch.cat([out, torch.full_like(out, learned)], 1)
        return scheduler.step(out, t, x).prev_sample.ravel()
    return step


def reports():
    drawn = scheduling_ddpm.randn_tensor
    for spacing in ("leading", "trailing", "linspace"):
        for prediction, output in OUTPUT.items():
            for name, variance in VARIANCES.items():
                scheduler = scheduling_ddpm.DDPMScheduler(
                    50, beta_start=1e-3, beta_end=0.1, clip_sample=False, variance_type=name,
                    prediction_type=prediction, timestep_spacing=spacing)
                scheduler.set_timesteps(7)
                step = stepper(scheduler, {"learned_range": 2 * FRACTION - 1,
                                           "learned": -2.0}.get(name))
                times = [int(t) for t in scheduler.timesteps]
                abar = scheduler.alphas_cumprod.double().numpy()
                yield f"DDPM, {spacing}, {prediction}, {name}", check_ancestral(
                    step, abar, times, output=output, variance=variance)
    scheduling_ddpm.randn_tensor = drawn
