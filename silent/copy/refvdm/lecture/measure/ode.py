"""§13.3 measured: by refvdm.ode on the same steps, by finite differences, and on z' = θ cos(t) z,
whose solution z(T0) exp(θ (sin t - sin T0)) gives every gradient in closed form."""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ...ode import adjoint, solve
from .. import adjoint as spec
from .. import neural_ode
from ..neural_ode import Field
from .core import Measured, measures

N = 40  # steps
SCALAR = Field(lambda z, t, theta: theta * np.cos(t) * z,
               lambda z, t, theta: theta[:, None] * np.cos(t),
               lambda z, t, theta: z[:, None] * np.cos(t),
               lambda z, t, theta: -theta * np.sin(t) * z)


class Known(NamedTuple):
    """A problem for SCALAR with all its answers; the loss is L(z) = sin z + 0.7 z²."""

    z_0: np.ndarray
    theta: np.ndarray
    T0: float
    T1: float
    S: float  # sin T1 - sin T0
    z_1: np.ndarray


def known(rng):
    z_0, theta = rng.uniform(1, 1.5, 1), rng.uniform(0.6, 0.9, 1)
    T0, T1 = rng.uniform(0.1, 0.4), rng.uniform(1.7, 2.0)
    S = np.sin(T1) - np.sin(T0)
    return Known(z_0, theta, T0, T1, S, z_0 * np.exp(theta * S))


def L(z):
    return np.sum(np.sin(z) + 0.7 * z**2)


def dL(z):
    return np.cos(z) + 1.4 * z


def random(rng, D=3, P=2):
    """f = tanh(A z + B θ + c sin t) with its Jacobians; z(T0), θ, T0, T1."""
    A, B, c = (0.8 * rng.standard_normal(shape) for shape in ((D, D), (D, P), D))

    def f(z, t, theta):
        return np.tanh(z @ A.T + theta @ B.T + c * np.sin(t))

    def slope(z, t, theta):
        return (1 - f(z, t, theta) ** 2)[:, None]
    field = Field(f, lambda *at: slope(*at) * A, lambda *at: slope(*at) * B,
                  lambda z, t, theta: slope(z, t, theta)[:, 0] * c * np.cos(t))
    return field, rng.standard_normal(D), rng.standard_normal(P), *rng.uniform([-1, 0.5], [0, 1.2])


def machine(field, z, ts, theta, n=N, method="rk4"):
    """The machine's solution by n equal steps from one of ts to the next."""
    step = abs(ts[1] - ts[0]) / n * (1 + 1e-9)
    return solve(field.f, z, ts, theta, method=method, step=step)


def way_back(field, there):
    """The machine's z, a, a_θ and a_t from T1 to T0."""
    way = adjoint(field.f, there, [0 * there.zs[0], dL(there.zs[-1])]).trajectory
    assert way is not None
    return way


def differences(function, x, h=1e-5):
    return np.array([(function(x + e) - function(x - e)) / (2 * h) for e in h * np.eye(len(x))]).T


# ---------------------------------------------------------------- 13.6 to 13.9


@measures("13.6", 0)
def residual_network(rng):
    w, z_0 = rng.standard_normal((4, 3, 3)), rng.standard_normal(3)
    there = solve(lambda z, t, theta: np.tanh(z @ theta[int(t)]), z_0, np.arange(5.0), w,
                  method="euler", step=1.0)
    return Measured(neural_ode.residual_network(lambda z, w: np.tanh(z @ w), z_0, w),
                    machine=list(there.zs))


@measures("13.6 to 13.7")
def euler(rng):
    field, z, theta, T0, T1 = random(rng)
    there = machine(field, z, [T0, T1], theta, method="euler").zs[-1]
    return Measured(neural_ode.euler(field.f, z, T0, T1, theta, N), machine=there)


@measures("13.7 ODESolver", 1e-7)
def ode_solver(rng):
    field, z, theta, T0, T1 = random(rng)
    at = known(rng)
    return Measured([neural_ode.ode_solver(field.f, z, T0, T1, theta, N),
                     neural_ode.ode_solver(SCALAR.f, at.z_0, at.T0, at.T1, at.theta, N)],
                    machine=[machine(field, z, [T0, T1], theta).zs[-1], at.z_1])


@measures("13.7", 1e-6)
def velocity(rng):
    """By central differences; printed, the network itself solves it."""
    field, z, theta, t, _ = random(rng)
    left, right = neural_ode.velocity(field.f, z, t, theta, 1e-4, 2)
    network, solution = neural_ode.printed_velocity(field.f, z, np.arange(5.0), theta, N)
    return Measured(left, side=right, printed=network, should=solution)


