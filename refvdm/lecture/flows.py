"""§13.1: a linear layer W = P L U, whose determinant is a product of n numbers.

W is an array (n, n), x and y are vectors (n,).
"""
import numpy as np
from numpy import arange, array, diag, eye, log, prod, zeros_like

from .equation import as_printed, equation, identity, section

section("§13.1", "GLOW: Improve Shuffling")


def det(W):
    """|W| by its definition, expanded along the first row: n! products."""
    if len(W) == 1:
        return W[0, 0]
    return sum((-1) ** j * W[0, j] * det(np.delete(W[1:], j, axis=1)) for j in range(len(W)))


# ---- W = L U, where there is one


@equation("13.1 LU", "W = L U, L unit lower and U upper triangular: elimination, row by row")
def lu(W):
    L, U = eye(len(W), dtype=W.dtype), W.copy()
    for k in range(len(W)):
        for i in range(k + 1, len(W)):
            L[i, k] = U[i, k] / U[k, k]
            U[i] = U[i] - L[i, k] * U[k]
    return L, U


# ---- W = P L U, for every invertible W


@equation("13.1 PLU", "W = P L U, P a permutation; pivots: the largest left in each column",
          machine="refvdm.flows.PLU.from_matrix")
def plu(W):
    rows, A = arange(len(W)), W.copy()
    for k in range(len(W)):
        p = k + int(np.argmax(np.abs(A[k:, k])))
        swap, back = [k, p], [p, k]
        A[swap], rows[swap] = A[back], rows[back]
        for i in range(k + 1, len(W)):
            A[i] = A[i] - A[i, k] / A[k, k] * A[k]
    P = eye(len(W), dtype=W.dtype)[np.argsort(rows)]  # P^T W is W[rows]
    return P, *lu(P.T @ W)


@identity("13.1 det", "|W| = |P| |L| |U|, |P| = ±1, |L| = 1, |U| = Π U_ii", printed="|W| = |U| |L|",
          machine="refvdm.flows.PLU.sign")
def determinant(W):
    P, L, U = plu(W)
    return det(W), det(P) * det(L) * det(U)


@as_printed("13.1 det")
def printed_determinant(W):
    _, L, U = plu(W)
    return det(W), det(U) * det(L)


@equation("13.1 log det", "log abs |W| = Σ log abs U_ii", machine="refvdm.flows.PLU.log_det")
def log_det(U):
    return np.sum(log(np.abs(diag(U))))


@equation("13.1 layer", "y = W x = P (L (U x))", machine="refvdm.flows.PLU.forward")
def layer(x, P, L, U):
    return P @ (L @ (U @ x))


@equation("13.1 layer, inverse", "x = U^-1 (L^-1 (P^T y)), by substitution",
          machine="refvdm.flows.PLU.inverse")
def inverse(y, P, L, U):
    b = P.T @ y
    a, x = zeros_like(b), zeros_like(b)
    for i in range(len(b)):  # L a = b, downward
        a[i] = b[i] - L[i, :i] @ a[:i]
    for i in reversed(range(len(b))):  # U x = a, upward
        x[i] = (a[i] - U[i, i + 1 :] @ x[i + 1 :]) / U[i, i]
    return x


# ---- why P: not every W is L U


@identity("13.1", "W = L U has W_11 = L_11 U_11: if W_11 = 0, so is L_11 or U_11")
def first_element(L, U):
    return (L @ U)[0, 0], L[0, 0] * U[0, 0]


@identity("13.1, conclusion", "|L U| = Π L_ii U_ii: if L_11 or U_11 is 0, W is not of full rank")
def determinant_of_a_product(L, U):
    return det(L @ U), prod(diag(L) * diag(U))


@equation("13.1 permutation", "a permutation matrix that moves index 1 has W_11 = 0, and no L U",
          printed="\"e.g. a permutation matrix\"; the identity is one too, and is L U")
def permutation():
    return array([[0.0, 1.0], [1.0, 0.0]])


def leading_minors(W):
    return [det(W[: k + 1, : k + 1]) for k in range(len(W))]


@equation("13.1 minors", "an invertible W is L U if and only if no leading principal minor is 0",
          printed="only W_11 = 0, the first of the minors, is in the way")
def has_lu(W):
    return all(minor != 0 for minor in leading_minors(W))


@as_printed("13.1 minors")
def printed_has_lu(W):
    return W[0, 0] != 0


@identity("13.1 pivots", "U_kk = minor_k / minor_{k-1}, minor_0 = 1: what L U divides by")
def pivots(W):
    _, U = lu(W)
    minors = [1, *leading_minors(W)]
    return diag(U), array([minors[k + 1] / minors[k] for k in range(len(W))])


@equation("13.1 counterexample", "[[1,1,0],[1,1,1],[0,1,1]]: W_11 = 1, minors 1, 0, -1, no L U")
def counterexample():
    return array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
