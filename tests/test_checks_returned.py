"""Checks of what a caller's functions return, of parameters leaf by leaf, and of what must not be differentiated."""
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm import checks
from refvdm.autodiff import vjp

Y = np.array([[0.5, -1.5], [2.5, 3.5], [0.0, 1.0]])


def refused(error, message, check, *args, **kwargs):
    with pytest.raises(error, match=f"^{re.escape(message)}$"):
        check(*args, **kwargs)


def test_what_is_right_comes_back():
    assert checks.returned("f", Y, (3, 2)) is Y is checks.returned("f", Y, (3, "K"), np.array([1, 2, 3]))
    huge = np.full((3, 2), 1e300)  # its squares overflow
    assert checks.returned("f", huge, (3, 2)) is huge is checks.floats("x", huge)
    assert checks.returned("f", -huge, (3, 2), log=True)[0, 0] == -1e300
    assert checks.returned("f", Y.astype(">f8"), (3, 2)).dtype.isnative


@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 2), st.integers(0, 1), st.booleans())
def test_the_first_that_is_not_finite(bad, i, j, log):
    y, t = Y.copy(), np.array([4, 7, 9])
    y[i, j], y[i + 1 :] = bad, np.nan
    must = "below inf" if log else "finite"
    if log and bad == -np.inf:
        if i == 2:
            assert checks.returned("f", y, (3, 2), t, log=True) is y
        else:
            refused(ValueError,
                    f"what f returns must be below inf, got nan at index ({i + 1}, 0), asked at t = {t[i + 1]}",
                    checks.returned, "f", y, (3, 2), t, log=True)
        return
    said = f"what f returns must be {must}, got {bad} at index ({i}, {j})"
    refused(ValueError, f"{said}, asked at t = {t[i]}", checks.returned, "f", y, (3, 2), t, log=log)
    refused(ValueError, f"{said}, asked at t = 2.5", checks.returned, "f", y, (3, 2), 2.5, log=log)
    refused(ValueError, said, checks.returned, "f", y, (3, 2), log=log)


def test_what_is_wrong_as_a_whole_tells_all_times():
    for t, told in ((None, ""), (3, ", asked at t = 3"), (np.array([3, 3]), ", asked at t = 3"),
                    (np.array([3, 1, 2]), ", asked at t = 1..3")):
        refused(ValueError, f"what f returns must have shape (3,), got (3, 2){told}", checks.returned, "f", Y, (3,), t)
        refused(TypeError, f"what f returns must be an array of floats, got NoneType{told}",
                checks.returned, "f", None, (3,), t)


def test_entries():
    shapes = {"W": (3, 2), "b": ()}
    for b in (0.5, np.float32(0.5), np.array(0.5)):
        theta = {"W": Y, "b": b}
        assert checks.entries("theta", theta, shapes) is theta
    refused(ValueError, "theta['b'] must be finite, got nan at index ()",
            checks.entries, "theta", {"W": Y, "b": np.nan}, shapes)
    refused(ValueError, "theta['W'] must be finite, got inf at index (0, 1)",
            checks.entries, "theta", {"W": np.where(Y < 0, np.inf, Y), "b": 0.0}, shapes)
    with pytest.raises((TypeError, ValueError), match="^theta"):
        checks.entries("theta", {"W": Y + 0j, "b": 0.0}, shapes)
    with pytest.raises((TypeError, ValueError), match="^theta must be a dict of shapes"):
        checks.entries("theta", {"W": Y}, shapes)


def test_keys():
    theta = {"b": 1, "a": None}
    assert checks.keys("theta", theta, ("a", "b")) is theta
    for bad, got in (({"a": 1}, "the keys ['a']"), ({**theta, "c": 1}, "the keys ['b', 'a', 'c']"), (None, "NoneType")):
        refused(ValueError, f"theta must be a dict with the keys ['a', 'b'], got {got}",
                checks.keys, "theta", bad, ("a", "b"))


def test_unrecorded():
    tree = {"a": [Y, 1, None]}
    assert checks.unrecorded("theta", tree, "why") is tree

    def f(y):
        for there in (y, [1, {"a": y}]):
            refused(TypeError, "theta would lose its gradient: no way back; stop_gradient makes it a constant",
                    checks.unrecorded, "theta", there, "no way back")
        return y

    vjp(f, Y)


def test_like_and_nan():
    bad = np.where(Y < 0, np.nan, Y)
    assert checks.like("x", bad, "y", Y) is bad and checks.like("x", Y, "y", Y, finite=True) is Y
    refused(ValueError, "x must be finite, got nan at index (0, 1)", checks.like, "x", bad, "y", Y, finite=True)


def test_noise_in_the_machines_byte_order():
    got = checks.noise("f", (4,), np.dtype(">f4"), np.random.default_rng(1), None)
    assert got.dtype == np.float32 and got.dtype.isnative
    np.testing.assert_array_equal(got, np.random.default_rng(1).standard_normal(4, np.float32))
