"""The MLP is the network its docstring writes down; time features are the sines and cosines they say."""
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm.autodiff import check_vjp
from refvdm.nn import MLP, time_features

BY_HAND = {"identity": lambda z: z, "tanh": np.tanh, "silu": lambda z: z / (1 + np.exp(-z)),
           "relu": lambda z: np.where(z > 0, z, 0)}


@pytest.mark.parametrize("activation", BY_HAND)
@pytest.mark.parametrize("lead", [(5,), (), (2, 3)])
def test_is_the_network_written_by_hand(activation, lead):
    net, rng, f = MLP((3, 7, 4, 2), activation=activation), np.random.default_rng(0), BY_HAND[activation]
    theta = {k: v + 0.1 * rng.standard_normal(v.shape) for k, v in net.init(rng).items()}
    x = rng.standard_normal((*lead, 3))
    expected = f(f(x @ theta["W1"] + theta["b1"]) @ theta["W2"] + theta["b2"]) @ theta["W3"] + theta["b3"]
    np.testing.assert_allclose(net(theta, x), expected, rtol=1e-12, atol=1e-14)


def test_one_layer_is_linear_and_tanh_is_the_default():
    rng = np.random.default_rng(0)
    net, x = MLP((3, 2)), rng.standard_normal((4, 3)) * 10
    theta = net.init(rng)
    np.testing.assert_allclose(net(theta, x), x @ theta["W1"], rtol=1e-12)
    deep, same = MLP((3, 5, 2)), MLP((3, 5, 2), "tanh")
    theta = deep.init(rng)
    assert np.array_equal(deep(theta, x), same(theta, x)) and deep.activation == "tanh"


def test_layout_and_order_of_theta():
    theta = MLP((3, 7, 2)).init(np.random.default_rng(0))
    assert list(theta) == ["W1", "b1", "W2", "b2"]
    assert [v.shape for v in theta.values()] == [(3, 7), (7,), (7, 2), (2,)]


def test_init_statistics():
    """W has mean 0 and variance 1/n_in (10^5 draws: standard error of the variance sqrt(2/n)), b is 0."""
    theta = MLP((250, 400, 2)).init(np.random.default_rng(1))
    W = theta["W1"] * np.sqrt(250)
    assert abs(W.mean()) < 4 / np.sqrt(W.size)
    assert abs(W.var() - 1) < 4 * np.sqrt(2 / W.size)
    assert abs((W**4).mean() - 3) < 4 * np.sqrt(96 / W.size)
    assert not theta["b1"].any() and not theta["b2"].any()


def test_init_is_reproducible_and_depends_on_the_generator():
    a, b, c = (MLP((3, 4, 2)).init(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a[k], b[k]) for k in a) and not np.array_equal(a["W1"], c["W1"])


@pytest.mark.parametrize("activation", BY_HAND)
def test_float32_stays_float32_and_agrees(activation):
    net = MLP((3, 6, 2), activation)
    low, high = (net.init(np.random.default_rng(0), dtype=dtype) for dtype in (np.float32, np.float64))
    assert all(v.dtype == np.float32 for v in low.values()) and all(v.dtype == np.float64 for v in high.values())
    x = np.random.default_rng(1).standard_normal((5, 3))
    y = net(low, x.astype(np.float32))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, net(high, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", BY_HAND)
def test_gradients(activation):
    net, rng = MLP((2, 4, 3, 1), activation), np.random.default_rng(3)
    check_vjp(net, net.init(rng), rng.standard_normal((3, 2)))


def test_errors():
    for sizes in [(3,), (), (3, 0), (0, 3), (3, 2.0), (3, -1, 2)]:
        with pytest.raises(ValueError, match="sizes must be at least two positive integers"):
            MLP(sizes)
    with pytest.raises(ValueError, match="one of identity, tanh, silu, relu, got 'gelu'"):
        MLP((3, 2), activation="gelu")
    net = MLP((3, 2))
    with pytest.raises(ValueError, match=r"MLP: x must have shape \(..., 3\), got \(5, 4\)"):
        net(net.init(np.random.default_rng(0)), np.zeros((5, 4)))
    assert MLP((1, 1)).sizes == (1, 1) and MLP([np.int64(2), 3]).sizes == (2, 3)


@given(st.lists(st.floats(0, 1000, allow_subnormal=False), min_size=1, max_size=4), st.integers(1, 6),
       st.floats(1e-3, 1, allow_subnormal=False), st.floats(1, 50, allow_subnormal=False))
def test_time_features_one_by_one(t, half, lowest, highest):
    got = time_features(np.array(t), 2 * half, lowest, highest)
    assert got.shape == (len(t), 2 * half)
    for i, time in enumerate(t):
        for j in range(half):
            w = lowest * (highest / lowest) ** (j / (half - 1)) if half > 1 else lowest
            assert got[i, j] == pytest.approx(math.sin(w * time), abs=1e-14 * (1 + w * time) * 10)
            assert got[i, half + j] == pytest.approx(math.cos(w * time), abs=1e-14 * (1 + w * time) * 10)


def test_time_features_of_integers_dtype_and_errors():
    t = np.array([1, 5])
    assert np.array_equal(time_features(t, 4, 0.1, 1), time_features(t.astype(float), 4, 0.1, 1))
    assert time_features(t, 2, 0.5, 0.5).shape == (2, 2) and time_features(t, 4, 0.1, 1).dtype == np.float64
    assert time_features(t, 4, 0.1, 1, dtype=np.float32).dtype == np.float32
    for n in (0, 1, 3, -2):
        with pytest.raises(ValueError, match=f"n must be even and at least 2, got {n}"):
            time_features(t, n, 0.1, 1)
    for lowest, highest in [(0, 1), (2, 1), (-1, 1), (float("nan"), 1)]:
        with pytest.raises(ValueError, match="0 < lowest <= highest"):
            time_features(t, 4, lowest, highest)


def test_integer_parameters_are_refused():
    with pytest.raises(TypeError, match="parameters must be of a float dtype, got int"):
        MLP((2, 3)).init(np.random.default_rng(0), dtype=int)
