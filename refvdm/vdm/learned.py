"""α_t "learned as parameters" (§13.4.2): a schedule that is a function of parameters, and a reverse
variance that is.

What is learned is gamma_t, rising by construction. All terms of the bound then depend on it: 13.29
alone, without prior and reconstruction, would be the wrong objective.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from .. import checks
from ..autodiff import Array, log_softmax
from .schedule import Schedule, softplus


class LearnedSchedule:
    """learned(parameters) -> Schedule; parameters = learned.init(rng), a dict.

        gamma_t = gamma_1 + exp(log_range) w_t,    0 = w_1 < w_2 < ... < w_T = 1

    form "table": w from T - 1 positive increments, softmax(increments) summed up: parameters
        {"increments": (T-1,)}.
    form "network": the monotone network of Kingma et al. 2021 (I.2) on u = (t - 1)/(T - 1),
        l_1(u) + l_3(sigmoid(l_2(l_1(u)))) with positive weights, shifted and scaled to w_1 = 0,
        w_T = 1 exactly: parameters {"w1", "b1", "w2", "b2", "w3"} of `hidden` units.
    ends "learned": also {"gamma_1": (), "log_range": ()}, beginning at gamma_1 and gamma_T;
        "fixed": those stay, exactly.

    init begins at linear gamma (network: near it). ValueError for T < 2, gamma_T <= gamma_1, an
    unknown form or ends, parameters of the wrong shape.

    >>> from refvdm.vdm import LearnedSchedule
    >>> learned = LearnedSchedule(5, -4.0, 6.0)
    >>> learned(learned.init(np.random.default_rng(0))).gamma.round(6).tolist()
    [-inf, -4.0, -1.5, 1.0, 3.5, 6.0]
    """

    def __init__(self, T: int, gamma_1: float = -7.0, gamma_T: float = 6.0, *, form: str = "table",
                 ends: str = "learned", hidden: int = 32):
        self.T = checks.integer("LearnedSchedule: T", T, 2)
        self.gamma_1 = checks.number("LearnedSchedule: gamma_1", gamma_1)
        self.gamma_T = checks.number("LearnedSchedule: gamma_T", gamma_T)
        if not gamma_1 < gamma_T:
            raise ValueError("LearnedSchedule: expected finite gamma_1 < gamma_T, got "
                             f"{gamma_1} and {gamma_T}")
        self.form = checks.one_of("LearnedSchedule: form", form, ("table", "network"))
        self.ends = checks.one_of("LearnedSchedule: ends", ends, ("learned", "fixed"))
        self.hidden = checks.integer("LearnedSchedule: hidden", hidden)
        start = self.init(np.random.default_rng(0))
        self._shapes = {name: np.shape(value) for name, value in start.items()}

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """float64 parameters; only those of the network are random."""
        parameters = {}
        if self.ends == "learned":
            log_range = np.array(np.log(self.gamma_T - self.gamma_1))
            parameters = {"gamma_1": np.array(self.gamma_1), "log_range": log_range}
        if self.form == "table":
            return parameters | {"increments": np.zeros(self.T - 1)}
        n, rng = self.hidden, checks.generator("LearnedSchedule: rng", rng)
        return parameters | {"w1": np.array(1.0), "b1": np.array(0.0), "w2": rng.standard_normal(n),
                             "b2": rng.standard_normal(n),
                             "w3": rng.standard_normal(n) - 3.0 - np.log(n)}

    def __call__(self, parameters: dict) -> Schedule:
        checks.entries("LearnedSchedule: parameters", parameters, self._shapes)
        inner = self._increments(parameters) if self.form == "table" else self._network(parameters)
        # the ends are exact, whatever the rounding between them
        shape = np.concatenate([np.zeros(1), inner, np.ones(1)])
        if self.ends == "fixed":
            middle = self.gamma_1 + (self.gamma_T - self.gamma_1) * shape[1:-1]
            gamma_1, gamma_T = np.array([self.gamma_1]), np.array([self.gamma_T])
            return Schedule(np.concatenate([gamma_1, middle, gamma_T]))
        return Schedule(parameters["gamma_1"] + np.exp(parameters["log_range"]) * shape)

    def _increments(self, parameters: dict) -> Array:
        return np.cumsum(np.exp(log_softmax(parameters["increments"], axis=0)))[:-1]

    def _network(self, parameters: dict) -> Array:
        u = np.linspace(0.0, 1.0, self.T)
        l_1 = softplus(parameters["w1"]) * u + parameters["b1"]
        hidden = expit(np.expand_dims(l_1, 1) * softplus(parameters["w2"]) + parameters["b2"])
        g = l_1 + hidden @ softplus(parameters["w3"])
        return (g[1:-1] - g[0]) / (g[-1] - g[0])


class LearnedVariance:
    """The variance of p(x_{t-1} | x_t), learned between its two usual values (Nichol and Dhariwal
    2021), that of q(x_{t-1} | x_t, x_0) and that of q(x_t | x_{t-1}):

        log σ²_t = v_t log(1 - α_t) + (1 - v_t) log σ_q²_t,    v_t = sigmoid(raw_t)

    One number for each t; one for each element, that a network says, is VDM(variance="network"),
    see `log_variance_between`. init(rng) -> {"raw": (T-1,)} for t = 2..T, at v = 0.02;
    variance(parameters, schedule) -> log σ² (T-1,). ValueError for parameters of another shape.

    >>> from refvdm.vdm import LearnedVariance, Schedule
    >>> variance = LearnedVariance(10)
    >>> variance(variance.init(np.random.default_rng(0)), Schedule.cosine(10)).shape
    (9,)
    """

    def __init__(self, T: int):
        self.T = checks.integer("LearnedVariance: T", T, 2)

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """float64 parameters; nothing in them is random."""
        return {"raw": np.full(self.T - 1, -4.0)}

    def __call__(self, parameters: dict, schedule: Schedule) -> Array:
        schedule = checks.instance("LearnedVariance: schedule", schedule, Schedule)
        checks.entries("LearnedVariance: parameters", parameters, {"raw": (schedule.T - 1,)})
        small, large = log_variances(schedule)
        v = expit(parameters["raw"])
        return v * large + (1 - v) * small


NETWORK = "network"


def log_variance_between(schedule: Schedule, share: Array, t: Any) -> Array:
    """log σ²_t of p(x_{t-1} | x_t) for each element, from the second output of a network (Nichol
    and Dhariwal 2021): share (batch, ...), t one integer in 1..T or (batch,).

        log σ²_t = share log(1 - α_t) + (1 - share) log σ_q²_t

    At t = 1, where σ_q² is 0, that of t = 2 stands in its place. Nothing keeps share in [0, 1] but
    the network; theirs gives 2 share - 1. ValueError or TypeError for other t, share not finite.

    >>> from refvdm.vdm import Schedule, log_variance_between
    >>> schedule = Schedule.from_betas([0.1, 0.2, 0.5])
    >>> np.exp(log_variance_between(schedule, np.ones((1, 2)), 3)).round(9).tolist()
    [[0.5, 0.5]]
    """
    schedule = checks.instance("log_variance_between: schedule", schedule, Schedule)
    share = checks.floats("log_variance_between: share", share)
    t = checks.integers("t", t, len(share), 1, schedule.T)
    small = schedule.at(np.maximum(t, 2), share).log_posterior_var
    return share * schedule.at(t, share).log_one_minus_alpha + (1 - share) * small


def log_variances(schedule: Schedule) -> tuple[Any, Any]:
    """log σ_q²_t ("small") and log(1 - α_t) ("large") for t = 2..T, (T-1,) each.

    >>> from refvdm.vdm import Schedule, log_variances
    >>> small, large = log_variances(Schedule.from_betas([0.1, 0.2, 0.5]))
    >>> np.exp(large).round(9).tolist(), bool((small < large).all())
    ([0.2, 0.5], True)
    """
    checks.instance("log_variances: schedule", schedule, Schedule)
    return schedule.log_posterior_var[2:], schedule.log_one_minus_alpha[2:]


def optimal_variance(schedule: Schedule, posterior_variance: Any) -> np.ndarray:
    """The reverse variance that is best when x_0 given x_t has this variance on average, as
    `VDM(variance=...)` takes it: (T+1,).

        σ²_t = σ_q²_t + c_t² E Var[x_0 | x_t],    c_t = √ᾱ_{t-1} (1 - α_t)/(1 - ᾱ_t)

    posterior_variance (T+1,) indexed by t: one number for each t, so best of all only for isotropic
    data. Entries 0 and 1 are not used. ValueError for other shapes and negative numbers.

    >>> from refvdm.vdm import Schedule, optimal_variance
    >>> schedule = Schedule.cosine(4)
    >>> best = optimal_variance(schedule, 1 / (1 + schedule.snr))  # x_0 ~ N(0, 1)
    >>> np.allclose(best[2:], schedule.one_minus_alpha[2:])
    True
    """
    V = checks.reals("optimal_variance: posterior_variance", posterior_variance, (...,),
                     finite=False)
    schedule = checks.instance("optimal_variance: schedule", schedule, Schedule)
    if V.shape != (schedule.T + 1,) or not np.all((V[2:] >= 0) & (V[2:] < np.inf)):
        raise ValueError("optimal_variance: posterior_variance: expected "
                         f"{schedule.T + 1} numbers >= 0, indexed by t, got shape {V.shape}")
    best = schedule.posterior_var[2:] + schedule.posterior_x_0[2:] ** 2 * V[2:]
    return np.concatenate([np.zeros(2), best])
