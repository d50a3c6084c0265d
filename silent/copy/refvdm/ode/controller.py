"""Step policies: how SciPy, torchdiffeq, jax and diffrax choose their steps, one class each.

So each library can be compared step by step. All four take the error ratio of a step,

    r = rms(h sum_i e_i k_i / (atol + rtol max(|y|, |y_new|)))

accept the step when r is small enough, and make the next one 0.9 r^(-1/(error_order + 1)) times as
long, within bounds. They differ in the weights e, in the bounds, in what r = 1 means, in how the
first step is chosen and in how the last one meets the end. What most of them do stands in
`Controller`; a class says only what its library does otherwise.

Measured against SciPy 1.17, torchdiffeq 0.2.5, jax 0.10.2, diffrax 0.7.2. A trial step that is not
finite is rejected here under every policy and tried again at a fifth of its length, as SciPy and
diffrax do; torchdiffeq stops with "underflow in dt", and jax goes on with a wrong value.
"""
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .tableau import Tableau, Weights

Slope = Callable[[float, np.ndarray], np.ndarray]  # f(t, y)
SAFETY, SMALLEST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 10.0


def rms(x: np.ndarray) -> float:
    """sqrt(mean(x²)) of a vector, rounded as SciPy's norm(x) / n^(1/2)."""
    return math.sqrt(x.dot(x)) / x.size**0.5


def l2(x: np.ndarray) -> float:
    """sqrt(sum(x²)) of a vector."""
    return math.sqrt(x.dot(x))


class Controller:
    """The policy for one integration from t0 to t1 with one method.

    A step is asked for by `next_step(t, h_abs, retry)`, judged by `accepts(r)`, and followed by one
    of `factor(r, ...)` times its length. `retry` is True when the last attempt, from the same t,
    was rejected.
    """

    norm_of_the_start = staticmethod(rms)

    def __init__(self, t0: float, t1: float, tableau: Tableau, counted: int | None = None):
        self.t0, self.t1, self.direction = t0, t1, 1.0 if t1 >= t0 else -1.0
        self.exponent = -1 / (tableau.error_order + 1)
        self.counted = counted  # how many elements of the state the norms look at; None: all

    def error_weights(self, weights: Weights) -> np.ndarray:
        return weights.e_1986

    def cap(self, h: float) -> float:
        """The longest first step: only SciPy has one (not yet in 1.13)."""
        return h

    def first_step(self, f: Slope, y: np.ndarray, f0: np.ndarray, rtol: float,
                   atol: float) -> float:
        """The length at which a step of Euler's method would err by about 0.01 tolerances.

        Hairer, Norsett, Wanner, Solving ODEs I, II.4. One more evaluation of f, at
        (t0 + h0, y + h0 f0).
        """
        def norm(x: np.ndarray) -> float:
            return self.norm_of_the_start((x / scale)[: self.counted])

        scale = atol + np.abs(y) * rtol
        d0, d1 = norm(y), norm(f0)
        h0 = self.cap(1e-6 if d0 < 1e-5 or d1 < 1e-5 else 0.01 * d0 / d1)
        f1 = f(self.t0 + h0 * self.direction, y + h0 * self.direction * f0)
        if h0 == 0:  # d1 was infinite
            return 0.0
        d2 = norm(f1 - f0) / h0
        if d1 <= 1e-15 and d2 <= 1e-15:
            h1 = max(1e-6, h0 * 1e-3)
        else:
            steepest = max(d1, d2)  # d1 when d2 is nan: max keeps its first
            h1 = (0.01 / steepest) ** -self.exponent if steepest else math.inf
        return self.cap(min(100 * h0, h1))

    def error_ratio(self, error: np.ndarray, y: np.ndarray, y_new: np.ndarray, rtol: float,
                    atol: float) -> float:
        """rms(error / (atol + rtol max(|y|, |y_new|)))."""
        scale = np.maximum(np.abs(y), np.abs(y_new))
        scale *= rtol
        scale += atol
        ratio = np.divide(error, scale, out=scale)
        return rms(ratio if self.counted is None else ratio[: self.counted])

    def next_step(self, t: float, h_abs: float, retry: bool) -> tuple[float, float]:
        """t_new, h: where the next attempt ends. t_new = t says that the step became too small."""
        return t + self.direction * h_abs, self.direction * h_abs

    def accepts(self, r: float) -> bool:
        return r < 1

    def factor(self, r: float, accepted: bool, retry: bool) -> float:
        """What to multiply the length of this step by, for the next one."""
        if not math.isfinite(r):
            return SMALLEST_FACTOR
        if r == 0:
            return LARGEST_FACTOR
        return self.bounded(SAFETY * r**self.exponent, accepted, retry, r)

    def bounded(self, factor: float, accepted: bool, retry: bool, r: float) -> float:
        """The factor within the policy's bounds."""
        raise NotImplementedError


