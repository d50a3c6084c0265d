"""The engine: recording, the backward pass, who owns which memory, and the functions around vjp."""

from array import array
from typing import NamedTuple

import numpy as np
import pytest

from refvdm.autodiff import (
    Tensor,
    grad,
    jacobian,
    linear,
    logsumexp,
    stop_gradient,
    value_and_grad,
    vjp,
)
from refvdm.autodiff.vjp import unbroadcast


class Pair(NamedTuple):
    a: object
    b: object


def arrays(tree):
    """Every array in a nested result."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, (list, tuple)):
        return [x for child in tree for x in arrays(child)]
    return [tree] if isinstance(tree, np.ndarray) else []


# ---------------------------------------------------------------- the backward pass


def test_diamond():
    """y = (x^2) (x^2) + x^2: each use of a node adds its cotangent. dy/dx = 4 x^3 + 2 x."""

    def f(x):
        s = x * x
        return s * s + s

    assert grad(f)(3.0) == 4 * 27 + 6
    assert grad(lambda x: x + x)(1.0) == 2
    assert grad(lambda x: x * x * x - x / x)(2.0) == 12


@pytest.mark.parametrize("uses", [1, 2, 3, 4, 7])
def test_many_uses_of_one_node(uses):
    """The first cotangent is borrowed, the second allocates, from the third on the sum is in place."""
    x = np.array([1.0, -2.0])

    def f(x):
        e, total = np.exp(x), 0.0
        for k in range(uses):
            total = total + (k + 1) * e
        return total

    y_bar = np.array([0.5, 3.0])
    _, pullback = vjp(f, x)
    for _ in range(2):  # nothing is left over from the first time
        (x_bar,) = pullback(y_bar)
        np.testing.assert_allclose(x_bar, uses * (uses + 1) / 2 * np.exp(x) * y_bar, rtol=1e-15)
    np.testing.assert_array_equal(y_bar, [0.5, 3.0])


def test_a_sum_borrowed_by_two_parents_is_not_changed():
    """add hands one array to both its parents; when one goes on summing, the other must not see it."""

    def f(a, b):
        s = a + b
        return np.sum(s * 2 + s + s) + np.sum(a) + np.sum(a * 3) + np.sum(b) * 5

    a_bar, b_bar = vjp(f, np.zeros(2), np.zeros(2))[1](1.0)
    np.testing.assert_array_equal(a_bar, [8, 8])
    np.testing.assert_array_equal(b_bar, [9, 9])


def test_order_of_creation_not_of_discovery():
    """A node is visited after everything made of it, however short one of the paths is."""

    def f(x):
        u = x * 2
        v = u * 3
        for _ in range(5):
            v = v + u
        return u + v * u

    assert grad(f)(1.0) == 2 + 2 * 32  # u = 2 x, v = 16 x


def test_chain_of_20000_operations():
    def f(x):
        for _ in range(10_000):
            x = x * 1.0 + 1e-4
        return x

    y, pullback = vjp(f, np.array([0.0, 2.0]))
    np.testing.assert_allclose(y, [1, 3], rtol=1e-10)
    np.testing.assert_array_equal(pullback(np.array([1.0, 2.0]))[0], [1, 2])


def test_unused_branches_are_not_walked():
    """A branch that the output does not depend on costs nothing and may hold what has no finite gradient."""

    def f(x):
        np.sqrt(x)  # slope inf at 0; unused
        return x * 2

    assert grad(f)(0.0) == 2


def mlp(theta, x):
    h = np.tanh(x @ theta["W1"] + theta["b1"])
    return np.mean((linear(h, theta["W2"], theta["b2"], "silu") - 0.3) ** 2) + 0.1 * logsumexp(theta["W2"])


def mlp_parameters(rng):
    return {
        "W1": rng.standard_normal((3, 4)),
        "b1": rng.standard_normal(4),
        "W2": rng.standard_normal((4, 2)),
        "b2": rng.standard_normal(2),
    }


def test_second_pullback_gives_equal_bits():
    rng = np.random.default_rng(0)
    _, pullback = vjp(mlp, mlp_parameters(rng), rng.standard_normal((5, 3)))
    first, other, second = pullback(np.ones(())), pullback(np.full((), 2.0)), pullback(np.ones(()))
    for a, b, c in zip(arrays(first), arrays(second), arrays(other)):
        assert a.tobytes() == b.tobytes() and a is not b
        np.testing.assert_array_equal(c, 2 * a)  # a power of two: exactly


def test_zero_cotangent_gives_zero():
    rng = np.random.default_rng(0)
    _, pullback = vjp(mlp, mlp_parameters(rng), rng.standard_normal((5, 3)))
    assert not any(np.any(g) for g in arrays(pullback(np.zeros(()))))


def test_taylor_remainder_falls_as_h_squared():
    """|L(theta + h d) - L(theta) - h <grad, d>| is O(h^2), along random directions."""
    rng = np.random.default_rng(0)
    theta, x = mlp_parameters(rng), rng.standard_normal((5, 3))
    base, slope = value_and_grad(mlp)(theta, x)
    for _ in range(3):
        d = {k: rng.standard_normal(v.shape) for k, v in theta.items()}
        inner = sum(np.sum(slope[k] * d[k]) for k in d)
        r = [abs(mlp({k: theta[k] + h * d[k] for k in d}, x) - base - h * inner) for h in 2.0 ** -np.arange(8, 13)]
        np.testing.assert_allclose(np.log2(np.divide(r[:-1], r[1:])), 2, atol=0.05)


# ---------------------------------------------------------------- memory


def with_its_double(y):
    return y, y + y


ALIASES = {
    "identity": lambda x: x,
    "same twice": lambda x: (x, x),
    "plus itself": lambda x: x + x,
    "positive": lambda x: +x,
    "view": lambda x: x.T,
    "two views": lambda x: (x.T, x.reshape(-1), x[:]),
    "flattened": lambda x: np.ravel(x),
    "broadcast": lambda x: np.broadcast_to(x, (2, 3, 3)),
    "plus 0": lambda x: x + 0.0,
    "nested": lambda x: {"a": x, "b": [x * 1.0, (x,)]},
    "part": lambda x: x[0],
    "swapped": lambda x: np.swapaxes(x, 0, 1),
    "constant": lambda x: (x * 2, np.ones(3)),
    "sum": lambda x: x.sum(),
    "intermediate too": lambda x: with_its_double(x * 1.0),
    "expanded": lambda x: x[None],
    "joined": lambda x: np.concatenate([x]),
    "tril": lambda x: np.tril(x, 5),
    "linear": lambda x: linear(x, np.eye(3), np.zeros(3)),
    "where": lambda x: np.where(True, x, x),
}


@pytest.mark.parametrize("name", ALIASES)
def test_nothing_shares_memory(name):
    """Values, cotangents, seeds and primals are four sets of arrays of their own; nobody's numbers change."""
    x = np.arange(9.0).reshape(3, 3)
    value, pullback = vjp(ALIASES[name], x)
    seed = map_arrays(np.ones_like, value)
    kept = [a.copy() for a in arrays(seed)]
    got, again = pullback(seed), pullback(seed)
    pool = [*arrays(got), *arrays(again), *arrays(seed), *arrays(value), x]
    for i, a in enumerate(pool):
        assert a.flags.writeable and not any(np.shares_memory(a, b) for b in pool[:i])
    for a, b in zip(arrays(seed), kept):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(x, np.arange(9.0).reshape(3, 3))


