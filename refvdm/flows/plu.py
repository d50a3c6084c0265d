"""The PLU layer of 13.1: y = W x with W = P L U, so that log|det W| is a sum of d numbers.

    P    a fixed permutation, P = I[perm], so W x = (L U x)[perm]
    L    unit lower triangular: I + lower
    U    upper + diag(sign exp(log_scale)), `upper` strictly upper, `sign` fixed

    det W = det P prod(sign) exp(sum(log_scale))

Printed in 13.1: det W = det L det U, which is right up to the sign, det P = +-1; and that W11 = 0
is what rules out W = L U. A factorisation without P needs every leading principal minor to be
non-zero: [[1,1,0],[1,1,1],[0,1,1]] has W11 = 1 and none. With P there is one for every invertible
W.
"""
from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.linalg

from .. import checks
from ..autodiff import defvjp, solve_triangular


class PLU:
    """y = W x at every position of x (batch, ..., d): with positions between batch and d, Glow's
    1x1 convolution.

    theta = {"perm": int (d,), "lower": (d, d) strictly lower, "upper": (d, d) strictly upper,
    "sign": int8 (d,), "log_scale": (d,)}; what stands elsewhere in `lower` and `upper` is not read
    and has gradient 0. x is a row, so y = x @ W.T: W is in the order of torch's 1x1 filters (out,
    in); TensorFlow's are (in, out), the transpose.

    Cost for n positions: forward and inverse 2 n d² flops (a dense product's), log_det d additions.
    ValueError for d < 1.
    """

    def __init__(self, d: int):
        self.d = checks.integer("PLU: d", d)

    def output_shape(self, shape: tuple) -> tuple:
        return shape

    def init(self, rng: np.random.Generator, data: Any = None,
             dtype: Any = np.float64) -> dict[str, np.ndarray]:
        """theta of a random W, Haar distributed on the orthogonal matrices; `data` is not looked
        at."""
        # NumPy's Q has whatever sign makes R as LAPACK likes it; with diag(R) > 0 the factorisation
        # is unique and Q is Haar distributed (Mezzadri 2007)
        q, r = np.linalg.qr(rng.standard_normal((self.d, self.d)))
        return self.from_matrix((q * np.sign(np.diag(r))).astype(dtype))

    @staticmethod
    def from_matrix(W: Any) -> dict[str, np.ndarray]:
        """theta with matrix(theta) = W, for any invertible W (d, d) of floats.

        ValueError that says which pivot is zero, to the rounding of what it is a difference of,
        when W is singular, or what is wrong with its shape or values; TypeError for integers.
        """
        W = np.asarray(W)
        if W.dtype.kind != "f":
            raise TypeError(f"PLU.from_matrix: W must hold floats, got dtype {W.dtype}; cast it "
                            f"with .astype(float)")
        if W.ndim != 2 or W.shape[0] != W.shape[1] or W.size == 0:
            raise ValueError(f"PLU.from_matrix: W must be a square matrix with at least one row, "
                             f"got shape {W.shape}")
        if not np.isfinite(W).all():
            raise ValueError("PLU.from_matrix: W must hold finite numbers, got nan or infinity")
        perm, lower, upper = scipy.linalg.lu(W, p_indices=True)
        pivots = np.diag(upper)
        # pivot i is W[perm][i, i] minus sum_{k<i} L_ik U_ki: zero when no more than the rounding of
        # these terms is left of them
        terms = np.abs(np.diag(W[perm])) + np.einsum("ik,ki->i", np.abs(np.tril(lower, -1)),
                                                     np.abs(upper))
        zero = np.abs(pivots) <= len(W) * np.finfo(W.dtype).eps * terms
        if zero.any():
            i = int(np.argmax(zero))
            raise ValueError(f"PLU.from_matrix: W is singular: pivot {i} (of 0..{len(W) - 1}) is "
                             f"{pivots[i]:.2g}, zero to rounding")
        return {"perm": perm.astype(np.intp), "lower": np.tril(lower, -1),
                "upper": np.triu(upper, 1),
                "sign": np.sign(pivots).astype(np.int8), "log_scale": np.log(np.abs(pivots))}

    def matrix(self, theta: dict) -> np.ndarray:
        """W (d, d), formed; only for looking at it. d³ flops."""
        _check_theta(theta, self.d)
        L = np.tril(theta["lower"], -1) + np.eye(self.d, dtype=theta["lower"].dtype)
        return (L @ _upper(theta["upper"], theta["log_scale"], theta["sign"],
                           np.triu))[theta["perm"]]

    def log_det(self, theta: dict) -> Any:
        """log|det W| = sum(log_scale), a scalar: for one position."""
        return np.sum(theta["log_scale"])

    def sign(self, theta: dict) -> int:
        """The sign of det W: the permutation's parity times prod(sign). Not from LAPACK's pivots,
        which are successive swaps."""
        perm, parity, seen = theta["perm"], 1, np.zeros(self.d, bool)
        for start in range(self.d):  # a cycle of length n is n - 1 swaps
            i = int(start)
            while not seen[i]:
                seen[i], i = True, int(perm[i])
                parity = -parity if i != start else parity
        return parity * int(np.prod(theta["sign"]))

    def forward(self, theta: dict, x: Any) -> tuple[Any, Any]:
        """y = (L U x)[perm] and log|det| = positions * sum(log_scale) (batch,)."""
        check_input("PLU", x, self.d)
        _check_theta(theta, self.d)
        y = plu(x, theta["lower"], theta["upper"], theta["log_scale"], theta["sign"], theta["perm"])
        return y, per_example(self.log_det(theta), x)

    def inverse(self, theta: dict, y: Any) -> tuple[Any, Any]:
        """x = U^-1 L^-1 y[argsort(perm)] by triangular solves, and the log|det| of this map,
        -positions * sum(log_scale) (batch,)."""
        check_input("PLU", y, self.d)
        _check_theta(theta, self.d)
        rows: Any = np.transpose(np.reshape(y, (-1, self.d))[:, np.argsort(theta["perm"])])
        diagonal = theta["sign"] * np.exp(theta["log_scale"])
        # U = D (I + D^-1 upper): the solve with D is a division, and D never has to be written into
        # a matrix
        rows = solve_triangular(np.tril(theta["lower"], -1), rows, lower=True, unit_diagonal=True)
        scaled = np.triu(theta["upper"], 1) / diagonal[:, None]
        rows = solve_triangular(scaled, rows / diagonal[:, None], unit_diagonal=True)
        return np.reshape(np.transpose(rows), y.shape), per_example(-self.log_det(theta), y)


