"""The PLU layer: y = W x with W = P L U, its log-determinant, inverse, gradients and start; what it refuses."""
import math

import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from refvdm.autodiff import check_vjp, grad, jacobian, vjp
from refvdm.flows import PLU
from refvdm.flows.plu import _solved, plu

EPS = np.finfo(np.float64).eps
POSITIONS = [(), (3,), (2, 3), (1, 1), (2, 0)]


def random_theta(d, rng, dtype=np.float64):
    """Nothing in it is the identity: a random P, L, U, signs and scales."""
    return {"perm": rng.permutation(d), "lower": np.tril(rng.standard_normal((d, d)), -1).astype(dtype),
            "upper": np.triu(rng.standard_normal((d, d)), 1).astype(dtype),
            "sign": rng.choice([-1, 1], d).astype(np.int8),
            "log_scale": (0.4 * rng.standard_normal(d) - 0.3).astype(dtype)}


def dense(theta):
    """W = P L U by the definition, with P, L and U written out."""
    eye = np.eye(len(theta["perm"]))
    U = theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
    return eye[theta["perm"]] @ (eye + theta["lower"]) @ U


def of_primitives(theta, x):
    """The same layer, recorded step by step."""
    d = len(theta["perm"])
    L = np.tril(theta["lower"], -1) + np.eye(d, dtype=x.dtype)
    U = np.triu(theta["upper"], 1) + np.eye(d, dtype=x.dtype) * (theta["sign"] * np.exp(theta["log_scale"]))
    y = (np.reshape(x, (-1, d)) @ U.T @ L.T)[:, theta["perm"]]
    return np.reshape(y, x.shape), np.ones(len(x), x.dtype) * math.prod(x.shape[1:-1]) * np.sum(theta["log_scale"])


