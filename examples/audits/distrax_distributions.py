"""distrax: densities and KLs of Gaussians."""
import jax

jax.config.update("jax_enable_x64", True)
import distrax
import jax.numpy as jnp

LIBRARY, DTYPES = "distrax", ("float64", "float32")


def normal(mean, var):
    return distrax.Independent(distrax.Normal(jnp.asarray(mean), jnp.sqrt(var)), 1)


def full(mean, cov):
    return distrax.MultivariateNormalFullCovariance(jnp.asarray(mean), jnp.asarray(cov))


def gaussian_log_density(x, mean, var):
    return normal(mean, var).log_prob(x)


def gaussian_kl(mean_q, var_q, mean_p, var_p):
    return normal(mean_q, var_q).kl_divergence(normal(mean_p, var_p))


def gaussian_log_density_full(x, mean, cov):
    return full(mean, cov).log_prob(x)


def gaussian_kl_full(mean_q, cov_q, mean_p, cov_p):
    return full(mean_q, cov_q).kl_divergence(full(mean_p, cov_p))
