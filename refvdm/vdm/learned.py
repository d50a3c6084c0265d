"""alpha_t "learned as parameters" (13.4.2): a schedule that is a function of parameters, and a reverse variance that is.

What is learned is gamma_t, rising by construction. The terms of the bound then all depend on it: 13.29 alone, without prior and
reconstruction, would be the wrong objective.
"""
from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from ..autodiff import log_softmax
from .schedule import Schedule, softplus


class LearnedSchedule:
    """learned(parameters) -> Schedule; parameters = learned.init(rng), a dict.

        gamma_t = gamma_1 + exp(log_range) w_t,    0 = w_1 < w_2 < ... < w_T = 1

    form "table": w from T - 1 positive increments, softmax(increments) summed up: parameters {"increments": (T-1,)}.
    form "network": the monotone network of Kingma et al. 2021 (I.2) on u = (t - 1)/(T - 1), l_1(u) + l_3(sigmoid(l_2(l_1(u)))) with positive
        weights, shifted and scaled to w_1 = 0, w_T = 1 exactly: parameters {"w1", "b1", "w2", "b2", "w3"} of `hidden` units.
    ends "learned": also {"gamma_1": (), "log_range": ()}, beginning at gamma_1 and gamma_T; "fixed": those stay, exactly.

    init begins at linear gamma (network: near it). ValueError for T < 2, gamma_T <= gamma_1, unknown form or ends, parameters of the
    wrong shape.
    """

    def __init__(self, T: int, gamma_1: float = -7.0, gamma_T: float = 6.0, *, form: str = "table", ends: str = "learned", hidden: int = 32):
        if isinstance(T, bool) or not isinstance(T, (int, np.integer)) or T < 2:
            raise ValueError(f"LearnedSchedule: T must be an integer of at least 2, got {T!r}")
        if not -np.inf < gamma_1 < gamma_T < np.inf:
            raise ValueError(f"LearnedSchedule: expected finite gamma_1 < gamma_T, got {gamma_1} and {gamma_T}")
        for name, value, known in (("form", form, ("table", "network")), ("ends", ends, ("learned", "fixed"))):
            if value not in known:
                raise ValueError(f"LearnedSchedule: {name} must be one of {', '.join(known)}, got {value!r}")
        if isinstance(hidden, bool) or not isinstance(hidden, (int, np.integer)) or hidden < 1:
            raise ValueError(f"LearnedSchedule: hidden must be a positive integer, got {hidden!r}")
        self.T, self.gamma_1, self.gamma_T, self.form, self.ends, self.hidden = int(T), float(gamma_1), float(gamma_T), form, ends, int(hidden)
        self._shapes = {name: np.shape(value) for name, value in self.init(np.random.default_rng(0)).items()}

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """float64 parameters; only those of the network are random."""
        parameters = {}
        if self.ends == "learned":
            parameters = {"gamma_1": np.array(self.gamma_1), "log_range": np.array(np.log(self.gamma_T - self.gamma_1))}
        if self.form == "table":
            return parameters | {"increments": np.zeros(self.T - 1)}
        n = self.hidden
        return parameters | {"w1": np.array(1.0), "b1": np.array(0.0), "w2": rng.standard_normal(n), "b2": rng.standard_normal(n),
                             "w3": rng.standard_normal(n) - 3.0 - np.log(n)}

    def __call__(self, parameters: dict) -> Schedule:
        got = {name: np.shape(value) for name, value in parameters.items()} if isinstance(parameters, dict) else type(parameters).__name__
        if got != self._shapes:
            raise ValueError(f"LearnedSchedule: expected parameters of shapes {self._shapes}, got {got}")
        inner = self._increments(parameters) if self.form == "table" else self._network(parameters)
        shape = np.concatenate([np.zeros(1), inner, np.ones(1)])  # the ends are exact, whatever the rounding between them
        if self.ends == "fixed":
            middle = self.gamma_1 + (self.gamma_T - self.gamma_1) * shape[1:-1]
            return Schedule(np.concatenate([np.array([self.gamma_1]), middle, np.array([self.gamma_T])]))
        return Schedule(parameters["gamma_1"] + np.exp(parameters["log_range"]) * shape)

    def _increments(self, parameters: dict) -> Any:
        return np.cumsum(np.exp(log_softmax(parameters["increments"], axis=0)))[:-1]

    def _network(self, parameters: dict) -> Any:
        u = np.linspace(0.0, 1.0, self.T)
        l_1 = softplus(parameters["w1"]) * u + parameters["b1"]
        hidden = expit(np.expand_dims(l_1, 1) * softplus(parameters["w2"]) + parameters["b2"])
        g = l_1 + hidden @ softplus(parameters["w3"])
        return (g[1:-1] - g[0]) / (g[-1] - g[0])


