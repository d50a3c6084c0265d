"""The network is told the nearest whole time of levels between two of them.

adapter: diffusers_schedules
about: DPMSolver*, log*; UniPC*, log*
verdict: approximation
third: log σ of the time told, from the table, beside that of the step; Euler and Heun tell real
    times.
"""
from diffusers import DPMSolverMultistepScheduler

s = DPMSolverMultistepScheduler(use_exponential_sigmas=True)
s.set_timesteps(10)
abar = s.alphas_cumprod[s.timesteps[8]]
print(float(s.sigmas[8]), float(((1 - abar) / abar)**0.5))
