"""k-diffusion: drawers of training times and noise levels, and the weights of its losses."""
import numpy as np
import torch
from kdiffusion import load

from refvdm.conformance.objects import check_likelihood, check_times

LIBRARY, DTYPES = "k-diffusion", ()
sampling, layers, utils, external = load()


def uniform_of(sigma):
    """The times of rand_log_uniform on [0.01, 10], uniform on [0, 1]."""
    return torch.log(sigma / 0.01) / np.log(10 / 0.01)


def reports():
    torch.manual_seed(0)
    yield "rand_log_uniform", check_times(
        lambda: uniform_of(utils.rand_log_uniform((8,), 0.01, 10.0, dtype=torch.float64)), 8, 0, 1,
        integers=False)

    def stratified():
        with utils.enable_stratified():
            return uniform_of(utils.rand_log_uniform((8,), 0.01, 10.0, dtype=torch.float64))
    yield "rand_log_uniform, stratified", check_times(stratified, 8, 0, 1, integers=False)
    x_0, eps = (torch.randn(4, 3, dtype=torch.float64) for _ in range(2))
    sigma = torch.tensor([0.1, 0.5, 2.0, 9.0], dtype=torch.float64)
    wanted = {"karras": lambda s: (s**2 + 1) / s**2, "snr": lambda s: 1 / s**2,
              "soft-min-snr": lambda s: 1 / (s**2 + 1),
              torch.ones_like: lambda s: (s**2 + 1) / s**2}
    for weighting, weight in wanted.items():
        exact = (weight(sigma) * (x_0**2).mean(1)).numpy()  # of a network whose x̂_0 is 0

        def loss(_, weighting=weighting):
            def inner(x, s):  # c_skip x + c_out inner = 0
                return -x * ((s[:, None]**2 + 1)**0.5) / (s[:, None]**2 + 1) / (
                    s[:, None] / (s[:, None]**2 + 1)**0.5)
            return layers.Denoiser(inner, weighting=weighting).loss(x_0, eps, sigma)
        name = weighting if isinstance(weighting, str) else "a function"
        yield f"Denoiser's loss, weighting {name}", check_likelihood(loss, x_0, exact)
