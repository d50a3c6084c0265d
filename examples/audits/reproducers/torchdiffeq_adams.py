"""Adams methods keep the coefficients of equal steps on unequal ones: order 2 or less, not 4.

adapter: torchdiffeq_methods
about: *adams, unequal*
verdict: wrong
third: z' = t³ is integrated exactly by any method of order 4; the two-step formula for unequal
    steps is in Hairer, Nørsett and Wanner, III.5. On equal steps the same call is exact.
"""
import torch
import torchdiffeq

cubic = lambda t, z: t**3 + 0 * z
zero, equal = torch.zeros(1, dtype=torch.float64), torch.linspace(0, 1, 17, dtype=torch.float64)
for ts in (equal, equal**2):
    z = torchdiffeq.odeint(cubic, zero, ts, method="implicit_adams", options={"max_order": 4})
    print(float(z[-1]) - 0.25)
