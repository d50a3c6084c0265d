"""The bound 13.24 as T goes to infinity between fixed ends gamma_1 and gamma_T (Kingma et al. 2021,
section 4). With E over q(x_gamma | x_0):

    Σ_{t=2}^T KL_t  ->  ½ ∫ exp(-gamma) E|x_0 - x̂_0(x_gamma)|² dgamma,    gamma_1 to gamma_T

Only the ends are left of the schedule: its shape is a change of variable. With linear gamma, in
steps of d = (gamma_T - gamma_1)/(T - 1), the sum is the integral with the error taken at the upper
end of every step, so that the gap falls as 1/T:

    sum - integral = d/2 ½ ∫ exp(-gamma) (d/dgamma E|x_0 - x̂_0|²) dgamma + O(d²)

Under linear_beta and cosine it does not fall: as T grows gamma_1 goes to -infinity, and the first
ratios of SNRs stay 2, 3/2, 4/3, ...
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .. import checks
from ..autodiff import Array, stop_gradient
from ..autodiff.tree import Tree
from ..gaussian import squared_distance
from .kl import examples
from .learned import LearnedSchedule
from .model import Model
from .schedule import factor, scales
from .vdm import VDM


def continuous_kl(vdm: VDM, theta: Tree, x_0: Array, rng: np.random.Generator | None = None, *,
                  gamma: Any = None, eps: Any = None) -> Array:
    """An unbiased estimate of the diffusion term at T = infinity, for p with q's variance: per
    example (batch,), nats.

        (gamma_T - gamma_1)/2 exp(-gamma) |x_0 - x̂_0(x_gamma)|²

    gamma is uniform between the ends, one draw for each example. gamma (batch,) within
    [gamma_1, gamma_T] and eps (batch, ...) are drawn from rng unless given: first gamma, stratified
    as in VDM.elbo_estimate, then eps, standard normal. The denoiser is asked at the real t that has
    this gamma on the vdm's schedule. A learned schedule is a constant here: its ends are not
    differentiated. ValueError for gamma outside the ends.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule, continuous_kl
    >>> schedule = Schedule.linear_gamma(10, -5.0, 5.0)
    >>> vdm = VDM(lambda theta, x, t: 0 * x, schedule, GaussianDecoder(0.01))
    >>> gamma = np.array([0.0])  # (5 + 5)/2 exp(-0) |x_0|²
    >>> continuous_kl(vdm, None, np.ones((1, 2)), gamma=gamma, eps=np.zeros((1, 2))).tolist()
    [10.0]
    """
    model, x_0 = _between_ends("continuous_kl", vdm, theta, x_0)
    n, first, last = len(x_0), float(model.schedule.gamma[1]), float(model.schedule.gamma[-1])
    if gamma is None:
        if rng is None:
            raise ValueError("continuous_kl: give a numpy.random.Generator as rng, "
                             "or gamma and eps")
        rng = checks.generator("continuous_kl: rng", rng)
        gamma = first + (last - first) * ((rng.random() + np.arange(n) / n) % 1.0)
    gamma = checks.reals("continuous_kl: gamma", gamma, (...,), finite=False)
    if gamma.shape != (n,) or not np.all((gamma >= first) & (gamma <= last)):
        raise ValueError(f"continuous_kl: gamma must have shape ({n},) and lie in "
                         f"[{first:g}, {last:g}], got shape {gamma.shape}")
    eps = checks.noise("continuous_kl", x_0.shape, x_0.dtype, rng, eps)
    return (last - first) * _density(model, x_0, gamma, eps)


class Integral(NamedTuple):
    """value (batch,), nats, and how far it may be off (batch,), nats, at a guess.

    >>> from refvdm.vdm import Integral
    >>> Integral(np.array([2.0]), np.array([1e-6])).value.tolist()
    [2.0]
    """

    value: Any
    error: Any


def continuous_kl_quadrature(vdm: VDM, theta: Tree, x_0: Array,
                             rng: np.random.Generator | None = None, *, eps: Any = None,
                             nodes: int = 24) -> Integral:
    """The same with the integral over gamma by quadrature, Gauss and Legendre's with this many
    nodes, in the place of one draw.

    eps (batch, ...) is drawn from rng unless given, and the same at every gamma: so the integrand
    is smooth, and what is left of the scatter is that of eps. value is unbiased but for the error
    of the quadrature, estimated by its difference from that with half the nodes, which is further
    off. The denoiser is asked nodes + nodes // 2 times. ValueError for nodes < 2.

    >>> from refvdm.vdm import VDM, GaussianDecoder, Schedule, continuous_kl_quadrature
    >>> schedule = Schedule.linear_gamma(10, 0.0, 2.0)
    >>> vdm = VDM(lambda theta, x, t: 0 * x, schedule, GaussianDecoder(0.01))
    >>> found = continuous_kl_quadrature(vdm, None, np.ones((1, 2)), np.random.default_rng(0))
    >>> np.allclose(found.value, 1 - np.exp(-2))  # ½ ∫ exp(-gamma) |x_0|² dgamma, |x_0|² = 2
    True
    """
    model, x_0 = _between_ends("continuous_kl_quadrature", vdm, theta, x_0)
    nodes = checks.integer("continuous_kl_quadrature: nodes", nodes, 2)
    eps = checks.noise("continuous_kl_quadrature", x_0.shape, x_0.dtype, rng, eps)
    first, last = float(model.schedule.gamma[1]), float(model.schedule.gamma[-1])

    def integral(nodes: int) -> Array:
        places, weights = np.polynomial.legendre.leggauss(nodes)
        gammas = first + (last - first) * (places + 1) / 2
        densities = [_density(model, x_0, np.full(len(x_0), gamma), eps) for gamma in gammas]
        return sum(float(w) / 2 * (last - first) * d for w, d in zip(weights, densities))

    value = integral(nodes)
    return Integral(value, np.abs(stop_gradient(value) - stop_gradient(integral(nodes // 2))))


def _between_ends(who: str, vdm: VDM, theta: Tree, x_0: Array) -> tuple[Model, Array]:
    """The model between constant ends, and x_0."""
    is_learned = isinstance(checks.instance(f"{who}: vdm", vdm, VDM).schedule, LearnedSchedule)
    if is_learned and isinstance(theta, dict) and "schedule" in theta:
        theta = {**theta, "schedule": stop_gradient(theta["schedule"])}
    x_0, model = examples("x_0", x_0), vdm.at(theta)
    if model.schedule.ends_in_noise:
        raise ValueError(f"{who}: with gamma_T = inf (ᾱ_T = 0) there is no last end to "
                         "integrate to")
    return model, x_0


def _density(model: Model, x_0: Array, gamma: np.ndarray, eps: Array) -> Array:
    """½ exp(-gamma) |x_0 - x̂_0(x_gamma)|² (batch,)."""
    table = model.schedule.gamma[1:]
    signal, width = scales(gamma)
    x = factor(signal, x_0) * x_0 + factor(width, x_0) * eps  # 13.28
    t = np.interp(gamma, table, np.arange(1.0, len(table) + 1))
    error = squared_distance(x_0, model.x_0_hat(x, t))
    return factor(0.5 * np.exp(-gamma), error) * error
