"""check_vjp, the public gradient checker: it passes what is right, and finds every planted fault by name, argument and
index."""

import re

import numpy as np
import pytest

from refvdm.autodiff import check as checker
from refvdm.autodiff import (
    check_vjp,
    defvjp,
    linear,
    log_softmax,
    logsumexp,
    solve_triangular,
)
from refvdm.autodiff.check import GradientError
from refvdm.autodiff.tensor import RULES

X = np.array([[0.5, -1.0, 2.0], [1.5, 0.3, -0.7]])


@pytest.fixture(autouse=True)
def rules():
    """What a test registers is gone after it."""
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def planted(pull, forward=None, function=None, **more):
    """sin, under the name `wave`, with a rule of one's own."""

    def wave(x):
        return np.sin(x)

    return defvjp(function or wave, pull, forward=forward, **more)


def finds(message, f, *primals, **options):
    with pytest.raises(GradientError, match=message):
        check_vjp(f, *primals, **options)


# ---------------------------------------------------------------- what is right passes


def test_right_rules_pass():
    rng = np.random.default_rng(0)
    assert check_vjp(np.sin, X) is None
    assert check_vjp(planted(lambda y_bar, y, x: y_bar * np.cos(x)), X) is None
    check_vjp(lambda x, W, b: linear(x, W, b, "silu"), X, rng.standard_normal((3, 4)), rng.standard_normal(4))
    check_vjp(lambda a, b: solve_triangular(a, b, lower=True), X[:, :2] + 3 * np.eye(2), X)
    check_vjp(lambda x: {"a": logsumexp(x, axis=0), "b": (log_softmax(x), 3, None)}, X)
    check_vjp(lambda x: x, X)
    check_vjp(lambda x: np.sum(x) * 2, 3.0)
    check_vjp(lambda x, y: x * 2, X, X)  # unused argument
    check_vjp(lambda x: np.sum(x[:0]), X)  # zero gradient
    check_vjp(lambda x: 1e-12 * np.sin(x), X)
    check_vjp(lambda x: 1e12 * np.sin(x), X)


def test_trees_pass():
    tree = {"w": X, "n": 3, "pair": (np.ones(2), [2.0, None])}
    check_vjp(lambda t, s: np.tanh(t["w"][:, :2] * t["pair"][0]) * t["n"] * s + t["pair"][1][0] ** 2, tree, 0.5)


@pytest.mark.parametrize(
    "f", [np.exp, lambda x: x**3 / (2 + np.sin(x)), lambda x: np.tanh(x) @ X.T, lambda x: np.sum(x * x, axis=0)]
)
def test_complex_method_passes(f):
    check_vjp(f, X, method="complex")
    check_vjp(lambda t: f(t["x"]) * t["s"] * t["n"], {"x": X, "n": 2, "s": 1.5}, method="complex")


def test_float32_passes():
    check_vjp(lambda x, W: np.tanh(x @ W), X.astype(np.float32), np.ones((3, 2), np.float32))
    check_vjp(lambda x, c: x * c, X.astype(np.float32), np.ones(3))
    check_vjp(lambda x: np.sin(x), np.float32(0.5))


def test_big_arrays_pass():
    check_vjp(lambda x: np.sum(np.sin(x) * x), np.linspace(-2, 2, 5000), most=20)


def test_a_gradient_that_is_zero_up_to_rounding_passes():
    """sin^2 + cos^2 = 1: expected and got are both rounding errors."""
    check_vjp(lambda x: np.sin(x) ** 2 + np.cos(x) ** 2, X)


def test_the_step_grows_with_the_element():
    """At 1e8 an absolute step of 3e-4 would be lost in rounding; near 0 a relative one would vanish."""
    check_vjp(np.sqrt, np.array([1e8, 1.0]))
    check_vjp(lambda x: np.sin(x) + 100, np.array([0.0, 1e-9, -1e-9]))


def test_a_generator_that_is_not_the_default_passes_too():
    for seed in range(3):
        check_vjp(lambda x: np.exp(np.sin(x)), X, rng=np.random.default_rng(seed))


def test_same_generator_same_verdict():
    f = planted(lambda y_bar, y, x: y_bar * np.cos(x) * 1.1)
    messages = []
    for _ in range(2):
        with pytest.raises(GradientError) as caught:
            check_vjp(f, X, rng=np.random.default_rng(7))
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


# ---------------------------------------------------------------- planted faults


def test_wrong_sign_names_function_argument_index_expected_and_got():
    f = planted(lambda y_bar, y, x: -y_bar * np.cos(x))
    with pytest.raises(GradientError) as caught:
        check_vjp(f, X)
    found = re.fullmatch(
        r"wave: wrong cotangent of argument 0 at index \(0, 0\): expected (\S+) \(central\), got (\S+)",
        str(caught.value)
    )
    assert found and float(found[1]) == pytest.approx(-float(found[2]), rel=1e-7) and float(found[1]) != 0


