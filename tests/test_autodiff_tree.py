"""Trees: ravel and unravel, tree_map, tree_leaves, what counts as a leaf."""

from typing import NamedTuple

import numpy as np
import pytest

from refvdm.autodiff import grad, ravel, tree_leaves, tree_map, vjp


class Pair(NamedTuple):
    a: object
    b: object


def mixed_tree():
    return {
        "b": np.arange(6.0).reshape(2, 3),
        "a": [np.float32(6), 7.0],
        "n": 3,
        "flag": True,
        "none": None,
        "ints": np.arange(2),
        "pair": Pair(np.array([8, 9], np.float16), (np.bool_(True), np.array(10.0, np.float32))),
    }


def test_ravel_round_trip():
    """Leaf order is insertion order; every leaf gets its shape and dtype back; constants stay where they were."""
    tree = mixed_tree()
    flat, unravel = ravel(tree)
    np.testing.assert_array_equal(flat, np.arange(11.0))
    assert flat.dtype == np.float64 and flat.flags.writeable
    back = unravel(2 * flat)
    assert list(back) == list(tree) and type(back["pair"]) is Pair
    assert type(back["a"]) is list and type(back["pair"].b) is tuple
    np.testing.assert_array_equal(back["b"], 2 * tree["b"])
    assert back["a"][0].dtype == np.float32 and back["a"][0] == 12 and back["a"][0].shape == ()
    assert back["a"][1].dtype == np.float64 and back["a"][1] == 14
    assert (
        back["n"] == 3
        and back["flag"] is True
        and back["none"] is None
        and back["ints"] is tree["ints"]
        and back["pair"].b[0] is tree["pair"].b[0]
    )
    assert back["pair"].a.dtype == np.float16 and back["pair"].b[1].dtype == np.float32
    np.testing.assert_array_equal(back["pair"].a, [16, 18])
    np.testing.assert_array_equal(ravel(back)[0], 2 * flat)


def test_ravel_dtype_is_the_widest():
    assert ravel([np.ones(2, np.float32), 3])[0].dtype == np.float32
    assert ravel([np.ones(2, np.float32), np.ones(2, np.float16)])[0].dtype == np.float32
    assert ravel([np.ones(2, np.float32), np.ones(())])[0].dtype == np.float64
    assert ravel(1.5)[0].shape == (1,)


def test_who_owns_the_memory():
    """flat is a copy; unravel copies, unless asked for views."""
    tree = {"a": np.arange(3.0), "b": np.ones((2, 2))}
    flat, unravel = ravel(tree)
    assert not np.shares_memory(flat, tree["a"])
    copied, viewed = unravel(flat), unravel(flat, copy=False)
    assert not any(np.shares_memory(flat, leaf) for leaf in copied.values())
    assert all(np.shares_memory(flat, leaf) for leaf in viewed.values())
    flat[0] = 99
    assert copied["a"][0] == 0 and viewed["a"][0] == 99 and tree["a"][0] == 0
    assert not np.shares_memory(ravel(tree["a"])[0], tree["a"])
    low = ravel([np.ones(2, np.float32)])[1](np.ones(2), copy=False)  # another dtype is a copy in any case
    assert low[0].dtype == np.float32


def test_ravel_tensors():
    """Inside a recording ravel and unravel are differentiable."""
    x, y = np.arange(3.0), np.float32(2)
    weights = np.array([1.0, 10, 100, 1000])
    x_bar, y_bar = vjp(lambda x, y: np.sum(ravel({"x": x, "n": 4, "y": y})[0] * weights), x, y)[1](1.0)
    np.testing.assert_array_equal(x_bar, [1, 10, 100])
    assert y_bar == 1000 and y_bar.dtype == np.float32

    _, unravel = ravel({"a": np.ones((2, 1)), "n": 4, "b": 1.0})

    def f(flat):
        tree = unravel(flat)
        assert tree["n"] == 4 and tree["a"].shape == (2, 1) and tree["b"].shape == ()
        return np.sum(tree["a"] * 2) + tree["b"] * tree["n"]

    np.testing.assert_array_equal(grad(f)(np.ones(3)), [2, 2, 4])


def test_unravel_of_a_wrong_shape():
    _, unravel = ravel({"a": np.ones(3), "b": 1.0})
    for wrong in (np.ones(3), np.ones(5), np.ones((4, 1)), 1.0):
        with pytest.raises(ValueError, match=r"flat must have shape \(4,\), got"):
            unravel(wrong)


@pytest.mark.parametrize("tree", [3, None, [1, True], {}, (), {"a": np.arange(3)}], ids=str)
def test_ravel_without_a_float(tree):
    with pytest.raises(TypeError, match="at least one float leaf"):
        ravel(tree)


def test_tree_leaves_and_paths():
    assert [path for path, _ in tree_leaves(mixed_tree())] == [
        "['b']",
        "['a'][0]",
        "['a'][1]",
        "['n']",
        "['flag']",
        "['none']",
        "['ints']",
        "['pair'][0]",
        "['pair'][1][0]",
        "['pair'][1][1]",
    ]
    assert list(tree_leaves(3.0)) == [("", 3.0)]
    assert list(tree_leaves({})) == []


def test_tree_map_with_other_trees():
    """Dicts match by key in any order and keep the order of the first; tuples and lists by place."""
    got = tree_map(lambda a, b: (a, b), {"x": 1, "y": [2, 3]}, {"y": (20, 30), "x": 10})
    assert got == {"x": (1, 10), "y": [(2, 20), (3, 30)]} and list(got) == ["x", "y"]
    assert tree_map(lambda a, b: a + b, Pair(1, (2,)), Pair(10, [20])) == Pair(11, (22,))
    assert tree_map(lambda a, b: b, 1, {"anything": 2}) == {"anything": 2}  # a leaf meets a tree: f sees it


@pytest.mark.parametrize(
    "tree, other, message",
    [
        ({"a": 1}, {"b": 1}, r"at the root: expected a dict with keys \['a'\], got a dict with keys \['b'\]"),
        ({"a": 1}, [1], "expected a dict with keys .* got a list of length 1"),
        ({"a": [1, 2]}, {"a": [1]}, r"trees differ at \['a'\]: expected a list of length 2, got a list of length 1"),
        ([{"a": (1,)}], [{"a": 1.0}], r"at \[0\]\['a'\]: expected a tuple of length 1, got a leaf of type float"),
        ([1, 2], {0: 1, 1: 2}, "expected a list of length 2, got a dict"),
    ],
)
def test_trees_that_differ(tree, other, message):
    with pytest.raises(ValueError, match=message):
        tree_map(lambda a, b: a, tree, other)


def test_primals_are_not_changed():
    tree = mixed_tree()
    kept = ravel(tree)[0]
    _, pullback = vjp(lambda t: np.sum(t["b"] ** 2) * t["a"][1], tree)
    pullback(1.0)
    np.testing.assert_array_equal(ravel(tree)[0], kept)
