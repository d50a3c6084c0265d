"""Integrated backward, the times that are returned have the other sign.

adapter: torchdyn_solvers
about: times that go back*
verdict: wrong
third: the solution is returned at the times asked; the values z are right.
"""
import torch
from torchdyn.numerics import odeint

print(odeint(lambda t, z: z, torch.ones(1, 1), torch.tensor([1.0, 0.5, 0.0]), "rk4")[0].tolist())
