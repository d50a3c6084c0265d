"""One training step of a VDM, here and in PyTorch (eager) and JAX (jit), side by side in one run.

    python tests/benchmarks/training_step.py [--rounds 30]

The step: draw t and noise, the one-t estimate of 13.24 (reconstruction, prior, KL_t; both
evaluations of the network as one batch), its gradient, Adam. float32, D = 64, T = 1000, linear
gamma, an MLP with three hidden silu layers and 8 features of gamma, Gaussian decoder. The three
take turns, a round each; printed is the median time of each round's steps and the median of the
ratios round by round, so that a change of the machine's speed meets all three. Each library draws
its own noise with its own generator.
"""
import argparse
import itertools
import math
import statistics
import time

import numpy as np

from refvdm.autodiff import value_and_grad
from refvdm.optim import Adam
from refvdm.vdm import VDM, GaussianDecoder, Schedule
from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

D, T, GAMMA_1, GAMMA_T, VARIANCE, RATE = 64, 1000, -7.0, 6.0, 1e-3, 1e-3
FREQUENCIES = np.geomspace(0.1, 1.0, 4)


def refvdm_step(hidden, batch, x_0, times="uniform"):
    schedule = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T)
    denoiser = RegressionDenoiser(MLPNetwork(D, D, hidden, layers=3), schedule)
    vdm = VDM(denoiser, schedule, GaussianDecoder(VARIANCE))
    rng, opt = np.random.default_rng(0), Adam(RATE)
    theta = denoiser.init(rng)
    state = opt.init(theta)

    def loss(theta):
        return -np.mean(vdm.elbo_estimate(theta, x_0, rng, times=times).total)

    gradient = value_and_grad(loss)

    def step():
        nonlocal theta, state
        value, grads = gradient(theta)
        theta, state = opt.update(theta, grads, state)
        return float(value)

    return step


def torch_step(hidden, batch, x_0):
    import torch
    from torch import nn
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(D + 8, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
                        nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, D))
    nn.init.zeros_(net[-1].weight)
    opt = torch.optim.Adam(net.parameters(), RATE)
    gamma = torch.linspace(GAMMA_1, GAMMA_T, T, dtype=torch.float64).float()
    frequencies, x_0 = torch.tensor(FREQUENCIES, dtype=torch.float32), torch.tensor(x_0)
    abar_T = torch.sigmoid(-gamma[-1])

    def step():
        t = torch.randint(2, T + 1, (batch,))
        g_t, g_s = gamma[t - 1], gamma[t - 2]
        g = torch.cat([gamma[:1].expand(batch), g_t])
        eps = torch.randn(2 * batch, D)
        twice = torch.cat([x_0, x_0])
        x = torch.sigmoid(-g).sqrt()[:, None] * twice + torch.sigmoid(g).sqrt()[:, None] * eps
        angle = g[:, None] * frequencies
        v = net(torch.cat([x, angle.sin(), angle.cos()], 1))
        hat = torch.sigmoid(-g).sqrt()[:, None] * x - torch.sigmoid(g).sqrt()[:, None] * v
        square = (x_0 - hat[:batch]) ** 2
        reconstruction = -0.5 * (math.log(2 * math.pi * VARIANCE) + square / VARIANCE).sum(1)
        kl = 0.5 * torch.exp(-g_t) * torch.expm1(g_t - g_s) * ((x_0 - hat[batch:]) ** 2).sum(1)
        prior = 0.5 * (abar_T * x_0**2 - abar_T - torch.log1p(-abar_T)).sum(1)
        loss = (prior + (T - 1) * kl - reconstruction).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return float(loss)

    return step


def jax_step(hidden, batch, x_0):
    import jax
    import jax.numpy as jnp
    import optax
    opt = optax.adam(RATE)
    rng = np.random.default_rng(0)
    sizes = (D + 8, hidden, hidden, hidden, D)
    theta = [(jnp.asarray(rng.standard_normal((a, b)) / np.sqrt(a), jnp.float32) * (i < 3),
              jnp.zeros(b, jnp.float32))
             for i, (a, b) in enumerate(itertools.pairwise(sizes))]
    state = opt.init(theta)
    gamma = jnp.asarray(np.linspace(GAMMA_1, GAMMA_T, T), jnp.float32)
    frequencies, x_0 = jnp.asarray(FREQUENCIES, jnp.float32), jnp.asarray(x_0)
    abar_T = jax.nn.sigmoid(-gamma[-1])

    def loss(theta, key):
        key_t, key_eps = jax.random.split(key)
        t = jax.random.randint(key_t, (batch,), 2, T + 1)
        g_t, g_s = gamma[t - 1], gamma[t - 2]
        g = jnp.concatenate([jnp.broadcast_to(gamma[:1], (batch,)), g_t])
        eps = jax.random.normal(key_eps, (2 * batch, D), jnp.float32)
        a, s = jnp.sqrt(jax.nn.sigmoid(-g))[:, None], jnp.sqrt(jax.nn.sigmoid(g))[:, None]
        x = a * jnp.concatenate([x_0, x_0]) + s * eps
        angle = g[:, None] * frequencies
        h = jnp.concatenate([x, jnp.sin(angle), jnp.cos(angle)], 1)
        for i, (W, b) in enumerate(theta):
            h = h @ W + b
            h = jax.nn.silu(h) if i < 3 else h
        hat = a * x - s * h
        square = (x_0 - hat[:batch]) ** 2
        reconstruction = -0.5 * (math.log(2 * math.pi * VARIANCE) + square / VARIANCE).sum(1)
        kl = 0.5 * jnp.exp(-g_t) * jnp.expm1(g_t - g_s) * ((x_0 - hat[batch:]) ** 2).sum(1)
        prior = 0.5 * (abar_T * x_0**2 - abar_T - jnp.log1p(-abar_T)).sum(1)
        return (prior + (T - 1) * kl - reconstruction).mean()

    @jax.jit
    def whole(theta, state, key):
        key, sub = jax.random.split(key)
        value, grads = jax.value_and_grad(loss)(theta, sub)
        updates, state = opt.update(grads, state)
        return optax.apply_updates(theta, updates), state, key, value

    carry = [theta, state, jax.random.PRNGKey(0)]

    def step():
        *carry[:], value = whole(*carry)
        return float(value)

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often the libraries take turns")
    rounds = parser.parse_args().rounds
    for hidden, batch in ((64, 64), (256, 128)):
        x_0 = np.random.default_rng(1).standard_normal((batch, D), dtype=np.float32)
        steps, missing = {}, []
        makers = {"refvdm": refvdm_step, "PyTorch eager": torch_step, "JAX jit": jax_step}
        for name, make in makers.items():
            try:
                steps[name] = make(hidden, batch, x_0)
            except ImportError:
                missing.append(name)
        count = 100 if hidden == 64 else 20
        times = {name: [] for name in steps}
        for r in range(rounds + 1):
            for name, step in steps.items():
                began = time.perf_counter()
                for _ in range(count):
                    step()
                if r:  # the first round warms up
                    times[name].append((time.perf_counter() - began) / count)
        ours = times["refvdm"]
        microseconds = statistics.median(ours) * 1e6
        print(f"H = {hidden}, batch {batch}: refvdm {microseconds:.0f} us a step", end="")
        for name in list(steps)[1:]:
            ratio = statistics.median(a / b for a, b in zip(ours, times[name], strict=True))
            print(f"; {ratio:.2f}x the time of {name}", end="")
        print("".join(f"; {name} is not installed" for name in missing), flush=True)


if __name__ == "__main__":
    main()
