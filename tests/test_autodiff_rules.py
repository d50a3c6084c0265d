"""Every primitive's rule: against finite differences, against the complex step, and in float32.

PRIMITIVES is the set at a glance. A case is a function, its float arguments and which of them are differentiated;
shapes, axes and broadcasting come from Hypothesis, values from a seeded generator inside the primitive's safe domain,
which is bounded away from singular points and kinks by construction. The oracle is written here and shares nothing with
check_vjp.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from refvdm.autodiff import linear, log_softmax, logsumexp, solve_triangular, vjp
from refvdm.autodiff.linalg import einsum_of_arrays
from refvdm.autodiff.rules import _clip
from refvdm.autodiff.tensor import RULES, Tensor, _getitem


class Case(NamedTuple):
    f: Callable
    args: tuple
    wrt: tuple
    analytic: bool = True  # False: this case conjugates, so the complex step does not apply


class Primitive(NamedTuple):
    function: Callable  # the key in RULES
    cases: st.SearchStrategy
    analytic: bool = False  # has a complex loop and is analytic
    examples: int = 50  # at most; LAPACK on a busy machine is slow


# ---------------------------------------------------------------- values, shapes, axes

DOMAINS = {
    "real": lambda rng, shape: rng.uniform(-2, 2, shape),
    "positive": lambda rng, shape: rng.uniform(0.5, 2.5, shape),
    "nonzero": lambda rng, shape: rng.uniform(0.5, 2, shape) * rng.choice([-1, 1], shape),
    "above -1": lambda rng, shape: rng.uniform(-0.5, 2, shape),
    # two grids that interleave: whatever is broadcast against whatever, values of one are 0.1 or more from those of the
    # other
    "grid": lambda rng, shape: 0.4 * rng.integers(-3, 4, shape) + rng.uniform(-0.05, 0.05, shape),
    "other grid": lambda rng, shape: 0.4 * rng.integers(-3, 4, shape) + 0.2 + rng.uniform(-0.05, 0.05, shape),
}


def drawn(rng, domain, shape):
    return np.asarray(DOMAINS[domain](rng, shape))  # 0-d arrays, not scalars


seeds = st.integers(0, 2**16)
shapes = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def broadcast_shapes(draw, count, most=3):
    """Shapes that broadcast together: each lacks some leading axes of the full one and has size 1 in some others."""
    full = draw(st.lists(st.integers(1, 3), max_size=most).map(tuple))
    ends = [full[draw(st.integers(0, len(full))) :] for _ in range(count)]
    return [tuple(1 if draw(st.booleans()) else n for n in end) for end in ends]


@st.composite
def subsets(draw, count):
    """Which of so many arguments are differentiated: at least one."""
    bits = draw(st.integers(1, 2**count - 1))
    return tuple(i for i in range(count) if bits >> i & 1)


def axes_of(ndim, none=True, several=True):
    """None, (), positive and negative axes, pairs of axes."""
    found = [None] if none else []
    found += list(range(-ndim, ndim))
    if several:
        found += [(), *((i, j) for i in range(ndim) for j in range(-ndim, ndim) if j % ndim != i)]
    return st.sampled_from(found)


@st.composite
def elementwise(draw, f, *domains):
    rng = np.random.default_rng(draw(seeds))
    args = tuple(drawn(rng, domain, shape) for domain, shape in zip(domains, draw(broadcast_shapes(len(domains)))))
    return Case(f, args, draw(subsets(len(args))))


@st.composite
def powers(draw):
    rng, shape = np.random.default_rng(draw(seeds)), draw(shapes)
    kind = draw(st.sampled_from(["tensors", "whole", "real", "array", "base", "operator"]))
    if kind == "tensors":
        return draw(elementwise(np.power, "positive", "real"))
    if kind == "base":
        return Case(lambda x: 3**x, (drawn(rng, "real", shape),), (0,))
    if kind == "real":
        exponent = draw(st.sampled_from([0.5, -1.5, 2.5]))
        return Case(lambda x: x**exponent, (drawn(rng, "positive", shape),), (0,))
    if kind == "array":
        return Case(np.power, (drawn(rng, "nonzero", shape), rng.integers(-2, 4, shape) * np.ones(shape)), (0,))
    exponent = draw(st.sampled_from([-2, -1, 1, 2, 3, 4]))
    f = (lambda x: x**exponent) if kind == "operator" else lambda x: np.power(x, exponent * 1.0)
    return Case(f, (drawn(rng, "nonzero", shape),), (0,))


@st.composite
def wheres(draw):
    rng = np.random.default_rng(draw(seeds))
    c, a, b = draw(broadcast_shapes(3))
    condition = rng.random(c) < 0.5
    return Case(lambda x, y: np.where(condition, x, y), (rng.standard_normal(a), rng.standard_normal(b)),
                draw(subsets(2)))


@st.composite
def clips(draw):
    low, high = draw(st.sampled_from([(-1, 1), (None, 1.0), (-1.0, None), (np.array(-1.0), 1)]))
    f = draw(
        st.sampled_from(
            [lambda x: np.clip(x, low, high), lambda x: x.clip(low, high), lambda x: np.clip(x, a_min=low, a_max=high)]
        )
    )
    rng, shape = np.random.default_rng(draw(seeds)), draw(shapes)
    return Case(f, (np.asarray(rng.choice([-1.5, -0.5, 0.5, 1.5], shape) + rng.uniform(-0.3, 0.3, shape)),), (0,))


@st.composite
def on_axes(draw, *makers, least=0, none=True, several=True):
    """maker(axis) or maker(axis, keepdims): x -> y, for arrays of any shape."""
    shape = draw(st.lists(st.integers(1, 3), min_size=least, max_size=3).map(tuple))
    f = draw(st.sampled_from(makers))(draw(axes_of(len(shape), none, several)), draw(st.booleans()))
    return Case(f, (np.random.default_rng(draw(seeds)).uniform(-2, 2, shape),), (0,))


@st.composite
def matmuls(draw):
    m, k, n = (draw(st.integers(1, 3)) for _ in range(3))
    batch_a, batch_b = draw(broadcast_shapes(2, most=2))
    a = draw(st.sampled_from([(k,), (m, k), (*batch_a, m, k)]))
    b = draw(st.sampled_from([(k,), (k, n), (*batch_b, k, n)]))
    rng = np.random.default_rng(draw(seeds))
    f = draw(st.sampled_from([np.matmul, lambda a, b: a @ b]))
    return Case(f, (rng.standard_normal(a), rng.standard_normal(b)), draw(subsets(2)))


@st.composite
def rearranged(draw, maker, least=0):
    """maker(draw, shape): x -> y of the same elements, for an array of any shape."""
    shape = draw(st.lists(st.integers(1, 3), min_size=least, max_size=3).map(tuple))
    return Case(maker(draw, shape), (np.random.default_rng(draw(seeds)).standard_normal(shape),), (0,))


def to_shape(draw, shape):
    size = int(np.prod(shape))
    new = draw(st.sampled_from([(-1,), size, shape[::-1], (1, *shape), (-1, 1), [1, size]]))
    return draw(st.sampled_from([lambda x: np.reshape(x, new), lambda x: x.reshape(new)]))


def to_order(draw, shape):
    order = draw(st.permutations(range(len(shape))))
    signed = tuple(i - len(shape) if draw(st.booleans()) else i for i in order)
    return draw(st.sampled_from([lambda x: x.T, lambda x: np.transpose(x, signed), np.transpose,
                                 lambda x: x.transpose(signed)]))


def to_swapped(draw, shape):
    i, j = (draw(st.integers(-len(shape), len(shape) - 1)) for _ in range(2))
    return draw(st.sampled_from([lambda x: np.swapaxes(x, i, j), lambda x: x.swapaxes(i, j)]))


def to_moved(draw, shape):
    n = len(shape)
    count = draw(st.integers(1, n))
    source, target = (tuple(draw(st.permutations(range(n)))[:count]) for _ in range(2))
    if count == 1:
        return lambda x: np.moveaxis(x, source[0] - n, target[0])
    return lambda x: np.moveaxis(x, source, target)


def to_expanded(draw, shape):
    axis = draw(st.sampled_from([0, -1, (0, -1), (0, 1), len(shape)]))
    return lambda x: np.expand_dims(x, axis)


@st.composite
def squeezes(draw):
    axis, shape = draw(
        st.sampled_from(
            [
                (None, (1, 2, 1)),
                (0, (1, 3)),
                (-1, (3, 1)),
                ((0, 2), (1, 2, 1)),
                (None, (1,)),
                (None, ()),
                (None, (2, 3)),
                ((), (1, 2)),
            ]
        )
    )
    f = draw(st.sampled_from([lambda x: np.squeeze(x, axis), lambda x: x.squeeze(axis=axis)]))
    return Case(f, (np.random.default_rng(draw(seeds)).standard_normal(shape),), (0,))


@st.composite
def repeats(draw):
    (shape,) = draw(broadcast_shapes(1))
    full = tuple(draw(st.integers(1, 3)) if n == 1 else n for n in shape)
    full = (*draw(st.lists(st.integers(1, 2), max_size=2)), *full)
    return Case(lambda x: np.broadcast_to(x, full), (np.random.default_rng(draw(seeds)).standard_normal(shape),), (0,))


@st.composite
def joined(draw, function):
    count, rng = draw(st.integers(1, 3)), np.random.default_rng(draw(seeds))
    shape = draw(st.lists(st.integers(1, 3), min_size=function is np.concatenate, max_size=3).map(tuple))
    if function is np.stack:
        axis = draw(st.sampled_from(range(-len(shape) - 1, len(shape) + 1)))
        parts = [shape] * count
    else:
        axis = draw(axes_of(len(shape), several=False))
        parts = [
            tuple(draw(st.integers(0, 3)) if i == (axis or 0) % len(shape) else n for i, n in enumerate(shape))
            for _ in range(count)
        ]
    f = draw(st.sampled_from([lambda *xs: function(xs, axis), lambda *xs: function(list(xs), axis=axis)]))
    return Case(f, tuple(map(rng.standard_normal, parts)), draw(subsets(count)))


EVEN = np.array([[True, False, True, False], [False, True, False, True], [True, True, False, False]])
INDICES = [  # into an array of shape (3, 4)
    0,
    -1,
    np.int64(2),
    slice(None, None, -1),
    slice(1, None),
    slice(None, None, 2),
    slice(2, None, -2),
    slice(0, 0),
    ...,
    None,
    (1, 2),
    (-1, slice(None, None, -1)),
    (..., 0),
    (slice(1), None, slice(None, None, -2)),
    (),
    np.array(1),
    np.array([0, 0, 2]),
    np.array([[0, -1], [2, 0]]),
    [1, 1],
    [True, False, True],
    (np.array([0, 0, 2]), np.array([1, 1, -1])),
    (np.array([0, 0]), slice(1, 3)),
    (slice(None, None, -1), np.array([3, 3, 3])),
    ([0, 0], [1, 1]),
    (None, np.array([2, 2])),
    (0, np.array([1, 1])),
    np.ix_([0, 0, 1], [3, 3]),
    EVEN,
    EVEN[:, 0],
    (slice(None), EVEN[0]),
    (np.array([0, 1, 1, 1]), EVEN.any(0)),
    np.nonzero(EVEN),
    (1, EVEN[0]),
    np.zeros((3, 4), bool),
]


@st.composite
def indexed(draw):
    rng = np.random.default_rng(draw(seeds))
    rows, columns = (rng.integers(-n, n, draw(st.integers(1, 5))) for n in (3, 4))
    index = draw(
        st.sampled_from(
            [*INDICES, rows, (slice(None), columns), (rows, rng.integers(-4, 4, rows.shape)), (rows[:, None], columns)]
        )
    )
    return Case(lambda x: x[index], (rng.standard_normal((3, 4)),), (0,))


@st.composite
def triangles(draw, function):
    shape, k = draw(st.lists(st.integers(1, 3), min_size=2, max_size=3).map(tuple)), draw(st.integers(-2, 2))
    f = draw(st.sampled_from([lambda x: function(x, k), lambda x: function(x, k=k)]))
    return Case(f, (np.random.default_rng(draw(seeds)).standard_normal(shape),), (0,))


@st.composite
def solves(draw):
    """The triangle that is not read, and a unit diagonal, hold numbers too: their derivative is 0."""
    n, rng = draw(st.integers(1, 3)), np.random.default_rng(draw(seeds))
    a = rng.uniform(-1, 1, (n, n))
    a[np.diag_indices(n)] = rng.uniform(1, 2, n) * rng.choice([-1, 1], n)
    b = rng.standard_normal(draw(st.sampled_from([(n,), (n, 1), (n, 3)])))
    trans = draw(st.sampled_from([0, 1, 2, "N", "T", "C"]))
    lower, unit_diagonal = draw(st.booleans()), draw(st.booleans())
    f = draw(
        st.sampled_from(
            [
                lambda a, b: solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit_diagonal),
                lambda a, b: solve_triangular(a, b, trans, lower, unit_diagonal),
            ]
        )
    )
    return Case(f, (a, b), draw(subsets(2)), analytic=trans not in (2, "C"))


@st.composite
def linears(draw):
    """z = x @ W + b keeps the sign of its column and |z| >= 0.3, away from relu's kink."""
    rng, activation = np.random.default_rng(draw(seeds)), draw(st.sampled_from(["identity", "tanh", "silu", "relu"]))
    batch, n_in, n_out = (
        draw(st.lists(st.integers(1, 3), max_size=2).map(tuple)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
    )
    sign = rng.choice([-1, 1], n_out)
    x, W, b = rng.uniform(0.2, 1, (*batch, n_in)), rng.uniform(0.1, 1, (n_in, n_out)), rng.uniform(0.3, 1, n_out)
    args = x, sign * W, sign * b
    f = draw(
        st.sampled_from([lambda x, W, b: linear(x, W, b, activation), lambda x, W,
                         b: linear(x, W, b, activation=activation)])
    )
    return Case(f, args, draw(subsets(3)), analytic=activation != "relu")


# ---------------------------------------------------------------- the set

PRIMITIVES = {
    # arithmetic
    "add": Primitive(np.add, elementwise(lambda a, b: a + b, "real", "real"), True),
    "subtract": Primitive(np.subtract, elementwise(lambda a, b: a - b, "real", "real"), True),
    "multiply": Primitive(np.multiply, elementwise(lambda a, b: a * b, "real", "real"), True),
    "divide": Primitive(np.divide, elementwise(lambda a, b: a / b, "real", "nonzero"), True),
    "negative": Primitive(np.negative, elementwise(lambda x: -x, "real"), True),
    "power": Primitive(np.power, powers(), True),
    "square": Primitive(np.square, elementwise(np.square, "real"), True),
    "sqrt": Primitive(np.sqrt, elementwise(np.sqrt, "positive"), True),
    "reciprocal": Primitive(np.reciprocal, elementwise(np.reciprocal, "nonzero"), True),
    "abs": Primitive(np.absolute, elementwise(abs, "nonzero")),
    # exponentials and friends
    "exp": Primitive(np.exp, elementwise(np.exp, "real"), True),
    "expm1": Primitive(np.expm1, elementwise(np.expm1, "real"), True),
    "log": Primitive(np.log, elementwise(np.log, "positive"), True),
    "log1p": Primitive(np.log1p, elementwise(np.log1p, "above -1"), True),
    "logaddexp": Primitive(np.logaddexp, elementwise(np.logaddexp, "real", "real")),
    "sin": Primitive(np.sin, elementwise(np.sin, "real"), True),
    "cos": Primitive(np.cos, elementwise(np.cos, "real"), True),
    "tanh": Primitive(np.tanh, elementwise(np.tanh, "real"), True),
    "expit": Primitive(special.expit, elementwise(special.expit, "real")),
    "log_ndtr": Primitive(special.log_ndtr, elementwise(special.log_ndtr, "real")),
    "erf": Primitive(special.erf, elementwise(special.erf, "real"), True),
    # choices
    "maximum": Primitive(np.maximum, elementwise(np.maximum, "grid", "other grid")),
    "minimum": Primitive(np.minimum, elementwise(np.minimum, "grid", "other grid")),
    "where": Primitive(np.where, wheres(), True),
    "clip": Primitive(_clip, clips()),
    # sums
    "sum": Primitive(
        np.sum,
        on_axes(
            lambda axis, keep: lambda x: np.sum(x, axis=axis, keepdims=keep),
            lambda axis, keep: lambda x: x.sum(axis, keepdims=keep),
            lambda axis, keep: lambda x: np.sum(x, axis),
        ),
        True,
    ),
    "mean": Primitive(
        np.mean,
        on_axes(
            lambda axis, keep: lambda x: np.mean(x, axis=axis, keepdims=keep),
            lambda axis, keep: lambda x: x.mean(axis, keepdims=keep),
        ),
        True,
    ),
    "cumsum": Primitive(
        np.cumsum,
        on_axes(lambda axis, keep: lambda x: np.cumsum(x, axis=axis), lambda axis, keep: lambda x: x.cumsum(axis),
                several=False),
        True,
    ),
    "logsumexp": Primitive(
        logsumexp.__wrapped__,
        on_axes(
            lambda axis, keep: lambda x: logsumexp(x, axis=axis, keepdims=keep),
            lambda axis, keep: lambda x: logsumexp(x, axis),
            least=1,
        ),
    ),
    "log_softmax": Primitive(
        log_softmax.__wrapped__,
        on_axes(lambda axis, keep: lambda x: log_softmax(x, axis=axis), lambda axis, keep: log_softmax, least=1,
                several=False),
    ),
    # linear algebra
    "matmul": Primitive(np.matmul, matmuls(), True),
    "solve_triangular": Primitive(solve_triangular.__wrapped__, solves(), True, examples=12),
    "linear": Primitive(linear.__wrapped__, linears(), True),
    "tril": Primitive(np.tril, triangles(np.tril), True),
    "triu": Primitive(np.triu, triangles(np.triu), True),
    # shapes
    "reshape": Primitive(np.reshape, rearranged(to_shape), True),
    "ravel": Primitive(np.ravel, rearranged(lambda draw, shape: draw(st.sampled_from([np.ravel, lambda x: x.ravel()]))),
                       True),
    "transpose": Primitive(np.transpose, rearranged(to_order), True),
    "swapaxes": Primitive(np.swapaxes, rearranged(to_swapped, least=1), True),
    "moveaxis": Primitive(np.moveaxis, rearranged(to_moved, least=1), True),
    "expand_dims": Primitive(np.expand_dims, rearranged(to_expanded), True),
    "squeeze": Primitive(np.squeeze, squeezes(), True),
    "broadcast_to": Primitive(np.broadcast_to, repeats(), True),
    "concatenate": Primitive(np.concatenate, joined(np.concatenate), True),
    "stack": Primitive(np.stack, joined(np.stack), True),
    "getitem": Primitive(_getitem, indexed(), True),
}
every_primitive = pytest.mark.parametrize("name", PRIMITIVES)
every_analytic = pytest.mark.parametrize("name", [name for name, p in PRIMITIVES.items() if p.analytic])


def test_the_table_is_the_set():
    """Other modules of the package may add rules of their own; those are tested beside them, as are those of
    test_autodiff_composed.py.
    """
    later = {np.max, np.min, np.linalg.solve, np.tan, np.sinh, np.cosh, np.exp2, np.log2, np.log10,
             np.hypot, np.remainder, einsum_of_arrays}
    elsewhere = {f for f in RULES if str(f.__module__ if hasattr(f, "__module__") else "").startswith("refvdm.")}
    elsewhere -= {f for f in elsewhere if f.__module__.startswith("refvdm.autodiff.")}
    assert {p.function for p in PRIMITIVES.values()} == set(RULES) - elsewhere - later


# ---------------------------------------------------------------- oracles


def pulled(case, args, y_bar=None):
    """value, cotangents of the differentiated arguments, and the y_bar that was used."""

    def f(*chosen):
        filled = list(args)
        for i, x in zip(case.wrt, chosen):
            filled[i] = x
        return case.f(*filled)

    value, pullback = vjp(f, *(args[i] for i in case.wrt))
    if y_bar is None:
        y_bar = np.random.default_rng(1).standard_normal(value.shape).astype(value.dtype)
    return value, pullback(y_bar), y_bar


def directional(case, args, i, at, step, y_bar):
    """<y_bar, f> with element `at` of argument i moved by step."""
    moved = args[i].astype(np.result_type(args[i], type(step)))
    moved[at] += step
    return np.sum(y_bar * case.f(*args[:i], moved, *args[i + 1 :]))


def difference(case, args, i, at, y_bar, h=1e-3):
    """d <y_bar, f>/dx: central differences at h and 2h, extrapolated; error O(h^4)."""
    narrow, wide = (
        (directional(case, args, i, at, s, y_bar) - directional(case, args, i, at, -s, y_bar)) / (2 * s)
        for s in (h, 2 * h)
    )
    return (4 * narrow - wide) / 3


def complex_step(case, args, i, at, y_bar, h=1e-30):
    return np.imag(directional(case, args, i, at, 1j * h, y_bar)) / h


def agree(case, derivative, tolerance):
    value, cotangents, y_bar = pulled(case, case.args)
    plain = case.f(*case.args)
    assert type(value) is np.ndarray and value.shape == np.shape(plain)
    assert value.dtype == np.float64
    if np.lib.NumpyVersion(np.__version__) >= "2.0.0":
        assert value.tobytes() == np.ascontiguousarray(plain).tobytes()
    else:  # in NumPy 1.26 array**-1 is a reciprocal, np.power(array, -1) is not
        np.testing.assert_array_max_ulp(value, plain, 1)
    for i, got in zip(case.wrt, cotangents):
        assert type(got) is np.ndarray and got.shape == case.args[i].shape and got.dtype == np.float64
        expected = np.zeros(got.shape)
        for at in np.ndindex(got.shape):
            expected[at] = derivative(case, case.args, i, at, y_bar)
        error = np.max(np.abs(got - expected), initial=0)
        assert error <= tolerance * np.max(np.abs(expected),
                                           initial=1), f"argument {i}: expected\n{expected}\ngot\n{got}"


def for_all(name, examples, check):
    primitive = PRIMITIVES[name]
    settings(max_examples=min(examples, primitive.examples))(given(primitive.cases)(check))()


@every_primitive
def test_finite_differences(name):
    for_all(name, 24, lambda case: agree(case, difference, 1e-7))


@every_analytic
def test_complex_step(name):
    for_all(name, 12, lambda case: agree(case, complex_step, 1e-12) if case.analytic else None)


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_getitem_every_index(index):
    """y is linear in x, so x_bar counts: <y_bar, x[index]> = <x_bar, x> with x_bar the scatter of y_bar."""
    x = np.arange(12.0).reshape(3, 4)
    where = np.arange(12).reshape(3, 4)[index]
    y, pullback = vjp(lambda x: x[index], x)
    y_bar = np.random.default_rng(0).standard_normal(np.shape(where))
    np.testing.assert_array_equal(y, x[index])
    expected = np.zeros(12)
    for place, b in zip(np.ravel(where), np.ravel(y_bar)):
        expected[place] += b
    np.testing.assert_allclose(pullback(y_bar)[0], expected.reshape(3, 4), rtol=1e-15, atol=1e-15)


def test_getitem_empty_list():
    """As of an array: x[[]] takes no rows."""
    y, pullback = vjp(lambda x: x[[]], np.ones((3, 4)))
    assert y.shape == (0, 4)
    np.testing.assert_array_equal(pullback(np.ones((0, 4)))[0], np.zeros((3, 4)))


EMPTY = {
    "sum": lambda x: np.sum(x, axis=0),
    "sum of rows": lambda x: np.sum(x, axis=1),
    "mean of rows": lambda x: np.mean(x, axis=1),
    "cumsum": lambda x: np.cumsum(x, axis=0),
    "matmul": lambda x: x @ np.ones((3, 2)),
    "linear": lambda x: linear(x, np.ones((3, 2)), np.ones(2)),
    "concatenate": lambda x: np.concatenate([x, x]),
    "getitem": lambda x: x[:, 0],
    "log_softmax": lambda x: log_softmax(x, axis=-1),
    "mul": lambda x: x * np.ones(3),
}


@pytest.mark.parametrize("name", EMPTY)
def test_empty_batch(name):
    """A batch of no examples is an array of shape (0, 3): every cotangent is an array of that shape."""
    y, pullback = vjp(EMPTY[name], np.ones((0, 3)))
    assert y.shape == EMPTY[name](np.ones((0, 3))).shape
    assert pullback(np.ones(y.shape))[0].shape == (0, 3)


# ---------------------------------------------------------------- float32


@every_primitive
def test_float32_agrees_with_float64(name):
    for_all(name, 8, agrees_in_float32)


def agrees_in_float32(case):
    low = tuple(a.astype(np.float32) for a in case.args)
    value, got, y_bar = pulled(case, low)
    assert value.dtype == np.float32
    wide, expected, _ = pulled(case, tuple(a.astype(np.float64) for a in low), y_bar.astype(np.float64))
    for g, e in zip((value, *got), (wide, *expected)):
        assert g.dtype == np.float32
        assert np.max(np.abs(g - e), initial=0) <= 1e-4 * np.max(np.abs(e), initial=1)


@every_primitive
def test_float32_rules_compute_in_float32(name):
    """What a rule returns is float32 before the engine casts it, so that no float64 slows a float32 model down."""
    for_all(name, 12, computes_in_float32)


def computes_in_float32(case):
    tape = []

    def f(*chosen):
        tape.append(chosen[0].recording.tape)
        return case.f(*(chosen[case.wrt.index(i)] if i in case.wrt else a for i, a in enumerate(args)))

    args = tuple(a.astype(np.float32) for a in case.args)
    vjp(f, *(args[i] for i in case.wrt))
    for rule, y, arrays, kwargs, parents in filter(None, tape[0]):
        assert all(a.dtype == np.float32 for i, a in enumerate(arrays) if i in rule.operands)
        y_bar = np.ones(np.shape(y[0] if rule.saves else y), np.float32)
        s = rule.shared(y_bar, y, *arrays, **kwargs) if rule.shared else y_bar
        for position, _ in parents:
            if rule.each:
                raw = rule.each(position, s, y, *arrays, **kwargs)
            else:
                raw = rule.pulls[position](s, y, *arrays, **kwargs)
            assert np.ndim(raw) == 0 or raw.dtype == np.float32


@pytest.mark.parametrize("f", [np.add, np.subtract, np.multiply, np.divide, np.power, np.maximum,
                               np.minimum, np.logaddexp])
@pytest.mark.parametrize("constant", [2, 2.5, np.float64(2.5), np.array(2.5), np.int64(2), True], ids=repr)
@pytest.mark.parametrize("shape", [(), (3,)], ids=str)
def test_scalars_never_widen(f, constant, shape):
    x = np.full(shape, 1.5, np.float32)
    for g in (lambda x: f(x, constant), lambda x: f(constant, x)):
        y, pullback = vjp(g, x)
        assert y.dtype == np.float32 and y.shape == shape
        assert pullback(np.ones(shape, np.float32))[0].dtype == np.float32


@pytest.mark.parametrize(
    "operate",
    [
        lambda x, c: c * x,
        lambda x, c: x * c,
        lambda x, c: c / x,
        lambda x, c: c - x,
        lambda x, c: x**c,
        lambda x, c: np.where(x > 0, x, c),
        lambda x, c: np.stack([x, np.broadcast_to(c, x.shape)])[0] if np.ndim(c) else np.where(x > 1, c, x),
    ],
)
def test_only_arrays_widen(operate):
    x = np.array([1.5, 0.5], np.float32)
    for constant, dtype in [
        (np.float64(2), np.float32),
        (np.array(2.0), np.float32),
        (2, np.float32),
        (np.full(2, 2.0), np.float64),
        (np.full(2, 2, np.float32), np.float32),
    ]:
        y, pullback = vjp(lambda x, c=constant: operate(x, c), x)
        assert y.dtype == dtype
        assert pullback(np.ones(y.shape, dtype))[0].dtype == np.float32


def test_dtypes_of_two_tensors():
    """0-d Tensors do not widen arrays; among 0-d ones the widest Tensor counts; each cotangent has its primal's
    dtype."""
    low, wide = np.ones(2, np.float32), np.array(2.0)
    for a, b, dtype in [
        (low, wide, np.float32),
        (wide, low, np.float32),
        (low[0], wide, np.float64),
        (low, np.ones(2), np.float64),
    ]:
        y, pullback = vjp(np.multiply, a, b)
        assert y.dtype == dtype
        for x, x_bar in zip((a, b), pullback(np.ones_like(y))):
            assert x_bar.dtype == x.dtype and x_bar.shape == x.shape
    y, _ = vjp(lambda a: a * np.arange(2), low)  # int64 and float32 meet in float64, as in NumPy
    assert y.dtype == np.float64
    y, pullback = vjp(lambda a: a * np.arange(2), np.array(2.0))
    assert y.dtype == np.float64 and pullback(np.ones(2))[0] == 1.0


def test_float32_network_stays_float32():
    x, W, b = (np.ones(s, np.float32) for s in [(4, 3), (3, 2), (2,)])

    def loss(W, b):
        h = linear(x, W, b, "silu")
        return np.mean((h - np.float64(0.5)) ** 2) * 0.5 + np.sum(np.exp(-h)) / 3

    y, pullback = vjp(loss, W, b)
    assert y.dtype == np.float32 and type(y) is np.ndarray
    assert [g.dtype for g in pullback(np.ones((), np.float32))] == [np.float32] * 2


def test_recorded_dtype_is_the_tensor_dtype():
    seen = []
    vjp(lambda x: seen.append(x) or x.sum(), np.ones(2, np.float32))
    assert type(seen[0]) is Tensor and seen[0].dtype == np.float32
