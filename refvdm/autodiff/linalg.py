"""Rules of linear algebra: triangular and other systems, and sums over products of indices."""
from __future__ import annotations

from typing import Literal

import numpy as np
import scipy.linalg

from ..values import flag
from .rule import defvjp
from .tensor import Array
from .tree import numbers


def solve_triangular(a: Array, b: Array, trans: Literal[0, 1, 2, "N", "T", "C"] = 0,
                     lower: bool = False, unit_diagonal: bool = False) -> Array:
    """x with A x = b (trans 0 or "N") or A^T x = b (trans 1, 2, "T" or "C").

    a (n, n), b (n,) or (n, k), arrays or Tensors. Only the triangle that `lower` names is read,
    with unit_diagonal without its diagonal, and only what is read has a gradient.
    scipy.linalg.solve_triangular does the work and raises LinAlgError when A is singular.
    ValueError for other shapes and what is not finite, TypeError for arrays of anything but floats.

    >>> from refvdm.autodiff import solve_triangular
    >>> L, b = np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([4.0, 5.0])
    >>> solve_triangular(L, b, lower=True).tolist()
    [2.0, 3.0]
    """
    a, b = numbers("solve_triangular: a", a), numbers("solve_triangular: b", b)
    if a.ndim != 2 or a.shape[0] != a.shape[1] or b.ndim not in (1, 2) or len(a) != len(b):
        raise ValueError(f"solve_triangular: a must have shape (n, n) and b (n,) or (n, k), "
                         f"got {a.shape} and {b.shape}")
    if type(trans) is bool or trans not in (0, 1, 2, "N", "T", "C"):
        raise ValueError(f"solve_triangular: trans must be 0, 1, 2, 'N', 'T' or 'C', got {trans!r}")
    lower = flag("solve_triangular: lower", lower)
    unit_diagonal = flag("solve_triangular: unit_diagonal", unit_diagonal)
    for name, x in (("a", a), ("b", b)):
        if not np.isfinite(x).all():
            raise ValueError(f"solve_triangular: {name} must be finite")
    return _solve_arrays(a, b, trans, lower, unit_diagonal)


def _solve_arrays(a, b, trans, lower, unit_diagonal):
    if not len(a):  # SciPy before 1.14 raises
        return np.zeros(b.shape, np.result_type(a, b))
    return scipy.linalg.solve_triangular(a, b, trans, lower, unit_diagonal)


def _solve_shared(y_bar, y, a, b, trans=0, lower=False, unit_diagonal=False):
    # y = A^-1 b: b_bar = A^-T y_bar (Giles 2008, 2.2.3)
    other: Literal[0, 1] = 1 if trans in (0, "N") else 0
    return _solve_arrays(a, y_bar, other, lower, unit_diagonal)


def _solve_a(b_bar, y, a, b, trans=0, lower=False, unit_diagonal=False):
    # A_bar = -b_bar y^T, (-y b_bar^T for A^T y = b), on the entries that were read
    left, right = (b_bar, y) if trans in (0, "N") else (y, b_bar)
    full, diagonal = -(_columns(left) @ _columns(right).T), int(unit_diagonal)
    return np.tril(full, -diagonal) if lower else np.triu(full, diagonal)


def _columns(b):
    """b (n,) or (n, k) as columns; a -1 would fail for n = 0."""
    return b[:, None] if b.ndim == 1 else b


solve_triangular = defvjp(
    solve_triangular, _solve_a,
    lambda b_bar, y, a, b, trans=0, lower=False, unit_diagonal=False: b_bar, shared=_solve_shared)


def _solve(a, b):
    if a.ndim != 2 or b.ndim not in (1, 2):
        raise ValueError(f"np.linalg.solve of a Tensor: a must have shape (n, n) and b (n,) or "
                         f"(n, k), got {a.shape} and {b.shape}")
    return np.linalg.solve(a, b)


# A y = b: b_bar = A^-T y_bar, A_bar = -b_bar y^T (Giles 2008, 2.2.3)
defvjp(np.linalg.solve,
       lambda b_bar, y, a, b: -(_columns(b_bar) @ _columns(y).T),
       lambda b_bar, y, a, b: b_bar,
       shared=lambda y_bar, y, a, b: np.linalg.solve(a.T, y_bar), forward=_solve)


def einsum_of_arrays(*arrays, subscripts):
    return np.einsum(subscripts, *arrays)


def _einsum_pull(i, y_bar, y, *arrays, subscripts):
    """The same sum with y_bar in the place of array i: over what i does not have."""
    terms, out = subscripts.split("->")
    operands = terms.split(",")
    own, others = operands[i], operands[:i] + operands[i + 1:]
    if len(set(own)) < len(own):  # a trace of it: its diagonal gets everything
        letters = "".join(dict.fromkeys(own))
        x_bar = np.zeros_like(arrays[i])
        inner = _einsum_pull(i, y_bar, y, *[np.einsum(f"{own}->{letters}", a) if k == i else a
                                            for k, a in enumerate(arrays)],
                             subscripts=",".join([*operands[:i], letters, *operands[i + 1:]])
                             + "->" + out)
        np.einsum(f"{own}->{letters}", x_bar)[...] = inner
        return x_bar
    rest = [a for k, a in enumerate(arrays) if k != i]
    known = "".join(letter for letter in own if letter in out + "".join(others))
    part = np.einsum(",".join([out, *others]) + "->" + known, y_bar, *rest)
    # a letter that i does not share, or of length 1 in all the others: the same along it. Of length
    # 1 in i alone: the engine sums
    lengths = dict(zip(known, part.shape))
    part = part.reshape([lengths.get(letter, 1) for letter in own])
    return np.broadcast_to(part, np.broadcast_shapes(part.shape, arrays[i].shape))


defvjp(einsum_of_arrays, each=_einsum_pull)
