"""The gradients of L = Σ zs_bar · z(ts) in z0, theta and every time: 13.12-13.17 with its jumps."""
from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import adjoint
from ..operation import Arrays, Mistake, operation
from .ode import GIVEN, NOTES, TRANSPOSED, N, _cases, _solve, named_field


def _with_losses(rng: np.random.Generator) -> Iterator[Arrays]:
    for case in _cases(rng):
        shape = len(case["ts"]), len(case["z0"])
        yield case | {"zs_bar": 0.4 + rng.standard_normal(shape)}


def _known(function: Callable) -> Callable:
    """function(field, arrays...), once: pairs of mistakes ask for the same again and again."""
    @functools.lru_cache(maxsize=256)
    def known(field: str, *arrays: tuple) -> Any:
        return function(field, *(np.frombuffer(data, dtype).reshape(shape)
                                 for data, shape, dtype in arrays))

    def found(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
        arrays = (z0, ts, theta, zs_bar)
        return known(str(field), *((x.tobytes(), x.shape, x.dtype) for x in arrays))
    return found


@_known
def _gradients(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    f = named_field(field)
    zs = _solve(f.f, z0, ts, theta)
    return adjoint.gradient_at_many_times(zs_bar, f, zs, ts, theta, N)


@_known
def _inside(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> list[tuple]:
    """a after its jump, and f, at every inner time."""
    f = named_field(field).f
    zs = _solve(f, z0, ts, theta)
    return [(_gradients(field, zs[k], ts[k:], theta, zs_bar[k:])[0], f(zs[k], ts[k], theta))
            for k in range(1, len(zs) - 1)]


def changed(name: str, **outputs: Callable) -> Mistake:
    return Mistake(name, outputs=lambda i, found: {
        key: change(found[key], i) for key, change in outputs.items()})


def only(rows: Callable) -> Callable:
    """The loss at some of the times alone."""
    return lambda zs_bar, **_: {"zs_bar": rows(zs_bar.copy())}


def _last_alone(bar: Any) -> Any:
    bar[:-1] = 0
    return bar


def _no_first(bar: Any) -> Any:
    bar[0] = 0
    return bar


def _no_inner(bar: Any) -> Any:
    bar[1:-1] = 0
    return bar


def _late(bar: Any) -> Any:
    """Each inner jump at the row after its own."""
    return np.concatenate([bar[:1], 0 * bar[:1], bar[1:-2], bar[-2:-1] + bar[-1:]])


def _at_z_T0(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    """The Jacobians at the start for those along the way."""
    f = named_field(field)
    there = f._replace(df_dz=lambda z, t, theta: f.df_dz(z0, t, theta),
                       df_dtheta=lambda z, t, theta: f.df_dtheta(z0, t, theta))
    return adjoint.gradient_at_many_times(zs_bar, there, _solve(f.f, z0, ts, theta), ts, theta, N)


def _reversed_sign(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    """da/dt = +a df/dz."""
    f = named_field(field)
    there = f._replace(df_dz=lambda z, t, theta: -f.df_dz(z, t, theta))
    return adjoint.gradient_at_many_times(zs_bar, there, _solve(f.f, z0, ts, theta), ts, theta, N)


def _no_jump(i: Arrays, outputs: Arrays, a_t: int) -> Arrays:
    """As if the losses at inner times were not there, but for dL/dts there."""
    z0_bar, theta_bar, ts_bar = _gradients(**{**i, "zs_bar": _no_inner(i["zs_bar"].copy())})
    inner = outputs["ts_bar"][1:-1]
    return {"z0_bar": z0_bar, "theta_bar": theta_bar, "ts_bar": np.concatenate(
        [[ts_bar[0] - a_t * np.sum(inner)], inner, outputs["ts_bar"][-1:]])}


def _ends(ts_bar: Any, _: Arrays) -> Any:
    return np.concatenate([ts_bar[-1:], ts_bar[1:-1], ts_bar[:1]])


def _masked(ts_bar: Any, keep: slice) -> Any:
    kept = 0 * ts_bar
    kept[keep] = ts_bar[keep]
    return kept


def _moved(ts_bar: Any, first: Any) -> Any:
    return np.concatenate([[ts_bar[0] + first], ts_bar[1:]])


def _not_integrated(i: Arrays, outputs: Arrays) -> Arrays:
    a = outputs["z0_bar"] - i["zs_bar"][0]
    df_dtheta = named_field(i["field"]).df_dtheta(i["z0"], i["ts"][0], i["theta"])
    return {"theta_bar": -a @ df_dtheta}


def _after_jump(i: Arrays, outputs: Arrays) -> Arrays:
    f = named_field(i["field"]).f(i["z0"], i["ts"][0], i["theta"])
    return {"ts_bar": np.concatenate([[-outputs["z0_bar"] @ f], outputs["ts_bar"][1:]])}


def _whole(after: bool, jumps: bool) -> Callable:
    """Gradients of inner times a · f with the whole a, after its jump there or before (a comes
    from T1); jumps: a_t jumps by these too, which dL/dT0 shows."""
    def change(i: Arrays, outputs: Arrays) -> Arrays:
        found = outputs["ts_bar"].copy()
        inner = _inside(i["field"], i["z0"], i["ts"], i["theta"], i["zs_bar"])
        for k, (a, f) in enumerate(inner, 1):
            found[k] = (a if after else a - i["zs_bar"][k]) @ f
        return {"ts_bar": _moved(found, np.sum(outputs["ts_bar"] - found) if jumps else 0)}
    return change


INNER = tuple(
    Mistake(f"the gradients of inner times use the whole a {when} the jump, not zs_bar alone"
            + (", and a_t jumps by them too" if jumps else ""), outputs=_whole(after, jumps))
    for after, when in ((True, "after"), (False, "before")) for jumps in (False, True))
SIGNS = (
    changed("all times' gradients have the other sign (a_t's sign)", ts_bar=lambda y, i: -y),
    changed("dL/dT0 has the other sign", ts_bar=lambda y, i: np.concatenate([-y[:1], y[1:]])),
    changed("dL/dT1 has the other sign", ts_bar=lambda y, i: np.concatenate([y[:-1], -y[-1:]])),
    changed("the gradients of inner times have the other sign", ts_bar=lambda y, i: (
        y - 2 * _masked(y, slice(1, -1)))),
    changed("theta_bar has the other sign", theta_bar=lambda y, i: -y),
    changed("z0_bar has the other sign", z0_bar=lambda y, i: -y),
    changed("z0_bar and theta_bar have the other sign", z0_bar=lambda y, i: -y,
            theta_bar=lambda y, i: -y))
ABSENT = (
    changed("dL/dT0 is missing (0)", ts_bar=lambda y, i: _masked(y, slice(1, None))),
    changed("dL/dT1 is missing (0)", ts_bar=lambda y, i: _masked(y, slice(None, -1))),
    changed("the gradients of the times are 0", ts_bar=lambda y, i: 0 * y),
    changed("the gradients of inner times are missing (0)", ts_bar=lambda y, i: (
        y - _masked(y, slice(1, -1)))),
    changed("theta_bar is 0 (a_θ ∂f/∂θ stands for a ∂f/∂θ, 13.15 as printed, and a_θ(T1) = 0)",
            theta_bar=lambda y, i: 0 * y))
A_T = (  # ts_bar[i] = g_i f, i ≥ 1, is what a_t jumps by
    changed("dL/dT0: a_t starts, and jumps, with the other sign", ts_bar=lambda y, i: _moved(
        y, 2 * np.sum(y[1:]))),
    changed("dL/dT0: a_t does not jump at inner times", ts_bar=lambda y, i: _moved(
        y, np.sum(y[1:-1]))),
    changed("dL/dT0: a_t starts from 0 at T1, not from -a f", ts_bar=lambda y, i: _moved(y, y[-1])),
    changed("dL/dT0 lacks the integral of a ∂f/∂t (t is detached in the field)",
            ts_bar=lambda y, i: np.concatenate([[-np.sum(y[1:])], y[1:]])),
    Mistake("dL/dT0 is -a f with the a after the jump at T0", outputs=_after_jump))


@operation("13.17, with the jumps that the lecture leaves out", cases=_with_losses, accuracy=1e-5,
           inputs=GIVEN | {"zs_bar": "(K, D): dL/dz(ts[i]) at every time, also the first"},
           outputs={"z0_bar": "(D,)", "theta_bar": "(D² + D,)", "ts_bar": "(K,): dL/dts[i]"},
           notes=NOTES, mistakes=(
               TRANSPOSED,
               Mistake("the losses before the last time are dropped", inputs=only(_last_alone)),
               Mistake("the losses at inner times are dropped", inputs=only(_no_inner)),
               Mistake("the loss at the first time is dropped", inputs=only(_no_first)),
               Mistake("a does not jump at inner times, a_t does", outputs=lambda i, outputs: (
                   _no_jump(i, outputs, 1))),
               Mistake("neither a nor a_t jumps at inner times", outputs=lambda i, outputs: (
                   _no_jump(i, outputs, 0))),
               Mistake("the jump of an inner time is taken a row too late", inputs=only(_late)),
               changed("dL/dT0 and dL/dT1 are exchanged", ts_bar=_ends),
               *SIGNS, *ABSENT, *A_T, *INNER,
               Mistake("theta_bar is -a ∂f/∂θ at T0, not its integral (13.16 as printed)",
                       outputs=_not_integrated),
               Mistake("theta_bar is that of z(T1) alone, the other gradients are right",
                       outputs=lambda i, outputs: {"theta_bar": _gradients(
                           **{**i, "zs_bar": _last_alone(i["zs_bar"].copy())})[1]}),
               changed("theta_bar is divided by the length of the interval",
                       theta_bar=lambda y, i: y / (i["ts"][-1] - i["ts"][0])),
               Mistake("the Jacobians are taken at z(T0) all the way (13.8 as printed)",
                       instead=_at_z_T0),
               Mistake("da/dt has the other sign", instead=_reversed_sign)))
def odeint_gradients(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    """dL/dz0, dL/dθ and dL/dts of L = Σ zs_bar · z(ts)"""
    return _gradients(field, z0, ts, theta, zs_bar)


# ---------------------------------------------------------------- times on a solver's grid


def _grid_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    step = 1 / 32
    for case, steps in zip(_cases(rng), ([0, 10, 18.7, 32], [0, 5.7, 20, 45], [0, 5, 10.2, 40])):
        sign = np.sign(case["ts"][-1] - case["ts"][0])
        ts = case["ts"][0] + sign * step * np.array(steps)
        yield case | {"ts": ts, "step": np.array(step),
                      "zs_bar": 0.4 + rng.standard_normal((4, len(case["z0"])))}


def _on_grid(ts: Any, step: Any) -> Any:
    """Which inner times lie on the grid."""
    steps = np.asarray(np.abs(ts - ts[0]) / step, float)
    return np.abs(steps - np.round(steps)) < 1e-3


def _inner(keep: Callable) -> Callable:
    def change(ts_bar: Any, i: Arrays) -> Any:
        dropped = keep(_on_grid(i["ts"], i["step"]))
        dropped[[0, -1]] = False
        return np.where(dropped, 0, ts_bar)
    return change


def _to_the_grid(ts_bar: Any, i: Arrays) -> Any:
    """As autodiff has it where an output is copied from a grid point that moves with T0."""
    kept = _inner(lambda grid: grid.copy())(ts_bar, i)
    return _moved(kept, np.sum(ts_bar - kept))


def _rounded(how: Callable) -> Callable:
    """Every time at a grid point."""
    def change(ts: Any, step: Any, **_: Any) -> Arrays:
        signed = step * np.sign(ts[-1] - ts[0])
        return {"ts": np.where(_on_grid(ts, step), ts, ts[0] + signed * how((ts - ts[0]) / signed))}
    return change


def _linear(field: Any, z0: Any, ts: Any, theta: Any, step: Any, zs_bar: Any) -> Any:
    """Off the grid z lies on the chord between two grid points, which move with T0."""
    signed, grid = step * np.sign(ts[-1] - ts[0]), _on_grid(ts, step)
    k = int(np.argmin(grid))  # the one off the grid
    n = np.floor((ts[k] - ts[0]) / signed)
    low, high = ts[0] + n * signed, ts[0] + (n + 1) * signed
    w = (ts[k] - low) / signed
    times = np.concatenate([ts[:k], [low, high], ts[k + 1:]])
    bars = np.concatenate([zs_bar[:k], [(1 - w) * zs_bar[k], w * zs_bar[k]], zs_bar[k + 1:]])
    f = named_field(field)
    zs = _solve(f.f, z0, times, theta)
    z0_bar, theta_bar, ts_bar = adjoint.gradient_at_many_times(bars, f, zs, times, theta, N)
    slope = zs_bar[k] @ (zs[k + 1] - zs[k]) / signed
    first = ts_bar[0] + ts_bar[k] + ts_bar[k + 1] - slope
    return z0_bar, theta_bar, np.concatenate([[first], ts_bar[1:k], [slope], ts_bar[k + 2:]])


@operation("13.17, on the grid of a solver and off it", cases=_grid_cases, accuracy=1e-5,
           inputs=GIVEN | {"zs_bar": "(K, D): dL/dz(ts[i])",
                           "step": "(): for a solver of fixed steps; one of the inner times lies "
                                   "on the grid ts[0] ± k step, the other one between"},
           outputs={"z0_bar": "(D,)", "theta_bar": "(D² + D,)", "ts_bar": "(K,): dL/dts[i]"},
           notes=NOTES.split(" Ask")[0] + " A solver of adaptive steps: 1e-8. One of fixed steps: "
                 "fourth order, and an interpolant of third order at least.", mistakes=(
               TRANSPOSED,
               changed("gradients of inner times on the grid are dropped (0)",
                       ts_bar=_inner(lambda grid: grid.copy())),
               changed("gradients of inner times off the grid are dropped (0)",
                       ts_bar=_inner(lambda grid: ~grid)),
               changed("gradients of inner times on the grid go to dL/dT0 (the grid moves with T0, "
                       "and outputs are copied from it)", ts_bar=_to_the_grid),
               *SIGNS, *ABSENT[:4], *A_T[:4], *INNER,
               Mistake("times are rounded to the grid", inputs=_rounded(np.round)),
               Mistake("times off the grid are taken at the grid point before",
                       inputs=_rounded(np.floor)),
               Mistake("between grid points z is interpolated linearly", instead=_linear)))
def odeint_grid_gradients(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any, step: Any) -> Any:
    """odeint_gradients, with one inner time on a fixed-step solver's grid and one between"""
    return _gradients(field, z0, ts, theta, zs_bar)
