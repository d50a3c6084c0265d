"""Everything that would lose a gradient silently is an error that says what happened and what to write instead."""

import copy
import math
import operator
import pickle

import numpy as np
import pytest
import scipy.linalg
from scipy import special

from refvdm.autodiff import (
    Tensor,
    defvjp,
    grad,
    jacobian,
    linear,
    log_softmax,
    logsumexp,
    ravel,
    solve_triangular,
    stop_gradient,
    value_and_grad,
    vjp,
)
from refvdm.autodiff.tensor import RULES

X = np.array([0.5, 1.5])
M = np.array([[2.0, 0.5], [0.5, 1.0]])


def refused(f, *primals, match, error=TypeError):
    with pytest.raises(error, match=match):
        vjp(f, *primals)


# ---------------------------------------------------------------- functions outside the set

OUTSIDE = [  # the call, its name in the message, the nearest in the set
    (lambda x: np.inner(x, x), "inner", "matmul"),
    (lambda x: np.tensordot(x, x, 1), "tensordot", "einsum"),
    (np.copy, "copy", "the Tensor itself"),
    (np.arctan, "arctan", ""),
    (np.sign, "sign", "where"),
    (np.floor, "floor", ""),
    (np.argmax, "argmax", ""),
    (np.nan_to_num, "nan_to_num", ""),
    (lambda x: np.allclose(x, x), "allclose", ""),
    (lambda x: np.floor_divide(x, 1), "floor_divide", ""),
    (special.logit, "logit", "log and log1p"),
    (special.ndtr, "ndtr", "exp of scipy.special.log_ndtr"),
    (special.gammaln, "gammaln", ""),
    (lambda x: np.append(x, 1.0), "append", "concatenate"),
    (lambda x: np.putmask(np.ones(2), x > 0, x), "putmask", ""),
    (lambda x: np.copyto(np.ones(2), x), "copyto", ""),
]


@pytest.mark.parametrize("f, name, nearest", OUTSIDE, ids=[name for _, name, _ in OUTSIDE])
def test_outside_the_set(f, name, nearest):
    with pytest.raises(TypeError) as caught:
        vjp(f, X)
    message = str(caught.value)
    assert f"{name} has no gradient rule" in message
    assert (f"Nearest in the set: {nearest}" in message) if nearest else ("Nearest" not in message)
    for part in ("The set: absolute, add, broadcast_to, clip", "expit", "indexing", "log_softmax",
                 "written in it: array_split", "vstack", "defvjp(", "check_vjp"):
        assert part in message


@pytest.mark.parametrize("f", [np.linalg.inv, np.linalg.det, np.linalg.slogdet])
def test_outside_the_set_linear_algebra(f):
    refused(f, M, match="no gradient rule. Nearest in the set: .*(solve_triangular|diagonals)")


@pytest.mark.parametrize(
    "f, name", [(np.arctan, "np.arctan"), (np.linalg.pinv, "np.linalg.pinv"),
                (special.gammaln, "scipy.special.gammaln")]
)
def test_names_say_where_a_function_lives(f, name):
    with pytest.raises(TypeError) as caught:
        vjp(f, X)
    assert str(caught.value).startswith(f"{name} has no gradient rule")
    assert f"defvjp({name}, " in str(caught.value)


# ---------------------------------------------------------------- what would detach

