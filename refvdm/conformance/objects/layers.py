"""Flow layers against their own Jacobian, by differences of forward itself.

Nothing is known of the layer, so what is right is only known as well as its own numbers allow. With
ε of the precision they have and |δJ| what two steps of the differences leave open, to first order

    |δ log |det J|| ≤ Σ_ij |J⁻¹|_ji |δJ|_ij        |δx| ≤ |J⁻¹| (|J| |x| + |y|) ε

element by element. That much, beside the tolerance, is granted: next to nothing to most layers, and
to an ill-conditioned one what no implementation of it could do without.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ... import checks
from ..adapter import WrongAnswer
from ..judge import ERROR, FAIL, Verdict
from ..report import Report
from .density import examples
from .verdict import asked, called, compared, guarded, of_shape

STEPS = 2.0 ** np.arange(1, -18, -3)  # exact in any precision; long ones for what is linear
FACTOR = 8.0  # rounding errors of one number, in ε of the sum of its terms
MOST = 0.1  # granted this much, a check would say nothing


def check_flow_layer(forward: Callable, inverse: Callable, x: Any, *,
                     tolerance: float = 1e-5) -> Report:
    """forward(x) -> (y, log_det (batch,)), inverse(y) -> (x, log_det of the inverse map (batch,)).

    x (batch, ...) as the layer takes it, with positions if it has them; y has as many elements.
    The layer may compute in float32; where that is too little for its condition, an error says so.

    >>> from refvdm.conformance.objects import check_flow_layer
    >>> scale = np.array([2.0, 0.5, 3.0])
    >>> def forward(x):
    ...     return x * scale, np.full(len(x), np.log(scale).sum())  # of one pixel
    >>> def inverse(y):
    ...     return y / scale, np.full(len(y), -np.log(scale).sum())
    >>> images = np.random.default_rng(0).standard_normal((2, 4, 5, 3))
    >>> print(check_flow_layer(forward, inverse, images).verdicts[0].why)
    it matches the reference if it forgets the positions (channels last); at (...) it is ...
    """
    checks.function("check_flow_layer: forward", forward, "forward(x)")
    checks.function("check_flow_layer: inverse", inverse, "inverse(y)")
    checks.positive("check_flow_layer: tolerance", tolerance)
    x = examples("check_flow_layer: x", x)

    def measure() -> list[Verdict]:
        y, log_det = _both("forward", "y", forward, x)
        back, inverse_log_det = _both("inverse", "x", inverse, y)
        back = of_shape("inverse: x", back, x.shape)
        J, open_ = _jacobian(lambda at: _both("forward", "y", forward, at)[0], x, y)
        sign, expected = np.linalg.slogdet(J)
        if not np.all(sign):
            singular = int(np.argmin(np.abs(sign)))
            return [Verdict("log_det", FAIL, 1, 1, np.inf, f"there is none: the Jacobian of "
                            f"forward is singular, at example {singular}")]
        of_x, of_y = x.reshape(len(x), -1, 1), y.reshape(len(x), -1, 1)  # columns
        K, eps = np.abs(np.linalg.inv(J)), FACTOR * _precision(y)
        by_rounding = (K @ (eps * (np.abs(J) @ np.abs(of_x) + np.abs(of_y)))).max()
        by_slopes = (K.transpose(0, 2, 1) * (open_ + eps * np.abs(J))).sum((1, 2)).max()

        def judged(name: str, granted: float, got: np.ndarray, right: np.ndarray,
                   mistakes: dict[str, np.ndarray]) -> Verdict:
            granted /= max(1.0, np.abs(right).max())
            if granted > MOST or by_slopes > 1:  # J⁻¹ itself is not known
                return Verdict(name, ERROR, 1, 1, np.inf, "cannot be told: the Jacobian has "
                               f"condition {np.linalg.cond(J).max():.1g}, too much for numbers "
                               f"of a precision of {_precision(y):.1g}")
            return compared(name, got, right, tolerance + granted, mistakes)
        return [judged("log_det", by_slopes, log_det, expected, _of_log_det(x, log_det, expected)),
                judged("inverse of forward", by_rounding, back, x,
                       _of_inverse(forward, J, of_x, of_y, y.shape, x.shape)),
                judged("log_det of the inverse", by_slopes + by_rounding, inverse_log_det,
                       -expected, {"it has the sign of the forward one": expected}
                       | _of_log_det(x, inverse_log_det, -expected))]
    return Report(guarded("flow layer", measure))


def _both(name: str, what: str, f: Callable, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What forward and inverse return: as many numbers as came, and one for each example."""
    try:
        moved, log_det = called(name, f, at.copy())
    except (TypeError, ValueError) as error:
        if isinstance(error, WrongAnswer):
            raise
        raise WrongAnswer(f"{name} must return a pair, ({what}, log_det): {error}") from error
    moved = asked(f"{name}: {what}", lambda: moved)
    if moved.size != at.size or moved.shape[:1] != at.shape[:1]:
        raise WrongAnswer(f"{name}: {what} must have as many elements as {at.shape}, got shape "
                          f"{moved.shape}")
    return moved, of_shape(f"{name}: log_det", asked(f"{name}: log_det", lambda: log_det),
                           (len(at),))


