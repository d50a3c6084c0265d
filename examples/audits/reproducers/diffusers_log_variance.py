"""variance_type="fixed_large_log" and "learned" take the root of a logarithm: nan.

adapter: diffusers_ddpm
about: *fixed_large_log: *; *, learned: *
verdict: wrong
third: the step adds √β ε; with log β it must be exp(½ log β) ε, as "learned_range" does.
"""
import torch
from diffusers import DDPMScheduler

s = DDPMScheduler(50, variance_type="fixed_large_log")
s.set_timesteps(10)
print(s.step(torch.zeros(1, 1), 40, torch.ones(1, 1)).prev_sample)
