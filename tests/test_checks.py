"""The vocabulary of checks: what is right comes back as wanted, what is wrong is named, with what was expected."""
import math
import os
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm import checks
from refvdm.autodiff import Tensor, grad, vjp
from refvdm.values import axis as axis_of

X = np.arange(6.0).reshape(3, 2)
MATRIX = np.ones((1, 1)).view(np.matrix)
MASKED = np.ma.array([1.0, 2.0], mask=[False, True])


def refused(error, message, check, *args, **kwargs):
    """The message must be exactly this."""
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check(*args, **kwargs)


def stand_in(module):
    """An array of another library: only its class's module, shape and dtype are looked at."""
    cls = type("Array", (), {"__module__": module, "shape": (2,), "dtype": "float32"})
    return cls()


# ---------------------------------------------------------------- arrays of floats


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_floats_come_back_as_they_are(dtype):
    x = X.astype(dtype)
    assert checks.floats("x", x) is x
    assert checks.floats("x", x, ("batch", 2)) is x and checks.floats("x", x, (3, ...)) is x
    assert checks.floats("x", np.array(x[0, 0]), ()).shape == ()


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", ">f8"])
def test_floats_of_either_byte_order_come_back_in_the_machines(dtype):
    """The numbers are kept, and so is the precision."""
    got = checks.floats("x", X.astype(dtype))
    assert got.dtype.isnative and got.dtype.itemsize == np.dtype(dtype).itemsize and np.array_equal(got, X)
    assert checks.like("x", X.astype(dtype), "y", X).dtype.isnative
    assert checks.reals("x", X.astype(dtype), (3, 2)).dtype == np.float64


def test_tensors_are_floats_too():
    """Inside vjp a Tensor passes and keeps its gradient; its shape and its values are looked at as an array's."""
    seen = []

    def f(x):
        seen.append(checks.floats("x", x, ("batch", 2)))
        assert seen[-1] is x and checks.like("x", x, "y", X) is x and checks.like("y", X, "x", x) is X
        refused(ValueError, "x must have shape (batch, 3), got (3, 2)", checks.floats, "x", x, ("batch", 3))
        refused(ValueError, "log x must be finite, got -inf at index (0, 0)", checks.floats, "log x", np.log(x))
        assert checks.floats("log x", np.log(x), finite=False).shape == (3, 2)
        return np.sum(seen[-1] ** 2)

    with np.errstate(divide="ignore"):
        assert np.array_equal(grad(f)(X), 2 * X)
    assert type(seen[0]) is Tensor


@pytest.mark.parametrize("x, got", [
    (np.arange(3), "dtype int64; cast it with .astype(float)"),
    (np.array([True]), "dtype bool; cast it with .astype(float)"),
    (np.array(["a"]), "dtype <U1; cast it with .astype(float)"),
    (np.array([None]), "dtype object; make an array of numbers of it"),
    (np.array([1j]), "dtype complex128; take its real part"),
    (np.complex64(1), "dtype complex64; take its real part"),
    (MASKED, "a masked array, whose mask would be lost; use .filled(value)"),
    (MATRIX, "an np.matrix, whose * means something else; use np.asarray(matrix)"),
    (stand_in("torch.fake"), "a torch.Tensor; hand it over as x.detach().numpy()"),
    (stand_in("jax.fake"), "a jax array; hand it over as np.asarray(x)"),
    (stand_in("jaxlib._jax"), "a jax array; hand it over as np.asarray(x)"),
    (stand_in("cupy"), "Array"),
    (stand_in("torchvision.fake"), "Array"),
    ([1.0], "list; np.array(x, float) makes it one"),
    ((1.0,), "tuple; np.array(x, float) makes it one"),
    (1, "int; np.array(x, float) makes it one"),
    (1.5, "float; np.array(x, float) makes it one"),
    (np.float32(1), "float32; np.array(x, float) makes it one"),
    (None, "NoneType"), ("a", "str"), ({}, "dict")], ids=lambda x: type(x).__name__)
