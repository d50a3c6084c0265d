"""diffusers: the tables of its schedules against their formulas, and whether the times that the
network is told belong to the noise levels of the steps."""
import diffusers
import numpy as np

from refvdm.conformance.objects import check_likelihood

LIBRARY, DTYPES, T = "diffusers", (), 1000


def cosine(t):
    return np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2


def laplace(t):  # SNR = exp(λ), λ = -½ sgn(½ - t) log(1 - 2|t - ½|) in its own notation
    snr = np.exp(-0.5 * np.copysign(1, 0.5 - t) * np.log(1 - 2 * np.abs(0.5 - t) + 1e-6))
    return snr / (1 + snr)


def of_betas(betas):
    return np.cumprod(1 - betas.astype(np.longdouble))


def of_alpha_bar(f):
    t = np.arange(T + 1) / T
    return of_betas(np.minimum(1 - f(t[1:]) / f(t[:-1]), 0.999))


SCHEDULES = {"linear": of_betas(np.linspace(1e-4, 0.02, T)),
             "scaled_linear": of_betas(np.linspace(1e-4**0.5, 0.02**0.5, T) ** 2),
             "squaredcos_cap_v2": of_alpha_bar(cosine), "laplace": of_alpha_bar(laplace)}


def reports():
    for name, alpha_bar in SCHEDULES.items():
        made = diffusers.DDPMScheduler(T, beta_schedule=name)
        table = made.alphas_cumprod.double().numpy()
        for what, f in (("ᾱ", lambda a: a), ("log(1 - ᾱ)", lambda a: np.log1p(-a))):
            yield f"{name}, {what}", check_likelihood(
                lambda _, f=f, table=table: f(table), np.zeros((T, 1)),
                f(alpha_bar).astype(float), tolerance=2e-5)
    made = diffusers.DDIMScheduler(T, rescale_betas_zero_snr=True)
    root = np.sqrt(of_betas(np.linspace(1e-4, 0.02, T)))
    rescaled = ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2
    yield "rescale_betas_zero_snr, ᾱ", check_likelihood(
        lambda _: made.alphas_cumprod.double().numpy(), np.zeros((T, 1)), rescaled.astype(float),
        tolerance=2e-5)
    for name in ("EulerDiscrete", "HeunDiscrete", "DPMSolverMultistep", "UniPCMultistep"):
        for options in ({}, {"use_karras_sigmas": True}, {"use_exponential_sigmas": True},
                        {"use_beta_sigmas": True},
                        *[{"interpolation_type": "log_linear"}] * (name == "EulerDiscrete")):
            made = getattr(diffusers, f"{name}Scheduler")(T, **options)
            made.set_timesteps(20)
            abar = made.alphas_cumprod.double().numpy()
            log_sigma = np.log((1 - abar) / abar) / 2
            told = np.interp(made.timesteps.double().numpy(), np.arange(T), log_sigma)
            used = np.log(made.sigmas.double().numpy()[: len(told)])
            yield ", ".join([f"{name}, log σ of the times", *map(str, options.values()), *options]
                            ), check_likelihood(lambda _, told=told: told, used[:, None], used,
                                                tolerance=1e-3)