BECOMES_ARRAY = "cannot become a plain array without losing its gradient"
BECOMES_NUMBER = "cannot become a Python number or truth value"
CHANGES = "cannot be changed in place"
DETACHING = {
    "asarray": (np.asarray, BECOMES_ARRAY),
    "array": (np.array, BECOMES_ARRAY),
    "asarray float": (lambda x: np.asarray(x, float), BECOMES_ARRAY),
    "array of tensors": (lambda x: np.array([x, x]), BECOMES_ARRAY),
    "array of 0-d tensors": (lambda x: np.array([x[0], x[1]]), BECOMES_ARRAY),
    "array of mixed": (lambda x: np.array([1.0, x[0]]), BECOMES_ARRAY),
    "ascontiguousarray": (np.ascontiguousarray, BECOMES_ARRAY),
    "fill": (lambda x: np.ones((2, 2)).__setitem__(slice(None), x), BECOMES_ARRAY),
    "full": (lambda x: np.full((2,), x[0]), BECOMES_ARRAY),
    "linspace": (lambda x: np.linspace(0, x[0], 3), None),
    "random": (lambda x: np.random.default_rng(0).normal(x), BECOMES_ARRAY),
    "scipy": (scipy.linalg.inv, BECOMES_ARRAY),
    "scipy logsumexp": (special.logsumexp, None),
    "scipy softmax": (special.softmax, None),
    "scipy solve": (lambda x: scipy.linalg.solve_triangular(np.eye(2), x), BECOMES_ARRAY),
    "list of numbers": (lambda x: math.fsum(x), BECOMES_NUMBER),
    "float": (lambda x: float(x[0]), BECOMES_NUMBER),
    "int": (lambda x: int(x[0]), BECOMES_NUMBER),
    "bool": (lambda x: bool(x[0]), BECOMES_NUMBER),
    "complex": (lambda x: complex(x[0]), BECOMES_NUMBER),
    "if": (lambda x: 1.0 if x[0] else 2.0, BECOMES_NUMBER),
    "not": (lambda x: not x, BECOMES_NUMBER),
    "index of a list": (lambda x: [1, 2][x[0]], BECOMES_NUMBER),
    "range": (lambda x: range(x[0]), BECOMES_NUMBER),
    "math.exp": (lambda x: math.exp(x[0]), BECOMES_NUMBER),
    "math.sqrt": (lambda x: math.sqrt(x[0]), BECOMES_NUMBER),
    "index of an array": (lambda x: np.ones(3)[x], BECOMES_ARRAY),
    "index of a tensor": (lambda x: x[x], "argument 1: it cannot be a Tensor"),
    "index in a tuple": (lambda x: x[:, None][x, 0], BECOMES_ARRAY),
    "setitem": (lambda x: x.__setitem__(0, 1.0), CHANGES),
    "copy": (copy.copy, "cannot be copied or pickled"),
    "deepcopy": (copy.deepcopy, "cannot be copied or pickled"),
    "deepcopy of a tree": (lambda x: copy.deepcopy({"x": x}), "cannot be copied or pickled"),
    "pickle": (pickle.dumps, "cannot be copied or pickled"),
    "hash": (lambda x: {x: 1}, "unhashable"),
    "condition": (lambda x: np.where(x, 1.0, x), "argument 0: it cannot be a Tensor"),
    "nonzero": (lambda x: np.where(x), "argument 0: it cannot"),
    "list method": (lambda x: x.tolist(), "Tensor"),
    "full_like": (lambda x: np.full_like(x, x[0]), None),
}


def no_attribute(f):
    def g(x):
        try:
            return f(x)
        except AttributeError as error:
            raise TypeError(str(error)) from None

    return g


@pytest.mark.parametrize("name", DETACHING)
def test_nothing_detaches(name):
    f, message = DETACHING[name]
    refused(no_attribute(f), X, match=message)


@pytest.mark.parametrize(
    "change", [operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.imatmul, operator.ipow]
)
def test_in_place_operators(change):
    refused(lambda x: change(x, 2.0), X, match=CHANGES)
    refused(lambda x: change(np.ones(2), x), X,
            match="a Tensor cannot be written into an array|cannot become a plain array")


def test_array_plus_equals_tensor():
    def f(x):
        y = np.ones(2)
        y += x
        return y

    refused(f, X, match=r"np\.add: a Tensor cannot be written into an array.*write y = x \+ tensor")


def test_scalar_plus_equals_tensor_is_a_new_tensor():
    def f(x):
        total = 1.0
        total -= 2 * x[0]
        return total

    np.testing.assert_array_equal(grad(f)(X), [-2, 0])