def map_arrays(f, tree):
    if isinstance(tree, dict):
        return {k: map_arrays(f, v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)([map_arrays(f, v) for v in tree])
    return f(tree)


def test_two_primals_do_not_share_their_cotangents():
    a, b = np.ones((2, 2)), np.ones((2, 2))
    for f in (
        lambda a, b: a + b,
        lambda a, b: (a, b),
        lambda a, b: np.broadcast_to(a, (2, 2)) + b.T,
        lambda a, b: a + b + (a + b),
    ):
        value, pullback = vjp(f, a, b)
        one = np.ones((2, 2))
        a_bar, b_bar = pullback((one, one) if isinstance(value, tuple) else one)
        assert not any(np.shares_memory(p, q) for p, q in [(a_bar, b_bar), (a_bar, one), (b_bar, one)])
        a_bar += 100
        assert b_bar.max() <= 2 and one.max() == 1


def test_changing_arrays_afterwards_does_not_change_the_gradient():
    """Primals, constants, index arrays, conditions, bounds and the returned value may all be reused by their owner."""
    rng = np.random.default_rng(0)
    x, c = rng.uniform(1, 2, (3, 2)), rng.uniform(1, 2, (3, 2))
    index, mask = np.array([0, 2, 2]), np.array([True, False, True])
    low, shape, pair, listed = np.full((3, 2), 1.2), [2, 3], (np.array([0, 1]), np.array([1, 1])), [np.array([0, 1])]

    def f(x):
        return {
            "product": x * c,
            "quotient": c / x,
            "index": x[index],
            "mask": x[mask],
            "pair": x[pair],
            "list": x[tuple(listed)],
            "where": np.where(c > 1.5, x, c),
            "condition": np.where(mask[:, None], x, c),
            "clip": np.clip(x, low, None),
            "exp": np.exp(x),
            "matmul": c.T @ x,
            "power": c**x,
            "reshape": np.reshape(x, shape),
            "linear": linear(x, c.T, np.ones(3), "tanh"),
            "square": np.square(x),
        }

    value, pullback = vjp(f, x)
    seed = map_arrays(np.ones_like, value)
    before = {k: arrays(pullback({**map_arrays(np.zeros_like, seed), k: seed[k]}))[0] for k in value}
    for a in [x, c, index, mask, low, *pair, *listed, *arrays(value)]:
        a[...] = 1 - a.astype(int)
    shape[:] = [3, 2]
    for k in value:
        (after,) = arrays(pullback({**map_arrays(np.zeros_like, seed), k: seed[k]}))
        np.testing.assert_array_equal(before[k], after, err_msg=k)


def test_changing_a_keyword_constant_afterwards():
    """An array passed by keyword is a constant like one passed by position."""
    low = np.array([0.0, 5.0])
    _, pullback = vjp(lambda x: np.clip(x, a_min=low, a_max=9.0), np.ones(2))
    low[:] = 5, 0
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [1, 0])


