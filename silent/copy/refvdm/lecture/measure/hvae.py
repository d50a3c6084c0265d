"""§13.2 and §13.4.1 measured: by refvdm.mhvae, and by quadrature on a chain of one number each."""
from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from ...mhvae import MarkovianHVAE
from .. import hvae as spec
from ..hvae import N
from .core import Measured, measures

SIZES = (3, 2, 4)  # of x, z_1, z_2


def chain(rng, sizes=SIZES):
    """q and p of the spec with nonlinear conditionals, and the machine's model of the same."""
    def conditional(n_in, n_out):
        A, B, c = (0.7 * rng.standard_normal(shape) for shape in (
            (n_in, n_out), (n_in, n_out), n_out))
        return lambda z: (np.tanh(z @ A) + c, 0.5 * np.sin(z @ B))
    pairs = list(pairwise(sizes))
    encoders = [conditional(*pair) for pair in pairs]
    decoders = [conditional(*pair[::-1]) for pair in pairs]
    q, p = ([None] + [lambda z, f=f: N(f(z)[0], np.exp(f(z)[1])) for f in part]
            for part in (encoders, decoders))
    machine = MarkovianHVAE(*([lambda theta, z, f=f: f(z) for f in part]
                              for part in (encoders, decoders)))
    return q, p, machine


def path(rng, sizes=SIZES):
    z = [rng.standard_normal(n) for n in sizes]
    return z, [z_t[None] for z_t in z]


def tree(q, x, order=7):
    """All paths of Gauss-Hermite nodes through levels of one number, and their weights."""
    nodes, weights = hermegauss(order)
    weights, paths = weights / np.sqrt(2 * np.pi), [([x], 1.0)]
    for t in range(1, len(q)):
        paths = [([*z, q[t](z[-1]).draw(np.array([e]))], w * u)
                 for z, w in paths for e, u in zip(nodes, weights)]
    return [z for z, _ in paths], [w for _, w in paths]


class Linear(NamedTuple):
    """A chain x, z_1, z_2 of one number each, p and q linear: all of it is known."""

    q: list
    p: list
    x: np.ndarray
    log_p: float  # log p(x)
    bound: float  # the ELBO


def linear(rng):
    w, c, v = rng.uniform(0.5, 1.2, 2), 0.4 * rng.standard_normal(2), rng.uniform(0.3, 0.8, 2)
    u, s = rng.uniform(0.3, 0.7, 2), rng.uniform(0.5, 0.9, 2)
    p = [None] + [lambda z, t=t: N(w[t] * z + c[t], v[t]) for t in range(2)]
    q = [None] + [lambda z, t=t: N(u[t] * z, s[t]) for t in range(2)]
    mean = w[0] * c[1] + c[0]  # z_2 has mean 0 and variance 1
    var = w[0] ** 2 * (w[1] ** 2 + v[1]) + v[0]
    x = np.array([mean + 0.6 * np.sqrt(var)])
    # under q: the means and variances of z_1 and z_2, E log p by them, and q's entropies
    m_1, V_1 = u[0] * x[0], s[0]
    m_2, V_2 = u[1] * m_1, u[1] ** 2 * V_1 + s[1]
    squares = [((x[0] - w[0] * m_1 - c[0]) ** 2 + w[0] ** 2 * V_1) / v[0],
               ((m_1 - w[1] * m_2 - c[1]) ** 2 + (1 - w[1] * u[1]) ** 2 * V_1
                + w[1] ** 2 * s[1]) / v[1], m_2**2 + V_2]
    log_p = -0.5 * (sum(squares) + np.log(2 * np.pi * v[0]) + np.log(2 * np.pi * v[1])
                    + np.log(2 * np.pi))
    entropy = 0.5 * np.sum(np.log(2 * np.pi * np.e * s))
    return Linear(q, p, x, N(np.array([mean]), var).log_prob(x), log_p + entropy)


@measures("13.2")
def log_joint(rng):
    _, p, machine = chain(rng)
    z, batch = path(rng)
    return Measured(spec.log_joint(z, p), machine=machine.log_joint(None, batch[0], batch[1:])[0])


@measures("13.3")
def log_posterior(rng):
    q, _, machine = chain(rng)
    z, batch = path(rng)
    there = machine.log_posterior(None, batch[0], batch[1:])[0]
    return Measured(spec.log_posterior(z, q), machine=there)


@measures("13.3 draw")
def draw(rng):
    q, _, machine = chain(rng)
    (x, *eps), _ = path(rng)
    zs = machine.encode(None, x[None], eps=[e[None] for e in eps])
    return Measured(spec.draw_posterior(x, q, eps)[1:], machine=[z[0] for z in zs])


@measures("13.3 evidence", 1e-6)
def evidence(rng):
    """On a grid of z_1 and z_2; the printed integrand lacks q."""
    q, p, x, log_p, _ = linear(rng)
    grid = np.linspace(-8, 8, 49)
    paths = [[x, np.array([a]), np.array([b])] for a in grid for b in grid]
    volume = (grid[1] - grid[0]) ** 2
    return Measured(spec.log_evidence(paths, volume, p, q), closed=log_p,
                    printed=spec.printed_log_evidence(paths, volume, p, q))


@measures("13.4")
def elbo(rng):
    q, p, machine = chain(rng)
    (x, *eps), _ = path(rng)
    there = machine.elbo(None, x[None], eps=[e[None] for e in eps])[0]
    return Measured(spec.elbo(x, p, q, eps), machine=there)


@measures("13.5")
def log_ratio(rng):
    q, p, _ = chain(rng)
    left, right = spec.log_ratio(path(rng)[0], p, q)
    return Measured(left, side=right)


@measures("13.18")
def joint(rng):
    left, right = spec.joint(path(rng)[0], chain(rng)[1])
    return Measured(np.log(left), side=np.log(right))


@measures("13.19")
def posterior(rng):
    left, right = spec.posterior(path(rng)[0], chain(rng)[0])
    return Measured(np.log(left), side=np.log(right))


@measures("13.20 line 2", 1e-9)
def expected_ratio(rng):
    """K draws with weights 1/K are the machine's; by quadrature it is log p(x)."""
    q, p, machine = chain(rng)
    x, *eps = (rng.standard_normal((5, n)) for n in SIZES)
    paths = [spec.draw_posterior(x[0], q, [e[k] for e in eps]) for k in range(5)]
    there = machine.importance_bound(None, x[:1], 5, eps=[e[:, None] for e in eps])[0]
    known = linear(rng)
    return Measured([spec.log_expected_ratio(paths, [1 / 5] * 5, p, q),
                     spec.log_expected_ratio(*tree(known.q, known.x, 24), known.p, known.q)],
                    machine=[there, known.log_p])


@measures("13.20")
def bound(rng):
    """The printed one is no bound: it lacks log p(z)."""
    known = linear(rng)
    paths, weights = tree(known.q, known.x)
    return Measured(spec.bound(paths, weights, known.p, known.q), closed=known.bound,
                    printed=spec.printed_bound(paths, weights, known.p, known.q))


@measures("13.21")
def plugged_in(rng):
    known = linear(rng)
    at = (*tree(known.q, known.x), known.p, known.q)
    left, right = spec.bound_plugged_in(*at)
    return Measured(left, side=right, closed=known.bound,
                    printed=spec.printed_bound_plugged_in(*at)[0])
