"""explicit_adams with max_order = 4 has order 3: the count includes the next derivative.

adapter: torchdiffeq_methods
about: explicit_adams, equal*
verdict: another convention
third: halving the steps of z' = z from 1 divides the error at 1, e - z, by 2 to the order.
"""
from math import e

import torch
import torchdiffeq

errors = [e - float(torchdiffeq.odeint(
    lambda t, z: z, torch.ones(1, dtype=torch.float64),
    torch.linspace(0, 1, n + 1, dtype=torch.float64), method="explicit_adams",
    options={"max_order": 4})[-1]) for n in (40, 80, 160)]
print(errors, errors[0] / errors[1], errors[1] / errors[2])