@measures("13.8", 1e-6)
def solution(rng):
    field, z, theta, T0, T1 = random(rng)
    at = known(rng)
    left, right = neural_ode.solution(field.f, z, T0, T1, theta, N)
    printed = neural_ode.printed_solution(SCALAR.f, at.z_0, at.T0, at.T1, at.theta, N)[1]
    return Measured(left, side=right, machine=machine(field, z, [T0, T1], theta).zs[-1],
                    printed=printed, should=at.z_1)


@measures("13.9", 1e-6)
def loss(rng):
    at = known(rng)
    given = L, SCALAR.f, at.z_0, at.T0, at.T1, at.theta, N
    return Measured(neural_ode.loss(*given), closed=L(at.z_1),
                    printed=neural_ode.printed_loss(*given))


# ---------------------------------------------------------------- 13.10 to 13.12


@measures("13.10", 1e-6)
def adjoint_state(rng):
    field, z, theta, T0, T1 = random(rng)
    there = machine(field, z, [T0, T1], theta)
    machines = adjoint(field.f, there, [0 * z, dL(there.zs[-1])]).z0
    by_differences = differences(
        lambda z: neural_ode.loss(L, field.f, z, T0, T1, theta, N), z)
    return Measured(neural_ode.adjoint_state(dL, field, z, T0, T1, theta, N), machine=machines,
                    closed=by_differences)


@measures("13.11", 1e-6)
def chain_rule(rng):
    field, z, theta, T0, T1 = random(rng)
    left, right = neural_ode.chain_rule(dL, field, z, T0, 0.1, T1, theta, N)
    return Measured(left, side=right)


@measures("13.12 limit", 1e-5)
def limit(rng):
    """Richardson's extrapolation of ε = 10^-3 and half of it: what is left is O(ε²)."""
    field, z, theta, T0, T1 = random(rng)
    (coarse, right), (fine, _) = (neural_ode.quotient(dL, field, z, T0, eps, T1, theta, 200)
                                  for eps in (1e-3, 5e-4))
    return Measured(2 * fine - coarse, side=right)


@measures("13.12", 1e-6)
def adjoint_equation(rng):
    field, z, theta, T0, T1 = random(rng)
    left, right = neural_ode.adjoint_equation(dL, field, z, T0, T1, theta, N)
    there = machine(field, z, [T0, T1], theta)
    return Measured(left, side=right,
                    machine=adjoint(field.f, there, [0 * z, dL(there.zs[-1])]).z0)


# ---------------------------------------------------------------- 13.13 to 13.16


@measures("13.13", 1e-6)
def f_aug(rng):
    """The rate of [z, θ, t] along a solution."""
    field, z, theta, t, _ = random(rng)
    h = 1e-4
    after, before = (np.concatenate([
        neural_ode.ode_solver(field.f, z, t, t + e, theta, 2), theta, [t + e]]) for e in (h, -h))
    return Measured(spec.f_aug(field, z, t, theta), closed=(after - before) / (2 * h),
                    printed=spec.printed_f_aug(field, z, t, theta))


@measures("13.14", 1e-7)
def df_aug(rng):
    field, z, theta, t, _ = random(rng)
    D = len(z)
    by_differences = differences(lambda y: spec.f_aug(field, y[:D], y[-1], y[D:-1]),
                                 np.concatenate([z, theta, [t]]))
    return Measured(spec.df_aug(field, z, t, theta), closed=by_differences)


@measures("13.15", 1e-6)
def da_aug(rng):
    """Its slope along the machine's own trajectory; the printed one, for D = P = 1, on the way."""
    field, z, theta, T0, T1 = random(rng)
    D = len(z)
    there = machine(field, z, [T0, T1], theta, 400)
    way = way_back(field, there)
    i = 200
    states = np.concatenate([way.a, way.a_theta, way.a_t[:, None]], axis=1)
    h = way.t[i - 1] - way.t[i]
    slope = (8 * (states[i - 1] - states[i + 1]) - (states[i - 2] - states[i + 2])) / (12 * h)
    at = known(rng)
    a, a_theta = np.array([0.7]), np.array([1.3])
    given = at.z_0, at.T0, at.theta
    assert D == way.a.shape[1]
    return Measured(spec.da_aug(field, way.a[i], way.z[i], way.t[i], theta), machine=slope,
                    printed=spec.printed_da_aug(SCALAR, a, a_theta, -0.4, *given),
                    should=spec.da_aug(SCALAR, a, *given))


