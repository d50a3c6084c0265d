"""diffusers: solvers of the probability flow, on their own noise levels (a geometric grid of them):
what they converge to and how fast, for every order, algorithm and output that they offer."""
import diffusers
import numpy as np
import torch

from refvdm.conformance.objects import check_probability_flow

LIBRARY, DTYPES = "diffusers", ()
TRAINED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
           "use_exponential_sigmas": True}
LOW, HIGH = 0.0291675, 14.6146  # sqrt((1 - abar)/abar) at the first and the last of the 1000 times
DPM = [(f"{name}Scheduler", order, {"algorithm_type": kind, "solver_type": solver,
        "final_sigmas_type": "zero" if kind == "dpmsolver++" else "sigma_min",
        "solver_order": order})
       for name in ("DPMSolverMultistep", "DPMSolverSinglestep") for order in (1, 2, 3)
       for kind in ("dpmsolver++", "dpmsolver") for solver in ("midpoint", "heun")]
UNIPC = [("UniPCMultistepScheduler", order, {"solver_order": order, "solver_type": b,
          "predict_x0": x0, "final_sigmas_type": final}) for order in (1, 2, 3)
         for b in ("bh1", "bh2") for x0 in (True, False) for final in ("zero", "sigma_min")]
ALL = [("EulerDiscreteScheduler", 1, {}), ("HeunDiscreteScheduler", 2, {}),
       ("KDPM2DiscreteScheduler", 2, {}), ("LMSDiscreteScheduler", 2, {}), *DPM, *UNIPC,
       *[("DEISMultistepScheduler", order, {"solver_order": order}) for order in (1, 2, 3)]]


def run(name, options, prediction):
    def of(denoise, x, n):
        made = getattr(diffusers, name)(prediction_type=prediction, **options, **TRAINED)
        made.set_timesteps(n)
        scaled = float(made.init_noise_sigma) > 2  # x is x_0 + sigma eps, not variance-preserving
        x = torch.tensor(x).reshape(1, 1, -1, 1)
        x = x if scaled else x / np.sqrt(1 + float(made.sigmas[0])**2)
        for i, t in enumerate(made.timesteps):
            given = made.scale_model_input(x, t)
            sigma = float(made.sigmas[made.step_index if scaled else i])
            if getattr(made, "state_in_first_order", None) is False and "KDPM2" in name:
                sigma = float(made.sigmas_interpol[made.step_index])
            a, s = 1 / np.sqrt(1 + sigma**2), sigma / np.sqrt(1 + sigma**2)
            x_0 = denoise(given / a, sigma)
            eps = (given - a * x_0) / s
            value = {"epsilon": eps, "sample": x_0, "v_prediction": a * eps - s * x_0}[prediction]
            x = made.step(value, t, x).prev_sample
        return x.ravel() * (np.sqrt(1 + LOW**2) if float(made.sigmas[-1]) else 1)
    return of


def reports():
    for name, order, options in ALL:
        final = {"sigma_min": "sigma_min"}.get(options.get("final_sigmas_type"), "denoised")
        final = {"LMS": "zero", "DEI": "sigma_min"}.get(name[:3], final)
        outputs = ("epsilon", "v_prediction", "sample")
        for prediction in outputs if len(options) < 2 else outputs[:1]:
            told = ", ".join([name.removesuffix("Scheduler"), prediction, f"order {order}",
                              *[str(v) for k, v in options.items() if k != "solver_order"]])
            yield told, check_probability_flow(run(name, options, prediction), HIGH, LOW, order,
                                               final=final, float32=True)
