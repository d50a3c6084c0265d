"""§13.3, second half: θ and t beside z, and with them every gradient of L(z(T1)).

a (D,), a_θ (P,) and a_t () are rows; field, dL and n as in neural_ode.py.
"""
from typing import Any, NamedTuple

from numpy import array, concatenate, zeros

from .equation import as_printed, equation, identity, section
from .neural_ode import integral, ode_solver

section("§13.3", "Neural ODE")


@equation("13.13", "a_aug = [a, a_θ, a_t], f_aug = [f, 0, 1] = d/dt [z, θ, t]", printed="[f, θ, t]")
def f_aug(field, z, t, theta):
    return concatenate([field.f(z, t, theta), zeros(len(theta)), [1]])


@as_printed("13.13")
def printed_f_aug(field, z, t, theta):
    return concatenate([field.f(z, t, theta), theta, [t]])


@equation("13.14", "∂f_aug/∂[z, θ, t] = [[∂f/∂z, ∂f/∂θ, ∂f/∂t], [0, 0, 0], [0, 0, 0]]",
          printed="∂f_aug/∂[f, θ, t]")
def df_aug(field, z, t, theta):
    at = z, t, theta
    first = concatenate([field.df_dz(*at), field.df_dtheta(*at), field.df_dt(*at)[:, None]], axis=1)
    return concatenate([first, zeros((len(theta) + 1, first.shape[1]))])


@equation("13.15", "d/dt [a, a_θ, a_t] = [-a ∂f/∂z, -a ∂f/∂θ, -a ∂f/∂t]",
          printed="[-a ∂f/∂z, -a_θ ∂f/∂θ, -a_t ∂f/∂t]", machine="refvdm.ode.adjoint")
def da_aug(field, a, z, t, theta):
    at = z, t, theta
    return concatenate([-a @ field.df_dz(*at), -a @ field.df_dtheta(*at), [-a @ field.df_dt(*at)]])


@identity("13.15 line 1", "d/dt [a, a_θ, a_t] = -[a, a_θ, a_t] ∂f_aug/∂[z, θ, t]",
          printed="∂f_aug/∂[f, θ, t]")
def da_aug_by_the_matrix(field, a, a_theta, a_t, z, t, theta):
    left = -concatenate([a, a_theta, [a_t]]) @ df_aug(field, z, t, theta)
    return left, da_aug(field, a, z, t, theta)


@as_printed("13.15")
def printed_da_aug(field, a, a_theta, a_t, z, t, theta):
    """The shapes fit only for D = P = 1."""
    at = z, t, theta
    by_theta, by_t = -a_theta @ field.df_dtheta(*at), -a_t * field.df_dt(*at)
    return concatenate([-a @ field.df_dz(*at), by_theta, by_t])


class Augmented(NamedTuple):
    """The state of the backward solve: z, then a_aug."""

    z: Any
    a: Any
    a_theta: Any
    a_t: Any


@equation("13.16", "da_θ/dt = -a ∂f/∂θ; z goes back beside a, a_θ and a_t, all by 13.7 and 13.15",
          printed="a_θ(t) = -a ∂f/∂θ", machine="refvdm.ode.adjoint")
def backward(field, state, t1, t0, theta, n):
    D, P = len(state.z), len(theta)
    def rhs(y, t, theta):
        z, a = y[:D], y[D : 2 * D]
        return concatenate([field.f(z, t, theta), da_aug(field, a, z, t, theta)])
    y = ode_solver(rhs, concatenate([*state[:3], [state.a_t]]), t1, t0, theta, n)
    return Augmented(y[:D], y[D : 2 * D], y[2 * D : 2 * D + P], y[2 * D + P])


@as_printed("13.16")
def printed_a_theta(field, state, t, theta):
    """At a state on its way back: a_θ(t), and what the lecture prints for it."""
    return state.a_theta, -state.a @ field.df_dtheta(state.z, t, theta)


# ---- the gradients


@equation("after 13.17 start", "at T1: a = ∂L/∂z(T1), a_θ = 0, a_t = -a f(z(T1), T1, θ)",
          printed="a_θ(T1) = 0; a_t is left out")
def start(dL, field, z_T1, T1, theta):
    a = dL(z_T1)
    return Augmented(z_T1, a, zeros(len(theta)), -a @ field.f(z_T1, T1, theta))


@identity("13.17", "a_θ(T0) = a_θ(T1) - ∫_{T1}^{T0} a(t) ∂f(z(t), t, θ)/∂θ dt, a_θ(T1) = 0")
def a_theta_T0(dL, field, z_T1, T0, T1, theta, n):
    at_T1 = start(dL, field, z_T1, T1, theta)
    def integrand(t):
        z, a, _, _ = backward(field, at_T1, T1, t, theta, n)
        return a @ field.df_dtheta(z, t, theta)
    left = backward(field, at_T1, T1, T0, theta, n).a_theta
    return left, at_T1.a_theta - integral(integrand, T1, T0, n)


class Gradient(NamedTuple):
    """∂L/∂z(T0) (D,), dL/dθ (P,), dL/dT0 and dL/dT1."""

    z_T0: Any
    theta: Any
    T0: Any
    T1: Any


@equation("13.17 gradient", "∂L/∂z(T0) = a(T0), dL/dθ = a_θ(T0), dL/dT0 = a_t(T0), dL/dT1 = a f",
          printed="dL/dθ alone; dL/dT0 and dL/dT1 are left out", machine="refvdm.ode.adjoint")
def gradient(dL, field, z_T1, T0, T1, theta, n):
    at_T1 = start(dL, field, z_T1, T1, theta)
    at_T0 = backward(field, at_T1, T1, T0, theta, n)
    return Gradient(at_T0.a, at_T0.a_theta, at_T0.a_t, at_T1.a @ field.f(z_T1, T1, theta))


@identity("after 13.17 dL/dT0", "a_t(T0) = -a(T0) f(z(T0), T0, θ): a later start skips a step")
def dL_dT0(dL, field, z_T1, T0, T1, theta, n):
    at_T0 = backward(field, start(dL, field, z_T1, T1, theta), T1, T0, theta, n)
    return at_T0.a_t, -at_T0.a @ field.f(at_T0.z, T0, theta)


@equation("after 13.17 jump", "g_i = ∂L/∂z(t_i): at t_i, i ≥ 1, a jumps by g_i and a_t by -g_i f; "
          "dL/dt_i = g_i f; at the end dL/dt_0 = a_t, dL/dz(t_0) = a + g_0",
          printed="left out", machine="refvdm.ode.adjoint")
def gradient_at_many_times(g, field, z, t, theta, n):
    """dL/dz(t_0), dL/dθ, [dL/dt_0, ..., dL/dt_K], from lists g, z, t of length K + 1.

    g_i is what L itself reads at t_i; dL/dz(t_0) has what follows from z(t_0) later, too.
    """
    state, dL_dt = Augmented(None, 0, zeros(len(theta)), 0), [None for _ in t]
    for i in range(len(t) - 1, 0, -1):
        dL_dt[i] = g[i] @ field.f(z[i], t[i], theta)
        state = Augmented(z[i], state.a + g[i], state.a_theta, state.a_t - dL_dt[i])
        state = backward(field, state, t[i], t[i - 1], theta, n)
    dL_dt[0] = state.a_t
    return state.a + g[0], state.a_theta, array(dL_dt)
