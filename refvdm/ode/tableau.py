"""Explicit Runge-Kutta methods, the ODESolver of 13.9, as tableaux of exact fractions, with their
interpolants.

One step from (t, y) with step h, stages i = 1..s:

    k_i = f(t + c_i h, y + h sum_{j<i} a_ij k_j)
    y_new = y + h sum_i b_i k_i
    k_{s+1} = f(t + h, y_new)

k_{s+1} is the first stage of the next step, so it costs nothing. It takes part in the interpolant
and in the error estimate h sum_i e_i k_i, where there is one: both are sums over all s + 1.
Between the ends, with x = (time - t)/h in [0, 1],

    y(t + x h) = y + h sum_i b_i(x) k_i,    b_i(x) = sum_m P[i, m] x^(m+1)

Names differ between libraries. torchdiffeq's "rk4" is the 3/8 rule, here "rk4_38"; its "midpoint"
is this one; its "bosh3" takes these steps and interpolates otherwise. SciPy's RK23 is bosh3 and
its RK45 dopri5. What others call "rk2" is midpoint or heun.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

Row = tuple[Fraction, ...]


class Weights(NamedTuple):
    """A tableau in floats of one dtype."""

    A: tuple[np.ndarray, ...]  # A[i] (i,): the weights of the stages before stage i
    b: np.ndarray  # (s,)
    c: tuple[float, ...]
    e: np.ndarray  # (s + 1,), SciPy's; empty for a method without error estimate
    e_1986: np.ndarray  # everyone else's
    P: np.ndarray  # (s + 1, powers)


class Tableau(NamedTuple):
    """An explicit Runge-Kutta method in exact fractions; the letters as in the formulas above.

    >>> from refvdm.ode import METHODS
    >>> METHODS["rk4"].order, [str(weight) for weight in METHODS["rk4"].b]
    (4, ['1/6', '1/3', '1/3', '1/6'])
    """

    name: str
    order: int  # of y_new: its local error is O(h^(order + 1))
    a: tuple[Row, ...]
    b: Row
    c: Row
    e: Row | None = None  # error weights; None: fixed steps only
    e_1986: Row | None = None
    error_order: int = 0  # the estimate is O(h^(error_order + 1))
    middle: Row | None = None  # y(t + h/2) = y + h sum_i middle_i k_i; None: cubic Hermite

    @property
    def stages(self) -> int:
        return len(self.b)

    @property
    def interpolant(self) -> tuple[Row, ...]:
        """P (s + 1, powers): the polynomial through the values and slopes at both ends.

        b(0) = 0, b(1) = b; b'(0) is 1 for k_1, b'(1) is 1 for k_{s+1}, both 0 for all others.
        That is a cubic, and with b(1/2) = middle a quartic.
        """
        s = self.stages
        rows = []
        for i in range(s + 1):
            start, end, value = Fraction(i == 0), Fraction(i == s), (*self.b, Fraction(0))[i]
            cubic = [start, 3 * value - 2 * start - end, -2 * value + start + end]
            if self.middle is None:
                rows.append(tuple(cubic))
            else:  # x²(1 - x)² is 1/16 in the middle; at the ends its value and slope are 0
                q = 16 * (self.middle[i] - sum(p / 2**m for m, p in enumerate(cubic, start=1)))
                rows.append((cubic[0], cubic[1] + q, cubic[2] - 2 * q, q))
        return tuple(rows)

    def weights(self, dtype: np.dtype) -> Weights:
        """The same in floats."""
        return _weights(self, np.dtype(dtype))


@functools.cache
def _weights(tableau: Tableau, dtype: np.dtype) -> Weights:
    def floats(row: Row) -> np.ndarray:
        return np.array([float(x) for x in row], dtype)

    return Weights(
        A=tuple(map(floats, tableau.a)),
        b=floats(tableau.b),
        c=tuple(map(float, tableau.c)),
        e=floats(tableau.e or ()),
        e_1986=floats(tableau.e_1986 or ()),
        P=np.array(list(map(floats, tableau.interpolant))))


def _row(text: str) -> Row:
    return tuple(Fraction(x) for x in text.split())


def _tableau(name: str, order: int, a: Sequence[str], b: str, **others: Any) -> Tableau:
    rows = tuple(map(_row, a))
    c = tuple(sum(row, Fraction(0)) for row in rows)  # c_i = sum_j a_ij
    return Tableau(name, order, rows, _row(b), c, **others)


# 13.6 is a step of this one with h = 1: z_{l+1} = z_l + f(z_l, w_{l+1}), a residual network
EULER = _tableau("euler", 1, [""], "1")
MIDPOINT = _tableau("midpoint", 2, ["", "1/2"], "0 1")
HEUN = _tableau("heun", 2, ["", "1"], "1/2 1/2")
# Kutta 1901, the classical one ...
RK4 = _tableau("rk4", 4, ["", "1/2", "0 1/2", "0 0 1"], "1/6 1/3 1/3 1/6")
# ... and his 3/8 rule, which torchdiffeq calls rk4
RK4_38 = _tableau("rk4_38", 4, ["", "1/3", "-1/3 1", "1 -1 1"], "1/8 3/8 3/8 1/8")
# Bogacki and Shampine 1989
BOSH3 = _tableau(
    "bosh3", 3, ["", "1/2", "0 3/4"], "2/9 1/3 4/9", error_order=2,
    e=_row("5/72 -1/12 -1/9 1/8"), e_1986=_row("-5/72 1/12 1/9 -1/8"))
# Dormand and Prince 1980. e is theirs, with SciPy's sign. e_1986 is Shampine's (Math. Comp. 46,
# 1986), -2/3 of it: b minus his fourth-order weights. The value in the middle of the step is his.
_B = "35/384 0 500/1113 125/192 -2187/6784 11/84"
_SHAMPINE = _row("1951/21600 0 22642/50085 451/720 -12231/42400 649/6300 1/60")
DOPRI5 = _tableau(
    "dopri5", 5,
    ["",
     "1/5",
     "3/40 9/40",
     "44/45 -56/15 32/9",
     "19372/6561 -25360/2187 64448/6561 -212/729",
     "9017/3168 -355/33 46732/5247 49/176 -5103/18656"],
    _B, error_order=4,
    e=_row("-71/57600 0 71/16695 -71/1920 17253/339200 -22/525 1/40"),
    e_1986=tuple(x - y for x, y in zip(_row(_B + " 0"), _SHAMPINE)),
    middle=tuple(x / 2 for x in _row(
        "6025192743/30085553152 0 51252292925/65400821598 -2691868925/45128329728 "
        "187940372067/1594534317056 -1776094331/19743644256 11237099/235043384")))

METHODS = {tableau.name: tableau for tableau in (EULER, MIDPOINT, HEUN, RK4, RK4_38, BOSH3, DOPRI5)}