def numerical_jacobian(f, x, h=1e-4):
    return np.stack([(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(len(x))], axis=1)


def gradients(layer, theta, x, y_bar, log_det_bar, method="forward"):
    """({lower, upper, log_scale}, x) gradients of <y_bar, y> + <log_det_bar, log_det>."""
    theta_bar, x_bar = vjp(getattr(layer, method, layer), theta, x)[1]((y_bar, log_det_bar))
    return theta_bar["lower"], theta_bar["upper"], theta_bar["log_scale"], x_bar


@st.composite
def invertible(draw):
    """Gaussian matrices, permutations with signs and scales, and small integers, whose LU has zeros and ties."""
    d, kind = draw(st.integers(1, 8)), draw(st.sampled_from(["gaussian", "permutation", "integers"]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind == "gaussian":
        W = rng.standard_normal((d, d))
    elif kind == "permutation":
        W = np.eye(d)[draw(st.permutations(range(d)))] * rng.choice([-1, 1], d) * np.exp(rng.standard_normal(d))
    else:
        W = draw(arrays(np.int64, (d, d), elements=st.integers(-2, 2))).astype(float)
        W = W + np.eye(d)[rng.permutation(d)]
    assume(np.linalg.cond(W) < 1e6)
    return W


# ---------------------------------------------------------------- W


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("position", POSITIONS)
def test_forward_is_x_times_W_transposed(d, position):
    """y = x W^T = (L U x)[perm] at every position, with W written out as a product of matrices;
    the inverse is y W^-T."""
    rng, layer = np.random.default_rng(d), PLU(d)
    theta, x = random_theta(d, rng), rng.standard_normal((4, *position, d))
    W = layer.matrix(theta)
    np.testing.assert_allclose(W, dense(theta), rtol=1e-14, atol=1e-14)
    y, log_det = layer.forward(theta, x)
    assert y.shape == x.shape and log_det.shape == (4,)
    np.testing.assert_allclose(y, x @ W.T, rtol=1e-13, atol=1e-13)
    L, U = np.eye(d) + theta["lower"], theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
    np.testing.assert_allclose(y, (x @ U.T @ L.T)[..., theta["perm"]], rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(layer.inverse(theta, x)[0], x @ np.linalg.inv(W).T,
                               rtol=0, atol=1e-12 * np.linalg.cond(W))


@given(invertible())
def test_matrix_inverts_from_matrix(W):
    """matrix(from_matrix(W)) = W, and from_matrix(matrix(theta)) stands for the same W again."""
    d = len(W)
    layer, theta = PLU(d), PLU.from_matrix(W)
    np.testing.assert_allclose(layer.matrix(theta), W, atol=8 * d * EPS * np.abs(W).max(), rtol=0)
    np.testing.assert_allclose(layer.matrix(PLU.from_matrix(layer.matrix(theta))), W,
                               atol=16 * d * EPS * np.abs(W).max(), rtol=0)
    assert not np.triu(theta["lower"]).any() and not np.tril(theta["upper"]).any()
    assert sorted(theta["perm"]) == list(range(d)) and set(theta["sign"]) <= {-1, 1} and theta["sign"].dtype == np.int8
    assert theta["perm"].dtype.kind == "i" and theta["log_scale"].shape == (d,)
    assert np.array_equal(np.eye(d)[theta["perm"]], scipy.linalg.lu(W)[0])


@pytest.mark.parametrize(("W", "sign", "log_det"), [
    ([[0.0, 1.0], [1.0, 0.0]], -1, 0.0),
    ([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]], -1, 0.0),
    ([[1e-20, 0.0], [0.0, 1.0]], 1, math.log(1e-20)),
    ([[1.0, 0.0], [0.0, -1e-20]], -1, math.log(1e-20)),
    ([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], 1, 0.0),
    ([[0.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]], -1, math.log(2)),
    ([[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]], 1, 0.0),
    ([[-2.0]], -1, math.log(2)),
    ([[1e-300]], 1, math.log(1e-300)),
])
def test_any_invertible_matrix(W, sign, log_det):
    """W11 = 0, a zero second minor, badly scaled columns, permutations of either parity, d = 1:
    W, sign and log|det| are exact."""
    W = np.array(W)
    layer, theta = PLU(len(W)), PLU.from_matrix(W)
    assert np.array_equal(layer.matrix(theta), W) or np.allclose(layer.matrix(theta), W, rtol=1e-13, atol=0)
    assert layer.sign(theta) == sign and type(layer.sign(theta)) is int
    np.testing.assert_allclose(layer.log_det(theta), log_det, rtol=1e-15, atol=1e-15)


# ---------------------------------------------------------------- determinant


@given(invertible(), st.sampled_from(POSITIONS))
def test_log_det_and_sign_are_slogdets(W, position):
    """log|det| = slogdet(W) for each position; the sign is exactly slogdet's, odd permutations included;
    the inverse's is minus."""
    layer, theta = PLU(len(W)), PLU.from_matrix(W)
    sign, log_abs = np.linalg.slogdet(W)
    assert layer.sign(theta) == sign
    np.testing.assert_allclose(layer.log_det(theta), log_abs, atol=1e-9)
    x = np.ones((3, *position, len(W)))
    _, log_det = layer.forward(theta, x)
    np.testing.assert_allclose(log_det, np.full(3, math.prod(position) * log_abs), atol=1e-8)
    assert np.array_equal(layer.inverse(theta, x)[1], -log_det)


@given(st.integers(1, 8).flatmap(lambda d: st.permutations(range(d))), st.integers(0, 99))
def test_sign_of_any_theta(perm, seed):
    """sign = det P prod(sign) whatever perm is; from_matrix of such a W has the same W, determinant
    and sign, with L its own."""
    d = len(perm)
    layer = PLU(d)
    theta = random_theta(d, np.random.default_rng(seed)) | {"perm": np.array(perm)}
    assert layer.sign(theta) == round(np.linalg.det(np.eye(d)[list(perm)])) * np.prod(theta["sign"], dtype=int)
    W = layer.matrix(theta)
    again = layer.from_matrix(W)
    np.testing.assert_allclose(layer.matrix(again), W, rtol=0, atol=1e-13 * np.abs(W).max())
    np.testing.assert_allclose(layer.log_det(again), layer.log_det(theta), rtol=0, atol=1e-9)
    assert layer.sign(again) == layer.sign(theta) == np.linalg.slogdet(W)[0]


@given(st.integers(1, 4), st.sampled_from([(), (1,), (3,), (2, 2)]), st.integers(0, 99))
def test_log_det_is_slogdet_of_the_jacobian(d, position, seed):
    """log|det dy/dx| of the whole map on positions * d numbers, by autodiff and by central differences."""
    rng = np.random.default_rng(seed)
    layer, theta, n = PLU(d), random_theta(d, rng), math.prod(position) * d
    x = rng.standard_normal(n)

    def forward(x):
        return np.reshape(layer.forward(theta, np.reshape(x, (1, *position, d)))[0], (n,))

    J = jacobian(forward)(x)
    np.testing.assert_allclose(numerical_jacobian(forward, x), J, atol=1e-9)
    _, log_det = layer.forward(theta, x.reshape(1, *position, d))
    for sign, log_abs in map(np.linalg.slogdet, (J, numerical_jacobian(forward, x))):
        assert sign == layer.sign(theta) ** math.prod(position)
        np.testing.assert_allclose(log_det, log_abs, atol=1e-8)


def test_derivative_of_log_det_by_W():
    """d log|det W|/dW = W^-T; in PLU coordinates that is 0 for lower and upper and 1 for each log_scale."""
    layer, theta = PLU(3), random_theta(3, np.random.default_rng(1))
    W, h = layer.matrix(theta), 1e-6
    by_W = np.zeros((3, 3))
    for i, j in np.ndindex(3, 3):
        E = np.zeros((3, 3))
        E[i, j] = h
        by_W[i, j] = (layer.log_det(layer.from_matrix(W + E)) - layer.log_det(layer.from_matrix(W - E))) / (2 * h)
    np.testing.assert_allclose(by_W, np.linalg.inv(W).T, rtol=1e-6, atol=1e-7)
    exact = grad(layer.log_det)(theta)
    assert np.array_equal(exact["log_scale"], np.ones(3)) and not exact["lower"].any() and not exact["upper"].any()
    for key in ("lower", "upper", "log_scale"):  # the chain rule through matrix
        for at in np.ndindex(theta[key].shape):
            E = np.zeros(theta[key].shape)
            E[at] = h
            dW = (layer.matrix(theta | {key: theta[key] + E}) - layer.matrix(theta | {key: theta[key] - E})) / (2 * h)
            np.testing.assert_allclose(np.sum(np.linalg.inv(W).T * dW), exact[key][at], atol=1e-8)


# ---------------------------------------------------------------- inverse


@given(st.integers(1, 8), st.floats(0, 10), st.sampled_from(POSITIONS), st.integers(0, 99))
def test_inverse_up_to_the_condition_number(d, digits, position, seed):
    """inverse(forward(x)) = x to rounding times cond(W), forward(inverse(y)) = y likewise;
    the log-determinants cancel exactly."""
    rng = np.random.default_rng(seed)
    A, B = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2))
    W = A * np.geomspace(1, 10**-digits, d) @ B
    layer, theta, x = PLU(d), PLU.from_matrix(W), rng.standard_normal((3, *position, d))
    tolerance = 40 * d * EPS * np.linalg.cond(W) * np.abs(x).max(initial=1)
    y, log_det = layer.forward(theta, x)
    back, minus = layer.inverse(theta, y)
    assert back.shape == x.shape and minus.shape == (3,) and np.array_equal(minus, -log_det)
    np.testing.assert_allclose(back, x, rtol=0, atol=tolerance)
    np.testing.assert_allclose(layer.forward(theta, layer.inverse(theta, x)[0])[0], x, rtol=0, atol=tolerance)


@given(st.integers(1, 12), st.floats(0, 6), st.integers(0, 99))
def test_inverse_in_float32_is_theta_s_to_the_last_digit(d, digits, seed):
    """However large the condition number: the float64 inverse of the same numbers, rounded once; its gradients too."""
    rng = np.random.default_rng(seed)
    A, B = (np.linalg.qr(rng.standard_normal((d, d)))[0] for _ in range(2))
    layer, theta = PLU(d), PLU.from_matrix((A * np.geomspace(1, 10**-digits, d) @ B).astype(np.float32))
    wide = {name: x.astype(np.float64) if x.dtype == np.float32 else x for name, x in theta.items()}
    y, bars = rng.standard_normal((3, d)).astype(np.float32), rng.standard_normal((3, d)).astype(np.float32)
    (x, _), pullback = vjp(layer.inverse, theta, y)
    (exact, _), exact_pullback = vjp(layer.inverse, wide, y.astype(float))
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, exact, rtol=1e-7 * 1.2)
    zeros = np.zeros(3)
    (theta_bar, y_bar), (theta_bar_exact, y_bar_exact) = (
        pullback((bars, zeros.astype(np.float32))), exact_pullback((bars.astype(float), zeros)))
    np.testing.assert_allclose(y_bar, y_bar_exact, rtol=1.2e-7)
    for name in ("lower", "upper", "log_scale"):
        assert theta_bar[name].dtype == np.float32
        np.testing.assert_allclose(theta_bar[name], theta_bar_exact[name], rtol=1.2e-7)


