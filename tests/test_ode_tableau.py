"""Runge-Kutta tableaux: order conditions over rooted trees in exact fractions, the interpolants,
SciPy's constants, measured orders."""
import functools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy.integrate import RK23, RK45

from refvdm.ode import METHODS, solve

ORDERS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4, "rk4_38": 4, "bosh3": 3, "dopri5": 5}
PAIRS = [("dopri5", RK45), ("bosh3", RK23)]
every_method = pytest.mark.parametrize("name", METHODS)


@functools.cache
def trees(order):
    """Rooted trees with so many nodes, each the sorted tuple of the trees that hang from its root:
    1, 1, 2, 4, 9, 20, 48."""
    def forests(nodes, largest):
        if nodes == 0:
            yield ()
        for size in range(min(nodes, largest[0]), 0, -1):
            for tree in trees(size):
                if (size, tree) <= largest:
                    for rest in forests(nodes - size, (size, tree)):
                        yield (tree, *rest)
    return tuple(forests(order - 1, (order, ())))


def size(tree):
    return 1 + sum(map(size, tree))


def density(tree):
    return size(tree) * math.prod(map(density, tree))


def extended(tableau):
    """The rows of A with that of k_{s+1}, whose weights are b."""
    return [*tableau.a, tableau.b]


def elementary(tree, rows):
    """Phi_i of every stage i: the product over the subtrees of sum_j a_ij Phi_j."""
    parts = [elementary(branch, rows) for branch in tree]
    return [math.prod((sum((a * p for a, p in zip(row, part)), Fraction(0)) for part in parts), start=Fraction(1))
            for row in rows]


def total(weights, tree, rows):
    return sum(w * p for w, p in zip(weights, elementary(tree, rows)))


def meets(weights, rows, order, target=lambda tree: Fraction(1, density(tree))):
    """Whether sum_i weights_i Phi_i(tree) is the target for every tree of this order."""
    return all(total(weights, tree, rows) == target(tree) for tree in trees(order))


def symmetry(tree):
    return math.prod(math.factorial(tree.count(branch)) * symmetry(branch) ** tree.count(branch)
                     for branch in set(tree))


def test_number_of_rooted_trees_and_their_densities():
    """1, 1, 2, 4, 9, 20 trees; with n nodes sum_tree n!/(density symmetry) = (n - 1)!, the monotonic labellings."""
    assert [len(trees(n)) for n in range(1, 7)] == [1, 1, 2, 4, 9, 20]
    for n in range(1, 7):
        assert len(set(trees(n))) == len(trees(n)) and all(size(tree) == n for tree in trees(n))
        labellings = [Fraction(math.factorial(n), density(tree) * symmetry(tree)) for tree in trees(n)]
        assert sum(labellings) == math.factorial(n - 1)


def test_the_methods_and_their_orders():
    """The registry holds each tableau under its own name, and the stated order."""
    assert {name: tableau.order for name, tableau in METHODS.items()} == ORDERS
    assert all(tableau.name == name for name, tableau in METHODS.items())
    assert [METHODS[name].stages for name in ORDERS] == [1, 2, 2, 4, 4, 3, 6]
    assert [METHODS[name].error_order for name in ORDERS] == [0, 0, 0, 0, 0, 2, 4]
    assert [name for name, tableau in METHODS.items() if tableau.e] == ["bosh3", "dopri5"]


@every_method
def test_order_conditions_hold_up_to_the_order_and_fail_beyond(name):
    """sum_i b_i Phi_i(tree) = 1/density(tree) for every tree of at most `order` nodes,
    and not for all trees with one more."""
    tableau = METHODS[name]
    assert all(meets(tableau.b, tableau.a, order) for order in range(1, tableau.order + 1))
    assert not meets(tableau.b, tableau.a, tableau.order + 1)


@every_method
def test_row_sums_and_shape(name):
    """c_i = sum_j a_ij, c_1 = 0, and row i weighs the i stages before it: an explicit method."""
    tableau = METHODS[name]
    assert tableau.c == tuple(sum(row, Fraction(0)) for row in tableau.a) and tableau.c[0] == 0
    assert [len(row) for row in tableau.a] == list(range(len(tableau.b)))
    assert sum(tableau.b) == 1
    weights = tableau.weights(np.float64)
    assert weights.c == tuple(map(float, tableau.c)) and all(type(c) is float for c in weights.c)


@pytest.mark.parametrize("name", ["dopri5", "bosh3"])
@pytest.mark.parametrize("which", ["e", "e_1986"])
def test_error_weights_belong_to_an_embedded_method_of_the_error_order(name, which):
    """sum_i e_i = 0, sum_i e_i Phi_i = 0 up to error_order and not beyond;
    so b - e meets the conditions of error_order."""
    tableau = METHODS[name]
    e, rows = getattr(tableau, which), extended(tableau)
    assert sum(e) == 0 and len(e) == tableau.stages + 1 and tableau.error_order == tableau.order - 1
    assert all(meets(e, rows, order, lambda tree: 0) for order in range(1, tableau.error_order + 1))
    assert not meets(e, rows, tableau.error_order + 1, lambda tree: 0)
    embedded = [b - x for b, x in zip((*tableau.b, Fraction(0)), e)]
    assert all(meets(embedded, rows, order) for order in range(1, tableau.error_order + 1))
    assert not meets(embedded, rows, tableau.order)


def test_the_two_error_estimates_differ_by_a_factor():
    """Shampine's weights of 1986 are exactly -2/3 of Dormand and Prince's as SciPy has them;
    of bosh3 there is one, with two signs."""
    dopri5, bosh3 = METHODS["dopri5"], METHODS["bosh3"]
    assert dopri5.e_1986 == tuple(Fraction(-2, 3) * x for x in dopri5.e)
    assert bosh3.e_1986 == tuple(-x for x in bosh3.e)
    assert [METHODS[name].e_1986 for name in ("euler", "midpoint", "heun", "rk4", "rk4_38")] == [None] * 5


