"""DDIM's times do not chain unless they are spaced "leading": each step goes one stride down.

adapter: diffusers_samplers
about: DDIM, *: x_0
verdict: wrong
third: a step from t must end at the noise of the time that comes next. With a network that
    knows x_0 = 0 exactly, x is √(1 - ᾱ) ε at each time: the ratio of two of them is a closed
    form.
"""
import torch
from diffusers import DDIMScheduler

s = DDIMScheduler(50, timestep_spacing="linspace", clip_sample=False, prediction_type="sample")
s.set_timesteps(7)
t, following = s.timesteps[:2].tolist()
x = (1 - s.alphas_cumprod[t]).sqrt() * torch.ones(1)
print(t, following, float(s.step(0 * x, t, x).prev_sample),
      "should be", float((1 - s.alphas_cumprod[following]).sqrt()))