@settings(max_examples=15)
@given(st.integers(1, 6), st.sampled_from(POSITIONS), st.integers(0, 99))
def test_gradients_of_the_inverse_are_those_of_differences(d, position, seed):
    rng = np.random.default_rng(seed)
    layer, theta = PLU(d), random_theta(d, rng)
    check_vjp(lambda theta, y: layer.inverse(theta, y)[0], theta, rng.standard_normal((2, *position, d)))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_number(sign):
    """d = 1, one example: y = s e^l x with dy/dx = s e^l and dy/dl = y; x = s e^-l y with dx/dl = -x."""
    theta = {"perm": np.array([0]), "lower": np.zeros((1, 1)), "upper": np.zeros((1, 1)),
             "sign": np.array([sign], np.int8), "log_scale": np.array([0.7])}
    x, bar, none = np.array([[3.0]]), np.ones((1, 1)), np.zeros(1)
    for method, s, slope in (("forward", 0.7, 1), ("inverse", -0.7, -1)):
        y, log_det = getattr(PLU(1), method)(theta, x)
        np.testing.assert_allclose([y.item(), log_det.item()], [sign * 3 * math.exp(s), s], rtol=1e-15)
        lower_bar, upper_bar, log_scale_bar, x_bar = gradients(PLU(1), theta, x, bar, none, method)
        np.testing.assert_allclose(x_bar.item(), sign * math.exp(s), rtol=1e-15)
        np.testing.assert_allclose(log_scale_bar.item(), slope * y.item(), rtol=1e-15)
        assert lower_bar == upper_bar == 0