def test_what_is_no_array_of_floats_is_called_what_it_is(x, got):
    """With what to do about it, where something can be done."""
    refused(TypeError, f"x must be an array of floats, got {got}", checks.floats, "x", x, (...,))
    refused(TypeError, f"net: x must be an array of floats, got {got}", checks.like, "net: x", x, "y", X)


def test_the_advice_for_floats_works():
    """What a message says to write is accepted."""
    for x in (np.arange(3).astype(float), np.array([1.0], float), np.array(np.float32(1), float), MASKED.filled(0),
              np.asarray(MATRIX), np.array([1j]).real):
        checks.floats("x", x, (...,))
    checks.levels("k", np.array([1.0]).astype(int), 2)


@pytest.mark.parametrize("shape, expected, right, wrong", [
    (("batch", ...), "(batch, ...)", [(0,), (1,), (2, 3)], [()]),
    (("n",), "(n,)", [(0,), (5,)], [(), (1, 1)]),
    ((2,), "(2,)", [(2,)], [(3,), (), (2, 1)]),
    ((), "()", [()], [(1,)]),
    ((...,), "(...)", [(), (1,), (2, 3)], []),
    (("batch", ..., 3), "(batch, ..., 3)", [(1, 3), (0, 2, 3), (2, 4, 5, 3)], [(3,), (3, 1), (3, 2), ()]),
    ((..., 3, "n"), "(..., 3, n)", [(3, 1), (2, 3, 5)], [(3,), (3, 2, 1)]),
    ((2, "n", ...), "(2, n, ...)", [(2, 1), (2, 1, 1)], [(2,), (1, 2)]),
    ((2, 3), "(2, 3)", [(2, 3)], [(3, 2), (2, 3, 1), (6,), (3,)]),
], ids=str)
def test_shapes(shape, expected, right, wrong):
    """A number is that length, a word any length, ... any number of axes; shown as docstrings have them."""
    assert checks.shown(shape) == expected
    for got in right:
        assert checks.floats("x", np.zeros(got), shape).shape == checks.reals("x", np.zeros(got), shape).shape == got
    for got in wrong:
        for check in (checks.floats, checks.reals):
            refused(ValueError, f"x must have shape {expected}, got {got}", check, "x", np.zeros(got), shape)


lengths = st.integers(0, 3)


@given(st.lists(lengths, max_size=3), st.lists(lengths, max_size=3), st.lists(lengths, max_size=3))
def test_shapes_with_an_ellipsis_fit_whatever_is_between(head, between, tail):
    """Numbers before and after ... ; one wrong number is refused."""
    got = (*head, *between, *tail)
    checks.floats("x", np.zeros(got), (*head, ..., *tail))
    for i, at in enumerate((*range(len(head)), *range(-len(tail), 0))):
        other = [*head, ..., *tail]
        place = i if i < len(head) else i + 1
        other[place] = got[at] + 1
        with pytest.raises(ValueError, match="x must have shape"):
            checks.floats("x", np.zeros(got), other)


@given(st.tuples(lengths, lengths, lengths), st.sampled_from([math.nan, math.inf, -math.inf]), st.data())
def test_the_first_number_that_is_not_finite_is_told_with_its_place(shape, bad, data):
    x = np.ones(shape)
    if not x.size:
        assert checks.floats("x", x) is x
        return
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    x[at] = bad
    x.reshape(-1)[np.ravel_multi_index(at, shape) + 1 :] = np.nan
    for check in (checks.floats, checks.reals):
        refused(ValueError, f"x must be finite, got {bad} at index {at}", check, "x", x, ("batch", ...))
        assert check("x", x, ("batch", ...), finite=False).shape == shape
    assert checks.like("x", x, "y", x) is x


def test_a_single_number_that_is_not_finite():
    refused(ValueError, "x must be finite, got nan at index ()", checks.floats, "x", np.array(np.nan), ())


