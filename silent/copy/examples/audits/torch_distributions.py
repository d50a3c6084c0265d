"""torch.distributions: densities and KLs of Gaussians."""
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

LIBRARY, DTYPES = "torch", ("float64", "float32")


def normal(mean, var):
    return Normal(torch.tensor(mean), torch.tensor(var).sqrt())


def full(mean, cov):
    return MultivariateNormal(torch.tensor(mean), torch.tensor(cov))


def gaussian_log_density(x, mean, var):
    return normal(mean, var).log_prob(torch.tensor(x)).sum(-1)


def gaussian_kl(mean_q, var_q, mean_p, var_p):
    return kl_divergence(normal(mean_q, var_q), normal(mean_p, var_p)).sum(-1)


def gaussian_log_density_full(x, mean, cov):
    return full(mean, cov).log_prob(torch.tensor(x))


def gaussian_kl_full(mean_q, cov_q, mean_p, cov_p):
    return kl_divergence(full(mean_q, cov_q), full(mean_p, cov_p))
