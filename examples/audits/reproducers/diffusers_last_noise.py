"""Spaced "trailing", the last step adds noise: only t = 0 is taken for the last.

adapter: diffusers_ddpm
about: DDPM, trailing, *: noise
verdict: wrong
third: the last step ends at ᾱ = 1, where p(x_0 | x_t) = x̂_0 is returned; two draws must be the
    same.
"""
import torch
from diffusers import DDPMScheduler

s = DDPMScheduler(50, timestep_spacing="trailing", variance_type="fixed_large")
s.set_timesteps(7)
t = s.timesteps[-1]
print(int(t), [float(s.step(torch.zeros(1, 1), t, torch.ones(1, 1)).prev_sample) for _ in range(2)])
