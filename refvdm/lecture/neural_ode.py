"""§13.3, first half: from the residual network to the neural ODE and the adjoint state a(t).

z (D,), θ (P,), f(z, t, θ) -> (D,). a is a row (D,): it stands to the left of Jacobians. dL(z) is
the gradient of L, a row too. n is the number of steps of the solver.
"""
from typing import Any, NamedTuple

from numpy import concatenate, eye

from .equation import as_printed, equation, identity, section

section("§13.3", "Neural ODE")


@equation("13.6", "z_{l+1} = z_l + f(z_l, w_{l+1})", machine="refvdm.ode.solve")
def residual_network(f, z_0, w):
    z = [z_0]
    for w_next in w:  # w_1, w_2, ...
        z.append(z[-1] + f(z[-1], w_next))
    return z


@equation("13.6 to 13.7", "z(t + h) = z(t) + h f(z(t), t, θ): 13.6 is h = 1, 13.7 is h -> 0",
          machine="refvdm.ode.solve")
def euler(f, z, T0, T1, theta, n):
    h = (T1 - T0) / n
    for i in range(n):
        z = z + h * f(z, T0 + i * h, theta)
    return z


@equation("13.7 ODESolver", "z(T1) from z(T0), to O(n^-4): the classical Runge-Kutta method",
          machine="refvdm.ode.solve")
def ode_solver(f, z, T0, T1, theta, n):
    h = (T1 - T0) / n
    for i in range(n):
        t = T0 + i * h
        k_1 = f(z, t, theta)
        k_2 = f(z + h / 2 * k_1, t + h / 2, theta)
        k_3 = f(z + h / 2 * k_2, t + h / 2, theta)
        k_4 = f(z + h * k_3, t + h, theta)
        z = z + h / 6 * (k_1 + 2 * k_2 + 2 * k_3 + k_4)
    return z


@identity("13.7", "dz(t)/dt = f(z(t), t, θ)",
          printed="\"the solution\" of 13.6; but 13.6 is an Euler step of 13.7")
def velocity(f, z, t, theta, eps, n):
    before, after = (ode_solver(f, z, t, t + e, theta, n) for e in (-eps, eps))
    return (after - before) / (2 * eps), f(z, t, theta)


@as_printed("13.7")
def printed_velocity(f, z_0, times, theta, n):
    """z_L, its layers with one θ at times one apart; and the ODE's solution at the last time."""
    z = residual_network(lambda z, t: f(z, t, theta), z_0, times[:-1])
    return z[-1], ode_solver(f, z_0, times[0], times[-1], theta, n)


def integral(g, T0, T1, n):
    """∫ g(t) dt from T0 to T1, by Simpson's rule on n pieces."""
    h = (T1 - T0) / n
    return sum(h / 6 * (g(t) + 4 * g(t + h / 2) + g(t + h)) for t in [T0 + i * h for i in range(n)])


@identity("13.8", "z(T1) = z(T0) + ∫_{T0}^{T1} NN(z(t), t, θ) dt", machine="refvdm.ode.solve",
          printed="NN(z(T0), t, θ): a quadrature, not an ODE")
def solution(f, z_T0, T0, T1, theta, n):
    def z(t):
        return ode_solver(f, z_T0, T0, t, theta, n)
    return z(T1), z_T0 + integral(lambda t: f(z(t), t, theta), T0, T1, n)


@as_printed("13.8")
def printed_solution(f, z_T0, T0, T1, theta, n):
    z_T1 = ode_solver(f, z_T0, T0, T1, theta, n)
    return z_T1, z_T0 + integral(lambda t: f(z_T0, t, theta), T0, T1, n)


@equation("13.9", "L(z(T1)) = L(ODESolver(z(T0), NN, T0, T1, θ))",
          printed="L(z(T0) + ∫ NN(z(T0), t, θ) dt); θ is passed twice, as NN_θ and as θ")
def loss(L, f, z_T0, T0, T1, theta, n):
    return L(ode_solver(f, z_T0, T0, T1, theta, n))


@as_printed("13.9")
def printed_loss(L, f, z_T0, T0, T1, theta, n):
    return L(printed_solution(f, z_T0, T0, T1, theta, n)[1])


# ---- the adjoint state


class Field(NamedTuple):
    """f(z, t, θ) and its Jacobians: ∂f/∂z (D, D), ∂f/∂θ (D, P), ∂f/∂t (D,), all called as f is."""

    f: Any
    df_dz: Any
    df_dtheta: Any
    df_dt: Any


def dz_dz(field, z, t, s, theta, n):
    """S = ∂z(s)/∂z(t) (D, D) at z = z(t): dS/ds = ∂f/∂z S, solved beside z from S = I at t."""
    D = len(z)
    def rhs(y, s, theta):
        z, S = y[:D], y[D:].reshape(D, D)
        return concatenate([field.f(z, s, theta), (field.df_dz(z, s, theta) @ S).ravel()])
    return ode_solver(rhs, concatenate([z, eye(D).ravel()]), t, s, theta, n)[D:].reshape(D, D)


@equation("13.10", "a(t) = ∂L/∂z(t) = ∂L/∂z(T1) ∂z(T1)/∂z(t)",
          machine="refvdm.ode.adjoint")
def adjoint_state(dL, field, z, t, T1, theta, n):
    z_T1 = ode_solver(field.f, z, t, T1, theta, n)
    return dL(z_T1) @ dz_dz(field, z, t, T1, theta, n)


@identity("13.11", "a(t) = a(t + ε) ∂z(t + ε)/∂z(t)")
def chain_rule(dL, field, z, t, eps, T1, theta, n):
    z_next = ode_solver(field.f, z, t, t + eps, theta, n)
    a = adjoint_state(dL, field, z, t, T1, theta, n)
    a_next = adjoint_state(dL, field, z_next, t + eps, T1, theta, n)
    return a, a_next @ dz_dz(field, z, t, t + eps, theta, n)


@identity("13.12 limit", "[a(t + ε) - a(t)]/ε -> -a(t) ∂f/∂z as ε -> 0: they differ by O(ε)",
          printed="∂/∂z ∫_t^{t+ε} f ds = ε ∂f/∂z, right up to O(ε²)")
def quotient(dL, field, z, t, eps, T1, theta, n):
    z_next = ode_solver(field.f, z, t, t + eps, theta, n)
    a = adjoint_state(dL, field, z, t, T1, theta, n)
    a_next = adjoint_state(dL, field, z_next, t + eps, T1, theta, n)
    return (a_next - a) / eps, -a @ field.df_dz(z, t, theta)


@identity("13.12", "da/dt = -a ∂f/∂z, from a(T1) = ∂L/∂z(T1) backward, gives the a(t) of 13.10",
          printed="∂a/∂t for da/dt", machine="refvdm.ode.adjoint")
def adjoint_equation(dL, field, z, t, T1, theta, n):
    D, z_T1 = len(z), ode_solver(field.f, z, t, T1, theta, n)
    def rhs(y, t, theta):
        z, a = y[:D], y[D:]
        return concatenate([field.f(z, t, theta), -a @ field.df_dz(z, t, theta)])
    a = ode_solver(rhs, concatenate([z_T1, dL(z_T1)]), T1, t, theta, n)[D:]
    return adjoint_state(dL, field, z, t, T1, theta, n), a
