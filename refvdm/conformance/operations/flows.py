"""§13.1: W = P L U at every position, and the layers that stand around it in a flow.

P comes as perm: (P v)[i] = v[perm[i]]. log_det is log |det dy/dx| of one whole example: summed over
its positions.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ...lecture import flows as spec
from ..operation import Arrays, Mistake, operation

PARTS = {"perm": "(d,) integers: (P v)[i] = v[perm[i]]",
         "lower": "(d, d): L, unit lower triangular",
         "upper": "(d, d): U, upper triangular, its diagonal of either sign"}
X = "(batch, ..., d): vectors (batch, d) or images (batch, h, w, d)"
LOG_DET = "(batch,)"


def _plu(rng: np.random.Generator, d: int) -> Arrays:
    """P a cycle of d: no involution."""
    perm = np.roll(np.arange(d), 1)
    return {"perm": perm, "lower": np.eye(d) + np.tril(rng.uniform(-0.8, 0.8, (d, d)), -1),
            "upper": np.triu(rng.uniform(-0.8, 0.8, (d, d)), 1) + np.diag(
                (-1) ** np.arange(d) * rng.uniform(1.2, 2.8, d))}


def _layer_cases(*names: str) -> Callable:
    def cases(rng: np.random.Generator) -> Iterator[Arrays]:
        for shape in ((4, 3), (2, 3, 5, 4), (3, 5)):
            case = {name: rng.standard_normal(shape) for name in names} | _plu(rng, shape[-1])
            if "y_bar" in names:
                case["log_det_bar"] = rng.uniform(0.5, 1.5, shape[0])
            yield case
    return cases


def permutation(perm: Any, dtype: Any) -> Any:
    return np.eye(len(perm), dtype=dtype)[perm]


def matrix(perm: Any, lower: Any, upper: Any) -> Any:
    return permutation(perm, lower.dtype) @ lower @ upper


def each_vector(function: Callable, x: Any) -> Any:
    """function at every position."""
    rows = [function(v) for v in x.reshape(-1, x.shape[-1])]
    return np.stack(rows).reshape(x.shape)


def positions(x: Any) -> int:
    return int(np.prod(x.shape[1:-1]))


def _log_det(x: Any, upper: Any) -> Any:
    return np.full(len(x), positions(x) * spec.log_det(upper))


# ---------------------------------------------------------------- mistakes

TRANSPOSED = Mistake("W is applied transposed (x W for W x)", instead=lambda **i: (
    each_vector(lambda v: matrix(i["perm"], i["lower"], i["upper"]).T @ v, _first(i)),
    _log_det(_first(i), i["upper"])))
P_INVERSE = Mistake("P is read as its inverse", inputs=lambda perm, **_: {"perm": np.argsort(perm)})
NO_P = Mistake("P is left out", inputs=lambda perm, **_: {"perm": np.arange(len(perm))})
P_LAST = Mistake("P is applied to x, not to L U x", instead=lambda **i: (
    each_vector(lambda v: i["lower"] @ (i["upper"] @ v[i["perm"]]), _first(i)),
    _log_det(_first(i), i["upper"])))
UNMASKED = Mistake("L and U are not masked: U's diagonal is added to L's too", inputs=lambda **i: {
    "lower": i["lower"] + np.diag(np.diag(i["upper"]))})
UNIT_U = Mistake("U's diagonal is taken for 1", inputs=lambda upper, **_: {
    "upper": upper - np.diag(np.diag(upper)) + np.eye(len(upper))})
POSITIVE_U = Mistake("U's diagonal loses its sign", inputs=lambda upper, **_: {
    "upper": upper - np.diag(np.diag(upper)) + np.diag(np.abs(np.diag(upper)))})


def _first(inputs: Arrays) -> Any:
    return inputs["x"] if "x" in inputs else inputs["y"]


def _width(x: Any) -> int:
    return x.shape[2] if x.ndim == 4 else 1


def _wide(x: Any) -> Any:
    """w/h."""
    return x.shape[2] / np.longdouble(x.shape[1]) if x.ndim == 4 else 1


def of_log_det(name: str, change: Callable) -> Mistake:
    return Mistake(name, outputs=lambda inputs, outputs: {
        "log_det": change(inputs, outputs["log_det"])})


LOG_DETS = (
    of_log_det("log_det has the other sign", lambda i, y: -y),
    of_log_det("log_det is 0", lambda i, y: 0 * y),
    of_log_det("log_det is the determinant, not its logarithm", lambda i, y: np.exp(y)),
    of_log_det("log_det is doubled, from |U|²", lambda i, y: 2 * y))
POSITIONS = (
    of_log_det("log_det forgets the positions (it is that of one vector)",
               lambda i, y: y / positions(_first(i))),
    of_log_det("log_det counts h positions, not h w", lambda i, y: y / _width(_first(i))),
    of_log_det("log_det counts w² positions, not h w", lambda i, y: y * _wide(_first(i))),
    of_log_det("log_det counts h² positions, not h w", lambda i, y: y / _wide(_first(i))),
    of_log_det("log_det is the mean over the elements of an example", lambda i, y: y / np.size(
        _first(i)[0])),
    of_log_det("log_det is summed over the batch", lambda i, y: 0 * y + np.sum(y)))


# ---------------------------------------------------------------- W = P L U


@operation("13.1 layer", inputs={"x": X, **PARTS}, outputs={"y": "x's shape", "log_det": LOG_DET},
           cases=_layer_cases("x"), mistakes=(
               TRANSPOSED, P_INVERSE, NO_P, P_LAST, UNMASKED, UNIT_U, POSITIVE_U, *LOG_DETS,
               *POSITIONS))
def plu_forward(x: Any, perm: Any, lower: Any, upper: Any) -> Any:
    """y = W x = P (L (U x)) at every position, and log |det|"""
    P = permutation(perm, x.dtype)
    return each_vector(lambda v: spec.layer(v, P, lower, upper), x), _log_det(x, upper)


@operation("13.1 layer, inverse", inputs={"y": X, **PARTS}, cases=_layer_cases("y"),
           outputs={"x": "y's shape", "log_det": "(batch,): of the inverse map, log |det dx/dy|"},
           mistakes=(P_INVERSE, NO_P, UNIT_U, POSITIVE_U, *LOG_DETS, *POSITIONS,
                     Mistake(UNMASKED.name, instead=lambda y, perm, lower, upper: (
                         each_vector(lambda v: _solve(matrix(
                             perm, lower + np.diag(np.diag(upper)), upper), v), y),
                         -_log_det(y, upper))),
                     Mistake("it is W y, not the inverse", instead=lambda y, perm, lower, upper: (
                         each_vector(lambda v: matrix(perm, lower, upper) @ v, y),
                         -_log_det(y, upper))),
                     Mistake("it is the inverse of W^T", instead=lambda y, perm, lower, upper: (
                         each_vector(lambda v: _solve(matrix(perm, lower, upper).T, v), y),
                         -_log_det(y, upper)))))
def plu_inverse(y: Any, perm: Any, lower: Any, upper: Any) -> Any:
    """x = U^-1 (L^-1 (P^T y)) at every position"""
    P = permutation(perm, y.dtype)
    return each_vector(lambda v: spec.inverse(v, P, lower, upper), y), -_log_det(y, upper)


def _solve(W: Any, v: Any) -> Any:
    return spec.inverse(v, *spec.plu(W))


def _images(rng: np.random.Generator) -> Iterator[Arrays]:
    for shape in ((2, 3, 5, 4), (3, 2, 5, 3)):  # w is not 2 h
        yield {"x": rng.standard_normal(shape)} | _plu(rng, shape[-1])


@operation("13.1 log det", inputs={"x": "(batch, h, w, d)", **PARTS}, cases=_images,
           outputs={"log_det": LOG_DET}, mistakes=(*POSITIONS, *LOG_DETS))
def plu_log_det(x: Any, perm: Any, lower: Any, upper: Any) -> Any:
    """h w Σ log |U_ii|: every position of an image has the same W"""
    return _log_det(x, upper)


@operation("13.1 layer, its gradients", cases=_layer_cases("x", "y_bar"), inputs={
               "x": X, "y_bar": "x's shape: dL/dy", **PARTS,
               "log_det_bar": "(batch,): dL/dlog_det"},
           outputs={"x_bar": "x's shape", "lower_bar": "(d, d): strictly lower, L's free part",
                    "upper_bar": "(d, d): upper, with its diagonal"}, mistakes=(
               P_INVERSE, NO_P,
               Mistake("lower_bar has its diagonal too (L's unit diagonal is not masked)",
                       outputs=lambda i, outputs: {"lower_bar": outputs["lower_bar"] + np.diag(
                           np.diag(_dense_bars(i)[0]))}),
               Mistake("the gradients are not masked", outputs=lambda i, outputs: dict(zip(
                   ("lower_bar", "upper_bar"), _dense_bars(i)))),
               Mistake("upper_bar is not masked: it has numbers below its diagonal",
                       outputs=lambda i, outputs: {"upper_bar": _dense_bars(i)[1]}),
               Mistake("log_det's part is missing", inputs=lambda log_det_bar, **_: {
                   "log_det_bar": 0 * log_det_bar}),
               Mistake("log_det's part has the other sign", inputs=lambda log_det_bar, **_: {
                   "log_det_bar": -log_det_bar}),
               Mistake("log_det's part forgets the positions or counts them twice",
                       inputs=lambda x, log_det_bar, **_: {
                           "log_det_bar": log_det_bar / max(positions(x), 2)}),
               Mistake("log_det's part takes U_ii for 1 (no 1/U_ii)", outputs=lambda i, outputs: {
                   "upper_bar": _log_det_once(i, outputs["upper_bar"])}),
               Mistake("upper_bar has no diagonal (it is taken for fixed)",
                       outputs=lambda i, outputs: {"upper_bar": np.triu(outputs["upper_bar"], 1)}),
               Mistake("upper_bar's diagonal is in log |U_ii|, not in U_ii",
                       outputs=lambda i, outputs: {"upper_bar": _in_logs(i, outputs["upper_bar"])}),
               Mistake("the gradients of L and U are means over the batch",
                       outputs=lambda i, outputs: {
                           name: outputs[name] / len(i["x"]) for name in (
                               "lower_bar", "upper_bar")}),
               Mistake("x_bar is W y_bar, not W^T y_bar", outputs=lambda i, outputs: {
                   "x_bar": each_vector(lambda v: matrix(i["perm"], i["lower"], i["upper"]) @ v,
                                        i["y_bar"])})))
def plu_vjp(x: Any, y_bar: Any, perm: Any, lower: Any, upper: Any, log_det_bar: Any) -> Any:
    """The gradients of Σ y_bar y + Σ log_det_bar log_det in x, L and U"""
    W = matrix(perm, lower, upper)
    lower_bar, upper_bar = _dense_bars({"x": x, "y_bar": y_bar, "perm": perm, "lower": lower,
                                        "upper": upper, "log_det_bar": log_det_bar})
    return each_vector(lambda v: W.T @ v, y_bar), np.tril(lower_bar, -1), np.triu(upper_bar)


def _dense_bars(i: Arrays) -> tuple:
    """dL/dL and dL/dU, as if every entry were free."""
    d = len(i["upper"])
    x, y_bar = i["x"].reshape(-1, d), i["y_bar"].reshape(-1, d)
    P = permutation(i["perm"], i["lower"].dtype)
    lower_bar, upper_bar = np.zeros_like(i["lower"]), np.zeros_like(i["upper"])
    for v, bar in zip(x, y_bar):
        lower_bar = lower_bar + np.outer(P.T @ bar, i["upper"] @ v)
        upper_bar = upper_bar + np.outer(i["lower"].T @ (P.T @ bar), v)
    weight = positions(i["x"]) * np.sum(i["log_det_bar"])
    return lower_bar, upper_bar + weight * np.diag(1 / np.diag(i["upper"]))


def _log_det_once(i: Arrays, upper_bar: Any) -> Any:
    weight = positions(i["x"]) * np.sum(i["log_det_bar"])
    return upper_bar + weight * np.diag(1 - 1 / np.diag(i["upper"]))


def _in_logs(i: Arrays, upper_bar: Any) -> Any:
    return np.triu(upper_bar, 1) + np.diag(np.diag(upper_bar) * np.diag(i["upper"]))
