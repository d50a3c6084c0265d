"""diffusers: DDIMScheduler as a whole run, for every spacing of its times and every output."""
import torch
from diffusers import DDIMScheduler

from refvdm.conformance.objects import check_sampler

LIBRARY, DTYPES = "diffusers", ("float64",)
OUTPUT = {"epsilon": "eps", "sample": "x_0", "v_prediction": "v"}


def scheduler(spacing, prediction, final, steps=7):
    made = DDIMScheduler(50, beta_schedule="scaled_linear", clip_sample=False,
                         timestep_spacing=spacing, prediction_type=prediction,
                         set_alpha_to_one=final == "x_0", steps_offset=0)
    made.set_timesteps(steps)
    return made


def reports():
    for spacing in ("leading", "trailing", "linspace"):
        for prediction, output in OUTPUT.items():
            for final in ("x_0", "first"):
                made = scheduler(spacing, prediction, final)

                def run(denoise, x, made=made):
                    x = torch.tensor(x)
                    for t in made.timesteps:
                        value = torch.as_tensor(denoise(x.numpy(), int(t)))
                        x = made.step(value, t, x).prev_sample
                    return x
                times = [int(t) for t in made.timesteps]
                name = f"DDIM, {spacing}, {prediction}, ends at {final}"
                alpha_bars = made.alphas_cumprod.double().numpy()
                yield name, check_sampler(run, alpha_bars, times, output=output, final=final)
