"""TensorFlow Probability on JAX: densities and KLs of Gaussians."""
import importlib.metadata

import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from tensorflow_probability.substrates.jax import distributions as tfd

DTYPES = ("float64", "float32")
LIBRARY = next((name for name in ("tfp-nightly", "tensorflow-probability") if any(
    d.metadata["Name"] == name for d in importlib.metadata.distributions())), "tfp-nightly")


def normal(mean, var):
    return tfd.MultivariateNormalDiag(jnp.asarray(mean), jnp.sqrt(var))


def full(mean, cov):
    return tfd.MultivariateNormalTriL(jnp.asarray(mean), jnp.linalg.cholesky(cov))


def gaussian_log_density(x, mean, var):
    return normal(mean, var).log_prob(x)


def gaussian_kl(mean_q, var_q, mean_p, var_p):
    return normal(mean_q, var_q).kl_divergence(normal(mean_p, var_p))


def gaussian_log_density_full(x, mean, cov):
    return full(mean, cov).log_prob(x)


def gaussian_kl_full(mean_q, cov_q, mean_p, cov_p):
    return full(mean_q, cov_q).kl_divergence(full(mean_p, cov_p))