@pytest.mark.parametrize("method", ["central", "complex"])
@pytest.mark.parametrize("factor", [2, 0, 1 + 1e-5, -1])
def test_wrong_factor(method, factor):
    finds(
        rf"wave: wrong cotangent of argument 0 at index \(0, 0\): expected .* \({method}\)",
        planted(lambda y_bar, y, x: y_bar * np.cos(x) * factor),
        X,
        method=method,
    )


def test_method_complex_is_sharper():
    f = planted(lambda y_bar, y, x: y_bar * np.cos(x) * (1 + 1e-9))
    check_vjp(f, X)
    finds("wrong cotangent", f, X, method="complex")


def test_wrong_at_one_element():
    def pull(y_bar, y, x):
        d = np.cos(x)
        d[1, 2] += 0.01
        return y_bar * d

    finds(r"argument 0 at index \(1, 2\)", planted(pull), X)


def test_wrong_argument_of_two():
    f = defvjp(lambda a, b: a * b, lambda y_bar, y, a, b: y_bar * b, lambda y_bar, y, a, b: y_bar * 0)
    finds(r"argument 1 at index \(0,\): expected .*, got -?0$", lambda a, b: f(a, b), np.ones(2), np.ones(2))
    g = defvjp(lambda a, b: a * b, lambda y_bar, y, a, b: y_bar * b, None)
    with pytest.raises(TypeError, match="not differentiable in argument 1"):
        check_vjp(g, np.ones(2), np.ones(2))


def test_wrong_leaf_of_a_tree():
    f = planted(lambda y_bar, y, x: 2 * y_bar)
    finds(
        r"argument 1\['deep'\]\[1\] at index \(1,\)",
        lambda s, t: np.sum(f(t["deep"][1][1:])) + t["deep"][0] * s,
        1.0,
        {"n": 3, "deep": (2.0, np.ones(2))},
    )


def test_float32_faults():
    f = planted(lambda y_bar, y, x: y_bar * np.cos(x) * 1.01)
    finds("wrong cotangent of argument 0", f, X.astype(np.float32))
    check_vjp(
        planted(lambda y_bar, y, x: y_bar * np.cos(x) * np.float32(1.0001)), X.astype(np.float32)
    )  # below float32's tolerance


def test_not_finite():
    def pull(y_bar, y, x):
        d = np.cos(x)
        d[1, 0] = np.nan
        return y_bar * d

    finds(r"wave: cotangent of argument 0 at index \(1, 0\): expected a finite number, got nan", planted(pull), X)


def test_seed_changed():
    def pull(y_bar, y, x):
        y_bar *= np.cos(x)
        return y_bar

    finds("wave: the pullback changed its seed", planted(pull), X)


def test_not_deterministic():
    calls = []

    def pull(y_bar, y, x):
        calls.append(1)
        return y_bar * np.cos(x) * (1 + 1e-14 * len(calls))

    finds("wave: a second pullback of the same cotangent gives other bits", planted(pull), X)


def test_not_zero_at_zero():
    finds("wave: the pullback of a zero cotangent is not zero", planted(lambda y_bar, y, x: y_bar * np.cos(x) + 1e-3),
          X)


@pytest.mark.parametrize(
    "pull",
    [
        lambda y_bar, y, x: np.abs(y_bar) * np.cos(x),
        lambda y_bar, y, x: y_bar**2,
        lambda y_bar, y, x: np.where(y_bar != 0, y_bar * np.cos(x) + 1e-3, 0),
    ],
)
def test_not_linear(pull):
    finds(r"wave: the pullback is not linear in the cotangent: leaf 0 at index \(\d, \d\): expected \S+, got",
          planted(pull), X)


def test_wrong_recorded_value():
    finds(
        "wave: the recorded value differs from the plain one",
        planted(lambda y_bar, y, x: y_bar * np.cos(x), forward=lambda x: np.sin(x) + 1e-9),
        X,
    )
    finds(
        "the recorded value differs", planted(
            lambda y_bar, y, x: y_bar * np.cos(x)[None], forward=lambda x: np.sin(x)[None]), X
    )
    f = planted(lambda y_bar, y, x: y_bar * np.cos(x), forward=lambda x: np.sin(x) + 1e-9)
    finds(r"the recorded value\['b'\]\[0\] differs", lambda x: {"a": x, "b": (f(x),)}, X)


def test_wrong_shape_is_the_engines_error():
    with pytest.raises(ValueError, match=r"the rule of wave: expected a cotangent of shape \(2, 3\)"):
        check_vjp(planted(lambda y_bar, y, x: y_bar[:, :2]), X)


def test_taylor_rate():
    """A fault at an element that was not drawn is found along the random direction."""

    def pull(y_bar, y, x):
        d = np.cos(x)
        d[4321] += 5
        return y_bar * d

    f = planted(pull)
    finds(
        r"<lambda>: Taylor remainder along a random direction: expected rate 2, got [01]\.",
        lambda x: np.sum(f(x)),
        np.linspace(-2, 2, 5000),
        most=5,
    )


def test_random_choice_of_a_big_array():
    finds(
        r"wrong cotangent of argument 0 at index \(\d+,\)",
        planted(lambda y_bar, y, x: y_bar * np.cos(x) * 1.1),
        np.linspace(-1, 1, 5000),
        most=5,
    )