def test_an_array_element_cannot_be_a_tensor():
    """NumPy puts a ValueError of its own before ours; the engine says what to do."""
    refused(lambda x: np.ones(2).__setitem__(0, x[0]), X, match=r"a\[i\] = x\[i\].* np.stack or np.concatenate")
    with pytest.raises(ValueError, match="with a sequence"):  # of the caller's own making
        vjp(lambda x: np.ones(2).__setitem__(0, [1.0, 2.0]), X)


@pytest.mark.parametrize("f", [lambda x: x // 2, lambda x: 2 // x, lambda x: divmod(x, 2), round,
                               lambda x: divmod(2.0, x)])
def test_operations_with_steps_say_so(f):
    refused(f, X, match="have steps, where there is no gradient")


class ForeignArray:
    """As much of another library's array as is looked at."""

    shape, dtype = (3,), "float32"


@pytest.mark.parametrize("package, told", [("torch", r"torch.Tensor; hand it over as x.detach\(\).numpy\(\)"),
                                           ("jaxlib.xla", r"jax array; hand it over as np.asarray\(x\)")])
def test_other_libraries_arrays_are_named(package, told):
    foreign = type("Tensor", (ForeignArray,), {"__module__": package})()
    for primal in (foreign, {"W": [foreign]}):
        refused(np.sum, primal, match=told)


def test_sums_of_a_0d_array_and_an_empty_system():
    for f in (np.sum, logsumexp):
        for axis in (-1, 0):
            assert grad(lambda x, f=f, axis=axis: f(x, axis=axis))(np.array(2.0)) == 1
    a_bar, b_bar = grad(lambda ab: np.sum(solve_triangular(*ab)))((np.zeros((0, 0)), np.zeros((0, 2))))
    assert a_bar.shape == (0, 0) and b_bar.shape == (0, 2)


@pytest.mark.parametrize(
    "f, method",
    [
        (lambda x: np.add.reduce(x), "reduce"),
        (lambda x: np.maximum.reduce(x), "reduce"),
        (lambda x: np.multiply.outer(x, x), "outer"),
        (lambda x: np.add.accumulate(x), "accumulate"),
        (lambda x: np.add.at(np.ones(2), [0], x[:1]), "at"),
        (lambda x: np.add.reduceat(x, [0, 1]), "reduceat"),
        (lambda x: np.greater.outer(x, x), "outer"),
    ],
)
def test_ufunc_methods(f, method):
    refused(f, X, match=rf"np\.\w+\.{method} of a Tensor is not differentiable")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.exp(x, out=np.ones(2)),
        lambda x: np.add(x, 1.0, np.ones(2)),
        lambda x: np.exp(np.ones(2), out=x),
        lambda x: np.greater(x, 1.0, out=np.zeros(2, bool)),
    ],
)
def test_out(f):
    refused(f, X, match="cannot be written into an array, nor into a Tensor")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x, out=np.ones(())),
        lambda x: np.cumsum(x, out=np.ones(2)),
        lambda x: np.concatenate([x, x], out=np.ones(4)),
        lambda x: np.sum(x, dtype=np.float32),
        lambda x: np.mean(x, dtype=np.float32),
        lambda x: np.sum(x, where=np.array([True, False])),
        lambda x: np.sum(x, initial=3.0),
        lambda x: np.reshape(x, (2, 1), order="F"),
        lambda x: np.ravel(x, "F"),
        lambda x: np.sum(x, None, None, None),
        lambda x: np.stack([x, x], out=np.ones((2, 2))),
        lambda x: np.sum(a=x),
    ],
)
def test_keywords_without_a_rule(f):
    refused(f, X, match="takes at most .* positional arguments and the keywords")


@pytest.mark.parametrize("function", [np.concatenate, np.stack])
def test_out_by_position(function):
    """out= is an error under any spelling, never ignored."""
    out = np.zeros(4) if function is np.concatenate else np.zeros((2, 2))
    refused(lambda x: function([x, x], 0, out), X, match=None)


@pytest.mark.parametrize("keyword", [{"dtype": np.float32}, {"where": np.array([True, False])}, {"casting": "unsafe"}],
                         ids=str)