def test_the_inverse_at_the_ends_of_what_floats_hold():
    """e^-l is wanted, not e^l: l = 800 gives 0, l = -709 still a number, l = -800 none, even of y = 0."""
    theta = {"perm": np.arange(2), "lower": np.zeros((2, 2)), "upper": np.zeros((2, 2)),
             "sign": np.ones(2, np.int8), "log_scale": np.array([800.0, -709.0])}
    with np.errstate(over="ignore"):
        x, log_det = PLU(2).inverse(theta, np.ones((1, 2)))
        assert x[0, 0] == 0 and log_det == -91
        np.testing.assert_allclose(x[0, 1], math.exp(709), rtol=1e-15)
        with pytest.raises(ValueError, match=r"PLU: exp\(-log_scale\) must be finite, got inf at index \(1,\)"):
            PLU(2).inverse(theta | {"log_scale": np.array([0.0, -800.0])}, np.zeros((1, 2)))


def test_a_triangular_solve_takes_the_place_of_its_rows():
    """No second array of the batch's size: x stands where y stood."""
    U, x = np.array([[2.0, 1.0], [0.0, 4.0]]), np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    rows = x @ U.T
    found = _solved(U, rows, lower=False, transpose=False, unit=False)
    assert np.shares_memory(found, rows) and np.array_equal(rows, x)


# ---------------------------------------------------------------- gradients


@given(st.integers(1, 8), st.sampled_from(POSITIONS), st.integers(0, 99))
def test_rule_equals_the_layer_of_primitives(d, position, seed):
    """Value and every gradient, log_det's part included, equal those of the layer built from
    tril, @, exp and indexing."""
    rng = np.random.default_rng(seed)
    layer, theta, x = PLU(d), random_theta(d, rng), rng.standard_normal((3, *position, d))
    y_bar, log_det_bar = rng.standard_normal(x.shape), rng.standard_normal(3)
    for got, expected in zip(layer.forward(theta, x), of_primitives(theta, x)):
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13)
    for got, expected in zip(gradients(layer, theta, x, y_bar, log_det_bar),
                             gradients(of_primitives, theta, x, y_bar, log_det_bar)):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-13 * (1 + np.abs(expected).max(initial=0)))