def test_like_has_the_others_shape():
    assert checks.like("x", X, "y", X.astype(np.float32)) is X
    assert checks.like("x", X, "y", X.tolist()) is X
    refused(ValueError, "x must have y's shape (2, 3), got (3, 2)", checks.like, "x", X, "y", X.T)
    refused(ValueError, "x must have y's shape (), got (1,)", checks.like, "x", np.ones(1), "y", 1.0)


# ---------------------------------------------------------------- arrays from numbers of any kind


@pytest.mark.parametrize("x", [[0, 1, 2], (0.0, 1, np.float32(2)), range(3), np.arange(3), np.arange(3, dtype=np.uint8),
                               np.arange(3, dtype=np.float16), [np.array(0.0), 1, 2]], ids=str)
def test_reals_become_float64(x):
    got = checks.reals("x", x, ("n",))
    assert got.dtype == np.float64 and got.tolist() == [0, 1, 2] and type(got) is np.ndarray


def test_reals_are_an_array_of_its_own():
    """What the caller does to theirs afterwards changes nothing."""
    x = np.zeros(3)
    got = checks.reals("x", x, (3,))
    x[0] = 1
    assert got[0] == 0 and not np.shares_memory(x, got)
    assert checks.reals("x", 2, ()).shape == () and checks.reals("x", [[]], (1, 0)).shape == (1, 0)


@pytest.mark.parametrize("x, got", [
    (np.array([1j]), "dtype complex128; take its real part"), ([1j], "dtype complex128; take its real part"),
    ([True], "dtype bool; cast it with .astype(float)"), (["a"], "dtype <U1; cast it with .astype(float)"),
    ([None], "dtype object; make an array of numbers of it"), (None, "dtype object; make an array of numbers of it"),
    (MASKED, "a masked array, whose mask would be lost; use .filled(value)"),
    (MATRIX, "an np.matrix, whose * means something else; use np.asarray(matrix)"),
    (stand_in("torch.fake"), "a torch.Tensor; hand it over as x.detach().numpy()")], ids=lambda x: type(x).__name__)
def test_what_reals_are_not(x, got):
    refused(TypeError, f"x must hold real numbers, got {got}", checks.reals, "x", x, (...,))


def test_ragged_lists_are_named():
    for check, args, must in ((checks.reals, ((...,),), "hold real numbers"),
                              (checks.levels, (3,), r"hold integers 0\.\.2"),
                              (checks.integers, (2, 0, 3), "be an integer or an array of integers")):
        with pytest.raises(ValueError, match=f"^x must {must}: .*inhomogeneous"):
            check("x", [[1], [1, 2]], *args)


def test_a_tensor_is_no_plain_array():
    """It would lose its gradient."""
    def f(x):
        for check, args, must in ((checks.reals, ((...,),), "hold real numbers"),
                                  (checks.levels, (3,), "hold integers 0..2"),
                                  (checks.integers, (2, 0, 3), "be an integer or an array of integers")):
            refused(TypeError, f"x must {must}, got a Tensor, which would lose its gradient", check, "x", x, *args)
        return x

    vjp(f, np.ones(2))


@pytest.mark.parametrize("x", [3, np.int8(3), np.array(3), [1, 2, 3], np.array([3, 1, 1], np.uint8)], ids=str)
def test_integers(x):
    assert np.array_equal(checks.integers("t", x, 3, 1, 3), x)


