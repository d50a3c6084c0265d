"""beta_schedule="laplace" returns √(SNR/(1 + SNR)), which is √ᾱ, for ᾱ.

adapter: diffusers_schedules
about: laplace*
verdict: wrong
third: SNR = ᾱ/(1 - ᾱ), so at t = ½, where this schedule's log SNR is 0, ᾱ is ½ and not 0.707.
"""
from diffusers import DDPMScheduler

print(float(DDPMScheduler(1000, beta_schedule="laplace").alphas_cumprod[499]))