def test_rule_by_its_formulas():
    """lower_bar = tril(sum b_bar a^T, -1), upper_bar = triu(M, 1),
    log_scale_bar = diag(M) diag(U) + positions sum(log_det_bar)."""
    rng = np.random.default_rng(0)
    d, theta, x = 4, random_theta(4, rng), rng.standard_normal((2, 3, 5, 4))
    y_bar, log_det_bar = rng.standard_normal(x.shape), rng.standard_normal(2)
    L, U = np.eye(d) + theta["lower"], theta["upper"] + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
    lower_bar, M, x_bar = np.zeros((d, d)), np.zeros((d, d)), np.zeros_like(x)
    for at in np.ndindex(x.shape[:-1]):
        b_bar = y_bar[at][np.argsort(theta["perm"])]
        a_bar = L.T @ b_bar
        lower_bar, M, x_bar[at] = lower_bar + np.outer(b_bar, U @ x[at]), M + np.outer(a_bar, x[at]), U.T @ a_bar
    got = gradients(PLU(d), theta, x, y_bar, log_det_bar)
    expected = np.tril(lower_bar, -1), np.triu(M, 1), np.diag(M) * np.diag(U) + 15 * log_det_bar.sum(), x_bar
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(got[3], y_bar @ PLU(d).matrix(theta), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("method", ["forward", "inverse"])
@pytest.mark.parametrize(("d", "position"), [(1, ()), (3, ()), (4, (2,)), (2, (2, 2)), (3, (0,))])
def test_gradients_against_finite_differences(method, d, position):
    rng = np.random.default_rng(d)
    check_vjp(getattr(PLU(d), method), random_theta(d, rng), rng.standard_normal((3, *position, d)))


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_what_is_not_strictly_triangular_is_not_read(method):
    """Garbage on and beyond the diagonals changes no bit of y, log_det and the gradients,
    and has gradient exactly 0."""
    rng = np.random.default_rng(2)
    layer, theta, x = PLU(4), random_theta(4, rng), rng.standard_normal((3, 2, 4))
    garbage = theta | {"lower": theta["lower"] + np.triu(1e3 * rng.standard_normal((4, 4))),
                       "upper": theta["upper"] + np.tril(1e3 * rng.standard_normal((4, 4)))}
    assert np.array_equal(layer.matrix(garbage), layer.matrix(theta))
    assert all(map(np.array_equal, getattr(layer, method)(garbage, x), getattr(layer, method)(theta, x)))
    y_bar, log_det_bar = rng.standard_normal(x.shape), rng.standard_normal(3)
    clean, dirty = (gradients(layer, t, x, y_bar, log_det_bar, method) for t in (theta, garbage))
    assert all(np.array_equal(a, b) for a, b in zip(clean, dirty))
    assert not np.triu(dirty[0]).any() and not np.tril(dirty[1]).any()
    assert np.tril(dirty[0]).any() and np.triu(dirty[1]).any()


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_nan_in_what_is_not_read(method):
    """Not even nan outside the strict triangles is seen."""
    rng = np.random.default_rng(2)
    layer, theta, x = PLU(3), random_theta(3, rng), rng.standard_normal((2, 3))
    expected = getattr(layer, method)(theta, x)[0]
    nan = np.full((3, 3), np.nan)
    garbage = {**theta, "lower": theta["lower"] + np.triu(nan), "upper": theta["upper"] + np.tril(nan)}
    assert np.array_equal(layer.matrix(garbage), layer.matrix(theta))
    assert np.array_equal(getattr(layer, method)(garbage, x)[0], expected)


def test_arrays_of_any_memory_order():
    """Fortran order, strides and views give the same numbers, forward and backward, and nothing is written to."""
    rng = np.random.default_rng(3)
    layer, theta, x = PLU(4), random_theta(4, rng), rng.standard_normal((3, 5, 4))
    order = theta | {"lower": np.asfortranarray(theta["lower"]), "upper": np.repeat(theta["upper"], 2, axis=1)[:, ::2]}
    strided = np.asfortranarray(np.repeat(x, 2, axis=0)[::2])
    before = strided.copy()
    np.testing.assert_allclose(layer.forward(order, strided)[0], layer.forward(theta, x)[0], rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(layer.inverse(order, strided)[0], layer.inverse(theta, x)[0], rtol=1e-12, atol=1e-12)
    assert np.array_equal(strided, before) and np.array_equal(order["upper"], theta["upper"])
    arguments = (x, theta["lower"], theta["upper"], theta["log_scale"])
    check_vjp(lambda *a: plu(*a, theta["sign"], theta["perm"]), *map(np.asfortranarray, arguments))


@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 3), (2, 0, 3)])
def test_empty_batch(shape):
    """No examples or no positions: empty outputs of the right shapes, log_det 0 for no positions, gradients 0."""
    layer, theta = PLU(3), random_theta(3, np.random.default_rng(0))
    for method in ("forward", "inverse"):
        y, log_det = getattr(layer, method)(theta, np.zeros(shape))
        assert y.shape == shape and y.dtype == np.float64 and np.array_equal(log_det, np.zeros(shape[0]))
        found = gradients(layer, theta, np.zeros(shape), np.zeros(shape), np.ones(shape[0]), method)
        assert [g.shape for g in found] == [(3, 3), (3, 3), (3,), shape] and not any(g.any() for g in found)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_float32_from_end_to_end(method):
    """Output, log_det and all gradients are float32 and agree with float64."""
    rng = np.random.default_rng(4)
    layer, theta, x = PLU(5), random_theta(5, rng, np.float32), rng.standard_normal((3, 2, 2, 5)).astype(np.float32)
    y_bar, log_det_bar = rng.standard_normal(x.shape).astype(np.float32), np.ones(3, np.float32)
    wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in theta.items()}
    size = np.linalg.cond(layer.matrix(wide)) * 1e-6
    low, high = ([*getattr(layer, method)(t, x.astype(dtype)), layer.matrix(t),
                  *gradients(layer, t, x.astype(dtype), y_bar.astype(dtype), log_det_bar.astype(dtype), method)]
                 for t, dtype in ((theta, np.float32), (wide, np.float64)))
    for a, b in zip(low, high):
        assert a.dtype == np.float32 and b.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=0, atol=size * (1 + np.abs(b).max()))
    init = layer.init(np.random.default_rng(0), dtype=np.float32)
    assert all(init[k].dtype == np.float32 for k in ("lower", "upper", "log_scale"))
    np.testing.assert_allclose(layer.matrix(init), layer.matrix(layer.init(np.random.default_rng(0))), atol=1e-5)


