"""sample_dpmpp_3m_sde halves its second derivative: it has order 2.

adapter: kdiffusion_samplers
about: sample_dpmpp_3m_sde*: order
verdict: wrong
third: a denoiser quadratic in λ = -log σ is integrated exactly by a method of order 3, ∫
    e^(u-h) u² du = h² - 2h + 2 - 2 e^-h. The same formula as in diffusers.
"""
from math import exp, expm1

h, D = 0.3, [0.0, 0.09, 0.36]  # u² at u = 0, -h, -2h: r0 = r1 = 1
d1_0, d1_1 = D[0] - D[1], D[1] - D[2]
d1, d2 = d1_0 + (d1_0 - d1_1) / 2, (d1_0 - d1_1) / 2
phi_2 = expm1(-h) / h + 1
phi_3 = phi_2 / h - 0.5
print(phi_2 * d1 - phi_3 * d2, phi_2 * d1 - phi_3 * 2 * d2, h**2 - 2 * h + 2 - 2 * exp(-h))
