"""The adjoint's dL/dT0 has the other sign, and takes f at the end of the interval.

adapter: torchdyn_gradients
about: adjoint, *, two times: ts, first
verdict: wrong
third: z' = t z has z(T1) = z0 exp((T1² - T0²)/2), so dz(T1)/dT0 = -T0 z(T1) = -0.5 × 1.455; and
    backpropagation through torchdyn's own solver says the same.
"""
import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.ones(1))

    def forward(self, t, z):
        return self.p * t * z


for sensitivity in ("adjoint", "autograd"):
    ts = torch.tensor([0.5, 1.0], requires_grad=True)
    problem = ODEProblem(Field(), "dopri5", sensitivity=sensitivity, atol=1e-4, rtol=1e-4)
    problem(torch.ones(1, 1), ts)[1][-1].sum().backward()
    print(sensitivity, ts.grad.tolist())