# ---------------------------------------------------------------- the start


def test_starts_orthogonal():
    """W W^T = I, log|det| = 0, reproducible, and `data` has no influence."""
    for d in (1, 2, 7, 32):
        layer = PLU(d)
        theta = layer.init(np.random.default_rng(d))
        W = layer.matrix(theta)
        np.testing.assert_allclose(W @ W.T, np.eye(d), atol=1e-13)
        assert abs(layer.log_det(theta)) < 1e-12
        again = layer.init(np.random.default_rng(d), np.ones((2, d)))
        assert all(np.array_equal(theta[k], again[k]) for k in theta)


def haar_deviations(Q):
    """Deviations from Haar's moments on O(d), in standard errors, of samples (n, d, d).

    Flipping the sign of a row leaves the distribution alone, so a product with an odd power in some row has mean 0.
    A row is uniform on the sphere: E q² = 1/d, E q^4 = 3/(d(d + 2)). Hence E tr Q = 0,
    E (tr Q)² = sum_ij E q_ii q_jj = d/d = 1, E tr Q² = sum_ij E q_ij q_ji = 1; and det Q = +-1 has mean 0.
    """
    d = Q.shape[1]
    trace = np.trace(Q, axis1=1, axis2=2)
    statistics = [Q, Q**2 - 1 / d, Q**4 - 3 / (d * (d + 2)), trace, trace**2 - 1, np.einsum("nij,nji->n", Q, Q) - 1,
                  np.linalg.det(Q)]
    statistics = np.concatenate([np.reshape(s, (len(Q), -1)) for s in statistics], axis=1)
    return np.abs(statistics.mean(axis=0)) / (statistics.std(axis=0) / np.sqrt(len(Q)) + 1e-12)


