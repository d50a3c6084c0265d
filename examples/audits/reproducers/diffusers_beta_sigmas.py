"""With use_beta_sigmas two levels may round to one time, the first step is skipped, the last fails.

adapter: diffusers_runs
about: DPMSolverMultistep, use_beta_sigmas*
verdict: refused
third: the scheduler's own list of times is asked for, one after another, as in its pipelines.
"""
import torch
from diffusers import DPMSolverMultistepScheduler

s = DPMSolverMultistepScheduler(use_beta_sigmas=True, beta_start=0.00085, beta_end=0.012,
                                beta_schedule="scaled_linear")
s.set_timesteps(40)
print(s.timesteps[:3].tolist())
x = torch.ones(1)
for t in s.timesteps:
    x = s.step(0 * x, t, x).prev_sample
