"""log_likelihood ends in N(0, σ_max²), not in the data's own x(σ_max).

adapter: kdiffusion_samplers
about: log_likelihood, sigma_max=10*
verdict: approximation
third: data N(0.7, 0.5) is N(0.7, 0.5 + σ²) there; with σ_max = 1e4 the exact density comes out.
"""
from math import log

print("log N(x; 0.7, 100.5) - log N(x; 0, 100) at x = 12:",
      -0.5 * ((12 - 0.7)**2 / 100.5 + log(100.5)) + 0.5 * (12**2 / 100 + log(100)))
