"""torchdiffeq, every method: what it converges to and how fast, and its gradients in z0, in each
time, in theta and in a parameter that is not used, by backpropagation and by the adjoint."""
import torch
import torchdiffeq
from fields import THETA, TS, WEIGHTS, Z0
from torchdiffeq_odeint import Field

from refvdm.conformance.objects import check_gradient, check_probability_flow

LIBRARY, DTYPES = "torchdiffeq", ()
TIGHT = {"rtol": 1e-11, "atol": 1e-12}
ORDERS = {"euler": 1, "midpoint": 2, "heun2": 2, "heun3": 3, "rk4": 4, "explicit_adams": 4,
          "implicit_adams": 4}
HOW = {"dopri5": {"method": "dopri5", **TIGHT}, "dopri8": {"method": "dopri8", **TIGHT},
       "rk4, its grid is ts": {"method": "rk4"},
       "rk4, step_size, ts on its grid": {"method": "rk4", "options": {"step_size": 0.1}},
       "rk4, step_size, cubic": {"method": "rk4",
                                 "options": {"step_size": 0.01, "interp": "cubic"}}}


def flow(method, grid):
    """A run of check_probability_flow on this grid of log σ."""
    def run(denoise, x, n):
        def f(t, x):
            return x - denoise(x, torch.exp(t))  # dx/d log σ
        u = torch.linspace(0, 1, n + 1, dtype=torch.float64)
        ts = torch.log(torch.tensor(4.0)) + grid(u) * torch.log(torch.tensor(0.05 / 4.0))
        options = {"max_order": 4} if "adams" in method else None
        return torchdiffeq.odeint(f, torch.tensor(x), ts, method=method, options=options)[-1]
    return run


def problem(solve, how):
    """The loss and its gradients for check_gradient, the field's unused parameter among them."""
    def loss(z0, ts, theta, unused, grad=False):
        f = Field("tanh", theta)
        f.unused = torch.nn.Parameter(torch.tensor(unused))
        z0, ts = (torch.tensor(a, requires_grad=grad) for a in (z0, ts))
        value = (solve(f, z0, ts, **how) * torch.tensor(WEIGHTS)).sum()
        if not grad:
            return value
        value.backward()
        return z0.grad, ts.grad, f.theta.grad, f.unused.grad
    return loss, lambda *args: loss(*args, grad=True)


def reports():
    for method, order in ORDERS.items():
        for name, grid in (("equal steps", lambda u: u), ("unequal steps", lambda u: u**2)):
            yield f"{method}, {name}", check_probability_flow(
                flow(method, grid), 4.0, 0.05, order, final="sigma_min")
    for how, options in HOW.items():
        for solve in (torchdiffeq.odeint, torchdiffeq.odeint_adjoint)[:1 if "rk4" in how else 2]:
            yield f"{solve.__name__}, {how}", check_gradient(
                *problem(solve, options), (Z0, TS, THETA, [0.1, 0.2, 0.3]),
                names=("z0", "ts", "theta", "unused"))