@pytest.mark.parametrize("x, error, message", [
    (1.0, TypeError, "be an integer or an array of integers, got dtype float64; cast it with .astype(int)"),
    (True, TypeError, "be an integer or an array of integers, got dtype bool; cast it with .astype(int)"),
    ([1.0, 2, 3], TypeError, "be an integer or an array of integers, got dtype float64; cast it with .astype(int)"),
    (np.ma.array([1, 2, 3]), TypeError,
     "be an integer or an array of integers, got a masked array, whose mask would be lost; use .filled(value)"),
    ([1, 2], ValueError, "be one integer or have shape (batch,) = (3,), got shape (2,)"),
    ([[1, 2, 3]], ValueError, "be one integer or have shape (batch,) = (3,), got shape (1, 3)"),
    ([1, 2, 4], ValueError, "lie in 1..3, got 1..4"), ([3, 0, 3], ValueError, "lie in 1..3, got 0..3"),
    (0, ValueError, "lie in 1..3, got 0..0")], ids=str)
def test_what_integers_are_not(x, error, message):
    refused(error, f"t must {message}", checks.integers, "t", x, 3, 1, 3)


def test_no_integers_at_all_lie_everywhere():
    none = np.zeros(0, int)
    assert checks.integers("t", none, 0, 1, 3).shape == (0,) == checks.levels("k", none, 1).shape


def test_levels():
    assert checks.levels("k", [[0, 2], [1, 1]], 3).shape == (2, 2) and checks.levels("k", np.uint8(2), 3) == 2
    for x, values in ([0, 3], "0..3"), ([-1, 2], "-1..2"):
        refused(ValueError, f"k must hold integers 0..2, got values {values}", checks.levels, "k", x, 3)
    for x, dtype in ([0.0], "float64"), ([True], "bool"):
        refused(TypeError, f"k must hold integers 0..2, got dtype {dtype}; cast it with .astype(int)",
                checks.levels, "k", x, 3)


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_noise_from_a_generator_is_its_own_draw(dtype):
    """The same bits as standard_normal in that dtype; a list will do for the shape."""
    got = checks.noise("f", [2, 3], np.dtype(dtype), np.random.default_rng(1), None)
    assert got.dtype == dtype and np.array_equal(got, np.random.default_rng(1).standard_normal((2, 3), dtype))


def test_noise_in_a_dtype_that_generators_do_not_have():
    got = checks.noise("f", (4,), np.dtype(np.float16), np.random.default_rng(1), None)
    assert got.dtype == np.float16
    assert np.array_equal(got, np.random.default_rng(1).standard_normal(4).astype(np.float16))


def test_noise_of_the_callers():
    """Cast to the dtype wanted, not copied when it has it; rng is not used up beside it."""
    rng, eps = np.random.default_rng(1), X
    assert checks.noise("f", [3, 2], np.dtype(float), rng, eps) is eps
    assert checks.noise("f", (3, 2), np.dtype(np.float32), None, eps).dtype == np.float32
    assert rng.random() == np.random.default_rng(1).random()

    def f(e):
        assert checks.noise("f", (3, 2), np.dtype(np.float32), None, e) is e
        return e

    vjp(f, eps)


def test_noise_that_is_wrong_is_named():
    refused(ValueError, "f: give a numpy.random.Generator as rng, or the noise as x_T",
            checks.noise, "f", (2,), float, None, None, "x_T")
    refused(TypeError, "f: rng must be a numpy.random.Generator (np.random.default_rng(seed)), got int",
            checks.noise, "f", (2,), float, 0, None)
    refused(ValueError, "f: eps must have shape (2,), got (3, 2)", checks.noise, "f", [2], float, None, X)
    refused(ValueError, "f: z must be finite, got inf at index (1,)",
            checks.noise, "f", (2,), float, None, np.array([0, np.inf]), "z")
    refused(TypeError, "f: eps must be an array of floats, got dtype int64; cast it with .astype(float)",
            checks.noise, "f", (2,), float, None, np.ones(2, np.int64))


# ---------------------------------------------------------------- single values


@pytest.mark.parametrize("n", [1, 7, np.int8(3), np.uint64(2)], ids=repr)
def test_integer(n):
    assert checks.integer("n", n) == n and type(checks.integer("n", n)) is int
    assert checks.integer("n", n, n) == n == checks.integer("n", n, 1, n)