# ---------------------------------------------------------------- the layer as one operation


def _upper(upper, log_scale, sign, cut=np.array):
    U = cut(upper)
    U[np.diag_indices(len(U))] = sign * np.exp(log_scale)
    return U


def _times(triangle, rows, lower: bool, transpose: bool, unit: bool):
    """The product of a triangular (d, d) with every row of (n, d), or its transpose's, by BLAS: the
    other triangle is not read.

    BLAS counts by columns: our C-ordered arrays are their own transposes to it, so that neither is
    copied.
    """
    triangle, rows = np.ascontiguousarray(triangle), np.ascontiguousarray(rows)
    (trmm,) = scipy.linalg.get_blas_funcs(("trmm",), (triangle, rows))
    return trmm(1.0, triangle.T, rows.T, lower=not lower, trans_a=not transpose, diag=unit).T


def _plu(x, lower, upper, log_scale, sign, perm):
    if x.size == 0:
        return x.copy(), (x.reshape(-1, len(perm)),) * 2
    rows = x.reshape(-1, len(perm))
    U = _upper(upper, log_scale, sign)
    a = _times(U, rows, lower=False, transpose=False, unit=False)  # a = U x
    b = _times(lower, a, lower=True, transpose=False, unit=True)  # b = L a
    return b[:, perm].reshape(x.shape), (a, U)  # y = b[perm]


def _plu_shared(y_bar, y, x, lower, upper, log_scale, sign, perm):
    """All five cotangents but log_scale's part of the log-determinant, which is a sum of its
    own."""
    _, (a, U) = y
    if x.size == 0:
        return tuple(map(np.zeros_like, (x, lower, upper, log_scale)))
    b_bar = y_bar.reshape(a.shape)[:, np.argsort(perm)]
    a_bar = _times(lower, b_bar, lower=True, transpose=True, unit=True)  # a_bar = L^T b_bar
    M = a_bar.T @ x.reshape(a.shape)  # sum over positions of a_bar x^T
    x_bar = _times(U, a_bar, lower=False, transpose=True, unit=False)  # x_bar = U^T a_bar
    return x_bar.reshape(x.shape), np.tril(b_bar.T @ a, -1), np.triu(M, 1), np.diag(M) * np.diag(U)


# y = P L U x at every row of x: dL/d lower = tril(sum b_bar a^T, -1), dL/d upper = triu(M, 1), dL/d
# log_scale_i = M_ii U_ii
plu = defvjp(
    _plu,
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[0],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[1],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[2],
    lambda bars, y, x, lower, upper, log_scale, sign, perm: bars[3],
    shared=_plu_shared, saves=True)


# ---------------------------------------------------------------- what every layer checks and
# counts


def check_input(who: str, x: Any, d: int) -> None:
    """x or y must be floats (batch, ..., d), finite."""
    checks.floats(f"{who}: the input", x, ("batch", ..., d))


def per_example(log_det: Any, x: Any) -> Any:
    """A log-determinant of one position, times the number of positions, for every example
    (batch,)."""
    # NumPy 1.26 would widen a float32 number times an int
    positions = log_det.dtype.type(math.prod(x.shape[1:-1]))
    return np.broadcast_to(log_det * positions, x.shape[:1])


def _check_theta(theta: dict, d: int) -> None:
    shapes = {"perm": (d,), "lower": (d, d), "upper": (d, d), "sign": (d,), "log_scale": (d,)}
    checks.parameters("PLU: theta", theta, shapes)
    if theta["perm"].dtype.kind not in "iu" or not np.array_equal(np.sort(theta["perm"]),
                                                                  np.arange(d)):
        raise ValueError(f"PLU: perm must be a permutation of 0..{d - 1}, got {theta['perm']}")
