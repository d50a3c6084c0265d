"""§13.1 measured: by LAPACK, by refvdm.flows, by Leibniz's formula."""
from __future__ import annotations

import numpy as np

from ...flows import PLU
from .. import flows as spec
from .core import Measured, measures


def matrix(rng, d=4):
    """Invertible, all leading minors well away from 0, and P odd: two rows of another exchanged."""
    W = rng.standard_normal((d, d)) * 0.4 + np.diag(rng.uniform(1.5, 2.5, d))
    return W[[1, 0, *range(2, d)]]


def triangles(rng, d=4):
    return (np.tril(rng.uniform(-0.8, 0.8, (d, d)), -1) + np.eye(d),
            np.triu(rng.uniform(-0.8, 0.8, (d, d)), 1) + np.diag(rng.uniform(0.5, 2, d)))


@measures("13.1 LU")
def lu(rng):
    L, U = triangles(rng)
    return Measured(spec.lu(L @ U), closed=(L, U))


@measures("13.1 PLU")
def plu(rng):
    W, d = matrix(rng), 4
    theta = PLU.from_matrix(W)
    machine = (np.eye(d)[theta["perm"]], np.eye(d) + theta["lower"],
               theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"])))
    return Measured(spec.plu(W), machine=machine)


@measures("13.1 det")
def determinant(rng):
    W = matrix(rng)
    left, right = spec.determinant(W)
    theta = PLU.from_matrix(W)
    machine = PLU(4).sign(theta) * np.exp(PLU(4).log_det(theta))
    return Measured(left, side=right, machine=machine, closed=np.linalg.det(W),
                    printed=spec.printed_determinant(W)[1])


@measures("13.1 log det")
def log_det(rng):
    W = matrix(rng)
    return Measured(spec.log_det(spec.plu(W)[2]), machine=PLU(4).log_det(PLU.from_matrix(W)),
                    closed=np.linalg.slogdet(W)[1])


@measures("13.1 layer")
def layer(rng):
    W, x = matrix(rng), rng.standard_normal(4)
    machine = PLU(4).forward(PLU.from_matrix(W), x[None])[0][0]
    return Measured(spec.layer(x, *spec.plu(W)), machine=machine, closed=W @ x)


@measures("13.1 layer, inverse")
def inverse(rng):
    W, y = matrix(rng), rng.standard_normal(4)
    machine = PLU(4).inverse(PLU.from_matrix(W), y[None])[0][0]
    return Measured(spec.inverse(y, *spec.plu(W)), machine=machine, closed=np.linalg.solve(W, y))


@measures("13.1")
def first_element(rng):
    L, U = (np.tril(rng.standard_normal((4, 4))), np.triu(rng.standard_normal((4, 4))))
    left, right = spec.first_element(L, U)
    return Measured(left, side=right)


@measures("13.1, conclusion")
def product(rng):
    L, U = (np.tril(rng.standard_normal((4, 4))), np.triu(rng.standard_normal((4, 4))))
    left, right = spec.determinant_of_a_product(L, U)
    return Measured(left, side=right, closed=np.linalg.det(L) * np.linalg.det(U))


@measures("13.1 permutation", 0)
def permutation(rng):
    swap = spec.permutation()
    P, L, U = spec.plu(swap)  # it is its own P
    return Measured([swap[0, 0], spec.has_lu(swap), P @ L @ U], closed=[0, False, swap])


@measures("13.1 minors", 0)
def minors(rng):
    """The printed condition holds for the counterexample, whose elimination divides by 0."""
    regular, W = np.matmul(*triangles(rng)), spec.counterexample()
    with np.errstate(all="ignore"):
        ends = [bool(np.all(np.isfinite(spec.lu(A)[0]))) for A in (regular, W)]
    return Measured([spec.has_lu(regular), spec.has_lu(W)], closed=ends,
                    printed=[spec.printed_has_lu(regular), spec.printed_has_lu(W)])


@measures("13.1 pivots")
def pivots(rng):
    left, right = spec.pivots(np.matmul(*triangles(rng)))
    return Measured(left, side=right)


@measures("13.1 counterexample", 0)
def counterexample(rng):
    W = spec.counterexample()
    return Measured([W[0, 0], *spec.leading_minors(W), *spec.plu(W)[0] @ np.arange(3.0)],
                    closed=[1, 1, 0, -1, 0, 2, 1])