def test_changing_an_array_during_recording():
    """A constant counts as it was when it was used."""
    c = np.array([2.0, 3.0])

    def f(x):
        y = x * c
        c[:] = 100
        return y

    np.testing.assert_array_equal(vjp(f, np.ones(2))[1](np.ones(2))[0], [2, 3])


def test_changing_a_returned_cotangent_does_not_change_the_next():
    _, pullback = vjp(lambda x: (x + x) * x, np.array([1.0, 2.0]))
    (first,) = pullback(np.ones(2))
    expected = first.copy()
    first[:] = 7
    np.testing.assert_array_equal(pullback(np.ones(2))[0], expected)


def test_noncontiguous_and_reversed_arrays():
    x = np.arange(24.0).reshape(4, 6)[::-2, ::3]
    y, pullback = vjp(lambda x: x.T * 2, x)
    np.testing.assert_array_equal(y, 2 * x.T)
    y_bar = np.arange(4.0).reshape(2, 2)[:, ::-1]
    (x_bar,) = pullback(y_bar)
    np.testing.assert_array_equal(x_bar, 2 * y_bar.T)
    assert x_bar.flags.c_contiguous


# ---------------------------------------------------------------- trees in, trees out


def test_tree_of_every_kind():
    """Integers, bools and None are constants: passed on as they are, cotangent None; containers keep their type and
    order."""
    primal = {
        "b": np.ones(2),
        "a": [2.0, np.float32(3)],
        "n": 4,
        "flag": True,
        "none": None,
        "index": np.array([1, 0]),
        "pair": Pair(np.full(2, 5.0), (np.bool_(False), np.zeros((), np.float32))),
    }
    seen = {}

    def f(p, scale):
        seen.update(p)
        return scale * (p["b"][p["index"]] * np.array([1.0, 10.0]) * p["n"] + p["a"][0] * p["a"][1] + p["pair"].a)

    value, pullback = vjp(f, primal, 2.0)
    got, scale_bar = pullback(np.ones(2))
    assert list(got) == list(primal) and type(got["pair"]) is Pair
    assert type(got["a"]) is list and type(got["pair"].b) is tuple
    assert got["n"] is None and got["flag"] is None and got["none"] is None
    assert got["index"] is None and got["pair"].b[0] is None
    assert (
        seen["n"] == 4
        and type(seen["n"]) is int
        and seen["flag"] is True
        and seen["none"] is None
        and seen["index"] is primal["index"]
    )
    assert type(seen["a"][0]) is Tensor and seen["a"][1].dtype == np.float32 and type(seen["pair"]) is Pair
    np.testing.assert_array_equal(got["b"], [80, 8])
    assert got["a"][0] == 12 and got["a"][0].dtype == np.float64 and got["a"][0].shape == ()
    assert got["a"][1] == 8 and got["a"][1].dtype == np.float32
    np.testing.assert_array_equal(got["pair"].a, [2, 2])
    assert got["pair"].b[1].dtype == np.float32 and got["pair"].b[1] == 0
    np.testing.assert_array_equal(scale_bar, np.sum(value) / 2)


