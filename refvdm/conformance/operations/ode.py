"""§13.3: solutions of named fields, and the gradients of a loss that looks at them at many times.

    "forced"    f(z, t, θ) = M z + c sin(2t)          θ = [M by rows, c], D² + D numbers
    "tanh"      f(z, t, θ) = M tanh(z + c t)          θ as above
"""
from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture.neural_ode import Field, euler, ode_solver
from ..operation import Arrays, Mistake, operation

NOTES = ("\"forced\": f = M z + c sin(2t); \"tanh\": f = M tanh(z + c t); θ = [M by rows, c]. "
         "Ask your solver for 1e-8.")
GIVEN = {"field": "\"forced\" or \"tanh\"", "z0": "(D,)", "ts": "(K,), in order, ts[0] = T0",
         "theta": "(D² + D,)"}
N = 24  # Runge-Kutta steps between two times: an error below 1e-7 here


def parts(theta: Any, D: int) -> tuple[Any, Any]:
    return theta[: D * D].reshape(D, D), theta[D * D :]


def named_field(name: str) -> Field:
    """f and its Jacobians, written out."""
    def forced(z: Any, t: Any, theta: Any) -> Any:
        M, c = parts(theta, len(z))
        return M @ z + c * np.sin(2 * t)

    def tanh(z: Any, t: Any, theta: Any) -> Any:
        M, c = parts(theta, len(z))
        return M @ np.tanh(z + c * t)

    def forced_theta(z: Any, t: Any, theta: Any) -> Any:
        eye = np.eye(len(z), dtype=z.dtype)
        return np.concatenate([np.kron(eye, z[None]), eye * np.sin(2 * t)], axis=1)

    def tanh_z(z: Any, t: Any, theta: Any) -> Any:
        M, c = parts(theta, len(z))
        return M * (1 - np.tanh(z + c * t) ** 2)

    def tanh_theta(z: Any, t: Any, theta: Any) -> Any:
        c = parts(theta, len(z))[1]
        by_M = np.kron(np.eye(len(z), dtype=z.dtype), np.tanh(z + c * t)[None])
        return np.concatenate([by_M, tanh_z(z, t, theta) * t], axis=1)

    return {"forced": Field(forced, lambda z, t, theta: parts(theta, len(z))[0], forced_theta,
                            lambda z, t, theta: 2 * np.cos(2 * t) * parts(theta, len(z))[1]),
            "tanh": Field(tanh, tanh_z, tanh_theta, lambda z, t, theta: tanh_z(z, t, theta) @ parts(
                theta, len(z))[1])}[str(name)]


def _cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for name, D, ts in (("forced", 3, [0.3, 0.8, 1.1, 1.9]), ("tanh", 2, [-0.4, 0.25, 1.2]),
                        ("tanh", 3, [1.5, 0.9, 0.2])):
        theta = np.concatenate([rng.standard_normal(D * D) * 0.7 - 0.1, rng.uniform(0.4, 1, D)])
        yield {"field": name, "z0": 0.5 + rng.standard_normal(D), "ts": np.array(ts),
               "theta": theta}


def _solve(f: Callable, z0: Any, ts: Any, theta: Any, solver: Callable = ode_solver) -> Any:
    zs = [z0]
    for before, now in itertools.pairwise(ts):
        zs.append(solver(f, zs[-1], before, now, theta, N))
    return np.stack(zs)


def _solving(change: Callable) -> Callable:
    """odeint of another right-hand side."""
    def odeint(field: Any, z0: Any, ts: Any, theta: Any) -> Any:
        f = named_field(field).f
        return _solve(lambda z, t, theta: change(f, z, t, theta, z0, ts), z0, ts, theta)
    return odeint


def _solving_intervals(field: Any, z0: Any, ts: Any, theta: Any) -> Any:
    f, zs = named_field(field).f, [z0]
    for before, now in itertools.pairwise(ts):
        start = zs[-1]
        zs.append(ode_solver(lambda z, t, theta, start=start: f(start, t, theta), start, before,
                             now, theta, N))
    return np.stack(zs)


TRANSPOSED = Mistake("M is applied transposed", inputs=lambda z0, theta, **_: {
    "theta": np.concatenate([parts(theta, len(z0))[0].T.reshape(-1), theta[len(z0) ** 2 :]])})
NO_TIME = Mistake("the field sees t = 0 at every time",
                  instead=_solving(lambda f, z, t, theta, z0, ts: f(z, 0 * t, theta)))


@operation("13.7, 13.8", inputs=GIVEN, outputs={"zs": "(K, D): z at ts, zs[0] = z0"}, cases=_cases,
           accuracy=1e-6, notes=NOTES, mistakes=(
               TRANSPOSED, NO_TIME,
               Mistake("z(T0) stands in the integrand (13.8 as printed)", instead=_solving(
                   lambda f, z, t, theta, z0, ts: f(z0, t, theta))),
               Mistake("z at the start of each interval stands in the integrand (13.8 as printed)",
                       instead=_solving_intervals),
               Mistake("the field sees the time since T0", instead=_solving(
                   lambda f, z, t, theta, z0, ts: f(z, t - ts[0], theta))),
               Mistake("every interval starts again from z0", instead=lambda field, z0, ts, theta:
                       np.stack([z0] + [ode_solver(named_field(field).f, z0, a, b, theta, N)
                                        for a, b in itertools.pairwise(ts)])),
               Mistake("time runs the other way", instead=lambda field, z0, ts, theta: _solve(
                   named_field(field).f, z0, 2 * ts[0] - ts, theta)),
               Mistake("it is one residual step of length 1 per interval (13.6)",
                       instead=lambda field, z0, ts, theta: _solve(
                           lambda z, t, theta: named_field(field).f(z, t, theta), z0, ts, theta,
                           lambda f, z, a, b, theta, n: z + f(z, a, theta))),
               Mistake("it is one Euler step per interval", instead=lambda field, z0, ts, theta:
                       _solve(named_field(field).f, z0, ts, theta,
                              lambda f, z, a, b, theta, n: euler(f, z, a, b, theta, 1)))))
