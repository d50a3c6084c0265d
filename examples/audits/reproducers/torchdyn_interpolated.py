"""interpolated_adjoint takes a loss at an inner time at the wrong row, and no dL/dt at all.

adapter: torchdyn_gradients
about: interpolated_adjoint, *losses at three times*; interpolated_adjoint, *times: *;
    interpolated_adjoint, *times
verdict: wrong
third: z' = -z: dz(1)/dz0 = e^-1 = 0.3679 by hand, and by autograd of the same call. It returns
    every step of the solver, but looks for the loss's gradient as if it returned the times
    asked.
"""
import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p = torch.nn.Parameter(torch.ones(1))

    def forward(self, t, z):
        return -self.p * z


for sensitivity in ("interpolated_adjoint", "autograd"):
    z0, ts = torch.ones(1, 1, requires_grad=True), torch.tensor([0.0, 1.0, 2.0])
    times, z = ODEProblem(Field(), "dopri5", sensitivity=sensitivity, atol=1e-4, rtol=1e-4)(z0, ts)
    z[(times == 1.0).nonzero()[0, 0]].sum().backward()
    print(sensitivity, float(z0.grad))
