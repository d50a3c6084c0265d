"""torchdyn.odeint, every solver: what it converges to and how fast, and the times it returns."""
import numpy as np
import torch
from torchdyn.core import ODEProblem
from torchdyn.numerics import odeint

from refvdm.conformance.objects import check_likelihood, check_probability_flow

LIBRARY, DTYPES = "torchdyn", ()
ORDERS = {"euler": 1, "midpoint": 2, "rk4": 4, "ieuler": 1}
TIGHT = {"atol": 1e-12, "rtol": 1e-12}


class Decay(torch.nn.Module):
    def forward(self, t, z):
        return -z * torch.cos(t)


def f_of(denoise):
    return lambda t, x: x - denoise(x, torch.exp(t))  # dx/d log σ


def run(solver, **how):
    def of(denoise, x, n):
        ts = torch.linspace(np.log(0.05), np.log(4.0), n + 1, dtype=torch.float64).flip(0)
        backward = odeint(lambda t, x: -f_of(denoise)(-t, x), torch.tensor(x)[None], -ts, solver,
                          **how)
        return backward[1][-1, 0]
    return of


def reports():
    for solver, order in ORDERS.items():
        yield solver, check_probability_flow(run(solver), 4.0, 0.05, order, final="sigma_min")
    for solver in ("dopri5", "tsit5"):
        for interpolator in (None, "4th"):
            how = {"atol": 1e-9, "rtol": 1e-9, "interpolator": interpolator}
            yield f"{solver}, interpolator {interpolator}", check_probability_flow(
                run(solver, **how), 4.0, 0.05, 1, final="sigma_min", steps=(2, 4))

    z0, ts = np.array([[1.0, -0.4]]), np.array([0.3, 0.7, 1.5])
    exact = z0[0] * np.exp(np.sin(ts[0]) - np.sin(ts[-1]))
    for solver in ("dopri5", "tsit5"):
        for name, solve in (("odeint", lambda z, t, s=solver: odeint(Decay(), z, t, s, **TIGHT)),
                            ("ODEProblem", ODEProblem(Decay(), solver, **TIGHT))):
            yield f"{name}, {solver}, in float64", check_likelihood(
                lambda _, f=solve: f(torch.tensor(z0), torch.tensor(ts))[1][-1, 0],
                np.zeros((2, 1)), exact, tolerance=2e-9)
    for solver in ("dopri5", "rk4"):
        yield f"times that go back, {solver}", check_likelihood(
            lambda t, s=solver: odeint(Decay(), torch.tensor(z0), torch.tensor(t[:, 0]), s)[0],
            ts[::-1, None], ts[::-1])