def test_tree_outputs():
    """Outputs may be trees that hold integers, None, and arrays that do not depend on the primals."""
    x = np.array([1.0, 2.0])
    value, pullback = vjp(
        lambda x: {"y": x * 3, "n": 7, "none": None, "pair": Pair(x.sum(), np.ones(2)), "ints": np.arange(3)}, x
    )
    assert value["n"] == 7 and value["none"] is None and type(value["pair"]) is Pair and value["ints"].dtype.kind == "i"
    one = {"pair": Pair(10.0, np.full(2, 5.0)), "none": None, "n": None, "y": np.ones(2), "ints": "anything"}
    np.testing.assert_array_equal(pullback(one)[0], [13, 13])


def test_unused_primal_and_constant_output():
    a, b = np.ones((2, 3), np.float32), np.ones(2)
    _, pullback = vjp(lambda a, b: b * 2, a, b)
    a_bar, _ = pullback(np.ones(2))
    assert a_bar.dtype == np.float32 and a_bar.shape == (2, 3) and not a_bar.any()
    assert not np.shares_memory(a_bar, a)
    value, pullback = vjp(lambda a: np.full(2, 3.0), a)
    np.testing.assert_array_equal(value, [3, 3])
    assert not pullback(np.ones(2))[0].any()
    value, g = value_and_grad(lambda x: 3.0)(b)
    assert value == 3 and g.shape == (2,) and not g.any()
    value, g = value_and_grad(lambda x: np.sum(np.ones(2)))(b)
    assert value == 2 and not g.any()


def test_cotangents_of_many_kinds():
    """Python numbers for 0-d values, lists, any float dtype; the result has the primal's dtype."""
    _, pullback = vjp(lambda x: x * 2, np.float32(3))
    for y_bar in (1, 1.0, np.float64(1), np.ones(()), np.ones((), np.float16)):
        (x_bar,) = pullback(y_bar)
        assert x_bar == 2 and x_bar.dtype == np.float32 and type(x_bar) is np.ndarray
    _, pullback = vjp(lambda x: x * 2, np.ones(2))
    np.testing.assert_array_equal(pullback(np.ones(2, np.float32))[0], [2, 2])


# ---------------------------------------------------------------- value_and_grad, grad, jacobian, stop_gradient


def test_value_and_grad():
    def f(x, y):
        return np.sum(x * x * y)

    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    value, x_bar = value_and_grad(f)(x, y)
    assert type(value) is np.ndarray and value.shape == () and value == 19
    np.testing.assert_array_equal(x_bar, 2 * x * y)
    for argnum in (1, -1):
        np.testing.assert_array_equal(value_and_grad(f, argnum)(x, y)[1], x * x)
        np.testing.assert_array_equal(grad(f, argnum=argnum)(x, y), x * x)
    np.testing.assert_array_equal(grad(f, -2)(x, y), 2 * x * y)


def test_the_other_arguments_are_not_recorded():
    def f(n, x, name, *, scale):
        assert type(n) is int and name == "any" and type(x) is Tensor and type(scale) is np.ndarray
        return np.sum(x**n * scale)

    np.testing.assert_array_equal(grad(f, 1)(3, np.array([1.0, 2.0]), "any", scale=np.ones(2)), [3, 12])
    assert value_and_grad(lambda n, x: n * x, 1)(2, 5.0)[1] == 2


def test_has_aux():
    def f(x):
        y = np.exp(x)
        return np.sum(y), {"y": y, "n": 3, "plain": [np.ones(2)], "x": x}

    x = np.array([0.0, 1.0])
    (value, aux), x_bar = value_and_grad(f, has_aux=True)(x)
    assert type(aux["y"]) is np.ndarray and aux["n"] == 3 and type(aux["x"]) is np.ndarray
    np.testing.assert_array_equal(aux["y"], np.exp(x))
    np.testing.assert_array_equal(x_bar, np.exp(x))
    assert value == np.sum(np.exp(x)) and not np.shares_memory(aux["x"], x)


def test_grad_of_float32_and_trees():
    g = grad(lambda p: np.sum(p["w"] * p["k"]))({"w": np.ones(2, np.float32), "k": 3})
    assert g["k"] is None and g["w"].dtype == np.float32
    np.testing.assert_array_equal(g["w"], [3, 3])


def test_jacobian_of_a_linear_map():
    A, x = np.random.default_rng(0).standard_normal((3, 4)), np.ones(4)
    np.testing.assert_array_equal(jacobian(lambda x: A @ x)(x), A)
    np.testing.assert_array_equal(jacobian(lambda A, x: A @ x, 1)(A, x), A)
    expected = np.einsum("ik,l->ikl", np.eye(3), x)
    np.testing.assert_array_equal(jacobian(lambda A: A @ x)(A), expected)
    np.testing.assert_array_equal(jacobian(np.transpose)(np.ones((2, 3))),
                                  np.einsum("il,jk->jilk", np.eye(2), np.eye(3)))


