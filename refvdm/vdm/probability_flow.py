"""The probability-flow ODE: a deterministic path between data and noise whose marginals are those
of q, and the likelihood that follows from it.

Time is the noise level gamma. With a = √ᾱ, s = √(1 - ᾱ) and x = a x_0 + s eps:

    da/dgamma = -a s²/2          ds/dgamma = s a²/2
    dx/dgamma = -a s²/2 x̂_0 + s a²/2 ε̂ = a (a x - x̂_0)/2

It is integrated in gamma and not in t: a table of gamma_t is piecewise linear in t and would put a
kink at every t. The denoiser is asked at the real t in [1, T] that has this gamma.

The log-density follows the divergence, for x of D numbers:

    log p(x at gamma_1) = log p(x at gamma_T) + ∫ div dgamma,    gamma from gamma_1 to gamma_T
    div = a (a D - tr ∂x̂_0/∂x)/2
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import checks
from ..autodiff import Array, vjp
from ..autodiff.tree import Tree
from ..gaussian import log_normal, sum_per_example
from ..ode import solve
from .kl import examples
from .model import Model, model_of
from .sample import start_of_chain
from .schedule import scales
from .vdm import VDM

NO_GRADIENT = "nothing goes back through the solver here; train on VDM.elbo_estimate"


def velocity(model: Model) -> Callable:
    """f(x, gamma, ()) = dx/dgamma = a (a x - x̂_0)/2 as refvdm.ode.solve takes it; x (batch, ...),
    model = vdm.at(theta)."""
    gammas = np.asarray(model.schedule.gamma[1:])
    times = np.arange(1.0, len(gammas) + 1)

    def f(x: Array, gamma: Any, _: Any) -> Array:
        # a solver's last stage may stand an ulp beyond the end
        if type(gamma) is np.ndarray:
            gamma = float(np.clip(gamma, gammas[0], gammas[-1]))
        t = np.full(len(x), np.interp(gamma, gammas, times))
        if not np.isfinite(x).all():  # a step too long: the solver's to try again
            return np.full(x.shape, np.nan, x.dtype)
        a = x.dtype.type(scales(gamma)[0])
        return 0.5 * a * (a * x - model.x_0_hat(x, t))

    return f


def flow_sample(vdm: VDM, theta: Tree, shape: tuple, rng: np.random.Generator | None = None, *,
                x_T: Any = None, rtol: float = 1e-6, atol: float = 1e-8,
                **options: Any) -> np.ndarray:
    """x at the first noise level gamma_1, of shape (n, ...): where the flow leads from
    x_T ~ N(0, I) at gamma_T, drawn from rng unless given.

    options as refvdm.ode.solve takes them. What is left of the noise is √(1 - ᾱ_1) wide; the
    decoder is not asked. TypeError inside a gradient: it would be lost.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule, flow_sample
    >>> from refvdm.vdm.denoiser import GaussianDenoiser
    >>> schedule = Schedule.linear_gamma(10, -4.0, 4.0)
    >>> exact = GaussianDenoiser(np.zeros(1), np.eye(1), schedule)
    >>> vdm = VDM(exact, schedule, GaussianDecoder(0.01))
    >>> flow_sample(vdm, None, (1, 1), x_T=np.array([[0.7]])).round(3).tolist()  # N(0, 1) to itself
    [[0.7]]
    """
    model, gammas = _frozen("flow_sample", vdm, theta)
    x = start_of_chain(shape, rng, checks.unrecorded("flow_sample: x_T", x_T, NO_GRADIENT), theta)
    way = [gammas[-1], gammas[0]]
    return solve(velocity(model), x, way, rtol=rtol, atol=atol, dense=False, **options).zs[-1]


def flow_log_prob(vdm: VDM, theta: Tree, x: Array, *, base: Callable | None = None,
                  exploding: bool = False, divergence: str = "exact", probes: Any = None,
                  rng: np.random.Generator | None = None, rtol: float = 1e-6, atol: float = 1e-8,
                  **options: Any) -> np.ndarray:
    """log p(x) (batch,), nats, of x (batch, ...): the flow's density at the first noise level
    gamma_1. With an exact denoiser and base it is the log-density of q(x_1) itself.

    base        base(x_T) -> (batch,), the log-density at gamma_T; N(0, I) unless given
    exploding   x is x_0 + σ_1 eps, and base, which must be given, takes x_0 + σ_T eps, with
                σ_t² = exp(gamma_t): the same flow in x/√ᾱ. log p is that of the x given
    divergence  "exact": the trace by D pullbacks; "hutchinson": probesᵀ (∂x̂_0/∂x) probes instead,
                whose mean over the probes is the trace (Hutchinson 1990)
    probes      for "hutchinson", (batch, ...): one for each example, kept the whole way; drawn from
                rng as signs ±1 unless given
    options     as refvdm.ode.solve takes them

    ValueError for another divergence, probes of another shape, exploding without a base. TypeError
    inside a gradient: it
    would be lost.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule, flow_log_prob
    >>> from refvdm.vdm.denoiser import GaussianDenoiser
    >>> schedule = Schedule.linear_gamma(10, -4.0, 4.0)
    >>> exact = GaussianDenoiser(np.zeros(1), np.eye(1), schedule)
    >>> vdm = VDM(exact, schedule, GaussianDecoder(0.01))
    >>> flow_log_prob(vdm, None, np.array([[0.0]])).round(3).tolist()  # data N(0, 1): -½ log 2π
    [-0.919]
    """
    x = examples("x", checks.unrecorded("flow_log_prob: x", x, NO_GRADIENT))
    checks.one_of("flow_log_prob: divergence", divergence, ("exact", "hutchinson"))
    if divergence == "hutchinson":
        if probes is None:
            rng = checks.generator("flow_log_prob: rng", rng)
            probes = rng.choice([-1.0, 1.0], x.shape).astype(x.dtype)
        probes = checks.noise("flow_log_prob", x.shape, x.dtype, None, probes, "probes")
    if base is not None:
        checks.function("flow_log_prob: base", base, "base(x_T)")
    elif checks.flag("flow_log_prob: exploding", exploding):
        raise ValueError("flow_log_prob: with exploding=True x_T is about σ_T wide; give its "
                         "log-density as base, such as that of N(0, σ_T² I)")
    model, gammas = _frozen("flow_log_prob", vdm, theta)
    n, D, shape = len(x), x[0].size, x.shape[1:]
    # x_0 + σ eps at gamma_1 and gamma_T is x over these
    ends = model.schedule.sqrt_alpha_bar[[1, -1]] if exploding else np.ones(2)
    x = x * x.dtype.type(ends[0])
    flow = velocity(model)

    def augmented(state: np.ndarray, gamma: np.ndarray, _: Any) -> np.ndarray:
        """[dx/dgamma, div] beside each other, (batch, D + 1)."""
        x = state[:, :D].reshape(n, *shape)
        dx, pullback = vjp(lambda x: flow(x, gamma, ()), x)
        if divergence == "exact":
            trace: Array = np.zeros(n, x.dtype)
            # the examples do not see each other: one pullback gives an element's share for them all
            for i in range(D):
                unit = np.zeros((n, D), x.dtype)
                unit[:, i] = 1
                trace += pullback(unit.reshape(x.shape))[0].reshape(n, D)[:, i]
        else:
            trace = sum_per_example(pullback(probes)[0] * probes)
        return np.concatenate([dx.reshape(n, D), trace[:, None]], axis=1)

    start = np.concatenate([x.reshape(n, D), np.zeros((n, 1), x.dtype)], axis=1)
    way = [gammas[0], gammas[-1]]
    end = solve(augmented, start, way, rtol=rtol, atol=atol, dense=False, **options).zs[-1]
    x_T = end[:, :D].reshape(x.shape) / x.dtype.type(ends[1])
    if base is None:
        return sum_per_example(log_normal(x_T, 0.0, 0.0)) + end[:, D]
    log_base = checks.answer("base", base, (x_T,), (n,), log=True)
    return log_base + end[:, D] + D * x.dtype.type(np.log(ends[0] / ends[1]))


def _frozen(who: str, vdm: VDM, theta: Tree) -> tuple[Model, np.ndarray]:
    """The model and gamma_1..gamma_T as plain numbers. TypeError for a theta with Tensors."""
    model = model_of(who, vdm, checks.unrecorded(f"{who}: theta", theta, NO_GRADIENT))
    if model.schedule.ends_in_noise:
        raise ValueError(f"{who}: the flow has no start at gamma_T = inf (ᾱ_T = 0); use a schedule "
                         "that ends at a finite gamma_T")
    return model, np.asarray(model.schedule.gamma[1:])
