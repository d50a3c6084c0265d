"""The probability-flow ODE: a deterministic path from data to noise whose marginals are those of q, and what it says of likelihood.

With the noise level gamma as time, a = sqrt(abar), s = sqrt(1 - abar), da/dgamma = -a s²/2, ds/dgamma = s a²/2, and x = a x_0 + s eps:

    dx/dgamma = -a s²/2 x_0 hat + s a²/2 eps hat = a (a x - x_0 hat)/2

integrated in gamma, not in t: a table of gamma_t is piecewise linear in t and would put a kink at every t. The denoiser is asked
at the real t in [1, T] that has this gamma. The log-density follows the divergence:

    log p(x at gamma_1) = log p(x at gamma_T) + integral over gamma of div,    div = a (a D - tr d x_0 hat/dx)/2
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import stop_gradient, vjp
from ..gaussian import log_normal, sum_per_example
from ..ode import solve
from .. import checks
from .kl import examples
from .model import Model
from .sample import start_of_chain
from .schedule import scales


def velocity(model: Model) -> Callable:
    """f(x, gamma, ()) = dx/dgamma = a (a x - x_0 hat)/2 as refvdm.ode.solve takes it, x (batch, ...); model = vdm.at(theta)."""
    gammas = np.asarray(model.schedule.gamma[1:])
    times = np.arange(1.0, len(gammas) + 1)

    def f(x: Any, gamma: Any, _: Any) -> Any:
        # a solver's last stage may stand an ulp beyond the end
        gamma = float(np.clip(gamma, gammas[0], gammas[-1])) if type(gamma) is np.ndarray else gamma
        t = np.full(len(x), np.interp(gamma, gammas, times))
        a = x.dtype.type(scales(gamma)[0])
        return 0.5 * a * (a * x - model.x_0_hat(x, t))

    return f


def flow_sample(vdm: Any, theta: Any, shape: tuple, rng: np.random.Generator | None = None, *, x_T: Any = None, rtol: float = 1e-6,
                atol: float = 1e-8, **options: Any) -> np.ndarray:
    """x at the first noise level, gamma_1, of shape (n, ...): the flow from x_T ~ N(0, I) at gamma_T, drawn from rng unless given.

    options as refvdm.ode.solve takes them. What is left of the noise is sqrt(1 - abar_1) wide; the decoder is not asked.
    """
    model, gammas = _frozen(vdm, theta)
    x = start_of_chain(shape, rng, x_T, theta)
    return solve(velocity(model), x, [gammas[-1], gammas[0]], rtol=rtol, atol=atol, dense=False, **options).zs[-1]


def flow_log_prob(vdm: Any, theta: Any, x: Any, *, base: Callable | None = None, divergence: str = "exact", probes: Any = None,
                  rng: np.random.Generator | None = None, rtol: float = 1e-6, atol: float = 1e-8, **options: Any) -> np.ndarray:
    """log p(x) (batch,), nats, of x (batch, ...) as the flow's density at the first noise level gamma_1.

    base        base(x_T) -> (batch,), the log-density at gamma_T; N(0, I) unless given
    divergence  "exact": the trace by D pullbacks; "hutchinson": probes^T (d x_0 hat/dx) probes, unbiased for the trace along the way, with
                one probe per example for the whole way, probes (batch, ...) given or drawn from rng as signs +-1 (Hutchinson 1990)
    options     as refvdm.ode.solve takes them

    With an exact denoiser and base, the log-density of q(x_1) itself. ValueError for another divergence, probes of another shape.
    """
    x = examples("x", x)
    if divergence not in ("exact", "hutchinson"):
        raise ValueError(f"flow_log_prob: divergence must be 'exact' or 'hutchinson', got {divergence!r}")
    if divergence == "hutchinson" and probes is None:
        checks.generator("flow_log_prob: rng", rng)
        probes = rng.choice([-1.0, 1.0], x.shape).astype(x.dtype)
    if divergence == "hutchinson":
        probes = checks.noise("flow_log_prob", x.shape, x.dtype, None, probes, "probes")
    model, gammas = _frozen(vdm, theta)
    n, D = len(x), x[0].size
    flow = velocity(model)

    def augmented(state: np.ndarray, gamma: np.ndarray, _: Any) -> np.ndarray:
        """[dx/dgamma, div] beside each other, (batch, D + 1)."""
        x = state[:, :D].reshape(n, *shape)
        dx, pullback = vjp(lambda x: flow(x, gamma, ()), x)
        if divergence == "exact":
            trace = np.zeros(n, x.dtype)
            for i in range(D):  # the examples do not see each other: one pullback is element i of all of them
                unit = np.zeros((n, D), x.dtype)
                unit[:, i] = 1
                trace += pullback(unit.reshape(x.shape))[0].reshape(n, D)[:, i]
        else:
            trace = sum_per_example(pullback(probes)[0] * probes)
        return np.concatenate([dx.reshape(n, D), trace[:, None]], axis=1)

    shape = x.shape[1:]
    start = np.concatenate([x.reshape(n, D), np.zeros((n, 1), x.dtype)], axis=1)
    end = solve(augmented, start, [gammas[0], gammas[-1]], rtol=rtol, atol=atol, dense=False, **options).zs[-1]
    x_T = end[:, :D].reshape(x.shape)
    log_base = sum_per_example(log_normal(x_T, 0.0, 0.0)) if base is None else base(x_T)
    if np.shape(log_base) != (n,):
        raise ValueError(f"flow_log_prob: base must return log-densities of shape ({n},), got {np.shape(log_base)}")
    return log_base + end[:, D]


def _frozen(vdm: Any, theta: Any) -> tuple[Model, np.ndarray]:
    """The model and gamma_1..gamma_T as plain numbers."""
    model = vdm.at(stop_gradient(theta))
    return model, np.asarray(model.schedule.gamma[1:])
