"""numpyro.distributions: densities and KLs of Gaussians."""
import jax

jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp
from numpyro.distributions import MultivariateNormal, Normal, kl_divergence

LIBRARY, DTYPES = "numpyro", ("float64", "float32")


def normal(mean, var):
    return Normal(jnp.asarray(mean), jnp.sqrt(var))


def full(mean, cov):
    return MultivariateNormal(jnp.asarray(mean), jnp.asarray(cov))


def gaussian_log_density(x, mean, var):
    return normal(mean, var).log_prob(x).sum(-1)


def gaussian_kl(mean_q, var_q, mean_p, var_p):
    return kl_divergence(normal(mean_q, var_q), normal(mean_p, var_p)).sum(-1)


def gaussian_log_density_full(x, mean, cov):
    return full(mean, cov).log_prob(x)


def gaussian_kl_full(mean_q, cov_q, mean_p, cov_p):
    return kl_divergence(full(mean_q, cov_q), full(mean_p, cov_p))