def test_ufunc_keywords(keyword):
    refused(lambda x: np.exp(x, **keyword), X, match=f"np.exp of a Tensor takes no keyword {next(iter(keyword))}")
    refused(lambda x: np.greater(x, 1.0, **keyword), X, match="takes no keyword")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: logsumexp(x=x),
        lambda x: log_softmax(x=x),
        lambda x: linear(np.ones((1, 2)), np.eye(2), b=x),
        lambda x: solve_triangular(np.eye(2), b=x),
    ],
)
def test_tensors_by_keyword(f):
    refused(f, X, match="pass Tensors by position, not by keyword")


@pytest.mark.parametrize(
    "f",
    [
        lambda x: linear(x[None], np.eye(2), b=x),
        lambda x: solve_triangular(x * np.eye(2), b=x),
    ],
)
def test_some_tensors_by_keyword(f):
    """One by position, one by keyword: an error too."""
    refused(f, X, match=None)


@pytest.mark.parametrize("f", [lambda x: np.shape(a=x), lambda x: np.ones_like(a=x)])
def test_inspections_by_keyword(f):
    """What looks at shape and dtype only works with its argument by keyword, too."""
    value = vjp(lambda x: (x, f(x)), X)[0][1]
    assert np.shape(value) == (2,) or value == (2,)


def test_constants_must_be_real_numbers():
    refused(lambda x: x * 1j, X, match="must hold real numbers, got dtype complex128")
    refused(lambda x: x + "a", X, match="must hold real numbers|unsupported|ufunc")
    refused(lambda x: x + None, X, match="argument 1 must hold real numbers, got dtype object")
    refused(lambda x: np.array([1, None]) * x, X, match="argument 0 must hold real numbers")


def test_masked_constants():
    """A mask would be lost."""
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    refused(lambda x: x * masked, X, match=None)
    refused(lambda x: masked * x, X, match=None)


def test_unknown_attribute():
    refused(no_attribute(lambda x: x.max()), X, match="a Tensor has no attribute 'max'; it has shape, dtype")
    with pytest.raises(AttributeError, match="has no attribute 'astype'"):
        vjp(lambda x: x.astype(np.float32), X)


# ---------------------------------------------------------------- primals

PRIMALS = {
    "int": (3, "primal 0 has no float leaf .*cast integers with .astype"),
    "bool": (True, "no float leaf"),
    "None": (None, "no float leaf"),
    "int array": (np.arange(3), "no float leaf"),
    "dict of ints": ({"n": 3}, "no float leaf"),
    "empty": ([], "no float leaf"),
    "complex": (1j, "expected an array of real floats .* got dtype complex"),
    "complex array": (np.ones(2, complex), "dtype complex128"),
    "string": ("abc", "got str"),
    "string array": (np.array(["a"]), "dtype <U1"),
    "object array": (np.array([1.0, None]), "dtype object"),
    "masked": (np.ma.array([1.0, 2.0], mask=[0, 1]), "masked array"),
    "set": ({1.0}, "got set"),
    "dates": (np.array(["2000-01-01"], "M8[D]"), "datetime"),
    "complex in a tree": ({"a": 1.0, "b": 1j}, "got dtype complex"),
}


@pytest.mark.parametrize("name", PRIMALS)
def test_primals(name):
    primal, message = PRIMALS[name]
    refused(lambda x: 1.0, primal, match=message)
    with pytest.raises(TypeError, match=message.replace("primal 0 has", "has")):
        grad(lambda x: 1.0)(primal)
    with pytest.raises(TypeError, match="vjp: primal 1"):
        vjp(lambda x, y: x, 1.0, primal)


# ---------------------------------------------------------------- cotangents