@pytest.mark.parametrize("argnum", [-1, -2])
def test_jacobian_counts_arguments_from_the_end(argnum):
    A, x = np.arange(6.0).reshape(2, 3), np.ones(3)
    got = jacobian(lambda A, x: A @ x, argnum)(A, x)
    np.testing.assert_array_equal(got, jacobian(lambda A, x: A @ x, argnum + 2)(A, x))


def test_jacobian_of_trees_and_scalars():
    p = {"a": np.ones((2, 3), np.float32), "n": 3, "b": Pair(1.0, np.ones(2))}
    got = jacobian(lambda p: p["a"].sum(axis=0)[:2] * p["b"].a + p["b"].b * p["n"])(p)
    assert got["n"] is None and type(got["b"]) is Pair
    assert got["a"].shape == (2, 2, 3) and got["a"].dtype == np.float32 and got["b"].a.shape == (2,)
    np.testing.assert_array_equal(got["b"].b, 3 * np.eye(2))
    np.testing.assert_array_equal(got["b"].a, [2, 2])
    np.testing.assert_array_equal(got["a"], [[[1, 0, 0]] * 2, [[0, 1, 0]] * 2])
    assert jacobian(np.sum)(np.ones((2, 2))).shape == (2, 2)
    assert jacobian(lambda x: x * 2)(3.0) == 2
    empty = jacobian(lambda p: p["x"][:0] * 1.0)({"x": np.ones(2), "n": 1})
    assert empty["x"].shape == (0, 2) and empty["n"] is None


def test_jacobian_of_no_elements_keeps_the_dtype():
    assert jacobian(lambda x: x[:0])(np.ones(2, np.float32)).dtype == np.float32


def test_jacobian_of_an_mlp_against_rows_of_gradients():
    """Row i of the Jacobian is the gradient of output i, and a pullback is y_bar times the Jacobian."""
    rng = np.random.default_rng(0)
    x, W, b = rng.standard_normal((2, 3)), rng.standard_normal((3, 2)), rng.standard_normal(2)

    def f(W):
        return np.tanh(linear(x, W, b, "silu"))

    J, y_bar = jacobian(f)(W), rng.standard_normal((2, 2))
    assert J.shape == (2, 2, 3, 2)
    np.testing.assert_allclose(J[1, 0], grad(lambda W: f(W)[1, 0])(W), rtol=1e-13)
    np.testing.assert_allclose(np.tensordot(y_bar, J, 2), vjp(f, W)[1](y_bar)[0], rtol=1e-13)
    for i in np.ndindex(W.shape):  # the full Jacobian, with a Taylor remainder for each column
        d = np.zeros(W.shape)
        d[i] = 1
        r = [np.abs(f(W + h * d) - f(W) - h * J[(..., *i)]).max() for h in (1e-3, 5e-4)]
        assert 1.9 < np.log2(r[0] / r[1]) < 2.1


def test_stop_gradient():
    x = np.array([2.0, 3.0])
    np.testing.assert_array_equal(grad(lambda x: np.sum(x * stop_gradient(x)))(x), x)
    kept = []

    def f(x):
        kept.append(stop_gradient({"x": x, "n": 3, "c": [x * 2, None]}))
        return np.sum(x)

    grad(f)(x)
    assert type(kept[0]["x"]) is np.ndarray and kept[0]["n"] == 3 and kept[0]["c"][1] is None
    np.testing.assert_array_equal(kept[0]["c"][0], 2 * x)
    copy = stop_gradient(x)
    assert not np.shares_memory(copy, x)
    # a constant for an inner gradient
    assert grad(lambda x: x * stop_gradient(grad(lambda y: y * y * stop_gradient(x))(stop_gradient(x))))(3.0) == 18


# ---------------------------------------------------------------- what a Tensor answers


def inside(f, *primals):
    """Whatever f returns when it is called on Tensors."""
    result = []
    vjp(lambda *xs: result.append(f(*xs)) or xs[0], *primals)
    return result[0]