def odeint(field: Any, z0: Any, ts: Any, theta: Any) -> Any:
    """The solution of dz/dt = f(z, t, θ) from z(ts[0]) = z0"""
    return _solve(named_field(field).f, z0, ts, theta)


def _rk_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for case, steps in zip(_cases(rng), (1, 3, 2)):
        yield case | {"ts": case["ts"][[0, -1]], "steps": np.array(steps)}


def _rk4(times: tuple = (0, 0.5, 0.5, 1), reach: tuple = (0.5, 0.5, 1), late: tuple = (0, 1, 2),
         weights: tuple = (1, 2, 2, 1)) -> Callable:
    """Stage i is at times[i] of the step; after the first it moves reach[i-1] h along k_(late)."""
    def run(field: Any, z0: Any, ts: Any, theta: Any, steps: Any) -> Any:
        f, z, h = named_field(field).f, z0, (ts[1] - ts[0]) / int(steps)
        for n in range(int(steps)):
            t = ts[0] + n * h
            ks = [f(z, t + times[0] * h, theta)]
            for i in range(3):
                ks.append(f(z + reach[i] * h * ks[late[i]], t + times[i + 1] * h, theta))
            z = z + h / sum(weights) * sum(w * k for w, k in zip(weights, ks))
        return z
    return run


STAGES = (
    Mistake("the stages do not move in t", instead=_rk4((0, 0, 0, 0))),
    Mistake("the last stage is at t + h/2, not t + h", instead=_rk4((0, 0.5, 0.5, 0.5))),
    Mistake("the last stage is at t, not t + h", instead=_rk4((0, 0.5, 0.5, 0))),
    Mistake("the second stage is at t, not t + h/2", instead=_rk4((0, 0, 0.5, 1))),
    Mistake("the second stage is at t + h, not t + h/2", instead=_rk4((0, 1, 0.5, 1))),
    Mistake("the third stage is at t, not t + h/2", instead=_rk4((0, 0.5, 0, 1))),
    Mistake("the third stage is at t + h, not t + h/2", instead=_rk4((0, 0.5, 1, 1))),
    Mistake("both inner stages are at t, not t + h/2", instead=_rk4((0, 0, 0, 1))),
    Mistake("both inner stages are at t + h, not t + h/2", instead=_rk4((0, 1, 1, 1))),
    Mistake("k_2 is at z + h k_1, not z + h/2 k_1", instead=_rk4(reach=(1, 0.5, 1))),
    Mistake("k_3 is at z + h k_2, not z + h/2 k_2", instead=_rk4(reach=(0.5, 1, 1))),
    Mistake("k_3 is at z + h/2 k_1, not z + h/2 k_2", instead=_rk4(late=(0, 0, 2))),
    Mistake("k_4 is at z + h/2 k_3, not z + h k_3", instead=_rk4(reach=(0.5, 0.5, 0.5))),
    Mistake("k_4 is at z + h k_2, not z + h k_3", instead=_rk4(late=(0, 1, 1))),
    Mistake("k_4 is at z + h k_1, not z + h k_3", instead=_rk4(late=(0, 1, 0))),
    Mistake("the stages weigh the same", instead=_rk4(weights=(1, 1, 1, 1))),
    Mistake("the weights of the stages are 2, 1, 1, 2 for 1, 2, 2, 1",
            instead=_rk4(weights=(2, 1, 1, 2))))


def _three_eighths(field: Any, z0: Any, ts: Any, theta: Any, steps: Any) -> Any:
    f, z, h = named_field(field).f, z0, (ts[1] - ts[0]) / int(steps)
    for i in range(int(steps)):
        t = ts[0] + i * h
        k_1 = f(z, t, theta)
        k_2 = f(z + h / 3 * k_1, t + h / 3, theta)
        k_3 = f(z + h * (k_2 - k_1 / 3), t + 2 * h / 3, theta)
        k_4 = f(z + h * (k_1 - k_2 + k_3), t + h, theta)
        z = z + h / 8 * (k_1 + 3 * k_2 + 3 * k_3 + k_4)
    return z


@operation("13.7 ODESolver", inputs=GIVEN | {"ts": "(2,): T0, T1", "steps": "()"}, cases=_rk_cases,
           outputs={"z1": "(D,): z(T1)"}, notes=NOTES.split(" Ask")[0], mistakes=(
               TRANSPOSED,
               Mistake("it is the 3/8 rule, as torchdiffeq's rk4 (a convention, not a mistake)",
                       instead=_three_eighths),
               *STAGES,
               Mistake("there is one step more", inputs=lambda steps, **_: {"steps": steps + 1}),
               Mistake("the steps are Euler's", instead=lambda field, z0, ts, theta, steps: euler(
                   named_field(field).f, z0, ts[0], ts[1], theta, int(steps)))))
def rk4(field: Any, z0: Any, ts: Any, theta: Any, steps: Any) -> Any:
    """z(T1) by that many equal steps of the classical Runge-Kutta method"""
    return ode_solver(named_field(field).f, z0, ts[0], ts[1], theta, int(steps))
