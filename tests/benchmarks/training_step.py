"""One training step of a VDM: here, by hand in NumPy, in PyTorch (eager) and in JAX (jit), in one run.

    python tests/benchmarks/training_step.py [--rounds 30]

The step: draw t and noise, the one-t estimate of 13.24 (reconstruction, prior, KL_t; both
evaluations of the network as one batch), its gradient, Adam. float32, D = 64, T = 1000, linear
gamma, an MLP with three hidden silu layers and 8 features of gamma, Gaussian decoder. "By hand" is
the floor for NumPy: the same formulas without recording, the backward pass written out, in place
where it can be; it draws the same numbers, and its loss is compared with ours step by step.
They take turns, a round each; printed is the median time of each round's steps and the median of the
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


def by_hand_step(hidden, batch, x_0):
    rng = np.random.default_rng(0)
    sizes = (D + 8, hidden, hidden, hidden, D)
    n_W = [a * b for a, b in itertools.pairwise(sizes)]
    flat = np.zeros(sum(n_W) + sum(sizes[1:]), np.float32)
    flat_bar, m, v, scratch = (np.zeros_like(flat) for _ in range(4))

    def layers(flat):
        parts, start = [], 0
        for a, b in itertools.pairwise(sizes):
            W, start = flat[start : start + a * b].reshape(a, b), start + a * b
            parts.append((W, flat[start : start + b]))
            start += b
        return parts

    theta, theta_bar, n = layers(flat), layers(flat_bar), 0
    for W, _ in theta:
        W[:] = rng.standard_normal(W.shape) / np.sqrt(len(W))
    theta[3][0][:] = 0
    gamma = np.linspace(GAMMA_1, GAMMA_T, T)
    signal = np.sqrt(1 / (1 + np.exp(gamma))).astype(np.float32)[:, None]
    width = np.sqrt(1 / (1 + np.exp(-gamma))).astype(np.float32)[:, None]
    drop = np.append(np.nan, np.exp(-gamma[1:]) * np.expm1(np.diff(gamma))).astype(np.float32)
    angle = gamma[:, None] * FREQUENCIES
    features = np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)
    abar_T = float(signal[-1, 0]) ** 2
    inputs = np.empty((2 * batch, D + 8), np.float32)
    x_0_both = np.concatenate([x_0, x_0])
    t = np.zeros(2 * batch, int)

    def step():
        nonlocal n
        t[batch:] = rng.integers(1, T, batch)
        eps = rng.standard_normal((2 * batch, D), np.float32)
        a, s = signal[t], width[t]
        eps *= s
        x = a * x_0_both
        x += eps
        inputs[:, :D], inputs[:, D:] = x, features[t]
        h, saved = inputs, []
        for i, (W, b) in enumerate(theta):
            z = h @ W
            z += b
            if i < 3:
                q = np.exp(-z)
                q += 1
                np.reciprocal(q, out=q)
                z *= q
                saved.append((h, q, z))
            else:
                saved.append((h, None, z))
            h = z
        error = a * x  # x_0 hat - x_0
        error -= s * h
        error -= x_0_both
        squares = np.einsum("ij,ij->i", error, error)
        weight = drop[t]
        weight *= (T - 1) / 2
        weight[:batch] = 0.5 / VARIANCE
        prior = 0.5 * (abar_T * np.vdot(x_0, x_0) / batch - D * (abar_T + math.log1p(-abar_T)))
        loss = squares @ weight / batch + D / 2 * math.log(2 * math.pi * VARIANCE) + prior
        weight *= -2 / batch
        error *= s
        error *= weight[:, None]
        bar = error
        for i in (3, 2, 1, 0):
            h, q, z = saved[i]
            if q is not None:  # silu' = q + y (1 - q)
                d = 1 - q
                d *= z
                d += q
                bar *= d
            np.matmul(h.T, bar, out=theta_bar[i][0])
            np.add.reduce(bar, axis=0, out=theta_bar[i][1])
            if i:
                bar = bar @ theta[i][0].T
        n += 1
        np.multiply(flat_bar, 0.1, out=scratch)
        np.multiply(m, 0.9, out=m)
        np.add(m, scratch, out=m)
        np.multiply(flat_bar, flat_bar, out=flat_bar)
        np.multiply(flat_bar, 1e-3, out=flat_bar)
        np.multiply(v, 0.999, out=v)
        np.add(v, flat_bar, out=v)
        np.divide(v, 1 - 0.999**n, out=scratch)
        np.sqrt(scratch, out=scratch)
        np.add(scratch, 1e-8, out=scratch)
        np.divide(m, scratch, out=scratch)
        np.multiply(scratch, RATE / (1 - 0.9**n), out=scratch)
        np.subtract(flat, scratch, out=flat)
        return float(loss)

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
        return float(loss.detach())

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


def alike(ours, by_hand, count=50):
    """Both draw the same numbers from the same seed: step by step the same loss, or no floor."""
    pairs = np.array([(ours(), by_hand()) for _ in range(count)])
    np.testing.assert_allclose(*pairs.T, rtol=1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30, help="how often the libraries take turns")
    rounds = parser.parse_args().rounds
    for hidden, batch in ((64, 64), (256, 128)):
        x_0 = np.random.default_rng(1).standard_normal((batch, D), dtype=np.float32)
        steps, missing = {}, []
        makers = {"refvdm": refvdm_step, "NumPy by hand": by_hand_step, "PyTorch eager": torch_step,
                  "JAX jit": jax_step}
        for name, make in makers.items():
            try:
                steps[name] = make(hidden, batch, x_0)
            except ImportError:
                missing.append(name)
        alike(steps["refvdm"], steps["NumPy by hand"])
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
