"""torchdyn.core.ODEProblem: gradients by every sensitivity, with a loss at each of the times."""
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


CASES = (("losses at three times", TS, []), ("an unused parameter", TS, [0.1, 0.2, 0.3]),
         ("two times", TS[[0, 2]], None), ("three times", TS, None))


def reports():
    plain = problem("autograd", "dopri5")
    for sensitivity in ("autograd", "adjoint", "interpolated_adjoint"):
        loss, how = problem(sensitivity, "dopri5"), {"tolerance": 1e-3, "step": 1e-2}
        for what, ts, unused in CASES:
            told = f"{sensitivity}, dopri5, {what}"
            if unused is not None:
                yield told, check_gradient(
                    lambda z, p, u, ts=ts: plain(z, ts, p, u),
                    lambda z, p, u, ts=ts, f=loss: [f(z, ts, p, u, ("z0",))[i] for i in (0, 2, 3)],
                    (Z0, THETA, unused), names=("z0", "theta", "unused"), **how)
            elif sensitivity != "interpolated_adjoint":  # it has none
                yield told, check_gradient(
                    lambda t: plain(Z0, t, THETA, []),
                    lambda t, f=loss: f(Z0, t, THETA, [], ("z0", "ts"))[1:2], (ts,), names=("ts",),
                    **how)
