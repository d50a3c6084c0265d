"""torchdiffeq.odeint, gradients by backpropagation through the solver."""
import torch
import torchdiffeq
from fields import field as named

LIBRARY, DTYPES = "torchdiffeq", ("float64",)
HOW = {"rtol": 1e-9, "atol": 1e-11}


class Field(torch.nn.Module):
    def __init__(self, name, theta):
        super().__init__()
        self.f, self.theta = named(name, torch), torch.nn.Parameter(torch.tensor(theta))

    def forward(self, t, z):
        return self.f(z, t, self.theta)


def integrate(f, z0, ts):
    return torchdiffeq.odeint(f, z0, ts, **HOW)


def odeint(field, z0, ts, theta):
    return integrate(Field(field, theta), torch.tensor(z0), torch.tensor(ts))


def rk4(field, z0, ts, theta, steps):
    ts = torch.tensor(ts)
    how = {"method": "rk4", "options": {"step_size": float(abs(ts[1] - ts[0]) / int(steps))}}
    return torchdiffeq.odeint(Field(field, theta), torch.tensor(z0), ts, **how)[-1]


def odeint_gradients(field, z0, ts, theta, zs_bar):
    f = Field(field, theta)
    z0, ts = (torch.tensor(x, requires_grad=True) for x in (z0, ts))
    (integrate(f, z0, ts) * torch.tensor(zs_bar)).sum().backward()
    return z0.grad, f.theta.grad, ts.grad