@every_method
def test_interpolant_meets_the_ends(name):
    """b(0) = 0 by its form, b(1) = b, b'(0) = the unit vector of k_1, b'(1) = that of k_{s+1};
    b(1/2) = middle where there is one."""
    tableau = METHODS[name]
    s, P = tableau.stages, tableau.interpolant
    assert len(P) == s + 1 and {len(row) for row in P} == {4 if name == "dopri5" else 3}
    assert [sum(row) for row in P] == [*tableau.b, 0]
    assert [row[0] for row in P] == [Fraction(i == 0) for i in range(s + 1)]
    assert [sum(m * p for m, p in enumerate(row, start=1)) for row in P] == [Fraction(i == s) for i in range(s + 1)]
    if tableau.middle:
        assert tuple(sum(p / 2**m for m, p in enumerate(row, start=1)) for row in P) == tableau.middle


@every_method
def test_continuous_order_of_the_interpolant(name):
    """sum_i b_i(x) Phi_i = x^n/density as polynomials in x up to order min(order, 3), 4 for dopri5, and no further."""
    tableau = METHODS[name]
    rows = extended(tableau)

    def holds(order):
        return all(meets(column, rows, order, lambda tree, power=power: Fraction(int(power == order), density(tree)))
                   for power, column in enumerate(zip(*tableau.interpolant), start=1))

    expected = 4 if name == "dopri5" else min(tableau.order, 3)
    assert all(map(holds, range(1, expected + 1))) and not holds(expected + 1)


@pytest.mark.parametrize("name, theirs", PAIRS)
def test_weights_are_scipys_to_the_last_bit(name, theirs):
    """A, B, C, E and P of scipy.integrate.RK45 and RK23, in float64."""
    weights = METHODS[name].weights(np.float64)
    for i, row in enumerate(weights.A):
        assert np.array_equal(row, theirs.A[i, :i]) and not theirs.A[i, i:].any()
    assert np.array_equal(weights.b, theirs.B) and np.array_equal(weights.c, theirs.C)
    assert np.array_equal(weights.e, theirs.E)
    np.testing.assert_allclose(weights.P, theirs.P, rtol=2e-15, atol=0)
    assert METHODS[name].order == theirs.order and METHODS[name].error_order == theirs.error_estimator_order


def test_rk4_is_kuttas_classical_rule_and_rk4_38_his_other_one():
    """Simpson's weights 1, 2, 2, 1 over 6 at 0, 1/2, 1/2, 1, and 1, 3, 3, 1 over 8 at 0, 1/3, 2/3, 1."""
    F = Fraction
    rk4, rk4_38 = METHODS["rk4"], METHODS["rk4_38"]
    assert rk4.b == (F(1, 6), F(1, 3), F(1, 3), F(1, 6)) and rk4.c == (0, F(1, 2), F(1, 2), 1)
    assert rk4.a == ((), (F(1, 2),), (0, F(1, 2)), (0, 0, 1))
    assert rk4_38.b == (F(1, 8), F(3, 8), F(3, 8), F(1, 8)) and rk4_38.c == (0, F(1, 3), F(2, 3), 1)
    assert rk4_38.a == ((), (F(1, 3),), (F(-1, 3), 1), (1, -1, 1))


def test_midpoint_and_heun_differ_in_where_they_look():
    """Midpoint: all weight at 1/2. Heun: the trapezium, half at either end."""
    assert METHODS["midpoint"].b == (0, 1) and METHODS["midpoint"].c == (0, Fraction(1, 2))
    assert METHODS["heun"].b == (Fraction(1, 2), Fraction(1, 2)) and METHODS["heun"].c == (0, 1)


@every_method
def test_float32_weights_are_the_rounded_fractions(name):
    """Every weight is the nearest float32, and arrays are of that dtype: none lifts a float32 state to float64."""
    low, high = METHODS[name].weights(np.float32), METHODS[name].weights(np.dtype("float64"))
    for a, b in zip((*low.A, low.b, low.e, low.e_1986, low.P), (*high.A, high.b, high.e, high.e_1986, high.P)):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == np.float32 and b.dtype == np.float64 and np.array_equal(a, b.astype(np.float32))
    assert METHODS[name].weights(np.dtype("float32")) is low


@pytest.mark.parametrize("ends", [(0.0, 2.0), (2.0, 0.0)], ids=["forward", "backward"])
@every_method
def test_measured_order_of_fixed_steps(name, ends):
    """z' = exp(t - z), z = log(1 + exp(t)): the error at the end falls as step^order, in both directions of time."""
    counts, errors = np.array([12, 24, 48]), []
    for n in counts:
        z = solve(lambda z, t, theta: np.exp(t - z), np.log1p(np.exp(ends[0])), ends, method=name, step=2 / n).zs[-1]
        errors.append(abs(z - np.log1p(np.exp(ends[1]))))
    slope = -np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert abs(slope - ORDERS[name]) < 0.2


@every_method
def test_quadrature_is_exact_up_to_the_order(name):
    """One step of z' = n t^(n-1) from 0 to 1 gives 1 for every n up to the order, and not for one more."""
    def one_step(n):
        return solve(lambda z, t, theta: n * t ** (n - 1), np.array(0.0), [0.0, 1.0], method=name, step=1).zs[-1]

    np.testing.assert_allclose([one_step(n) for n in range(1, ORDERS[name] + 1)], 1, rtol=1e-14)
    assert abs(one_step(ORDERS[name] + 1) - 1) > 1e-4
