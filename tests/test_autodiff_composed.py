"""NumPy's functions beyond the page of rules: NumPy's values, gradients by finite differences, refusals by name."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm.autodiff import check_vjp, grad, jacobian, value_and_grad, vjp
from refvdm.autodiff.tensor import COMPOSED, RULES

RNG = np.random.default_rng(0)
M, V, C, S = (RNG.uniform(0.4, 1.6, shape) for shape in ((3, 4), (5,), (2, 3, 4), (3, 3)))
ORDER = np.array([[2, 0, 1, 0], [1, 1, 2, 0]])

CASES = {  # name: (function of the primals, primals)
    "var": [(lambda x: np.var(x), M), (lambda x: np.var(x, axis=1, ddof=1), M),
            (lambda x: np.var(x, axis=(0, 2), keepdims=True), C)],
    "std": [(lambda x: np.std(x), M), (lambda x: np.std(x, axis=0, ddof=1, keepdims=True), M)],
    "prod": [(np.prod, V), (lambda x: np.prod(x, axis=0), M), (lambda x: np.prod(x, axis=-1), C),
             (lambda x: np.prod(x, axis=1, keepdims=True), C), (lambda x: np.prod(x, keepdims=True), M),
             (np.prod, np.array(2.0)), (np.prod, np.array([0.0, 2.0, -1.0])), (np.prod, np.array([0.0, 0.0, 3.0]))],
    "norm": [(np.linalg.norm, M), (lambda x: np.linalg.norm(x, axis=1, keepdims=True), C)],
    "dot": [(np.dot, V, V[::-1].copy()), (np.dot, S, M), (np.dot, np.array(2.0), M), (np.dot, M, V[:4].copy())],
    "outer": [(np.outer, V, M)],
    "einsum": [(lambda a, b: np.einsum("ij,jk->ik", a, b), S, M), (lambda a: np.einsum("ij->j", a), M),
               (lambda a: np.einsum("ii->i", a), S), (lambda a: np.einsum("ii->", a), S),
               (lambda a, b: np.einsum("i,i->", a, b), V, V + 1), (lambda a, b: np.einsum("ij, kl -> il", a, b), M, S),
               (lambda a, b, c: np.einsum("bij,jk,b->ki", a, b, c), C, M.T.copy(), V[:2].copy()),
               (lambda a, b: np.einsum("iij,jk->k", a, b), RNG.random((2, 2, 3)), S)],
    "kron": [(np.kron, S, M), (np.kron, V, M), (np.kron, M, V), (np.kron, np.array(2.0), M), (np.kron, C, S)],
    "cross": [(np.cross, S, M[:, :3].copy()), (np.cross, np.stack([S, S[::-1]]), S.T.copy()),
              (lambda a, b: np.cross(a, b, 0, 1, 0), M, C[0].T.copy()),
              (lambda a, b: np.cross(a, b, axis=1), C.transpose(0, 1, 2).copy(), C[::-1].copy() ** 2),
              (lambda a, b: np.cross(a, b, axisa=1, axisc=1), C, V[:3].copy())],
    "split": [(lambda x: sum(np.split(x, 2, axis=1)), M), (lambda x: np.split(x, [1, 1, 3], 1)[2], M),
              (lambda x: np.split(x, [3, 1])[2], V), (lambda x: np.split(x, [1, 1], -1)[1], C)],
    "array_split": [(lambda x: np.array_split(x, 3)[1], V), (lambda x: np.array_split(x, 3, axis=1)[0], M)],
    "diff": [(np.diff, C), (lambda x: np.diff(x, 2, axis=0), M), (lambda x: np.diff(x, n=0), V),
             (np.diff, V[:1].copy())],
    "clip": [(np.clip, M, V[:4] - 0.3, V[:4] + 0.2), (lambda x, low: np.clip(x, low, None), M, np.array(0.8)),
             (lambda high: np.clip(M.astype(high.dtype), a_min=0.5, a_max=high), np.array([[0.9], [1.1], [0.3]])),
             (lambda low: np.clip(1.0, low, None), V),
             (lambda low, high: np.clip(M.astype(low.dtype), low, high), V[:4] + 1, V[:4].copy())],
    "vstack": [(lambda a, b: np.vstack([a, b, a]), M, V[:4].copy())],
    "hstack": [(lambda a, b: np.hstack([a, b]), V, V * 2), (lambda a, b: np.hstack([a, b]), M, S)],
    "column_stack": [(lambda a, b: np.column_stack([a, b]), V[:3].copy(), M)],
    "atleast_1d": [(np.atleast_1d, np.array(2.0)), (np.atleast_1d, V)],
    "atleast_2d": [(np.atleast_2d, np.array(2.0)), (np.atleast_2d, V), (np.atleast_2d, M)],
    "atleast_3d": [(np.atleast_3d, np.array(2.0)), (np.atleast_3d, V), (np.atleast_3d, M), (np.atleast_3d, C)],
    "repeat": [(lambda x: np.repeat(x, 2), M), (lambda x: np.repeat(x, [1, 0, 2], axis=0), M)],
    "tile": [(lambda x: np.tile(x, 3), V), (lambda x: np.tile(x, (2, 1, 2)), M)],
    "flip": [(np.flip, C), (lambda x: np.flip(x, axis=(0, 2)), C)],
    "roll": [(lambda x: np.roll(x, 2), M), (lambda x: np.roll(x, (1, -1), axis=(0, 1)), M)],
    "diagonal": [(np.diagonal, M), (lambda x: np.diagonal(x, 1, 1, 2), C)],
    "trace": [(np.trace, M), (lambda x: np.trace(x, -1, 0, 2), C)],
    "diag": [(np.diag, M), (lambda x: np.diag(x, 1), M), (np.diag, V), (lambda x: np.diag(x, -2), V),
             (lambda x: np.diag(x, 1), V)],
    "take": [(lambda x: np.take(x, [[0, 3], [3, 3]]), V), (lambda x: np.take(x, [2, 0, 2], axis=1), M)],
    "take_along_axis": [(lambda x: np.take_along_axis(x, ORDER, axis=0), M)],
    "sort": [(np.sort, M), (lambda x: np.sort(x, axis=None), M), (lambda x: np.sort(x, axis=0), M)],
    "hypot": [(np.hypot, M, np.array(0.7))],
    "log10": [(np.log10, M)],
    # with rules of their own
    "max": [(np.max, M), (lambda x: np.max(x, axis=1), C), (lambda x: np.max(x, axis=(0, 2), keepdims=True), C)],
    "min": [(np.min, M), (lambda x: np.min(x, axis=0), M)],
    "solve": [(np.linalg.solve, S + 2 * np.eye(3), M), (np.linalg.solve, S + 2 * np.eye(3), V[:3].copy())],
    "tan": [(np.tan, M / 2)], "sinh": [(np.sinh, M)], "cosh": [(np.cosh, M)], "exp2": [(np.exp2, M)],
    "log2": [(np.log2, M)], "remainder": [(lambda a, b: a % b, M * 3, np.array(0.71)), (lambda a: 7.3 % a, M)],
}
EACH = [pytest.param(f, primals, id=f"{name}-{i}") for name, cases in CASES.items()
        for i, (f, *primals) in enumerate(cases)]


@pytest.mark.parametrize("f, primals", EACH)
def test_values_are_numpys_and_gradients_those_of_differences(f, primals):
    value, pullback = vjp(f, *primals)
    np.testing.assert_allclose(value, f(*primals), rtol=1e-14)
    assert np.shape(value) == np.shape(f(*primals)) and value.dtype == np.float64
    check_vjp(f, *primals)
    for primal, bar in zip(primals, pullback(np.ones_like(value))):
        assert bar.shape == primal.shape


@pytest.mark.parametrize("f, primals", EACH)
def test_float32_stays_float32(f, primals):
    single = [x.astype(np.float32) for x in primals]
    value, pullback = vjp(f, *single)
    assert value.dtype == np.float32 and all(bar.dtype == np.float32 for bar in pullback(np.ones_like(value)))


def test_the_table_is_the_set():
    from refvdm.autodiff.refuse import name
    assert {name(f).rpartition(".")[2] for f in COMPOSED} <= set(CASES)
    assert not set(COMPOSED) & set(RULES)


def test_kinks_of_roots_have_gradient_0_as_abs_has():
    for f, x in ((np.std, np.full(4, 0.7)), (np.std, np.array(3.0)), (lambda x: np.sum(np.std(x, axis=1)), V[:, None]),
                 (np.linalg.norm, np.zeros(3))):
        value, back = vjp(f, x)
        np.testing.assert_array_equal(back(np.array(1.0))[0], np.zeros_like(x))
        assert value == f(x)
    assert np.isnan(grad(np.std)(np.array([1.0, np.nan]))).all()


def test_bounds_of_clip_have_what_x_has_not():
    x, low, high = np.array([0.0, 1.0, 2.0, 3.0, 4.0]), np.full(5, 1.0), np.array([3.0, 3.0, 3.0, 3.0, 0.5])
    x_bar, low_bar, high_bar = grad(lambda *given: np.sum(np.clip(*given)), (0, 1, 2))(x, low, high)
    np.testing.assert_array_equal(x_bar, [0, 1, 1, 1, 0])
    np.testing.assert_array_equal(low_bar, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(high_bar, [0, 0, 0, 0, 1])
    crossed = grad(lambda *given: np.sum(np.clip(*given)), (0, 1, 2))(x, low + 1, np.ones(5))
    np.testing.assert_array_equal(crossed, [np.zeros(5), np.zeros(5), np.ones(5)])


def test_ties_of_max_and_min_share_equally():
    x = np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]])
    np.testing.assert_allclose(grad(lambda x: np.sum(np.max(x, axis=1)))(x), [[0, 0.5, 0.5], [1 / 3] * 3])
    np.testing.assert_allclose(grad(np.min)(x), [[1, 0, 0], [0, 0, 0]])


@given(st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.5]), min_size=1, max_size=8))
def test_sort_gives_back_to_where_it_took(numbers):
    x, weights = np.array(numbers), np.arange(1.0, len(numbers) + 1)
    back = grad(lambda x: np.sum(weights * np.sort(x)))(x)
    np.testing.assert_array_equal(np.sort(back), weights)
    np.testing.assert_array_equal(back[np.argsort(x, kind="stable")], weights)


@pytest.mark.parametrize("f, told", [
    (lambda x: np.einsum("ij,jk", x, x), "explicit subscripts"), (lambda x: np.einsum("...i->...", x), "explicit"),
    (lambda x: np.linalg.norm(x, 1), "Euclidean"), (lambda x: np.var(x, dtype=float), r"np\.var of a Tensor takes \(x"),
    (lambda x: np.prod(x, where=x > 1), r"np\.prod of a Tensor takes"),
    (lambda x: np.cross(x, x), "vectors of length 3, got 4 and 4"), (lambda x: np.diff(x, prepend=0), "takes"),
    (lambda x: np.clip(x, 0, 1, out=np.ones(2)), r"np\.clip of a Tensor takes"),
    (lambda x: np.sort(x, kind="heapsort"), "takes"),
    (lambda x: np.dot(x[None, None], x), "vectors and matrices"), (lambda x: np.outer(x, x, out=x.value), "takes"),
])
def test_other_arguments_are_named(f, told):
    with pytest.raises(TypeError, match=told):
        vjp(f, M)


def test_solve_of_a_stack_is_refused():
    with pytest.raises(ValueError, match=r"a must have shape \(n, n\) .*, got \(2, 3, 3\)"):
        vjp(np.linalg.solve, np.stack([S, S]), np.ones((2, 3, 1)))


# ---------------------------------------------------------------- several argnums


def test_a_tuple_of_argnums_gives_a_tuple_of_gradients():
    def loss(x, y, scale, theta):
        return np.sum(x * y) * scale + np.sum(theta["a"] ** 2)
    args = V, V + 1, np.array(2.0), {"a": M}
    value, (y_bar, theta_bar) = value_and_grad(loss, argnum=(1, -1))(*args)
    assert value == loss(*args)
    np.testing.assert_allclose(y_bar, 2 * V)
    np.testing.assert_allclose(theta_bar["a"], 2 * M)
    x_bar, y_bar = grad(loss, (0, 1))(*args)
    np.testing.assert_allclose(x_bar, grad(loss, 0)(*args))
    a, b = jacobian(lambda x, y: x * y, (0, 1))(V, V + 1)
    np.testing.assert_allclose(a, np.diag(V + 1))
    np.testing.assert_allclose(b, np.diag(V))
    with pytest.raises(ValueError, match="argnum = 5"):
        grad(loss, (0, 5))(*args)


def test_systems_of_no_equations():
    """A pullback must not guess the number of columns of nothing."""
    for b in (np.zeros(0), np.zeros((0, 2))):
        y, pullback = vjp(np.linalg.solve, np.zeros((0, 0)), b)
        a_bar, b_bar = pullback(y)
        assert a_bar.shape == (0, 0) and b_bar.shape == b.shape


def test_a_stack_of_right_sides_is_refused():
    """NumPy broadcasts a over it, and the cotangent of a would have to be its sum."""
    with pytest.raises(ValueError, match=r"a must have shape \(n, n\) and b \(n,\) or \(n, k\), got .* \(2, 3, 1\)"):
        vjp(np.linalg.solve, np.eye(3), np.ones((2, 3, 1)))


def test_the_product_over_an_axis_of_a_number_is_the_number():
    value, pullback = vjp(lambda x: np.prod(x, axis=-1), np.array(2.0))
    assert value == np.prod(np.array(2.0), axis=-1) == 2.0 and pullback(np.array(3.0)) == (3.0,)


@pytest.mark.parametrize("subscripts, shapes", [("ij,ij->ij", [(3, 1), (3, 4)]), ("ij,jk->ik", [(2, 1), (3, 4)]),
                                                ("i,i->", [(1,), (3,)]), ("ij,ij->j", [(1, 4), (3, 4)])])
def test_einsum_broadcasts_length_one_as_numpy_does(subscripts, shapes):
    rng = np.random.default_rng(0)
    check_vjp(lambda *arrays: np.einsum(subscripts, *arrays), *[rng.standard_normal(shape) for shape in shapes])


@pytest.mark.parametrize("k", [-2, 0, 1])
def test_diag_of_an_infinite_number_has_zeros_beside_it(k):
    x = np.array([np.inf, 1.0])
    value, pullback = vjp(lambda x: np.diag(x, k), x)
    np.testing.assert_array_equal(value, np.diag(x, k))
    y_bar = np.random.default_rng(0).standard_normal(value.shape)
    np.testing.assert_array_equal(pullback(y_bar)[0], np.diag(y_bar, k))


def test_diff_of_negative_order_is_refused_as_numpy_refuses_it():
    with pytest.raises(ValueError, match="np.diff of a Tensor: n must not be negative, got -1"):
        vjp(lambda x: np.diff(x, -1), np.ones(3))


def test_hypot_has_gradient_0_at_its_kink_as_norm():
    np.testing.assert_array_equal(vjp(lambda x: np.hypot(x[0], x[1]), np.zeros(2))[1](np.array(1.0))[0], [0, 0])
