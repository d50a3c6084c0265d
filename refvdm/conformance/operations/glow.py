"""What stands beside the PLU layer in GLOW: ActNorm, the affine coupling, the squeeze."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..operation import Arrays, Mistake, operation
from .flows import LOG_DET, LOG_DETS, POSITIONS, X, positions


def _rows(x: Any) -> Any:
    return x.reshape(-1, x.shape[-1])


def _actnorm_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for shape in ((4, 3), (2, 3, 5, 4)):
        yield {"x": 0.5 + rng.standard_normal(shape), "shift": rng.standard_normal(shape[-1]),
               "log_scale": 0.6 * rng.standard_normal(shape[-1]) + 0.2}


def _actnorm(x: Any, shift: Any, log_scale: Any) -> Any:
    return x * np.exp(log_scale) + shift, np.full(len(x), positions(x) * np.sum(log_scale))


@operation("Kingma and Dhariwal 2018, 3.1", cases=_actnorm_cases,
           inputs={"x": X, "shift": "(d,)", "log_scale": "(d,)"},
           outputs={"y": "x's shape", "log_det": LOG_DET}, mistakes=(
               *LOG_DETS, *POSITIONS,
               Mistake("the shift comes before the scale, exp(log_scale) (x + shift)",
                       inputs=lambda shift, log_scale, **_: {"shift": shift * np.exp(log_scale)}),
               Mistake("the shift is subtracted", inputs=lambda shift, **_: {"shift": -shift}),
               Mistake("it is divided by the scale",
                       inputs=lambda log_scale, **_: {"log_scale": -log_scale}),
               Mistake("log_scale is read as the scale itself", instead=lambda **i: (
                   i["x"] * i["log_scale"] + i["shift"],
                   np.full(len(i["x"]), positions(i["x"]) * np.sum(
                       np.log(np.abs(i["log_scale"]))))))))
def actnorm_forward(x: Any, shift: Any, log_scale: Any) -> Any:
    """y = exp(log_scale) x + shift at every position"""
    return _actnorm(x, shift, log_scale)


def _init_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for shape in ((6, 3), (3, 2, 4, 2)):
        yield {"x": rng.uniform(0.5, 3, shape[-1]) * rng.standard_normal(shape)
               + rng.uniform(0.5, 1, shape[-1])}


def _normalised(deviation: Callable, axis: Any = 0) -> Callable:
    def actnorm_init(x: Any) -> Any:
        rows = _rows(x)
        scale = 1 / deviation(rows)
        return -np.mean(rows, axis) * scale, np.log(scale)
    return actnorm_init


@operation("Kingma and Dhariwal 2018, 3.1", inputs={"x": X}, cases=_init_cases,
           outputs={"shift": "(d,)", "log_scale": "(d,)"}, mistakes=(
               Mistake("the deviation is that with n - 1 (ddof = 1: a convention, not a "
                       "mistake)", instead=_normalised(lambda rows: np.std(rows, 0, ddof=1))),
               Mistake("the variance stands for the deviation", instead=_normalised(
                   lambda rows: np.var(rows, 0))),
               Mistake("all features have one deviation", instead=_normalised(
                   lambda rows: np.std(rows) + 0 * rows[0])),
               Mistake("the shift is minus the mean, for a shift before the scale",
                       outputs=lambda i, outputs: {
                           "shift": outputs["shift"] * np.exp(-outputs["log_scale"])}),
               Mistake("the shift has the other sign",
                       outputs=lambda i, outputs: {"shift": -outputs["shift"]}),
               Mistake("the scale is the deviation, not 1 over it", outputs=lambda i, outputs: {
                   "log_scale": -outputs["log_scale"]})))
def actnorm_init(x: Any) -> Any:
    """shift and log_scale that give this data mean 0 and variance 1 (over batch and positions)"""
    return _normalised(lambda rows: np.std(rows, 0))(x)


def _coupling_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for batch, d in ((4, 5), (3, 7)):
        kept = d // 2
        yield {"x": rng.standard_normal((batch, d)),
               "A": 0.5 * rng.standard_normal((kept, d - kept)),
               "a": 0.3 + 0.2 * rng.standard_normal(d - kept),
               "B": 0.5 * rng.standard_normal((kept, d - kept)), "b": rng.standard_normal(d - kept)}


def _coupled(x: Any, A: Any, a: Any, B: Any, b: Any, **how: Any) -> Any:
    kept, moved = x[:, : len(A)], x[:, len(A) :]
    log_scale, shift = np.tanh(kept @ A + a), kept @ B + b
    log_scale = how.get("squash", lambda s: s)(log_scale)
    y = how.get("move", lambda m, s, h: m * np.exp(s) + h)(moved, log_scale, shift)
    return np.concatenate([kept, y], axis=1), np.sum(log_scale, axis=1)


@operation("Dinh et al. 2017 (Real NVP), 7", cases=_coupling_cases,
           inputs={"x": "(batch, d)", "A": "(k, d - k), k = d // 2", "a": "(d - k,)",
                   "B": "(k, d - k)", "b": "(d - k,)"},
           outputs={"y": "(batch, d)", "log_det": LOG_DET}, mistakes=(
               *LOG_DETS,
               Mistake("the shift comes before the scale", instead=lambda **i: _coupled(
                   **i, move=lambda m, s, h: (m + h) * np.exp(s))),
               Mistake("it is the inverse direction, (x - shift)/scale", instead=lambda **i: (
                   _coupled(**i, move=lambda m, s, h: (m - h) * np.exp(-s))[0],
                   -_coupled(**i)[1])),
               Mistake("scale and shift are exchanged", inputs=lambda A, a, B, b, **_: {
                   "A": B, "a": b, "B": A, "b": a}),
               Mistake("the scale is sigmoid(s + 2), as in GLOW's code", instead=lambda **i:
                       _coupled(**i, squash=lambda s: -np.log1p(np.exp(-np.arctanh(s) - 2)))),
               Mistake("the log-scale is not squashed by tanh", instead=lambda **i: _coupled(
                   **i, squash=np.arctanh)),
               Mistake("the second half is kept, the first moved", instead=lambda **i: _swapped(
                   **i))))
def coupling_forward(x: Any, A: Any, a: Any, B: Any, b: Any) -> Any:
    """[x_1, exp(s) x_2 + h], x_1 the first k, s = tanh(x_1 A + a), h = x_1 B + b"""
    return _coupled(x, A, a, B, b)


def _swapped(x: Any, A: Any, a: Any, B: Any, b: Any) -> Any:
    """The last k are kept."""
    k = len(A)
    y, log_det = _coupled(np.concatenate([x[:, -k:], x[:, :-k]], axis=1), A, a, B, b)
    return np.concatenate([y[:, k:], y[:, :k]], axis=1), log_det


def _squeeze_cases(rng: np.random.Generator) -> Iterator[Arrays]:
    for shape in ((2, 4, 6, 3), (1, 2, 4, 2)):
        yield {"x": rng.standard_normal(shape)}


def _squeezed(*axes: int) -> Callable:
    """The axes (row in block, column in block, channel), in the order they become channels."""
    def squeeze(x: Any) -> Any:
        n, h, w, c = x.shape
        blocks = x.reshape(n, h // 2, 2, w // 2, 2, c)
        order = {0: 2, 1: 4, 2: 5}
        moved = blocks.transpose(0, 1, 3, *(order[axis] for axis in axes))
        return moved.reshape(n, h // 2, w // 2, 4 * c)
    return squeeze


@operation("Dinh et al. 2017 (Real NVP), 3.6", cases=_squeeze_cases,
           inputs={"x": "(batch, h, w, c), h and w even"},
           outputs={"y": "(batch, h/2, w/2, 4c)"}, mistakes=(
               Mistake("channels come first: channel (c, row, column), as nflows and OpenAI's GLOW "
                       "(a convention, not a mistake)",
                       instead=_squeezed(2, 0, 1)),
               Mistake("columns come before rows in a block (a convention, not a mistake)",
                       instead=_squeezed(1, 0, 2)),
               Mistake("it is a reshape without the blocks", instead=lambda x: x.reshape(
                   len(x), x.shape[1] // 2, x.shape[2] // 2, -1))))
def squeeze(x: Any) -> Any:
    """2 x 2 blocks become channels: channel (2 row + column) c + channel"""
    return _squeezed(0, 1, 2)(x)
