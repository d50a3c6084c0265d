"""diffrax.diffeqsolve with Dopri5, gradients through its steps (the default adjoint)."""
import jax

jax.config.update("jax_enable_x64", True)
import diffrax
import jax.numpy as jnp
from fields import field as named

LIBRARY, DTYPES = "diffrax", ("float64",)
ADJOINT = diffrax.RecursiveCheckpointAdjoint()


def solve(field, z0, ts, theta):
    f = named(field, jnp)
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, z, theta: f(z, t, theta)), diffrax.Dopri5(), ts[0], ts[-1],
        None, z0, args=theta, saveat=diffrax.SaveAt(ts=ts), adjoint=ADJOINT,
        stepsize_controller=diffrax.PIDController(rtol=1e-9, atol=1e-11)).ys


def odeint(field, z0, ts, theta):
    return solve(field, *map(jnp.asarray, (z0, ts, theta)))


def odeint_gradients(field, z0, ts, theta, zs_bar):
    _, pullback = jax.vjp(lambda *args: solve(field, *args), *map(jnp.asarray, (z0, ts, theta)))
    z0_bar, ts_bar, theta_bar = pullback(jnp.asarray(zs_bar))
    return z0_bar, theta_bar, ts_bar
