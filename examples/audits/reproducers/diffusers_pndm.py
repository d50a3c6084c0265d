"""PNDM mixes the v of several times and reads the mixture as a v of one: first order.

adapter: diffusers_runs
about: PNDM, *
verdict: wrong
third: eps and v of one network are the same knowledge, v = √ᾱ ε - √(1 - ᾱ) x_0, so the sample
    must be the same; the exact end of the flow is 0.7 + (x_T - 0.7 √ᾱ) √(0.5/(0.5 ᾱ + 1 - ᾱ))
    for N(0.7, 0.5).
"""
import torch
from diffusers import PNDMScheduler

for kind in ("epsilon", "v_prediction"):
    s = PNDMScheduler(prediction_type=kind, beta_schedule="scaled_linear")
    s.set_timesteps(50)
    x = torch.ones(1, dtype=torch.float64)
    for i, t in enumerate(s.timesteps):
        a2 = s.alphas_cumprod[t].double()
        a, b = a2**0.5, (1 - a2)**0.5
        if i == 0:
            print("exact", float(0.7 + (x - 0.7 * a) * (0.5 / (0.5 * a2 + 1 - a2))**0.5))
        x_0 = 0.7 + a * 0.5 / (0.5 * a2 + 1 - a2) * (x - 0.7 * a)
        eps = (x - a * x_0) / b
        x = s.step(eps if kind == "epsilon" else a * eps - b * x_0, t, x).prev_sample
    print(kind, float(x))