def _jacobian(f: Callable, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """dy/dx (batch, D, D) by central differences, and how much of it is open. Each column takes
    its own best two steps: the ones where, rounding added, their slopes differ least."""
    batch, D = len(x), x[0].size
    J, open_ = np.zeros((batch, D, D)), np.zeros((batch, D, D))
    rounding = _precision(y) * np.abs(y).reshape(batch, -1).max(1)[:, None]
    rounding = rounding / STEPS[1:, None, None]
    for k in range(D):
        slopes = []
        for h in STEPS:
            move = np.zeros((batch, D))
            move[:, k] = h
            move = move.reshape(x.shape)
            try:
                with np.errstate(all="ignore"):
                    slopes.append(((f(x + move) - f(x - move)) / (2 * h)).reshape(batch, D))
            except WrongAnswer:  # out of where the layer is defined
                if h in STEPS[-2:]:
                    raise
                slopes.append(np.full((batch, D), np.inf))
        with np.errstate(invalid="ignore"):
            apart = np.nan_to_num(np.abs(np.diff(slopes, axis=0)), nan=np.inf)
        apart += rounding
        best, each = np.argmin(apart.max(2), axis=0), np.arange(batch)
        J[:, :, k], open_[:, :, k] = np.array(slopes)[best + 1, each], apart[best, each]
    return J, open_


def _precision(y: np.ndarray) -> float:
    """ε of the smallest floats that y fits into."""
    with np.errstate(over="ignore"):
        return next(float(np.finfo(kind).eps) for kind in (np.float16, np.float32, np.float64)
                    if np.array_equal(y, y.astype(kind)))


def _of_log_det(x: np.ndarray, got: np.ndarray, expected: np.ndarray) -> dict[str, np.ndarray]:
    known = {"its sign is the other one": -expected, "it is missing (0)": 0 * expected,
             "it is the determinant, not its logarithm": np.exp(np.clip(expected, -700, 700)),
             "it is doubled": 2 * expected, "it is halved": expected / 2,
             "it is the mean over the elements": expected / x[0].size,
             "it is summed over the batch": 0 * expected + expected.sum(),
             "it is the mean over the batch": 0 * expected + expected.mean()}
    if x.ndim > 2:
        known |= {"it forgets the positions (channels last)": expected / np.prod(x.shape[1:-1]),
                  "it forgets the positions (channels first)": expected / np.prod(x.shape[2:])}
    off = float(np.mean(got - expected))
    return known if len(x) < 2 else known | {
        f"it is off by {off:+.4g} in every example, as where a factor is left out: a scale, or a "
        "unit diagonal that is not masked": expected + off}


def _of_inverse(forward: Callable, J: np.ndarray, x: np.ndarray, y: np.ndarray,
                shape_y: tuple, shape: tuple) -> dict[str, np.ndarray]:
    """For y = J x + shift, which most layers with a matrix are."""
    try:
        again = _both("forward", "y", forward, y.reshape(shape_y))[0].reshape(shape)
    except WrongAnswer:
        again = np.full(shape, np.inf)
    transposed, moved = J.transpose(0, 2, 1), J @ x
    shift = y - moved
    known = {"W is transposed in it": np.linalg.solve(transposed, moved),
             "it multiplies by W transposed, not by the inverse": transposed @ moved,
             "it multiplies by W, not by the inverse": J @ moved,
             "the shift is taken off after W, not before": np.linalg.solve(J, y) - shift,
             "the shift is forgotten": np.linalg.solve(J, y),
             "the shift is added, not taken off": np.linalg.solve(J, y + shift)}
    return {"the inverse is the forward map": again} | {
        mistake: wrong.reshape(shape) for mistake, wrong in known.items()}
