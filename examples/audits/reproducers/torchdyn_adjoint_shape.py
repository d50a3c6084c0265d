"""The adjoint refuses more than two times that need a gradient, and a parameter that is not used.

adapter: torchdyn_gradients
about: adjoint, *, three times*; *adjoint, *, an unused parameter*
verdict: refused
third: both gradients exist (the second is 0): autograd and differences give them.
"""
import torch
from torchdyn.core import ODEProblem


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.p, self.unused = (torch.nn.Parameter(torch.ones(n)) for n in (1, 3))

    def forward(self, t, z):
        return self.p * t * z


ts = torch.tensor([0.5, 1.0])
try:
    z = ODEProblem(Field(), "dopri5", sensitivity="adjoint")(torch.ones(1, 1), ts)[1]
    z[-1].sum().backward()
except RuntimeError as error:
    print(error)