def test_zero_dimensional_values_stay_arrays():
    x = np.array([1.0, 2.0])
    for f in (
        np.sum,
        lambda x: x[0],
        lambda x: x @ x,
        lambda x: x.mean() * 2,
        lambda x: np.exp(x[1]) + 1,
        logsumexp,
        lambda x: np.maximum(x[0], 1.0),
        lambda x: x[0] ** 2,
        lambda x: np.where(True, x[0], 0.0),
        lambda x: np.squeeze(x[:1]),
    ):
        value, pullback = vjp(f, x)
        assert type(value) is np.ndarray and value.shape == ()
        assert type(pullback(np.ones(()))[0]) is np.ndarray
        assert inside(lambda x, f=f: type(f(x).value), x) is np.ndarray
    g = grad(lambda x: x * x)(2.0)
    assert type(g) is np.ndarray and g.shape == () and g.dtype == np.float64


LEFT = [np.array([3.0, 4.0]), np.float64(3), np.float32(3), np.int64(3), np.array(3.0), 3, 3.0, True, [3.0, 4.0]]


@pytest.mark.parametrize("c", LEFT, ids=lambda c: f"{type(c).__name__}")
def test_numbers_and_arrays_on_either_side(c):
    x = np.array([1.5, 2.0])
    a = np.asarray(c, float)
    for f in (lambda c, x: c + x, lambda c, x: c - x, lambda c, x: c * x, lambda c, x: c / x, lambda c, x: c**x):
        for args, plain in [((c, x), (a, x)), ((x, c), (x, a))]:
            t = 0 if args[0] is x else 1
            value, pullback = vjp(lambda x, f=f, t=t, args=args: f(*args[:t], x, *args[t + 1 :]), x)
            np.testing.assert_allclose(value, f(*plain), rtol=1e-15)
            step = 1e-6
            up, down = ([x + s if i == t else a for i in range(2)] for s in (step, -step))
            np.testing.assert_allclose(pullback(np.ones(2))[0], (f(*up) - f(*down)) / (2 * step), rtol=1e-7)


def test_array_at_tensor():
    A, x = np.arange(6.0).reshape(2, 3), np.ones(3)
    value, pullback = vjp(lambda x: A @ x, x)
    np.testing.assert_array_equal(value, A @ x)
    np.testing.assert_array_equal(pullback(np.array([1.0, 10.0]))[0], A.T @ [1, 10])
    np.testing.assert_array_equal(vjp(lambda A: A @ x, A)[0], A @ x)


def test_comparisons_give_plain_bools():
    x, c = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])
    for f in (
        lambda x: x < 2,
        lambda x: x <= c,
        lambda x: x > c,
        lambda x: c >= x,
        lambda x: x == 2,
        lambda x: x != c,
        lambda x: 2 < x,
        lambda x: c < x,
        lambda x: np.greater(x, x * 0 + 2),
        np.isfinite,
        np.isnan,
        np.isinf,
        np.signbit,
        lambda x: np.equal(2.0, x),
        lambda x: np.equal(x, x),
    ):
        got = inside(f, x)
        assert type(got) is np.ndarray and got.dtype == bool
        np.testing.assert_array_equal(got, f(x))
    assert inside(lambda x: x[0] < 2, x)  # of a 0-d Tensor: usable in an if
    assert inside(lambda x: max(x[0], x[1]), x).value == 2


def test_attributes_and_iteration():
    x = np.arange(6.0, dtype=np.float32).reshape(2, 3)
    told = inside(lambda t: (t.shape, t.dtype, t.ndim, t.size, len(t), t.T.shape), x)
    assert told == ((2, 3), np.float32, 2, 6, 2, (3, 2))
    assert inside(
        lambda t: (np.shape(t), np.ndim(t), np.size(t), np.size(t, 0), np.result_type(t), np.iscomplexobj(t),
                   np.isrealobj(t)), x
    ) == ((2, 3), 2, 6, 2, np.float32, False, True)
    for like in (
        np.zeros_like,
        np.ones_like,
        np.empty_like,
        lambda t: np.full_like(t, 3.0),
        lambda t: np.zeros_like(t, dtype=np.float64),
    ):
        got = inside(like, x)
        assert type(got) is np.ndarray and got.shape == (2, 3) and got.dtype == like(x).dtype
    np.testing.assert_array_equal(grad(lambda t: sum(row.sum() * (i + 1) for i, row in enumerate(t)))(x),
                                  [[1] * 3, [2] * 3])

    def unpacked(t):
        a, b = t
        return np.sum(a * 2 - b)

    np.testing.assert_array_equal(grad(unpacked)(x), [[2] * 3, [-1] * 3])
    assert inside(lambda t: 3.0 in t.ravel(), x)
    with pytest.raises(TypeError, match="unsized"):
        inside(lambda t: len(t.sum()), x)
    with pytest.raises(TypeError, match="unsized"):
        inside(lambda t: list(t.sum()), x)


