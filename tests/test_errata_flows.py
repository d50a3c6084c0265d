"""§13.1 as printed fails checks that the corrected forms, which the library implements, pass:
one test per correction."""
import numpy as np
import pytest

from refvdm.flows import PLU

EXAMPLE = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])


def doolittle(W):
    """W = L U without pivoting, L unit lower; ZeroDivisionError when there is none because a pivot is zero."""
    L, U = np.eye(len(W)), W.copy()
    for k in range(len(W) - 1):
        if U[k, k] == 0:
            raise ZeroDivisionError(f"pivot {k} is zero")
        L[k + 1 :, k] = U[k + 1 :, k] / U[k, k]
        U[k + 1 :] -= np.outer(L[k + 1 :, k], U[k])
    return L, U


def odd_and_even(d):
    """Matrices whose P is odd, and some whose P is even."""
    found = {-1: [], 1: []}
    for seed in range(40):
        W = np.random.default_rng(seed).standard_normal((d, d))
        theta = PLU.from_matrix(W)
        found[round(np.linalg.det(np.eye(d)[theta["perm"]]))].append((W, theta))
    return found


@pytest.mark.parametrize("d", [2, 3, 5])
def test_13_1_determinant_without_P(d):
    """Printed: det W = det L det U. Corrected: det W = det P det L det U. For an odd P the printed sign is wrong,
    log|det W| is not."""
    found = odd_and_even(d)
    assert len(found[-1]) > 5 and len(found[1]) > 5
    for parity, cases in found.items():
        for W, theta in cases:
            sign, log_abs = np.linalg.slogdet(W)
            L, U = np.eye(d) + theta["lower"], theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
            printed = np.linalg.det(L) * np.linalg.det(U)
            assert PLU(d).sign(theta) == sign
            np.testing.assert_allclose(PLU(d).sign(theta) * np.exp(PLU(d).log_det(theta)), np.linalg.det(W), rtol=1e-10)
            np.testing.assert_allclose(printed, parity * np.linalg.det(W), rtol=1e-10)
            np.testing.assert_allclose(np.log(np.abs(printed)), log_abs, atol=1e-10)
            assert np.sign(printed) == parity * sign


def test_13_1_W11_is_zero():
    """W11 = 0 rules out W = L U, as printed; the identity, a permutation too, is none of these.
    With P any of them has a factorisation."""
    swap = np.array([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(ZeroDivisionError, match="pivot 0"):
        doolittle(swap)
    L, U = doolittle(np.eye(2))
    assert np.array_equal(L @ U, np.eye(2))
    theta = PLU.from_matrix(swap)
    assert np.array_equal(PLU(2).matrix(theta), swap) and PLU(2).sign(theta) == -1 and PLU(2).log_det(theta) == 0


def test_13_1_first_pivot_is_not_enough():
    """Printed: only W11 = 0 is in the way. Corrected: every leading principal minor must not be 0.
    Here they are 1, 0, -1.

    No L and U at all: row 1 of U is [1, 1, 0] and L21 = 1, so U22 = 0; then L31 = 0 and W32 = L32 U22 = 0, but it is 1.
    """
    assert EXAMPLE[0, 0] == 1
    minors = [round(np.linalg.det(EXAMPLE[:k, :k])) for k in (1, 2, 3)]
    assert minors == [1, 0, -1]
    with pytest.raises(ZeroDivisionError, match="pivot 1"):
        doolittle(EXAMPLE)
    theta = PLU.from_matrix(EXAMPLE)
    x = np.random.default_rng(0).standard_normal((4, 3))
    y, log_det = PLU(3).forward(theta, x)
    np.testing.assert_allclose(y, x @ EXAMPLE.T, atol=1e-14)
    np.testing.assert_allclose(PLU(3).inverse(theta, y)[0], x, atol=1e-14)
    assert PLU(3).sign(theta) == -1 and np.abs(log_det).max() < 1e-15


def test_13_1_an_LU_exists_iff_no_leading_minor_is_zero():
    """Doolittle succeeds on W exactly when its leading principal minors (the last aside) are not 0;
    PLU does on every invertible W."""
    succeeded = failed = 0
    for seed in range(300):
        W = np.random.default_rng(seed).integers(-1, 2, (3, 3)).astype(float)
        if round(np.linalg.det(W)) == 0:
            continue
        theta = PLU.from_matrix(W)
        np.testing.assert_allclose(PLU(3).matrix(theta), W, atol=1e-15)
        assert PLU(3).sign(theta) == round(np.sign(np.linalg.det(W)))
        if all(round(np.linalg.det(W[:k, :k])) for k in (1, 2)):
            L, U = doolittle(W)
            np.testing.assert_allclose(L @ U, W, atol=1e-15)
            succeeded += 1
        else:
            with pytest.raises(ZeroDivisionError):
                doolittle(W)
            failed += 1
    assert succeeded > 30 and failed > 30
