"""The PLU layer of §13.1: y = W x with W = P L U, so that log|det W| is a sum of d numbers.

    P    a fixed permutation, P = I[perm], so W x = (L U x)[perm]
    L    unit lower triangular: I + lower
    U    upper + diag(sign exp(log_scale)), `upper` strictly upper, `sign` fixed

    det W = det P prod(sign) exp(sum(log_scale))

Printed in §13.1: det W = det L det U, which lacks the sign det P = ±1; and that W = L U fails when
W11 = 0. It fails more often: without P every leading principal minor must be non-zero, and
[[1,1,0],[1,1,1],[0,1,1]] has W11 = 1 but no L U. With P every invertible W has one.
"""
from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg
from scipy.linalg.blas import dtrsm as trsm

from .. import checks
from ..autodiff import defvjp
from ..autodiff.tree import Tree
from ..nn import float_dtype
from .layer import Array, Layer, per_example


class PLU(Layer):
    """y = W x at every position of x (batch, ..., d); on images, Glow's 1x1 convolution.

    theta = {"perm": int (d,), "lower": (d, d) strictly lower, "upper": (d, d) strictly upper,
             "sign": int8 (d,), "log_scale": (d,)}

    Other elements of `lower` and `upper` are not read and have gradient 0. x is a row, so
    y = x @ W.T: W is in the order of torch's 1x1 filters (out, in); TensorFlow's are (in, out), the
    transpose.

    Cost for n positions: forward and inverse 2 n d² flops (a dense product's), log_det d additions.
    ValueError for d < 1; for a theta of other keys or shapes, a `perm` that is no permutation, a
    `sign` that is not ±1, and nan in what is read. TypeError for other dtypes.

    >>> from refvdm.flows import PLU
    >>> layer, W = PLU(2), np.array([[0.0, 2.0], [1.0, 3.0]])
    >>> theta = layer.from_matrix(W)
    >>> y, log_det = layer.forward(theta, np.array([[1.0, 1.0]]))
    >>> y.tolist(), np.exp(log_det).round(12).tolist()
    ([[2.0, 4.0]], [2.0])
    """

    def __init__(self, d: int):
        self.d = checks.integer("PLU: d", d)

    def init(self, rng: np.random.Generator, data: Array | None = None,
             dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """theta of a random W, Haar distributed on the orthogonal matrices; `data` is not used."""
        dtype, rng = float_dtype("PLU", dtype), checks.generator("PLU.init: rng", rng)
        # LAPACK's R has a diagonal of either sign. With diag(R) > 0 the factorisation is unique,
        # and Q is Haar distributed (Mezzadri 2007)
        q, r = np.linalg.qr(rng.standard_normal((self.d, self.d)))
        return self.from_matrix((q * np.sign(np.diag(r))).astype(dtype))

    @staticmethod
    def from_matrix(W: Any) -> dict[str, np.ndarray]:
        """theta with matrix(theta) = W, for any invertible W (d, d) of floats.

        ValueError when W is singular; it names the first pivot that is zero. A pivot is a
        difference, and counts as zero when it is no larger than the rounding of its terms.
        ValueError too for a wrong shape, nan or infinity; TypeError for other than floats.
        """
        W = np.asanyarray(W) if isinstance(W, (list, tuple)) else W
        W = checks.floats("PLU.from_matrix: W", W, (...,))
        if W.ndim != 2 or W.shape[0] != W.shape[1] or W.size == 0:
            raise ValueError(f"PLU.from_matrix: W must be a square matrix with at least one row, "
                             f"got shape {W.shape}")
        perm, lower, upper = scipy.linalg.lu(W, p_indices=True)
        pivots = np.diag(upper)
        # U_ii = W[perm]_ii - Σ_{k<i} L_ik U_ki
        terms = np.abs(np.diag(W[perm]))
        terms = terms + np.einsum("ik,ki->i", np.abs(np.tril(lower, -1)), np.abs(upper))
        zero = np.abs(pivots) <= len(W) * np.finfo(W.dtype).eps * terms
        if zero.any():
            i = int(np.argmax(zero))
            raise ValueError(f"PLU.from_matrix: W is singular: pivot {i} (of 0..{len(W) - 1}) is "
                             f"{pivots[i]:.2g}, zero to rounding")
        return {"perm": perm.astype(np.intp), "lower": np.tril(lower, -1),
                "upper": np.triu(upper, 1), "sign": np.sign(pivots).astype(np.int8),
                "log_scale": np.log(np.abs(pivots))}

    def matrix(self, theta: Tree) -> np.ndarray:
        """W (d, d), formed; only for looking at it. d³ flops."""
        self._check(theta)
        self._check_triangles(theta)
        L = np.tril(theta["lower"], -1) + np.eye(self.d, dtype=theta["lower"].dtype)
        U = _upper(np.triu(theta["upper"]), theta["log_scale"], theta["sign"])
        return (L @ U)[theta["perm"]]

    def log_det(self, theta: Tree) -> Array:
        """log|det W| = sum(log_scale), a scalar: for one position."""
        self._check(theta)
        return np.sum(theta["log_scale"])

    def sign(self, theta: Tree) -> int:
        """The sign of det W: the parity of the permutation times prod(sign)."""
        self._check(theta)
        perm, parity, seen = theta["perm"], 1, np.zeros(self.d, bool)
        # a cycle of length n is n - 1 swaps; perm is no list of swaps, as LAPACK's pivots are
        for start in range(self.d):
            i = start
            while not seen[i]:
                seen[i], i = True, int(perm[i])
                parity = -parity if i != start else parity
        return parity * int(np.prod(theta["sign"]))

    def forward(self, theta: Tree, x: Array) -> tuple[Array, Array]:
        """y = (L U x)[perm], and log|det dy/dx| = positions * sum(log_scale) (batch,)."""
        x = checks.floats("PLU: x", x, ("batch", ..., self.d))
        self._check(theta)
        y = plu(x, theta["lower"], theta["upper"], theta["log_scale"], theta["sign"], theta["perm"])
        return self._made("W x", y, theta), per_example(np.sum(theta["log_scale"]), x)

    def inverse(self, theta: Tree, y: Array) -> tuple[Array, Array]:
        """x = U⁻¹ L⁻¹ y[argsort(perm)] by triangular solves, and log|det dx/dy| (batch,).

        The solves are in float64 for float32 too, so that x solves W x = y, for this y, to the
        last digit: at condition 10⁶ solves in float32 would be off by 10⁻², and a refinement step
        needs its residual in float64 anyhow. It costs a third more at d = 128, nothing at small d.
        What y lost when it was rounded, times the condition, stays lost.
        """
        y = checks.floats("PLU: y", y, ("batch", ..., self.d))
        self._check(theta)
        self._check_triangles(theta)
        checks.floats("PLU: exp(-log_scale)", np.exp(-theta["log_scale"]), (self.d,))
        x = plu_inverse(y, *(theta[name] for name in ("lower", "upper", "log_scale", "sign",
                                                      "perm")))
        return self._made("the inverse", x, theta), per_example(-np.sum(theta["log_scale"]), y)

    def _check(self, theta: Tree) -> None:
        d = self.d
        checks.parameters("PLU: theta", theta, {
            "perm": (d,), "lower": (d, d), "upper": (d, d), "sign": (d,), "log_scale": (d,)},
            integers=("perm", "sign"))
        perm, sign = theta["perm"], theta["sign"]
        if not np.array_equal(np.sort(perm), np.arange(d)):
            raise ValueError(f"PLU: perm must be a permutation of 0..{d - 1}, got {perm}")
        if not (np.abs(sign) == 1).all():
            raise ValueError(f"PLU: sign must hold 1 and -1, got {sign}")
        checks.floats("PLU: theta['log_scale']", theta["log_scale"], (d,))

    def _check_triangles(self, theta: Tree) -> None:
        checks.floats("PLU: theta['lower']", np.tril(theta["lower"], -1), (...,))
        checks.floats("PLU: theta['upper']", np.triu(theta["upper"], 1), (...,))

    def _made(self, name: str, y: Array, theta: Tree) -> Array:
        """y, if it is finite. The triangles, of which only half is read, are looked at when not."""
        if not np.isfinite(y).all():
            self._check_triangles(theta)
            checks.floats(f"PLU: {name}", y, (...,))
        return y


# ---------------------------------------------------------------- the layer as one operation


def _upper(upper: np.ndarray, log_scale: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """U with its diagonal; what stands below the diagonal of `upper` stays."""
    U = np.array(upper)
    U[np.diag_indices(len(U))] = sign * np.exp(log_scale)
    return U


def _times(triangle: np.ndarray, rows: np.ndarray, *, lower: bool, transpose: bool,
           unit: bool) -> np.ndarray:
    """A triangular (d, d), or its transpose, times every row of (n, d), by BLAS's trmm.

    The other triangle is not read. BLAS counts by columns, so to it our C-ordered arrays are their
    own transposes: nothing is copied.
    """
    triangle, rows = np.ascontiguousarray(triangle), np.ascontiguousarray(rows)
    (trmm,) = scipy.linalg.get_blas_funcs(("trmm",), (triangle, rows))
    return trmm(1.0, triangle.T, rows.T, lower=not lower, trans_a=not transpose, diag=unit).T


def _solved(triangle: np.ndarray, rows: np.ndarray, *, lower: bool, transpose: bool,
            unit: bool) -> np.ndarray:
    """The inverse of `_times` for float64 arrays, by BLAS's trsm, which takes the place of rows."""
    return trsm(1.0, triangle.T, rows.T, lower=not lower, trans_a=not transpose, diag=unit,
                overwrite_b=True).T


def _plu(x, lower, upper, log_scale, sign, perm):
    if x.size == 0:
        return x.copy(), (x.reshape(-1, len(perm)),) * 2
    rows = x.reshape(-1, len(perm))
    U = _upper(upper, log_scale, sign)
    a = _times(U, rows, lower=False, transpose=False, unit=False)  # a = U x
    b = _times(lower, a, lower=True, transpose=False, unit=True)  # b = L a
    return b[:, perm].reshape(x.shape), (a, U)  # y = b[perm]


def _plu_shared(y_bar, y, x, lower, upper, log_scale, sign, perm):
    """The cotangents of x, lower, upper and log_scale. Of log_scale only what comes through y: its
    log-determinant is a sum of its own."""
    _, (a, U) = y
    if x.size == 0:
        return tuple(map(np.zeros_like, (x, lower, upper, log_scale)))
    b_bar = y_bar.reshape(a.shape)[:, np.argsort(perm)]
    a_bar = _times(lower, b_bar, lower=True, transpose=True, unit=True)  # a_bar = Lᵀ b_bar
    M = a_bar.T @ x.reshape(a.shape)  # Σ over positions of a_bar xᵀ
    x_bar = _times(U, a_bar, lower=False, transpose=True, unit=False)  # x_bar = Uᵀ a_bar
    return x_bar.reshape(x.shape), np.tril(b_bar.T @ a, -1), np.triu(M, 1), np.diag(M) * np.diag(U)


# y = P L U x at every row of x:
#   dL/d lower = tril(Σ b_bar aᵀ, -1),  dL/d upper = triu(M, 1),  dL/d log_scale_i = M_ii U_ii
plu = defvjp(
    _plu,
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[0],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[1],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[2],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[3],
    shared=_plu_shared, saves=True)


def _plu_inverse(y, lower, upper, log_scale, sign, perm):
    dtype = np.result_type(y, lower, upper, log_scale)
    L, U = lower.astype(np.float64), _upper(upper.astype(np.float64), log_scale.astype(np.float64),
                                            sign)
    a = y.reshape(-1, len(perm))[:, np.argsort(perm)].astype(np.float64)
    if y.size == 0:
        return y.astype(dtype), (L, U, a, a)
    a = _solved(L, a, lower=True, transpose=False, unit=True)  # L a = y[argsort(perm)]
    x = _solved(U, a.copy(), lower=False, transpose=False, unit=False)  # U x = a
    return x.reshape(y.shape).astype(dtype), (L, U, a, x)


def _plu_inverse_shared(x_bar, x, y, lower, upper, log_scale, sign, perm):
    """The cotangents of y, lower, upper and log_scale."""
    _, (L, U, a, x) = x
    if y.size == 0:
        return tuple(map(np.zeros_like, (y, lower, upper, log_scale)))
    # a = U x, so a_bar = U⁻ᵀ x_bar and U_bar = -a_bar xᵀ; b = L a likewise
    a_bar = np.array(x_bar, np.float64).reshape(a.shape)
    a_bar = _solved(U, a_bar, lower=False, transpose=True, unit=False)
    b_bar = _solved(L, a_bar.copy(), lower=True, transpose=True, unit=True)
    M = -a_bar.T @ x
    return (b_bar[:, perm].reshape(y.shape), np.tril(-b_bar.T @ a, -1), np.triu(M, 1),
            np.diag(M) * np.diag(U))


# x = U⁻¹ L⁻¹ y[argsort(perm)] at every row of y
plu_inverse = defvjp(
    _plu_inverse,
    lambda bars, x, y, lower, upper, log_scale, sign, perm: bars[0],
    lambda bars, x, y, lower, upper, log_scale, sign, perm: bars[1],
    lambda bars, x, y, lower, upper, log_scale, sign, perm: bars[2],
    lambda bars, x, y, lower, upper, log_scale, sign, perm: bars[3],
    shared=_plu_inverse_shared, saves=True)
