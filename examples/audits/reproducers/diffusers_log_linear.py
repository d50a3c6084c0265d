"""interpolation_type="log_linear" changes the noise levels, but not the times that are told.

adapter: diffusers_schedules
about: EulerDiscrete, *log_linear*
verdict: wrong
third: σ = √((1 - ᾱ)/ᾱ) at the time told, from the scheduler's own table
    (timestep_type="discrete").
"""
from diffusers import EulerDiscreteScheduler

s = EulerDiscreteScheduler(interpolation_type="log_linear")
s.set_timesteps(10)
abar = s.alphas_cumprod[s.timesteps[5].long()]
print(float(s.sigmas[5]), float(((1 - abar) / abar)**0.5))
