"""ODEProblem keeps its tableau in float32: in float64 no tolerance gets below 1e-8.

adapter: torchdyn_solvers
about: ODEProblem, *
verdict: numerically poor
third: z' = -z cos t has z(1.5) = z(0.3) exp(sin 0.3 - sin 1.5); odeint with the solver's name,
    whose tableau is float64, comes within 1e-10 of it.
"""
import torch
from torchdyn.core import ODEProblem
from torchdyn.numerics import odeint


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, t, z):
        return -self.p * z * torch.cos(t)


one, ts = torch.ones(1, 1, dtype=torch.float64), torch.tensor([0.3, 1.5], dtype=torch.float64)
exact, tight = torch.exp(ts[0].sin() - ts[1].sin()), {"atol": 1e-10, "rtol": 1e-10}
print(float(ODEProblem(Field(), "dopri5", **tight)(one, ts)[1][-1] - exact))
print(float(odeint(Field(), one, ts, "dopri5", **tight)[1][-1] - exact))
