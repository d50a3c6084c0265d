"""A continuous-time loss: its integral over t is the bound's, whatever the schedule in between.

With x_t = √sigmoid(-γ) x_0 + √sigmoid(γ) ε the bound's diffusion term, for this x_0 and this ε, is

    ½ ∫_0^1 γ'(t) |ε - ε̂(x_t, γ(t))|² dt = ½ ∫ |ε - ε̂|² dγ

a line integral: two schedules with the same ends give the same number.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ..judge import Verdict
from ..report import Report
from .model import perfect_denoiser
from .verdict import asked, compared, guarded, of_shape

LOW, HIGH = -6.0, 5.0


def straight(t: Any) -> Any:
    """γ(t), linear from -6 to 5; any arrays."""
    return LOW + (HIGH - LOW) * t


def bent(t: Any) -> Any:
    """γ(t) with the same ends, monotone, not linear; any arrays."""
    return LOW + (HIGH - LOW) * (0.4 * t + 0.6 * t**3)


def eps_hat(x: Any, gamma: Any) -> Any:
    """ε̂ of the Gaussian data of model.py at γ = -log SNR; any arrays, gamma a float."""
    return perfect_denoiser(float(1 / (1 + np.exp(gamma))), x, "eps")


def check_continuous_loss(loss: Callable, *, nodes: int = 60, tolerance: float = 1e-5) -> Report:
    """loss(gamma, x_0 (D,), eps (D,), t) -> a number, in nats, whose integral over t from 0 to 1
    must be the bound's diffusion term. gamma is straight or bent above, t a float; the network is
    to be eps_hat. Integrated by Gauss and Legendre's rule with `nodes` points.

    >>> from refvdm.conformance.objects import check_continuous_loss
    >>> from refvdm.conformance.objects.continuous import eps_hat
    >>> def loss(gamma, x_0, eps, t):
    ...     g = gamma(t)
    ...     x_t = np.sqrt(1 / (1 + np.exp(g))) * x_0 + np.sqrt(1 / (1 + np.exp(-g))) * eps
    ...     return 11 / 2 * np.sum((eps - eps_hat(x_t, g))**2)  # 11 is the slope of the straight γ
    >>> for verdict in check_continuous_loss(loss).verdicts:
    ...     print(verdict.name, verdict.status)
    γ straight pass
    γ bent FAIL
    the same for both schedules FAIL
    """
    checks.function("check_continuous_loss: loss", loss, "loss(gamma, x_0, eps, t)")
    nodes = checks.integer("check_continuous_loss: nodes", nodes, 20)  # right ones need that many
    checks.positive("check_continuous_loss: tolerance", tolerance)
    rng = np.random.default_rng(5)
    x_0, eps = 0.5 + rng.standard_normal(3), rng.standard_normal(3)
    points, weights = np.polynomial.legendre.leggauss(nodes)
    ts, weights = (points + 1) / 2, weights / 2

    def error(gamma: float) -> float:
        a2 = 1 / (1 + np.exp(gamma))
        return float(np.sum((eps - eps_hat(np.sqrt(a2) * x_0 + np.sqrt(1 - a2) * eps, gamma))**2))

    def measure() -> list[Verdict]:
        exact = np.array((HIGH - LOW) / 2 * sum(
            w * error(straight(t)) for w, t in zip(weights, ts)))
        verdicts, found = [], []
        for name, gamma in (("straight", straight), ("bent", bent)):
            found.append(np.array(sum(w * float(of_shape("loss", asked(
                "loss", loss, gamma, x_0.copy(), eps.copy(), float(t)), ()))
                for w, t in zip(weights, ts))))
            plain = np.array(sum(w * error(gamma(t)) for w, t in zip(weights, ts)))
            verdicts.append(compared(f"γ {name}", found[-1], exact, tolerance, {
                "the factor 1/2 is forgotten": 2 * exact, "it is in bits": exact / np.log(2),
                "it is the mean over the elements": exact / 3,
                "dγ/dt is forgotten": plain / 2,
                "dγ/dt and the factor 1/2 are forgotten": plain,
                "dγ/dt and the factor 1/2 are forgotten, mean over the elements": plain / 3}))
        return [*verdicts, compared("the same for both schedules", found[1], found[0],
                                    tolerance, {})]
    return Report(guarded("continuous loss", measure))
