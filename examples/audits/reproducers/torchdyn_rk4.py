"""rk4 takes the times of its stages one too early (t, t + h/2, t + h/2): order 1.

adapter: torchdyn_solvers
about: rk4: order
verdict: wrong
third: z' = t has z(1) = 1/2, exactly for any method of order 2; a field without t has order 4.
"""
import torch
from torchdyn.numerics import odeint

zero = torch.zeros(1, 1, dtype=torch.float64)
for n in (10, 20, 40):
    ts = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    z = odeint(lambda t, z: t + 0 * z, zero, ts, "rk4")
    print(n, float(z[1][-1]) - 0.5)