class LearnedVariance:
    """The variance of p(x_{t-1} given x_t), learned between its two usual values (Nichol and Dhariwal 2021):

        log sigma²_t = v_t log beta_t + (1 - v_t) log sigma_q²_t,    v_t = sigmoid(raw_t),    beta_t = 1 - alpha_t

    init(rng) -> {"raw": (T-1,)} for t = 2..T, at v = 0.02; variance(parameters, schedule) -> log sigma² (T-1,).
    """

    def __init__(self, T: int):
        if isinstance(T, bool) or not isinstance(T, (int, np.integer)) or T < 2:
            raise ValueError(f"LearnedVariance: T must be an integer of at least 2, got {T!r}")
        self.T = int(T)

    def init(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"raw": np.full(self.T - 1, -4.0)}

    def __call__(self, parameters: dict, schedule: Schedule) -> Any:
        if not isinstance(parameters, dict) or np.shape(parameters.get("raw")) != (schedule.T - 1,):
            got = np.shape(parameters["raw"]) if isinstance(parameters, dict) and "raw" in parameters else parameters
            raise ValueError(f"LearnedVariance: expected parameters {{'raw': ({schedule.T - 1},)}}, got {got}")
        small, large = log_variances(schedule)
        v = expit(parameters["raw"])
        return v * large + (1 - v) * small


def log_variances(schedule: Schedule) -> tuple[Any, Any]:
    """log sigma_q²_t ("small") and log beta_t ("large") for t = 2..T, (T-1,) each.

    sigma_q² = (1 - abar_{t-1}) (1 - r) and beta_t = (1 - abar_t) (1 - r), r = SNR_t/SNR_{t-1}.
    """
    before, now = schedule.gamma[1 : schedule.T], schedule.gamma[2:]
    log_not_r = np.log(-np.expm1(before - now))
    return log_not_r - softplus(-before), log_not_r - softplus(-now)


def optimal_variance(schedule: Schedule, posterior_variance: Any) -> np.ndarray:
    """The reverse variance that is best when x_0 given x_t has this variance on average, as `VDM(variance=...)` takes it: (T+1,).

        sigma²_t = sigma_q²_t + c_t² E Var[x_0 given x_t],    c_t = sqrt(abar_{t-1}) (1 - alpha_t)/(1 - abar_t)

    posterior_variance (T+1,) indexed by t: one number for each t, so best of all only for isotropic data. Entries 0 and 1 are not used.
    """
    V = np.asarray(posterior_variance, np.float64)
    if not isinstance(schedule, Schedule):
        raise TypeError(f"optimal_variance: schedule must be a Schedule, got {type(schedule).__name__}")
    if V.shape != (schedule.T + 1,) or not np.all((V[2:] >= 0) & (V[2:] < np.inf)):
        raise ValueError(f"optimal_variance: expected {schedule.T + 1} numbers >= 0, indexed by t, got shape {V.shape}")
    before, now = schedule.gamma[1 : schedule.T], schedule.gamma[2:]
    small, _ = log_variances(schedule)
    c = np.sqrt(expit(-before)) * -np.expm1(before - now)  # (1 - alpha_t)/(1 - abar_t) = 1 - r
    return np.concatenate([np.zeros(2), np.exp(small) + c**2 * V[2:]])