@pytest.mark.parametrize(
    "y_bar, error, message",
    [
        (np.ones(3), ValueError, r"cotangent must have the value's shape \(2,\), got \(3,\)"),
        (1.0, ValueError, r"shape \(2,\), got \(\)"),
        (np.ones((2, 1)), ValueError, "shape"),
        (np.ones((1, 2)), ValueError, "shape"),
        (1, ValueError, "shape"),
        (np.array([1, 2]), TypeError, "cotangent must be real floats, got ndarray of shape .2,. and dtype int64"),
        (np.ones(2, bool), TypeError, "must be real floats"),
        (np.ones(2, complex), TypeError, "must be real floats"),
        (np.array(["a", "b"]), TypeError, "must be real floats"),
        (None, TypeError, "must be real floats, got NoneType None"),
        (True, TypeError, "must be real floats"),
        ("ab", TypeError, "must be real floats"),
    ],
    ids=str,
)
def test_cotangents(y_bar, error, message):
    _, pullback = vjp(lambda x: x * 2, X)
    with pytest.raises(error, match=message):
        pullback(y_bar)


@pytest.mark.parametrize(
    "y_bar", [np.ones(2), (np.ones(2),), {"a": np.ones(2)}, {"a": np.ones(2), "c": np.ones(2)}, None, ()], ids=str
)
def test_cotangents_of_another_structure(y_bar):
    _, pullback = vjp(lambda x: {"a": x * 2, "b": x}, X)
    with pytest.raises(ValueError, match=r"trees differ at the root: expected a dict with keys \['a', 'b'\]"):
        pullback(y_bar)


def test_cotangent_of_a_constant_output_is_checked_too():
    _, pullback = vjp(lambda x: (x, np.ones(3)), X)
    with pytest.raises(ValueError, match=r"value's shape \(3,\)"):
        pullback((np.ones(2), np.ones(2)))


def test_outputs_that_are_no_tree_of_numbers():
    with pytest.raises(TypeError, match="expected an array of real floats"):
        vjp(lambda x: (x, "done"), X)[1]((np.ones(2), "done"))


# ---------------------------------------------------------------- scalars, argnum, aux, jacobian


@pytest.mark.parametrize(
    "f, message",
    [
        (lambda x: x, r"one float value of shape \(\), got Tensor of shape \(2,\)"),
        (lambda x: x[:1], r"got Tensor of shape \(1,\)"),
        (lambda x: (x.sum(), 1.0), "got tuple|expected an array"),
        (lambda x: {"a": x.sum()}, "got dict|expected an array"),
        (lambda x: None, "got NoneType"),
        (lambda x: 3, "got int 3"),
        (lambda x: x[0] > 0, "dtype bool"),
        (lambda x: np.ones(2), r"shape \(2,\)"),
    ],
)
def test_gradients_need_a_scalar(f, message):
    for g in (grad(f), value_and_grad(f)):
        with pytest.raises((ValueError, TypeError), match=message):
            g(X)


def test_grad_of_a_non_scalar_says_what_to_do():
    with pytest.raises(ValueError, match="sum it, or use vjp or jacobian"):
        grad(lambda x: x)(X)


@pytest.mark.parametrize("argnum", [2, -3, 5])
def test_argnum_out_of_range(argnum):
    with pytest.raises(ValueError, match=f"argnum = {argnum} but the function was called with 2 positional arguments"):
        grad(lambda x, y: x * y, argnum)(1.0, 2.0)


@pytest.mark.parametrize("argnum", [(), (0, 0), (0, 1.0), [0, 1], "x", 1.0, None, True])
def test_argnum_must_be_an_integer(argnum):
    with pytest.raises(TypeError, match="argnum must be an integer"):
        grad(lambda x, y: x * y, argnum)
    with pytest.raises(TypeError, match="argnum must be an integer"):
        jacobian(lambda x, y: x * y, argnum)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: (x, 1, 2), lambda x: [x, 1]])
def test_has_aux_needs_a_pair(f):
    with pytest.raises(TypeError, match=r"has_aux: the function must return \(scalar, aux\)"):
        value_and_grad(f, has_aux=True)(1.0)


@pytest.mark.parametrize("f", [lambda x: (x, x), lambda x: {"a": x}, lambda x: x > 0, lambda x: np.arange(3),
                               lambda x: None])
def test_jacobian_needs_one_array(f):
    with pytest.raises(TypeError, match="jacobian: the function must return one float array"):
        jacobian(f)(X)


# ---------------------------------------------------------------- first derivatives only