def test_methods_are_the_functions():
    x = np.random.default_rng(0).standard_normal((2, 3, 1))
    for f in (
        lambda t: t.sum(1),
        lambda t: t.sum(axis=(0, 1), keepdims=True),
        lambda t: t.mean(-1),
        lambda t: t.cumsum(1),
        lambda t: t.cumsum(),
        lambda t: t.clip(-1, 1),
        lambda t: t.clip(max=0.3),
        lambda t: t.ravel(),
        lambda t: t.squeeze(),
        lambda t: t.squeeze(-1),
        lambda t: t.reshape(3, 2),
        lambda t: t.reshape((3, 2)),
        lambda t: t.reshape(-1),
        lambda t: t.swapaxes(0, 1),
        lambda t: t.transpose(),
        lambda t: t.transpose(1, 0, 2),
        lambda t: t.transpose((2, 0, 1)),
        lambda t: t.T,
        lambda t: abs(-t),
        lambda t: +t,
        lambda t: t.mean(1, keepdims=True),
        lambda t: t.transpose(None),
    ):
        np.testing.assert_array_equal(vjp(f, x)[0], f(x))


def test_repr():
    assert inside(repr, np.array([1.0, 2.0], np.float32)) == "Tensor([1. 2.], shape=(2,), dtype=float32)"
    assert inside(repr, 1.5) == "Tensor(1.5, shape=(), dtype=float64)"
    assert inside(str, 1.5).startswith("Tensor(")
    assert "shape=(2, 2)" in inside(repr, np.eye(2))


def test_builtin_sum_and_max():
    x = np.array([1.0, 5.0, 2.0])
    np.testing.assert_array_equal(grad(lambda x: sum(x[i] * x[i] for i in range(3)))(x), 2 * x)
    np.testing.assert_array_equal(grad(lambda x: max(x))(x), [0, 1, 0])


# ---------------------------------------------------------------- unbroadcast