class Scipy(Controller):
    """scipy.integrate.solve_ivp with RK45 or RK23. The default.

    It never evaluates f beyond the end, and may shrink the step after an accepted one.
    """

    def error_weights(self, weights: Weights) -> np.ndarray:
        return weights.e

    def cap(self, h: float) -> float:
        return min(h, abs(self.t1 - self.t0))

    def next_step(self, t: float, h_abs: float, retry: bool) -> tuple[float, float]:
        smallest = 10 * abs(math.nextafter(t, self.direction * math.inf) - t)
        if h_abs < smallest:
            if retry:
                return t, 0.0
            h_abs = smallest  # too small is a failure only after a rejection
        t_new = t + self.direction * h_abs
        if self.direction * (t_new - self.t1) > 0:
            t_new = self.t1
        return t_new, t_new - t

    def factor(self, r: float, accepted: bool, retry: bool) -> float:
        # r = 0 gives the largest factor, but not after a rejection: the bound below comes after it
        factor = super().factor(r, accepted, retry)
        return min(1.0, factor) if accepted and retry else factor

    def bounded(self, factor: float, accepted: bool, retry: bool, r: float) -> float:
        return min(LARGEST_FACTOR, factor) if accepted else max(SMALLEST_FACTOR, factor)


class Torchdiffeq(Controller):
    """torchdiffeq.odeint(method="dopri5" or "bosh3").

    r = 1 is accepted, and steps never shrink after r < 1. The last step runs over the end and is
    interpolated, so f is evaluated beyond t1.
    """

    def accepts(self, r: float) -> bool:
        return r <= 1

    def bounded(self, factor: float, accepted: bool, retry: bool, r: float) -> float:
        return min(LARGEST_FACTOR, max(factor, 1.0 if r < 1 else SMALLEST_FACTOR))


class Jax(Torchdiffeq):
    """jax.experimental.ode.odeint: torchdiffeq's policy, but for the norm of the first step.

    It is the Euclidean one, n^(1/2) times the rms.
    """

    norm_of_the_start = staticmethod(l2)


class Diffrax(Controller):
    """diffrax.diffeqsolve with Dopri5() or Bosh3(), dt0=None, PIDController(rtol, atol).

    With its defaults that is an I controller. The first step is 0.01 in version 0.7.2, whose rule
    for it never runs. A step that would end within 100 ulp of the end, or beyond it, goes to the
    end instead; after a rejection, half of the way there.
    """

    def __init__(self, t0: float, t1: float, tableau: Tableau, counted: int | None = None):
        super().__init__(t0, t1, tableau, counted)
        self.near_the_end = self.t1
        for _ in range(100):
            self.near_the_end = math.nextafter(self.near_the_end, -self.direction * math.inf)

    def first_step(self, f: Slope, y: np.ndarray, f0: np.ndarray, rtol: float,
                   atol: float) -> float:
        return 0.01

    def next_step(self, t: float, h_abs: float, retry: bool) -> tuple[float, float]:
        t_new = t + self.direction * h_abs
        if self.direction * (t_new - self.near_the_end) > 0:
            t_new = t + 0.5 * (self.t1 - t) if retry else self.t1
        return t_new, t_new - t

    def bounded(self, factor: float, accepted: bool, retry: bool, r: float) -> float:
        if accepted:
            return min(max(factor, 1.0), LARGEST_FACTOR)
        return min(max(factor, SMALLEST_FACTOR), SAFETY)


CONTROLLERS: dict[str, type[Controller]] = {
    "scipy": Scipy, "torchdiffeq": Torchdiffeq, "jax": Jax, "diffrax": Diffrax}