def test_gradient_inside_a_gradient():
    inner = grad(lambda y: y * y)
    with pytest.raises(TypeError, match="primal 0: it holds a Tensor; only first derivatives"):
        grad(lambda x: inner(x))(2.0)
    with pytest.raises(TypeError, match="holds a Tensor"):
        vjp(lambda x: vjp(lambda t: t["a"], {"a": x, "b": 1.0})[0], 2.0)
    with pytest.raises(TypeError, match="holds a Tensor"):
        jacobian(lambda x: jacobian(lambda y: y * y)(x))(X)


@pytest.mark.parametrize(
    "operate",
    [
        lambda y, x: y * x,
        lambda y, x: x * y,
        lambda y, x: np.stack([y, x]),
        lambda y, x: np.where(True, y, x),
        lambda y, x: np.maximum(x, y),
    ],
)
def test_closure_over_an_outer_tensor(operate):
    with pytest.raises(TypeError, match="Tensors of two recordings.*only first derivatives"):
        grad(lambda x: grad(lambda y: np.sum(operate(y, x)))(2.0))(3.0)


def test_outer_tensor_as_another_argument():
    with pytest.raises(TypeError, match="two recordings"):
        grad(lambda x: grad(lambda y, z: y * z)(2.0, x))(3.0)


@pytest.mark.parametrize("f", [lambda y, x: x, lambda y, x: x * x, lambda y, x: (y, x), lambda y, x: {"a": [y, x * 2]}])
def test_outer_tensor_returned_from_inside(f):
    with pytest.raises(TypeError, match="returns a Tensor of an outer recording"):
        vjp(lambda x: vjp(lambda y: f(y, x), 2.0)[0], 3.0)


def test_outer_tensor_as_aux_from_inside():
    """aux is detached, and an outer Tensor in it would lose its gradient."""
    with pytest.raises(TypeError, match=None):
        grad(lambda x: value_and_grad(lambda y: (y * y, x * 2), has_aux=True)(2.0)[0][1])(3.0)


def test_cotangent_that_is_a_tensor():
    _, pullback = vjp(lambda y: y * y, 2.0)
    with pytest.raises(TypeError, match="the cotangent is a Tensor"):
        grad(lambda x: pullback(x)[0])(1.0)


def test_leaked_tensor():
    kept = []
    vjp(lambda x: kept.append(x) or x * 2, X)
    with pytest.raises(TypeError, match="whose recording has ended"):
        kept[0] + 1
    with pytest.raises(TypeError, match="whose recording has ended"):
        np.concatenate([kept[0], X])
    with pytest.raises(TypeError, match="two recordings"):
        vjp(lambda y: kept[0] * y, X)
    with pytest.raises(TypeError, match="holds a Tensor"):
        vjp(lambda y: y, kept[0])
    np.testing.assert_array_equal(stop_gradient(kept[0]), X)


def test_recording_ends_when_the_function_fails():
    kept = []

    def f(x):
        kept.append(x)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        vjp(f, X)
    with pytest.raises(TypeError, match="whose recording has ended"):
        kept[0] * 2


# ---------------------------------------------------------------- arguments of the primitives


def test_linear_checks_its_shapes():
    x, W, b = np.ones((2, 3)), np.ones((3, 4)), np.ones(4)
    for args in [
        (np.ones((2, 2)), W, b),
        (x, W, np.ones(3)),
        (x, W, np.ones((1, 4))),
        (x, np.ones(3), b),
        (np.ones(()), W, b),
        (x, W, 1.0),
    ]:
        with pytest.raises(ValueError, match=r"linear: x must have shape \(\.\.\., n_in\)"):
            linear(*args)
        with pytest.raises(ValueError, match="linear: x must have shape"):
            vjp(linear, *args)
    with pytest.raises(ValueError, match="activation must be one of identity, tanh, silu, relu, got 'gelu'"):
        linear(x, W, b, "gelu")