@pytest.mark.parametrize("d", [2, 4])
def test_start_is_haar_distributed(d):
    """Moments of entries, trace and determinant are Haar's; those of NumPy's QR without the signs put right are not."""
    rng, layer = np.random.default_rng(5), PLU(d)
    Q = np.stack([layer.matrix(layer.init(rng)) for _ in range(1500)])
    assert haar_deviations(Q).max() < 4.5
    assert {-1, 1} == {layer.sign(layer.init(rng)) for _ in range(20)}
    raw = np.linalg.qr(rng.standard_normal((1500, d, d)))[0]
    assert haar_deviations(raw).max() > 20
    assert raw[:, 0, 0].mean() < -0.3 and abs(Q[:, 0, 0].mean()) < 0.1  # LAPACK's R11 has the sign of -a11


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(("W", "pivot"), [
    (np.zeros((3, 3)), 0), ([[1.0, 2.0], [2.0, 4.0]], 1), ([[1.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 4.0]], 1),
    (np.arange(1.0, 10).reshape(3, 3), 2), (np.arange(1.0, 10, dtype=np.float32).reshape(3, 3), 2),
    ([[1.0, 1.0], [1.0, 1 + EPS]], 1), ([[1.0, 1.0], [1.0, 1 + 2 * EPS]], 1), ([[0.0]], 0),
    ([[1.0, 1.0], [1.0, 1 + 3 * EPS]], 1),  # 3 ε is below the rounding of both its terms, not of one
    (np.ones((3, 3), np.float32), 1), ([[1.0, 1e20], [1.0, 1e20]], 1)])
def test_singular_matrix_names_the_pivot(W, pivot):
    with pytest.raises(ValueError,
                       match=rf"W is singular: pivot {pivot} \(of 0..{len(W) - 1}\) is .*, zero to rounding"):
        PLU.from_matrix(np.array(W))


def test_nearly_singular_is_not_singular():
    """A pivot above the rounding of its column is data."""
    for W in ([[1.0, 1.0], [1.0, 1 + 8 * EPS]], [[1.0, 1e-30], [1.0, 1e-30 * (1 + 16 * EPS)]]):
        theta = PLU.from_matrix(np.array(W))
        np.testing.assert_allclose(PLU(2).matrix(theta), W, rtol=EPS)
        assert PLU(2).sign(theta) == 1 and PLU(2).log_det(theta) < -33


def test_wrong_matrix():
    for shape in [(2, 3), (3, 2), (3,), (2, 2, 2), (0, 0), ()]:
        with pytest.raises(ValueError, match=r"W must be a square matrix with at least one row, got shape \("):
            PLU.from_matrix(np.ones(shape))
        with pytest.raises(ValueError, match="W must be finite, got (nan|inf) at index"):
            PLU.from_matrix(np.full((2, 2), np.nan if shape else np.inf))
    for W in (np.eye(2, dtype=int), np.eye(2, dtype=bool), np.eye(2, dtype=complex), [[1, 0], [0, 1]]):
        with pytest.raises(TypeError, match="W must be an array of floats, got dtype"):
            PLU.from_matrix(W)


@pytest.mark.parametrize("method", ["forward", "inverse"])
def test_wrong_theta(method):
    layer, theta = PLU(3), random_theta(3, np.random.default_rng(0))
    without = {k: v for k, v in theta.items() if k != "sign"}
    for bad in (without, theta | {"W": np.eye(3)}, theta | {"lower": np.ones((3, 2))},
                theta | {"log_scale": np.ones((3, 1))},
                theta | {"perm": np.arange(2)}, random_theta(2, np.random.default_rng(0)), [theta], None):
        with pytest.raises(ValueError, match="PLU: theta must be a dict of shapes .*, got "):
            getattr(layer, method)(bad, np.ones((2, 3)))
    for perm in ([0, 1, 1], [1, 2, 3], [0, 1, -1]):
        with pytest.raises(ValueError, match=r"PLU: perm must be a permutation of 0..2, got \[ ?[01] "):
            getattr(layer, method)(theta | {"perm": np.array(perm)}, np.ones((2, 3)))
    with pytest.raises(ValueError, match="PLU: theta must be a dict of shapes"):
        layer.matrix(without)
