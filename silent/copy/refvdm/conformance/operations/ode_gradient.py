"""The gradients of L = Σ zs_bar · z(ts) in z0, theta and every time: 13.12-13.17 with its jumps."""
from __future__ import annotations

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


def _gradients(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    f = named_field(field)
    zs = _solve(f.f, z0, ts, theta)
    return adjoint.gradient_at_many_times(zs_bar, f, zs, ts, theta, N)


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


def _ends(ts_bar: Any, _: Arrays) -> Any:
    return np.concatenate([ts_bar[-1:], ts_bar[1:-1], ts_bar[:1]])


def _masked(ts_bar: Any, keep: slice) -> Any:
    kept = 0 * ts_bar
    kept[keep] = ts_bar[keep]
    return kept


@operation("13.17, with the jumps that the lecture leaves out", cases=_with_losses, accuracy=1e-5,
           inputs=GIVEN | {"zs_bar": "(K, D): dL/dz(ts[i]) at every time, also the first"},
           outputs={"z0_bar": "(D,)", "theta_bar": "(D² + D,)", "ts_bar": "(K,): dL/dts[i]"},
           notes=NOTES, mistakes=(
               TRANSPOSED,
               Mistake("the losses before the last time are dropped", inputs=only(_last_alone)),
               Mistake("the losses at inner times are dropped", inputs=only(_no_inner)),
               Mistake("the loss at the first time is dropped", inputs=only(_no_first)),
               Mistake("the jump of an inner time is taken a row too late", inputs=only(_late)),
               changed("all times' gradients have the other sign (a_t's sign)",
                       ts_bar=lambda y, i: -y),
               changed("dL/dT0 and dL/dT1 are exchanged", ts_bar=_ends),
               changed("dL/dT0 has the other sign", ts_bar=lambda y, i: np.concatenate(
                   [-y[:1], y[1:]])),
               changed("dL/dT0 is missing (0)", ts_bar=lambda y, i: _masked(y, slice(1, None))),
               changed("the gradients of the times are 0", ts_bar=lambda y, i: 0 * y),
               changed("the gradients of inner times are missing (0)", ts_bar=lambda y, i: (
                   y - _masked(y, slice(1, -1)))),
               changed("theta_bar has the other sign", theta_bar=lambda y, i: -y),
               changed("z0_bar and theta_bar have the other sign", z0_bar=lambda y, i: -y,
                       theta_bar=lambda y, i: -y),
               changed("theta_bar is divided by the length of the interval",
                       theta_bar=lambda y, i: y / (i["ts"][-1] - i["ts"][0])),
               Mistake("the Jacobians are taken at z(T0) all the way (13.8 as printed)",
                       instead=_at_z_T0),
               Mistake("da/dt has the other sign", instead=_reversed_sign)))
def odeint_gradients(field: Any, z0: Any, ts: Any, theta: Any, zs_bar: Any) -> Any:
    """dL/dz0, dL/dθ and dL/dts of L = Σ zs_bar · z(ts)"""
    return _gradients(field, z0, ts, theta, zs_bar)