def test_solve_triangular_checks_its_shapes():
    for a, b in [(np.ones(3), np.ones(3)), (np.ones((1, 3, 3)), np.ones(3)), (np.eye(3), np.ones((3, 1, 1))),
                 (np.eye(3), 1.0)]:
        with pytest.raises(ValueError, match=r"solve_triangular: a must have shape \(n, n\)"):
            solve_triangular(a, b)
        with pytest.raises(ValueError, match="solve_triangular: a must have shape"):
            vjp(solve_triangular, a, b)
    with pytest.raises(np.linalg.LinAlgError):
        vjp(solve_triangular, np.zeros((2, 2)), X)


def test_shapes_that_do_not_fit():
    refused(lambda x: x + np.ones(3), X, match="broadcast", error=ValueError)
    refused(lambda x: x @ np.ones(3), X, match="matmul", error=ValueError)
    refused(lambda x: np.reshape(x, (3,)), X, match="reshape", error=ValueError)
    refused(lambda x: x[2], X, match="out of bounds", error=IndexError)


# ---------------------------------------------------------------- defvjp


@pytest.fixture
def rules():
    """What a test registers is gone after it."""
    before = dict(RULES)
    yield RULES
    RULES.clear()
    RULES.update(before)


def test_rule_for_a_numpy_function(rules):
    assert defvjp(np.arctan, lambda y_bar, y, x: y_bar / (1 + x * x)) is np.arctan
    np.testing.assert_allclose(grad(lambda x: np.sum(np.arctan(x)))(X), 1 / (1 + X * X), rtol=1e-15)
    defvjp(np.flip, lambda y_bar, y, x, axis=None: np.flip(y_bar, axis))  # not a ufunc
    np.testing.assert_array_equal(grad(lambda x: np.flip(x, axis=0)[0] * 3)(X), [0, 3])


def test_rules_are_removed_again():
    assert np.arctan not in RULES and np.flip not in RULES


def test_rule_for_a_function_of_your_own(rules):
    def cube(x, power=3):
        """x^3"""
        return x**power

    f = defvjp(cube, lambda y_bar, y, x, power=3: y_bar * power * x ** (power - 1))
    assert f.__name__ == "cube" and f.__doc__ == "x^3" and f.__wrapped__ is cube and cube in rules
    assert type(f(X)) is np.ndarray and f(2) == 8
    np.testing.assert_array_equal(grad(lambda x: np.sum(f(x)))(X), 3 * X**2)
    np.testing.assert_array_equal(grad(lambda x: np.sum(f(x, power=2)))(X), 2 * X)
    np.testing.assert_array_equal(grad(lambda x: np.sum(f(x, 2)))(X), 2 * X)
    refused(lambda x: f(x, 2, 3), X, match="cube of a Tensor takes at most 2 positional")
    refused(lambda x: f(x, exponent=2), X, match=r"keywords \['power', 'x'\], got 1 and \['exponent'\]")


def test_rule_with_a_constant_argument(rules):
    f = defvjp(lambda x, k: x * k, lambda y_bar, y, x, k: y_bar * k, None)
    np.testing.assert_array_equal(grad(lambda x: np.sum(f(x, 3)))(X), [3, 3])
    refused(lambda x: f(x, x), X, match="not differentiable in argument 1: it cannot be a Tensor")
    g = defvjp(lambda k, x: x * k, None, lambda y_bar, y, k, x: y_bar * k)
    np.testing.assert_array_equal(grad(lambda x: np.sum(g(3, x)))(X), [3, 3])
    refused(lambda x: g(x, X), X, match="not differentiable in argument 0")


def test_rule_that_saves(rules):
    """The function returns (y, saved): callers get y, pulls the pair."""
    seen = []

    def pull(y_bar, y, x):
        seen.append(y)
        return y_bar * y[1]

    def save(x):
        return np.sin(x), np.cos(x)

    f = defvjp(save, pull, saves=True)
    assert type(f(X)) is np.ndarray
    np.testing.assert_array_equal(f(X), np.sin(X))
    y, pullback = vjp(f, X)
    np.testing.assert_array_equal(y, np.sin(X))
    np.testing.assert_array_equal(pullback(np.ones(2))[0], np.cos(X))
    assert type(seen[0]) is tuple and np.array_equal(seen[0][1], np.cos(X))