@pytest.mark.parametrize("n", [0, -1, 1.0, np.float64(1), True, np.True_, "1", None, math.nan, np.array(1), [1]],
                         ids=repr)
def test_what_no_integer_is(n):
    refused(ValueError, f"n must be an integer of at least 1, got {n!r}", checks.integer, "n", n)


def test_the_ends_of_an_integers_range():
    assert checks.integer("n", 2, 2) == 2 == checks.integer("n", 2, 0, 2)
    refused(ValueError, "n must be an integer of at least 2, got 1", checks.integer, "n", 1, 2)
    refused(ValueError, "n must be an integer in 0..2, got 3", checks.integer, "n", 3, 0, 2)
    refused(ValueError, "n must be an integer in 0..2, got -1", checks.integer, "n", -1, 0, 2)


INTERVALS = {"[0, 1]": (0, 1), "[0, 1)": (0,), "(0, 1]": (1,), "(0, 1)": ()}


@pytest.mark.parametrize("interval", INTERVALS)
def test_number_and_the_ends_of_its_interval(interval):
    for x in (0.5, np.float32(0.5), *INTERVALS[interval]):
        got = checks.number("p", x, interval)
        assert got == x and type(got) is float
    for x in {0, 1, -0.1, 1.1, math.inf, -math.inf} - set(INTERVALS[interval]):
        refused(ValueError, f"p must lie in {interval}, got {x!r}", checks.number, "p", x, interval)


ends = st.floats(allow_nan=False)


@given(st.floats(), ends, ends, st.sampled_from("[("), st.sampled_from("])"))
def test_number_is_what_its_interval_says(x, low, high, left, right):
    above = x >= low if left == "[" else x > low
    below = x <= high if right == "]" else x < high
    interval = f"{left}{low!r}, {high!r}{right}"
    if above and below:
        assert checks.number("p", x, interval) == x
    else:
        refused(ValueError, f"p must lie in {interval}, got {x!r}", checks.number, "p", x, interval)


def test_any_number():
    assert checks.number("p", -3) == -3.0 and checks.number("p", np.int64(3)) == 3.0
    for bad in (math.nan, math.inf, True, np.True_, "1", None, 1j, np.array(1.0), [1.0]):
        refused(ValueError, f"p must lie in (-inf, inf), got {bad!r}", checks.number, "p", bad)


def test_positive():
    for x in (1, 5e-324, np.float32(2), np.int8(3)):
        assert checks.positive("r", x) == x and type(checks.positive("r", x)) is float
    for bad in (0, 0.0, -1, math.nan, math.inf, True, "1", None, 1j, np.array(1.0)):
        refused(ValueError, f"r must be positive and finite, got {bad!r}", checks.positive, "r", bad)


def test_one_of():
    assert checks.one_of("m", "a", ("a", "b")) == "a" and checks.one_of("m", "b", {"a": 1, "b": 2}) == "b"
    for bad in ("c", "", None, 1, ["a"], ("a",)):
        refused(ValueError, f"m must be one of a, b, got {bad!r}", checks.one_of, "m", bad, ("a", "b"))


def test_either():
    """None is what is not given; anything else is, also 0 and what cannot be compared."""
    checks.either("f", rng=0, eps=None)
    checks.either("f", rng=None, eps=X)
    refused(ValueError, "f: give either rng or eps, got neither", checks.either, "f", rng=None, eps=None)
    refused(ValueError, "f: give either rng or eps, got rng and eps", checks.either, "f", rng=1, eps=X)


def test_generator():
    rng = np.random.default_rng(0)
    assert checks.generator("rng", rng) is rng
    for bad in (0, None, np.random, np.random.RandomState(0), np.random.PCG64(0)):
        got = type(bad).__name__
        refused(TypeError, f"f: rng must be a numpy.random.Generator (np.random.default_rng(seed)), got {got}",
                checks.generator, "f: rng", bad)


