"""jax.experimental.ode.odeint and its adjoint."""
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from fields import field as named
from jax.experimental import ode

LIBRARY, DTYPES = "jax", ("float64",)


def solve(field, z0, ts, theta):
    f, way = named(field, jnp), jnp.sign(ts[-1] - ts[0])  # it integrates forward only
    return ode.odeint(lambda z, s, theta: way * f(z, way * s, theta), z0, way * ts, theta,
                      rtol=1e-9, atol=1e-11)


def odeint(field, z0, ts, theta):
    return solve(field, z0, ts, theta)


def odeint_gradients(field, z0, ts, theta, zs_bar):
    _, pullback = jax.vjp(lambda *args: solve(field, *args), *map(jnp.asarray, (z0, ts, theta)))
    z0_bar, ts_bar, theta_bar = pullback(jnp.asarray(zs_bar))
    return z0_bar, theta_bar, ts_bar
