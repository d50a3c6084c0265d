"""rk4 is Kutta's 3/8 rule, not the classical method.

adapter: torchdiffeq_odeint
about: rk4, *
verdict: another convention
third: both have order 4; one step of z' = z² t from 1 tells them apart.
"""
import torch
import torchdiffeq

z = torchdiffeq.odeint(lambda t, z: t * z**2, torch.ones(1, dtype=torch.float64),
                       torch.tensor([0.0, 1.0], dtype=torch.float64), method="rk4")
f = lambda t, z: t * z**2
a = f(0, 1); b = f(1 / 3, 1 + a / 3); c = f(2 / 3, 1 - a / 3 + b); d = f(1, 1 + a - b + c)
print(float(z[-1]), 1 + (a + 3 * b + 3 * c + d) / 8)