def test_rule_that_shares(rules):
    """shared runs once for each pull back, whatever number of arguments is differentiated."""
    calls = []

    def shared(y_bar, y, a, b):
        calls.append(1)
        return y_bar * np.cos(a * b)

    f = defvjp(lambda a, b: np.sin(a * b), lambda s, y, a, b: s * b, lambda s, y, a, b: s * a, shared=shared)
    a_bar, b_bar = vjp(f, X, 2 * X)[1](np.ones(2))
    np.testing.assert_allclose(a_bar, 2 * X * np.cos(2 * X * X), rtol=1e-15)
    np.testing.assert_allclose(b_bar, X * np.cos(2 * X * X), rtol=1e-15)
    assert len(calls) == 1


def test_rule_for_any_number_of_arguments(rules):
    f = defvjp(
        lambda *xs, scale=1.0: scale * sum(xs), each=lambda i, y_bar, y, *xs,
        scale=1.0: y_bar * scale * (1 if i < 9 else 0)
    )
    for got in vjp(lambda a, b: f(a, X, b, scale=2.0), X, X)[1](np.ones(2)):
        np.testing.assert_array_equal(got, [2, 2])
    np.testing.assert_array_equal(f(X, X), 2 * X)


def test_rule_with_another_forward(rules):
    def double(x):
        raise NotImplementedError("for arrays only")

    f = defvjp(double, lambda y_bar, y, x: 2 * y_bar, forward=lambda x: x + x)
    y, pullback = vjp(f, X)
    np.testing.assert_array_equal(y, 2 * X)
    np.testing.assert_array_equal(pullback(np.ones(2))[0], [2, 2])


def test_rule_may_return_the_broadcast_shape_and_scalars(rules):
    f = defvjp(lambda a, b: a * b, lambda y_bar, y, a, b: y_bar * b, lambda y_bar, y, a, b: y_bar * a)
    a_bar, b_bar = vjp(f, np.full((2, 1), 3.0), 2.0)[1](np.ones((2, 1)))
    np.testing.assert_array_equal(a_bar, [[2], [2]])
    assert b_bar == 6 and b_bar.shape == ()
    g = defvjp(lambda x: np.sum(x), lambda y_bar, y, x: np.broadcast_to(y_bar, x.shape))
    assert type(vjp(g, X)[0]) is np.ndarray


def test_rule_of_a_wrong_shape(rules):
    def halves(x):
        return x / 2

    f = defvjp(halves, lambda y_bar, y, x: y_bar[:-1])
    _, pullback = vjp(f, np.ones(3))
    with pytest.raises(
        ValueError, match=r"the rule of halves: expected a cotangent of shape \(3,\) or a broadcast of it, got \(2,\)"
    ):
        pullback(np.ones(3))


@pytest.mark.parametrize(
    "args, keywords",
    [
        ((np.arctan,), {}),
        ((np.arctan, None), {}),
        ((np.arctan, 3), {}),
        (("arctan", lambda y_bar, y, x: y_bar), {}),
        ((np.arctan, lambda y_bar, y, x: y_bar), {"shared": 3}),
        ((np.arctan, lambda y_bar, y, x: y_bar), {"forward": "f"}),
        ((np.arctan,), {"each": 3}),
        ((np.arctan, lambda y_bar, y, x: y_bar, 3), {}),
    ],
)
def test_defvjp_arguments(rules, args, keywords):
    with pytest.raises(TypeError, match="defvjp: expected a function and at least one pull"):
        defvjp(*args, **keywords)
    assert np.arctan not in rules


def test_tensor_type_is_public():
    seen = []
    vjp(lambda x: seen.append(isinstance(x, Tensor)) or x, X)
    assert seen == [True] and ravel(X)[0].shape == (2,)


def test_one_argument_named_twice_by_argnum_is_refused():
    """From the front and from the end: the gradient of one of them would be 0."""
    with pytest.raises(TypeError, match="argnum must be an integer, or a tuple of different ones"):
        value_and_grad(lambda x, y: x * y, argnum=(0, -2))(3.0, 2.0)