def test_instance_and_function():
    assert checks.instance("x", X, np.ndarray) is X and checks.instance("x", True, int) is True
    refused(TypeError, "x must be a ndarray, got list", checks.instance, "x", [], np.ndarray)
    assert checks.function("f", len, "f(x)") is len
    refused(TypeError, "f must be callable as f(x), got int", checks.function, "f", 1, "f(x)")


def test_sizes():
    got = checks.sizes("shape", (np.int64(2), 1))
    assert got == (2, 1) and list(map(type, got)) == [int, int]
    for bad in ((), 3, [2, 3], (0, 2), (2, 0), (2, -1), (2.0,), (2, True), (True,), None, "ab", ("a",)):
        refused(ValueError, f"shape must be a tuple (n, ...) with n >= 1, got {bad!r}", checks.sizes, "shape", bad)
    refused(ValueError, "shape must be a tuple (n, d) with n >= 1, got ()", checks.sizes, "shape", (), "(n, d)")


def test_parameters():
    shapes = {"W": (3, 2), "b": ()}
    theta = {"b": 1.0, "W": X}
    assert checks.parameters("theta", theta, shapes) is theta
    refused(TypeError, "theta['b'] must be an array of floats, got list; np.array(x, float) makes it one",
            checks.parameters, "theta", {"W": X, "b": [1.0]}, shapes)
    refused(ValueError, "theta must be a dict of shapes {'W': (3, 2), 'b': ()}, got {'W': (3, 2), 'b': (1,)}",
            checks.parameters, "theta", {"W": X, "b": np.ones(1)}, shapes)
    refused(ValueError, "theta must be a dict of shapes {'W': (3, 2), 'b': ()}, got {'W': (3, 2)}",
            checks.parameters, "theta", {"W": X}, shapes)
    refused(ValueError, "theta must be a dict of shapes {}, got {'c': (2,)}",
            checks.parameters, "theta", {"c": np.ones(2)}, {})
    for bad in (None, [theta], X):
        refused(ValueError, f"theta must be a dict of shapes {shapes}, got {type(bad).__name__}",
                checks.parameters, "theta", bad, shapes)
    for bad in (X.astype(int), X + 0j, np.ma.array(X), X.view(np.matrix), 1, None, "W"):
        refused(TypeError, f"theta['W'] must be an array of floats, got {checks.what(bad)}",
                checks.parameters, "theta", {"b": 1.0, "W": bad}, shapes)
    n = {"n": np.arange(3)}
    assert checks.parameters("theta", n, {"n": (3,)}, integers=("n",)) is n
    refused(TypeError, "theta['n'] must be an array of integers, got dtype float64; cast it with .astype(int)",
            checks.parameters, "theta", {"n": np.ones(3)}, {"n": (3,)}, integers=("n",))

    def f(theta):
        assert checks.parameters("theta", theta, {"W": (3, 2)}) is theta
        return theta["W"]

    vjp(f, {"W": X})


def test_what_a_callers_function_raises_tells_whose_it_is():
    def raising(error):
        def f(*args):
            raise error
        return f

    assert checks.called("f", lambda a, b: a + b, 1, 2) == 3
    for error, kind in ((KeyError("W1"), ValueError), (IndexError("no"), ValueError), (ValueError("no"), ValueError),
                        (TypeError("no"), TypeError), (AttributeError("no"), TypeError)):
        told = f"^the denoiser raised {type(error).__name__}: .*, asked at t = 1..3$"
        with pytest.raises(kind, match=told) as caught:
            checks.called("the denoiser", raising(error), t=np.array([3, 1]))
        assert type(caught.value) is kind and caught.value.__cause__ is error
    for error in (ZeroDivisionError("no"), KeyboardInterrupt()):  # not about arguments
        with pytest.raises(type(error)):
            checks.called("f", raising(error))


