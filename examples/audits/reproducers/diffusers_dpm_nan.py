"""algorithm_type="dpmsolver" ends in a step of length 0, and divides by it: nan.

adapter: diffusers_solvers
about: DPMSolverMultistep, *dpmsolver, *sigma_min: probability flow
verdict: wrong
third: a step of length 0 changes nothing; its limit (e^h - 1)/h - 1 is 0.
"""
import torch
from diffusers import DPMSolverMultistepScheduler

s = DPMSolverMultistepScheduler(algorithm_type="dpmsolver", final_sigmas_type="sigma_min",
                                solver_order=3)
s.set_timesteps(20)
x = torch.ones(1)
for t in s.timesteps:
    x = s.step(0.5 * x, t, x).prev_sample
print(s.sigmas[-2:].tolist(), x)
