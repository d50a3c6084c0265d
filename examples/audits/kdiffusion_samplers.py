"""k-diffusion: every deterministic sampler against the probability flow, on two schedules, and its
log_likelihood."""
import numpy as np
import torch
from kdiffusion import load

from refvdm.conformance.objects import check_likelihood, check_probability_flow
from refvdm.conformance.objects.flow_of_probability import MEAN, VARIANCE, denoiser

LIBRARY, DTYPES = "k-diffusion", ()
sampling, layers, utils, external = load()
LOW, HIGH = 0.05, 10.0
SAMPLERS = [("euler", 1, {}), ("heun", 2, {}), ("dpm_2", 2, {}), ("lms", 2, {}),
            ("euler_ancestral", 1, {"eta": 0.0}), ("dpm_2_ancestral", 2, {"eta": 0.0}),
            ("dpmpp_2s_ancestral", 2, {"eta": 0.0}), ("dpmpp_sde", 2, {"eta": 0.0}),
            ("dpmpp_sde", 2, {"eta": 0.0, "r": 0.3}), ("dpmpp_2m", 2, {}),
            ("dpmpp_2m_sde", 2, {"eta": 0.0}),
            ("dpmpp_2m_sde", 2, {"eta": 0.0, "solver_type": "heun"}),
            ("dpmpp_3m_sde", 3, {"eta": 0.0})]


def run(name, schedule, options):
    def of(denoise, x, n):
        sigmas = getattr(sampling, f"get_sigmas_{schedule}")(n, LOW, HIGH).double()
        return getattr(sampling, f"sample_{name}")(
            lambda x, sigma: denoise(x, sigma.reshape(-1, 1)), torch.tensor(x)[:, None], sigmas,
            disable=True, **options).ravel()
    return of


def fast(denoise, x, n):
    return sampling.sample_dpm_fast(lambda x, sigma: denoise(x, sigma.reshape(-1, 1)),
                                    torch.tensor(x)[:, None], LOW, HIGH, n, disable=True).ravel()


def reports():
    for name, order, options in SAMPLERS:
        for schedule in ("karras", "exponential"):
            given = [f"{k}={v}" for k, v in options.items()]
            told = ", ".join([f"sample_{name}", schedule, *given])
            yield told, check_probability_flow(
                run(name, schedule, options), HIGH, LOW, order,
                final="zero" if name == "lms" else "denoised", float32=True)
            if options.get("eta") == 0.0 and "sde" in name:
                yield f"{told}, one step", check_probability_flow(
                    run(name, schedule, options), HIGH, HIGH, 0, steps=(1, 1), float32=True)
    yield "sample_dpm_fast", check_probability_flow(fast, HIGH, LOW, 1, final="sigma_min",
                                                    steps=(30, 60), float32=True)
    x = np.array([[0.3], [1.9]])
    for sigma_max in (10.0, 1e4):
        variance = VARIANCE + LOW**2
        exact = -((x[:, 0] - MEAN)**2 / variance + np.log(2 * np.pi * variance)) / 2
        yield f"log_likelihood, sigma_max={sigma_max:g}", check_likelihood(
            lambda x, top=sigma_max: sampling.log_likelihood(
                lambda x, sigma: denoiser(x, sigma.reshape(-1, 1)), torch.tensor(x), LOW, top,
                rtol=1e-8, atol=1e-8)[0], x, exact, tolerance=1e-4)