def test_an_answer_is_called_and_looked_at():
    assert checks.answer("f", lambda x: x, (X,), X.shape) is X
    refused(ValueError, "what f returns must have shape (2, 3), got (3, 2)", checks.answer, "f", lambda x: x, (X,),
            (2, 3))
    refused(ValueError, "f raised KeyError: 'a', asked at t = 2", checks.answer, "f", lambda x: {}["a"], (X,), X.shape,
            2)
    refused(ValueError, "what f returns must be finite, got -inf at index (0, 0), asked at t = 2", checks.answer, "f",
            lambda x: x - np.inf, (X,), X.shape, 2)
    checks.answer("f", lambda x: x - np.inf, (X,), X.shape, 2, log=True)


def test_files(tmp_path):
    for path in (tmp_path / "new", str(tmp_path / "new"), os.fsencode(tmp_path / "new")):
        assert checks.file("f", path) == tmp_path / "new"
    (tmp_path / "there").write_text("")
    assert checks.file("f", tmp_path / "there") == tmp_path / "there"
    refused(TypeError, "f must be a path, got int", checks.file, "f", 3)
    refused(ValueError, f"f must be a file, {tmp_path} is a folder", checks.file, "f", tmp_path)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        refused(ValueError, f"f must be a file, {tmp_path / 'pipe'} is no ordinary file", checks.file, "f",
                tmp_path / "pipe")


def test_axes_and_words():
    for axis in (None, 0, -1, np.int64(2), (0, 1), ()):
        assert axis_of("a", axis) is axis
    for bad in ("0", 0.0, True, [0], (0, 1.0), (True,)):
        refused(TypeError, f"a must be an integer, a tuple of integers or None, got {bad!r}", axis_of, "a", bad)
    assert checks.words("w", ("a", "b")) == ["a", "b"] and checks.words("w", []) == []
    for bad in ("ab", None, ["a", 1], {"a"}):
        refused(TypeError, f"w must be a list of strings, got {bad!r}", checks.words, "w", bad)


def test_flags():
    for flag in (True, False, np.True_, np.False_):
        assert checks.flag("f", flag) is bool(flag)
    for bad in (0, 1, None, "no", [], np.ones(1, bool), 0.0):
        refused(TypeError, f"f must be True or False, got {bad!r}", checks.flag, "f", bad)


def test_lists():
    for things in ([1, 2], (1, 2), np.array([1, 2])):
        found = checks.listed("l", things)
        assert type(found) is list and found == [1, 2]
    assert checks.listed("l", []) == []
    grad(lambda x: np.sum(checks.listed("l", x)[0]))(X)
    for bad, kind in ((None, "NoneType"), ("ab", "str"), ({1: 2}, "dict"), (3, "int"), (np.array(3), "ndarray"),
                      ({1}, "set")):
        refused(TypeError, f"l must be a list, got {kind}", checks.listed, "l", bad)


def test_lengths():
    for shape in ((), (0,), [2, 3], (np.int64(2), np.uint8(3))):
        found = checks.lengths("s", shape)
        assert found == tuple(shape) and all(type(n) is int for n in found)
    assert checks.lengths("s", (4, 0), axes=2) == (4, 0)
    for bad in (None, 3, "34", (2.0,), (-1,), (True,), np.ones(2, int), {3: 4}):
        refused(ValueError, f"s must be a tuple of integers of at least 0, got {bad!r}", checks.lengths, "s", bad)
    refused(ValueError, "s must be a tuple of at least 2 integers of at least 0, got (3,)", checks.lengths, "s", (3,),
            2)


def test_what_is_finite():
    for x in (X, np.zeros((0, 3)), np.array(2.0), X.astype(np.float16), np.full(3, 1e200), X[:, ::-1]):
        assert checks.is_finite(x) is True  # 1e200 squared is not
    for bad in (np.nan, np.inf, -np.inf):
        for at in range(6):
            x = X.copy()
            x.flat[at] = bad
            assert checks.is_finite(x) is False