@measures("13.15 line 1")
def by_the_matrix(rng):
    field, z, theta, t, _ = random(rng)
    a, a_theta, a_t = rng.standard_normal(3), rng.standard_normal(2), rng.standard_normal()
    left, right = spec.da_aug_by_the_matrix(field, a, a_theta, a_t, z, t, theta)
    return Measured(left, side=right)


@measures("13.16")
def backward(rng):
    """The machine's trajectory, all the way back; printed, a_θ is said to be its own slope."""
    field, z, theta, T0, T1 = random(rng)
    there = machine(field, z, [T0, T1], theta)
    way = way_back(field, there)
    at_T1 = spec.start(dL, field, there.zs[-1], T1, theta)
    at_T0 = spec.backward(field, at_T1, T1, T0, theta, N)
    a_theta, printed = spec.printed_a_theta(field, at_T0, T0, theta)
    return Measured(list(at_T0), machine=[way.z[-1], way.a[-1], way.a_theta[-1], way.a_t[-1]],
                    printed=printed, should=a_theta)


# ---------------------------------------------------------------- 13.17 and what is left out


@measures("after 13.17 start", 1e-7)
def start(rng):
    """a_t(T1) = -dL/dT1: minus the slope of L along the solution."""
    field, z, theta, T0, T1 = random(rng)
    z_T1 = neural_ode.ode_solver(field.f, z, T0, T1, theta, N)
    def later(h):
        return L(neural_ode.ode_solver(field.f, z_T1, T1, T1 + h, theta, 1))
    slope = (later(1e-4) - later(-1e-4)) / 2e-4
    return Measured(list(spec.start(dL, field, z_T1, T1, theta)),
                    closed=[z_T1, dL(z_T1), np.zeros(2), -slope])


@measures("13.17", 1e-5)
def a_theta(rng):
    at = known(rng)
    left, right = spec.a_theta_T0(dL, SCALAR, at.z_1, at.T0, at.T1, at.theta, 24)
    return Measured(left, side=right, closed=dL(at.z_1) * at.z_1 * at.S)


@measures("13.17 gradient", 1e-6)
def gradient(rng):
    field, z, theta, T0, T1 = random(rng)
    there = machine(field, z, [T0, T1], theta)
    machines = adjoint(field.f, there, [0 * z, dL(there.zs[-1])])
    at = known(rng)
    a_T0 = dL(at.z_1) * np.exp(at.theta * at.S)
    exact = [a_T0, dL(at.z_1) * at.z_1 * at.S, -a_T0 * at.theta * np.cos(at.T0) * at.z_0,
             dL(at.z_1) * at.theta * np.cos(at.T1) * at.z_1]
    got = spec.gradient(dL, field, there.zs[-1], T0, T1, theta, N)
    scalar = spec.gradient(dL, SCALAR, at.z_1, at.T0, at.T1, at.theta, N)
    return Measured([*got, *scalar], machine=[machines.z0, machines.theta, *machines.ts, *exact])


@measures("after 13.17 dL/dT0", 1e-5)
def dL_dT0(rng):
    at = known(rng)
    left, right = spec.dL_dT0(dL, SCALAR, at.z_1, at.T0, at.T1, at.theta, N)
    a_T0 = dL(at.z_1) * np.exp(at.theta * at.S)
    return Measured(left, side=right, closed=-a_T0 * at.theta * np.cos(at.T0) * at.z_0)


@measures("after 13.17 jump", 1e-6)
def jumps(rng):
    """L = Σ g_i z(t_i), beside the machine and by differences in every t_i."""
    field, z, theta, T0, T1 = random(rng)
    ts, g = np.linspace(T0, T1, 4), rng.standard_normal((4, 3))

    def total(ts):
        zs = [z]
        for i in range(3):
            zs.append(neural_ode.ode_solver(field.f, zs[-1], ts[i], ts[i + 1], theta, N))
        return np.sum(g * np.array(zs))
    there = machine(field, z, ts, theta)
    got = spec.gradient_at_many_times(list(g), field, list(there.zs), list(ts), theta, N)
    machines = adjoint(field.f, there, g, restart=True)
    return Measured([*got, got[2]],
                    machine=[machines.z0, machines.theta, machines.ts, differences(total, ts)])
