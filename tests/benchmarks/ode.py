"""The ODE solver and its adjoint beside SciPy, torchdiffeq and diffrax, side by side in one run.

    python tests/benchmarks/ode.py [--rounds 15]

step        one dopri5 step (rtol = atol = 1e-8, z' = -z cos t on [0, 10]) at n = 2 and n = 100,
            beside solve_ivp's RK45, which takes the same steps
gradient    forward and backsolve gradient by z0 and theta of an MLP field (batch 20, 2-50-2, tanh,
            float64, rtol 1e-6, atol 1e-8, T = 5), beside torchdiffeq.odeint_adjoint and compiled
            diffrax BacksolveAdjoint; once with the field's own backward pass (MLPField), once
            through the engine's vjp (a plain function)
memory      peak of solve(dense=False) and of backsolve(trajectory=False), by tracemalloc, at 50
            and at 1000 fixed steps

The contestants take turns, a round each; printed are the medians of the times and of the ratios
round by round. Peers that are not installed are left out.
"""
import argparse
import statistics
import time
import tracemalloc
import warnings

import numpy as np
from scipy.integrate import solve_ivp

from refvdm.ode import MLPField, adjoint, odeint, solve

RTOL, ATOL, T = 1e-6, 1e-8, 5.0


def rounds(contestants, n, repeat):
    """{name: [seconds per call, one for each round]}, in turns."""
    times = {name: [] for name in contestants}
    for run in contestants.values():
        run()
    for _ in range(n):
        for name, run in contestants.items():
            start = time.perf_counter()
            for _ in range(repeat):
                run()
            times[name].append((time.perf_counter() - start) / repeat)
    return times


def report(times, ours, per=1):
    for name, seconds in times.items():
        ratio = ""
        if name not in ours:
            medians = {us: statistics.median(a / b for a, b in zip(times[us], seconds))
                       for us in ours}
            ratio = "   " + ", ".join(f"{us} {median:.2f}x" for us, median in medians.items())
        print(f"  {name:<24}{statistics.median(seconds) / per * 1e6:>10.1f} us{ratio}")


def field(z, t, theta):
    return -z * np.cos(t)


def step(n_rounds, n):
    y0, options = np.ones(n), {"rtol": 1e-8, "atol": 1e-8}
    taken = solve(field, y0, [0, 10], **options).stats
    steps = taken.accepted + taken.rejected
    print(f"one of {steps} dopri5 steps, n = {n}")

    def scipy_solve(**more):
        return solve_ivp(lambda t, y: -y * np.cos(t), (0, 10), y0, **options, **more)

    report(rounds({"refvdm": lambda: solve(field, y0, [0, 10], dense=False, **options),
                   "refvdm, dense": lambda: solve(field, y0, [0, 10], **options),
                   "scipy": scipy_solve,
                   "scipy, dense": lambda: scipy_solve(dense_output=True)},
                  n_rounds, 5), ("refvdm", "refvdm, dense"), steps)


def problem():
    rng = np.random.default_rng(0)
    field = MLPField((2, 50, 2))
    return field, field.init(rng), rng.standard_normal((20, 2))


def torch_gradient(theta, z0):
    import torch
    from torch import nn
    from torchdiffeq import odeint_adjoint

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2)).double()
            with torch.no_grad():
                for layer, i in ((self.net[0], 1), (self.net[2], 2)):
                    layer.weight.copy_(torch.tensor(theta[f"W{i}"].T))
                    layer.bias.copy_(torch.tensor(theta[f"b{i}"]))

        def forward(self, t, z):
            return self.net(z)

    field, start = Field(), torch.tensor(z0, requires_grad=True)
    ts = torch.tensor([0.0, T], dtype=torch.float64)

    def gradient():
        field.zero_grad()
        start.grad = None
        odeint_adjoint(field, start, ts, rtol=RTOL, atol=ATOL, method="dopri5")[-1].sum().backward()
        return field.net[0].weight.grad.numpy().T

    return gradient


def diffrax_gradient(theta, z0):
    import diffrax
    import jax
    import jax.numpy as jnp
    jax.config.update("jax_enable_x64", True)
    term = diffrax.ODETerm(lambda t, z, p: jnp.tanh(z @ p["W1"] + p["b1"]) @ p["W2"] + p["b2"])

    def loss(z0, p):
        solution = diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, T, None, z0, p, max_steps=None,
                                       adjoint=diffrax.BacksolveAdjoint(),
                                       stepsize_controller=diffrax.PIDController(RTOL, ATOL))
        return solution.ys[-1].sum()

    gradient = jax.jit(jax.grad(loss, argnums=(0, 1)))
    p = {name: jnp.asarray(array) for name, array in theta.items()}
    start = jnp.asarray(z0)
    return lambda: np.asarray(jax.block_until_ready(gradient(start, p))[1]["W1"])


def our_gradient(field, theta, z0, zs_bar):
    def gradient():
        solution = solve(field, z0, [0.0, T], theta, rtol=RTOL, atol=ATOL, dense=False)
        return adjoint(field, solution, zs_bar, trajectory=False).theta["W1"]

    return gradient


def gradient(n_rounds):
    field, theta, z0 = problem()
    zs_bar = np.stack([np.zeros_like(z0), np.ones_like(z0)])
    contestants = {"refvdm, own vjp": our_gradient(field, theta, z0, zs_bar),
                   "refvdm, engine's vjp": our_gradient(lambda z, t, theta: field(z, t, theta),
                                                        theta, z0, zs_bar)}
    for name, make in (("torchdiffeq", torch_gradient), ("diffrax, compiled", diffrax_gradient)):
        try:
            contestants[name] = make(theta, z0)
        except ImportError as error:
            print(f"left out {name}: {error}")
    answers = {name: run() for name, run in contestants.items()}
    off = {name: f"{abs(a - answers['refvdm, own vjp']).max():.0e}" for name, a in answers.items()}
    print(f"forward and backsolve gradient, 2-50-2, batch 20 (largest difference in dL/dW1: {off})")
    report(rounds(contestants, n_rounds, 2), ("refvdm, own vjp", "refvdm, engine's vjp"))


def peak(run, steps):
    run(steps)
    tracemalloc.start()
    run(steps)
    bytes_ = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return bytes_


def memory():
    field, theta, z0 = problem()
    zs_bar = np.stack([np.zeros_like(z0), np.ones_like(z0)])

    def forward(steps):
        return solve(field, z0, [0.0, 1.0], theta, method="rk4", step=1 / steps, dense=False)

    def backsolve(steps):
        return adjoint(field, forward(steps), zs_bar, trajectory=False)

    def through_odeint(steps):
        return odeint(field, z0, [0.0, 1.0], theta, gradient="backsolve",
                      method="rk4", step=1 / steps)

    print("peak memory, 2-50-2, batch 20, rk4")
    for name, run in (("solve(dense=False)", forward), ("backsolve(trajectory=False)", backsolve),
                      ("odeint(gradient='backsolve')", through_odeint)):
        few, many = peak(run, 50), peak(run, 1000)
        print(f"  {name:<30}{few / 1024:>8.1f} KiB at 50 steps{many / 1024:>8.1f} KiB at 1000: "
              f"{many / few:.2f}x")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    n_rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")
    step(n_rounds, 2)
    step(n_rounds, 100)
    gradient(n_rounds)
    memory()