def test_most_counts_elements_of_each_leaf():
    seen = []

    def f(x):
        seen.append(x)
        return np.sin(x)

    check_vjp(f, np.linspace(-1, 1, 500), most=3)
    moved = {
        i
        for x in seen
        if isinstance(x, np.ndarray)
        for i in np.flatnonzero(x != np.linspace(-1, 1, 500))
        if np.sum(x != np.linspace(-1, 1, 500)) == 1
    }
    assert len(moved) == 3


# What the engine cannot do wrong, a vjp of somebody else's can.


def with_pullback(monkeypatch, change):
    """check_vjp on a vjp whose cotangents `change(x_bars, y_bar)` has spoilt."""
    from refvdm.autodiff.vjp import vjp

    def spoilt(f, *primals):
        value, pullback = vjp(f, *primals)
        return value, lambda y_bar: change(pullback(y_bar), y_bar)

    monkeypatch.setattr(checker, "vjp", spoilt)


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda x_bars, y_bar: (x_bars[0].astype(np.float32), x_bars[1]),
            r"argument 0: expected shape \(2, 3\) dtype float64, got \(2, 3\) float32",
        ),
        (
            lambda x_bars, y_bar: (x_bars[0], x_bars[1][:1]),
            r"argument 1: expected shape \(2, 3\) dtype float64, got \(1, 3\) float64",
        ),
        (lambda x_bars, y_bar: (y_bar, x_bars[1]), "share memory with each other or with the seed"),
        (lambda x_bars, y_bar: (x_bars[0], y_bar[:]), "share memory with each other or with the seed"),
        (lambda x_bars, y_bar: (x_bars[0], x_bars[0]), "share memory with each other or with the seed"),
        (lambda x_bars, y_bar: (x_bars[0], x_bars[0][::-1]), "share memory with each other or with the seed"),
    ],
)
def test_faults_of_an_engine(monkeypatch, change, message):
    with_pullback(monkeypatch, change)
    finds(f"<lambda>: .*{message}", lambda a, b: a + b, X, X)


def test_constant_with_a_cotangent(monkeypatch):
    with_pullback(monkeypatch, lambda x_bars, y_bar: ({"x": x_bars[0]["x"], "n": np.ones(())},))
    finds(r"argument 0\['n'\] is a constant: expected cotangent None", lambda t: t["x"] * t["n"], {"x": X, "n": 3})


# ---------------------------------------------------------------- options


@pytest.mark.parametrize("method", ["forward", "", None, "Central"])
def test_unknown_method(method):
    with pytest.raises(ValueError, match=f"method must be one of central, complex, got {method!r}"):
        check_vjp(np.sin, X, method=method)


def test_tolerances():
    f = planted(lambda y_bar, y, x: y_bar * np.cos(x) * 1.001)
    finds("wrong cotangent", f, X)
    finds("wrong cotangent", f, X, rtol=1e-4)
    finds("wrong cotangent", f, X, atol=1e-6, rtol=0)
    with pytest.raises(
        GradientError, match="Taylor|wrong"
    ):  # the element check lets it pass; rtol does not loosen the Taylor rate
        check_vjp(f, X, rtol=1e-2, step=1e-3, rng=np.random.default_rng(3))
    finds("wrong cotangent", f, X[:, :1] * 0 + 1, atol=1e-9)


def test_step():
    """Far from smooth on the scale of the default step: a smaller step is right."""
    finds("wrong cotangent", lambda x: np.sin(3000 * x), X[:1, :1])
    check_vjp(lambda x: np.sin(300 * x) / 300, X[:1, :1], step=1e-5)


def test_an_error_of_the_function_passes_through():
    with pytest.raises(TypeError, match="no gradient rule"):
        check_vjp(np.arctan, X)
    with pytest.raises(TypeError, match="no float leaf"):
        check_vjp(np.sin, 3)
    assert issubclass(GradientError, AssertionError)


def test_at_a_kink_central_differences_disagree():
    finds("wrong cotangent of argument 0 at index", np.abs, np.zeros(2) + 1e-5)


def test_the_bits_of_a_sum_do_not_depend_on_how_a_primal_lies_in_memory():
    """vjp lays arrays in C order; another order of summation is no wrong value."""
    W = np.random.default_rng(0).standard_normal((30, 40))
    check_vjp(lambda W: np.sum(np.square(W)), np.asfortranarray(W), most=3)
    check_vjp(lambda tree: np.sum(np.square(tree["W"])), {"W": W[::-1, ::2], "n": 3}, most=3)


@pytest.mark.parametrize("option, value", [("rtol", -1.0), ("rtol", "a"), ("atol", np.nan), ("step", 0), ("most", 0),
                                           ("most", 2.5), ("rng", 0)])
def test_options_that_make_no_sense(option, value):
    with pytest.raises((TypeError, ValueError), match=f"check_vjp: {option} must"):
        check_vjp(np.sin, X, **{option: value})
