"""torchdyn.core.ODEProblem: gradients by every sensitivity, with a loss at each of the times."""
import numpy as np
import torch
from fields import THETA, TS, WEIGHTS, Z0, field
from torchdyn.core import ODEProblem

from refvdm.conformance.objects import check_gradient

LIBRARY, DTYPES = "torchdyn", ()
TIGHT = {"atol": 1e-7, "rtol": 1e-7, "atol_adjoint": 1e-7, "rtol_adjoint": 1e-7}


class Field(torch.nn.Module):
    def __init__(self, theta, unused):
        super().__init__()
        self.theta, self.unused = (torch.nn.Parameter(torch.tensor(p)) if len(p) else None
                                   for p in (theta, unused))

    def forward(self, t, z):
        return field("tanh", torch)(z[0], t, self.theta)[None]


def problem(sensitivity, solver):
    def loss(z0, ts, theta, unused, grad=()):
        f, z0 = Field(theta, unused), torch.tensor(z0, requires_grad=bool(grad))
        ts = torch.tensor(ts, requires_grad="ts" in grad)
        times, zs = ODEProblem(f, solver, sensitivity=sensitivity, **TIGHT)(z0[None], ts)
        rows = [int((times - t).abs().argmin()) for t in ts]  # some return every step
        value = (zs[rows, 0] * torch.tensor(WEIGHTS[-len(ts):])).sum()
        if not grad:
            return value
        value.backward()
        none = torch.zeros(0)
        return (z0.grad, ts.grad, f.theta.grad, none if f.unused is None else f.unused.grad)
    return loss


def reports():
    none, three = np.zeros(0), np.array([0.1, 0.2, 0.3])
    for sensitivity in ("autograd", "adjoint", "interpolated_adjoint"):
        for solver in ("dopri5", "tsit5"):
            for what, ts, unused, asked in (
                    ("losses at three times", TS, none, ("z0",)), ("two times", TS[[0, 2]], none, "ts"),
                    ("three times", TS, none, ("ts",)),
                    ("an unused parameter", TS, three, ("z0",))):
                loss = problem(sensitivity, solver)

                def gradient(*args, loss=loss, asked=asked):
                    grads = loss(*args, grad=("z0", *(("ts",) if "ts" in asked else ())))
                    keep = (0, 2, 3) if "ts" not in asked else (1,)
                    return [g for i, g in enumerate(grads) if i in keep]

                def value(*kept, loss=loss, ts=ts, unused=unused, asked=asked):
                    return loss(Z0, *kept, THETA, unused) if "ts" in asked else loss(
                        kept[0], ts, *kept[1:])
                args = (ts,) if "ts" in asked else (Z0, THETA, unused)
                names = ("ts",) if "ts" in asked else ("z0", "theta", "unused")
                grads = gradient if "ts" not in asked else (
                    lambda t, g=gradient, u=unused: g(Z0, t, THETA, u))
                if "ts" not in asked:
                    grads = (lambda z, p, u, g=gradient, t=ts: g(z, t, p, u))
                yield f"{sensitivity}, {solver}, {what}", check_gradient(
                    value, grads, args, names=names, tolerance=1e-3, step=1e-2)