@pytest.mark.parametrize(
    "shape, full",
    [
        ((), (2, 3)),
        ((3,), (2, 3)),
        ((1, 3), (2, 3)),
        ((2, 1), (2, 3)),
        ((1, 1), (2, 3)),
        ((2, 3), (2, 3)),
        ((1,), (4, 2, 3)),
        ((2, 1, 3), (4, 2, 5, 3)),
        ((1,), (1,)),
        ((), ()),
    ],
)
def test_unbroadcast_is_the_transpose_of_broadcasting(shape, full):
    """<y, broadcast(x)> = <unbroadcast(y), x>, in whole numbers."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(-9, 9, shape).astype(float), rng.integers(-9, 9, full).astype(float)
    got = unbroadcast(y, shape)
    assert type(got) is np.ndarray and got.shape == shape
    assert np.sum(got * x) == np.sum(y * np.broadcast_to(x, full))


@pytest.mark.parametrize("shape, came", [((2, 3), (3,)), ((2,), (3,)), ((2, 3), (2, 4)), ((3,), ())])
def test_unbroadcast_of_a_shape_that_is_no_broadcast(shape, came):
    with pytest.raises(ValueError, match="expected a cotangent of shape"):
        unbroadcast(np.ones(came), shape)


# ---------------------------------------------------------------- containers, indices and arrays that are not what they
# seem


def test_a_function_may_change_the_dicts_and_lists_that_it_is_given():
    theta = {"W": np.ones(2), "b": np.full(2, 5.0)}

    def set_item(t):
        t["W"] = t["W"] * 3.0
        return np.sum(t["W"] * t["b"])

    g = grad(set_item)(theta)
    np.testing.assert_array_equal(g["W"], [15, 15])
    np.testing.assert_array_equal(g["b"], [3, 3])
    np.testing.assert_array_equal(theta["W"], [1, 1])

    def loop(h):
        for _ in range(3):
            h[0] = h[0] * h[0]
        return np.sum(h[0])

    np.testing.assert_array_equal(grad(loop)([np.full(2, 2.0)])[0], [8 * 2.0**7] * 2)
    assert list(grad(lambda t: np.sum(t.pop("W") * t["b"]))(theta)) == ["W", "b"]
    assert len(grad(lambda t: (t.append(t[0] * 2), np.sum(t[-1]))[1])([np.ones(2)])) == 1


def test_a_returned_container_may_change_afterwards():
    store = {}

    def f(x):
        store["y"] = x * 2
        return store

    _, pullback = vjp(f, np.ones(2))
    store["y"] = np.zeros(2)
    np.testing.assert_array_equal(pullback({"y": np.ones(2)})[0], [2, 2])


@pytest.mark.parametrize("index", [(slice(None), (0, 0, 1)), ((0, 0),), ((0, 0), (1, 1)), (range(2), (0, 0)),
                                   array("l", [0, 0])])
def test_every_kind_of_sequence_counts_repeated_indices(index):
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(vjp(lambda t: t[index], x)[0], x[index])
    taken = np.zeros((2, 3))
    np.add.at(taken, index if isinstance(index, tuple) else np.array(index), 1.0)
    np.testing.assert_array_equal(grad(lambda t: np.sum(t[index]))(x), taken)


def test_mean_of_more_elements_than_float16_can_count():
    g = grad(lambda x: np.mean(x))(np.ones(70_000, np.float16))
    np.testing.assert_allclose(g.astype(float), 1 / 70_000, rtol=1e-2)


def test_sums_keep_the_byte_order_of_the_primal():
    for dtype in (">f8", ">f4"):
        assert grad(lambda x: np.sum(x * x + x + x))(np.ones(2, dtype)).dtype == np.dtype(dtype)


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_matrices_and_masked_arrays_are_refused_where_their_meaning_would_be_lost():
    matrix, masked = np.matrix([[1.0, 2], [3, 4]]), np.ma.array([1.0, 2], mask=[0, 1])
    with pytest.raises(TypeError, match="matrix"):
        grad(lambda x: np.sum(np.multiply(matrix, x)))(np.ones((2, 2)))
    with pytest.raises(TypeError, match="matrix"):
        vjp(lambda x: x * x, matrix)
    with pytest.raises(TypeError, match="MaskedArray"):
        vjp(lambda x: x * 2, np.ones(2))[1](masked)


@pytest.mark.parametrize("shapes", [((3, 0), (0, 2)), ((3, 2), (2, 0)), ((0, 2), (2, 3)), ((2, 3, 0), (0, 2))])
def test_products_with_an_empty_side(shapes):
    a, b = (np.ones(s) for s in shapes)
    y, pullback = vjp(np.matmul, a, b)
    a_bar, b_bar = pullback(np.ones_like(y))
    assert (a_bar.shape, b_bar.shape) == shapes
    y, pullback = vjp(linear, a, b, np.zeros(b.shape[1]))
    assert [g.shape for g in pullback(np.ones_like(y))] == [*shapes, (b.shape[1],)]


def test_joins_take_their_axis_by_position_too():
    a, b = np.ones((2, 1)), np.zeros((2, 2))
    y, pullback = vjp(lambda a, b: np.concatenate([a, b], 1), a, b)
    assert y.shape == (2, 3)
    a_bar, b_bar = pullback(np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(a_bar, [[0], [3]])
    np.testing.assert_array_equal(b_bar, [[1, 2], [4, 5]])
    assert vjp(lambda b: np.stack([b, b, b], 1), b)[0].shape == (2, 3, 2)


def test_values_keep_the_byte_order_of_their_operands():
    x = np.ones(2, ">f4")
    for f in (lambda x: x * 2, np.exp, lambda x: x * np.float64(3), lambda x: x + np.array(2.0), lambda x: x * x):
        assert vjp(f, x)[0].dtype == x.dtype


def test_an_index_or_condition_beside_operands_of_two_dtypes_keeps_its_own():
    low, wide = np.array([1.0, 2.0], np.float32), np.array([3.0, 4.0])
    y, pullback = vjp(lambda a, b: np.where(np.array([True, False]), a, b), low, wide)
    assert y.dtype == np.float64 and y.tolist() == [1, 4]
    a_bar, b_bar = pullback(np.ones(2))
    assert (a_bar.dtype, a_bar.tolist(), b_bar.tolist()) == (np.float32, [1, 0], [0, 1])
    assert vjp(lambda x: x[[]], low)[0].shape == (0,)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beside", [np.float32, np.float64, np.int8, np.int64])
def test_a_0d_tensor_takes_the_dtype_of_float_arrays_and_keeps_its_own_beside_integers(dtype, beside):
    array = np.array([1, 2, 3], beside)
    y, pullback = vjp(lambda x: x * array, np.array(0.5, dtype))
    expected = beside if np.dtype(beside).kind == "f" else np.result_type(beside, dtype)
    assert y.dtype == expected
    np.testing.assert_array_equal(y, 0.5 * array)
    (x_bar,) = pullback(np.ones(3, y.dtype))
    assert x_bar.dtype == dtype and x_bar == 6
