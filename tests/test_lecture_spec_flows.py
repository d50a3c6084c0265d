"""§13.1 of the lecture against the PLU layer of refvdm.flows, against LAPACK, and against itself."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refvdm.flows import PLU
from refvdm.lecture import flows

seeds = st.integers(0, 10_000)
sizes = st.integers(1, 5)
LONG = np.finfo(np.longdouble).eps
close = np.testing.assert_allclose


def matrix(seed, d, dtype=np.float64):
    """Invertible, and not close to losing that: the singular values are within [0.3, 3]."""
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2))
    return (u * rng.uniform(0.3, 3, d) @ v).astype(dtype)


def signed_permutations(A):
    """The determinant by Leibniz's formula."""
    n, total = len(A), 0
    for order in itertools.permutations(range(n)):
        sign = round(np.linalg.det(np.eye(n)[list(order)]))
        total += sign * np.prod([A[i, order[i]] for i in range(n)])
    return total


@given(seeds, sizes)
def test_13_1_det_is_the_determinant(seed, d):
    W = matrix(seed, d)
    close(flows.det(W), np.linalg.det(W), rtol=1e-10)
    close(flows.det(W), signed_permutations(W), rtol=1e-10)


@given(seeds, sizes)
def test_13_1_plu_is_the_machines_factorisation(seed, d):
    """P = I[perm], L = I + lower, U = upper + diag(sign exp(log_scale)): the pivots are LAPACK's."""
    W = matrix(seed, d)
    P, L, U = flows.plu(W)
    theta = PLU.from_matrix(W)
    np.testing.assert_array_equal(P, np.eye(d)[theta["perm"]])
    close(L, np.eye(d) + theta["lower"], atol=1e-12)
    close(U, theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"])), atol=1e-12)
    close(P @ L @ U, W, atol=1e-13)
    assert np.abs(L).max() == 1 and np.array_equal(L, np.tril(L)) and np.array_equal(np.diag(L), np.ones(d))
    close(np.tril(U, -1), 0, atol=1e-13)


@given(seeds, sizes)
def test_13_1_layer_and_its_inverse_are_the_machines(seed, d):
    W, x = matrix(seed, d), np.random.default_rng(seed).standard_normal(d)
    P, L, U = flows.plu(W)
    layer, theta = PLU(d), PLU.from_matrix(W)
    y = flows.layer(x, P, L, U)
    close(y, W @ x, atol=1e-12)
    close(y, layer.forward(theta, x[None])[0][0], atol=1e-12)
    close(flows.inverse(x, P, L, U), layer.inverse(theta, x[None])[0][0], atol=1e-11)
    close(flows.inverse(y, P, L, U), x, atol=1e-11)
    close(flows.log_det(U), layer.log_det(theta), atol=1e-12)
    close(flows.log_det(U), np.linalg.slogdet(W)[1], atol=1e-11)
    close(layer.forward(theta, x[None])[1], flows.log_det(U), atol=1e-12)


@given(seeds, st.integers(2, 5))
def test_13_1_det_needs_P_and_the_printed_one_has_the_wrong_sign(seed, d):
    """Printed: |W| = |U| |L|. It is |P| times that: wrong by 2 |W| when P is odd, right when it is even."""
    W = matrix(seed, d)
    left, right = flows.determinant(W)
    close(left, right, rtol=1e-10)
    close(left, np.linalg.det(W), rtol=1e-10)
    assert PLU(d).sign(PLU.from_matrix(W)) == np.sign(right)
    for swapped in (W, W[[1, 0, *range(2, d)]]):  # one of these two has an odd P
        P = flows.plu(swapped)[0]
        left, printed = flows.printed_determinant(swapped)
        parity = round(np.linalg.det(P))
        close(left, parity * printed, rtol=1e-10)
    assert round(np.linalg.det(flows.plu(W)[0])) == -parity


@given(seeds, sizes)
def test_13_1_first_element_and_determinant_of_a_product(seed, d):
    rng = np.random.default_rng(seed)
    L, U = np.tril(rng.standard_normal((d, d))), np.triu(rng.standard_normal((d, d)))
    for sides in (flows.first_element(L, U), flows.determinant_of_a_product(L, U)):
        close(*sides, rtol=1e-8, atol=1e-14)
    close(flows.determinant_of_a_product(L, U)[1], np.linalg.det(L) * np.linalg.det(U), rtol=1e-9)
    close(flows.first_element(L, U)[1], L[0] @ U[:, 0], rtol=1e-12)
    for zero in (L, U):
        zero[0, 0] = 0
        assert flows.first_element(L, U) == (0, 0)
        close(flows.determinant_of_a_product(L, U), 0, atol=1e-12)


@given(seeds, sizes)
def test_13_1_lu_and_what_it_divides_by(seed, d):
    """W = L U from any L and U with a diagonal that is not 0, and nothing else gives this W: the factorisation is
    unique.
    """
    rng = np.random.default_rng(seed)
    L = np.tril(rng.uniform(-1, 1, (d, d)), -1) + np.eye(d)
    U = np.triu(rng.uniform(-1, 1, (d, d)), 1) + np.diag(rng.uniform(0.5, 1.5, d) * rng.choice([-1, 1], d))
    L_got, U_got = flows.lu(L @ U)
    close(L_got, L, atol=1e-10)
    close(U_got, U, atol=1e-10)
    left, right = flows.pivots(L @ U)
    close(left, right, rtol=1e-9)
    close(right, np.diag(U), rtol=1e-9)


def test_13_1_permutation_has_no_lu_and_the_identity_has():
    swap = flows.permutation()
    assert np.array_equal(swap @ swap, np.eye(2)) and swap[0, 0] == 0 and flows.det(swap) == -1
    assert not flows.has_lu(swap) and flows.has_lu(np.eye(2))
    P, L, U = flows.plu(swap)
    assert np.array_equal(P, swap) and np.array_equal(L, np.eye(2)) and np.array_equal(U, np.eye(2))


def test_13_1_counterexample_passes_the_printed_check_and_has_no_lu():
    """Printed: only W_11 = 0 is in the way. W_11 = 1 here, and U_22 = 0 makes W_32 = L_32 U_22 = 0, but it is 1."""
    W = flows.counterexample()
    np.testing.assert_array_equal(W, [[1, 1, 0], [1, 1, 1], [0, 1, 1]])
    assert [flows.det(W[:k, :k]) for k in (1, 2, 3)] == flows.leading_minors(W) == [1, 0, -1]
    assert flows.printed_has_lu(W) and not flows.has_lu(W)
    with np.errstate(all="ignore"):
        L, _ = flows.lu(W)
    assert not np.isfinite(L).all()
    P, L, U = flows.plu(W)
    np.testing.assert_array_equal(P @ L @ U, W)
    np.testing.assert_array_equal(PLU(3).matrix(PLU.from_matrix(W)), W)


def test_13_1_minors_decide():
    """All invertible W of -1, 0, 1: elimination ends well exactly where no minor is 0, and the printed check errs
    on some of both kinds.
    """
    wrong = 0
    for numbers in itertools.islice(itertools.product([-1.0, 0.0, 1.0], repeat=9), 0, None, 13):
        W = np.reshape(numbers, (3, 3))
        if flows.det(W) == 0:
            continue
        with np.errstate(all="ignore"):
            L, U = flows.lu(W)
        assert flows.has_lu(W) == (np.isfinite(L).all() and np.array_equal(L @ U, W))
        wrong += flows.printed_has_lu(W) != flows.has_lu(W)
        assert flows.printed_has_lu(W) or not flows.has_lu(W)  # what it says of W_11 = 0 is right
        np.testing.assert_array_equal(np.linalg.multi_dot(flows.plu(W)), W)
    assert wrong > 50


@given(seeds, sizes)
def test_13_1_in_longdouble(seed, d):
    """The same functions on longdouble: every residual is of its own rounding, which float64 anywhere would spoil."""
    W = matrix(seed, d, np.longdouble)
    x = np.random.default_rng(seed).standard_normal(d).astype(np.longdouble)
    P, L, U = flows.plu(W)
    y = flows.layer(x, P, L, U)
    assert {a.dtype for a in (P, L, U, y, flows.inverse(y, P, L, U))} == {np.dtype(np.longdouble)}
    if LONG == np.finfo(np.float64).eps:
        return
    close(P @ L @ U, W, rtol=0, atol=100 * LONG)
    close(flows.inverse(y, P, L, U), x, rtol=0, atol=1e4 * LONG)
    close(*flows.determinant(W), rtol=1e4 * LONG)
    close(np.exp(flows.log_det(U)), np.abs(flows.det(W)), rtol=1e4 * LONG)
