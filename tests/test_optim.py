"""Adam and EMA give the bits of their formula written out leaf by leaf, and write into nothing that they were given."""
import copy
import math

import numpy as np
import pytest

from refvdm.optim import EMA, Adam


def make_theta(dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    return {"a": {"W": rng.standard_normal((3, 2)).astype(dtype), "b": rng.standard_normal(2).astype(dtype)},
            "list": [rng.standard_normal(()).astype(dtype), (rng.standard_normal((2, 1, 2)).astype(dtype),)]}


def leaves(tree):
    if isinstance(tree, dict):
        return [x for v in tree.values() for x in leaves(v)]
    if isinstance(tree, (list, tuple)):
        return [x for v in tree for x in leaves(v)]
    return [tree]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("settings", [
    {}, {"weight_decay": 0.1}, {"cosine_steps": 20},
    {"learning_rate": 0.3, "beta_1": 0.5, "beta_2": 0.7, "epsilon": 1e-3},
    {"learning_rate": 0.05, "beta_1": 0.0, "weight_decay": 0.3, "cosine_steps": 7}])
def test_bits_of_the_formula_leaf_by_leaf(settings, dtype):
    opt, theta, rng = Adam(**settings), make_theta(dtype), np.random.default_rng(1)
    state = opt.init(theta)
    rate = settings.get("learning_rate", 1e-3)
    b1, b2 = settings.get("beta_1", 0.9), settings.get("beta_2", 0.999)
    eps, decay, N = settings.get("epsilon", 1e-8), settings.get("weight_decay", 0.0), settings.get("cosine_steps")
    mine = [x.reshape(-1) for x in leaves(theta)]  # one axis at least: NumPy 1.26 widens 0-d float32 by a Python float
    m, v = [np.zeros_like(x) for x in mine], [np.zeros_like(x) for x in mine]
    for n in range(1, 31):
        grads = copy.deepcopy(theta)
        for g in leaves(grads):
            g[...] = rng.standard_normal(g.shape)
        theta, state = opt.update(theta, grads, state)
        eta = rate if N is None else rate * (1 + math.cos(math.pi * min(n - 1, N) / N)) / 2
        for i, g in enumerate(g.reshape(-1) for g in leaves(grads)):
            m[i] = b1 * m[i] + (1 - b1) * g
            v[i] = b2 * v[i] + (1 - b2) * (g * g)
            mine[i] = mine[i] * (1 - eta * decay) - eta * (m[i] / (1 - b1**n)) / (np.sqrt(v[i] / (1 - b2**n)) + eps)
        for got, like, expected in zip(leaves(theta), leaves(grads), mine):
            assert got.dtype == dtype and got.shape == like.shape and np.array_equal(np.reshape(got, -1), expected)
    assert int(state["step"]) == 30 and state["m"].shape == state["v"].shape == (13,) and state["m"].dtype == dtype
    assert np.array_equal(state["m"], np.concatenate([np.ravel(x) for x in m]))
    assert np.array_equal(state["v"], np.concatenate([np.ravel(x) for x in v]))


def test_first_step_moves_by_the_learning_rate_against_the_gradient():
    theta, _ = (opt := Adam(0.1)).update(np.zeros(2), np.array([3.0, -1e-3]), opt.init(np.zeros(2)))
    np.testing.assert_allclose(theta, [-0.1, 0.1], rtol=1e-4)


def test_rate_is_half_a_cosine_then_zero():
    opt = Adam(2.0, cosine_steps=10)
    np.testing.assert_allclose([opt.rate(n) for n in (1, 6, 11, 12, 100)], [2, 1, 0, 0, 0], atol=1e-15)
    rates = [opt.rate(n) for n in range(1, 12)]
    assert np.all(np.diff(rates) < 0)
    np.testing.assert_allclose(np.add(rates, rates[::-1]), 2.0)
    assert Adam(2.0).rate(1) == Adam(2.0).rate(1000) == 2.0
    assert Adam(cosine_steps=1).rate(1) == Adam().learning_rate == 1e-3


def test_a_quadratic_converges():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5))
    A, b = A @ A.T + np.eye(5), rng.standard_normal(5)
    theta, opt = {"x": np.zeros(5)}, Adam(0.1, cosine_steps=2000)
    state = opt.init(theta)
    for _ in range(2000):
        theta, state = opt.update(theta, {"x": A @ theta["x"] - b}, state)
    np.testing.assert_allclose(theta["x"], np.linalg.solve(A, b), rtol=1e-6)


def test_weight_decay_alone_shrinks_by_rate_times_decay():
    theta, opt = np.array([2.0, -4.0]), Adam(0.1, weight_decay=0.5)
    moved, _ = opt.update(theta, np.zeros(2), opt.init(theta))
    np.testing.assert_allclose(moved, theta * 0.95, rtol=1e-15)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_update_is_pure(decay):
    opt, theta, grads = Adam(0.1, weight_decay=decay), make_theta(), make_theta(seed=1)
    _, state = opt.update(theta, grads, opt.init(theta))
    before = copy.deepcopy((theta, grads, state))
    one, two = opt.update(theta, grads, state), opt.update(theta, grads, state)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(before), leaves((theta, grads, state))))
    assert all(np.array_equal(a, b) for a, b in zip(leaves(one), leaves(two)))
    for new in leaves(one):
        assert not any(np.shares_memory(new, old) for old in leaves((theta, grads, state)))
    flat = np.array([1.0, 2.0])
    moved, state = opt.update(flat, np.ones(2), opt.init(flat))
    assert not np.shares_memory(moved, flat) and flat.tolist() == [1, 2]
    assert not np.shares_memory(state["m"], state["v"])


def test_integer_bool_and_none_leaves_are_left_alone():
    theta = {"perm": np.array([2, 0, 1]), "W": np.ones(2), "flag": True, "none": None,
             "sign": np.array([1, -1], np.int8)}
    grads = {"perm": None, "W": np.ones(2), "flag": None, "none": None, "sign": None}
    opt, ema = Adam(0.1, weight_decay=0.1), EMA(0.5)
    state = opt.init(theta)
    assert state["m"].shape == (2,) and int(state["step"]) == 0
    moved, _ = opt.update(theta, grads, state)
    average = ema.value(ema.update(ema.init(theta), moved))
    for tree in (moved, average):
        assert tree["perm"].tolist() == [2, 0, 1] and tree["perm"].dtype == theta["perm"].dtype
        assert tree["flag"] is True and tree["none"] is None and tree["sign"].dtype == np.int8
    assert np.all(moved["W"] < 1)


def test_order_of_the_keys_of_grads_is_irrelevant():
    theta = {"a": np.array([1.0]), "b": np.array([2.0])}
    opt = Adam(0.1)
    one, _ = opt.update(theta, {"a": np.array([1.0]), "b": np.array([-1.0])}, opt.init(theta))
    two, _ = opt.update(theta, {"b": np.array([-1.0]), "a": np.array([1.0])}, opt.init(theta))
    assert list(two) == ["a", "b"] and one == two and one["a"] < 1 and one["b"] > 2
    average = EMA(0.5).update(theta, {"b": np.array([4.0]), "a": np.array([3.0])})
    assert average == {"a": np.array([2.0]), "b": np.array([3.0])}


def test_errors_of_adam():
    for bad in ({"learning_rate": 0}, {"learning_rate": -1}, {"epsilon": 0}, {"weight_decay": -0.1},
                {"learning_rate": math.nan}):
        with pytest.raises(ValueError, match=rf"{next(iter(bad))} must (be positive|lie in \[0, inf\)).*, got "):
            Adam(**bad)
    for bad in ({"beta_1": 1}, {"beta_2": 1}, {"beta_1": -0.1}, {"beta_2": -0.1}):
        with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
            Adam(**bad)
    with pytest.raises(ValueError, match="cosine_steps must be an integer of at least 1, got 0"):
        Adam(cosine_steps=0)
    assert Adam(beta_1=0, beta_2=0).update(np.ones(1), np.ones(1), Adam().init(np.ones(1)))[0] < 1
    opt, theta = Adam(), {"a": np.zeros(2), "b": np.zeros(3)}
    state = opt.init(theta)
    with pytest.raises(ValueError, match=r"grads beside theta: expected theta\'s shape \(3,\), got \(2,\)"):
        opt.update(theta, {"a": np.zeros(2), "b": np.zeros(2)}, state)
    with pytest.raises(ValueError, match="trees differ"):
        opt.update(theta, {"a": np.zeros(2)}, state)
    with pytest.raises(ValueError, match="state is of 5 parameters, theta has 2"):
        opt.update({"a": np.zeros(2)}, {"a": np.zeros(2)}, state)
    with pytest.raises(TypeError, match="at least one float leaf"):
        opt.init({"a": np.arange(3)})


@pytest.mark.parametrize("missing", [None, np.zeros(2, int)])
def test_a_float_parameter_without_a_float_gradient_is_a_named_error(missing):
    theta, opt = {"a": np.zeros(2), "b": np.zeros(3)}, Adam()
    with pytest.raises(TypeError, match="grads beside theta: theta has floats of shape .2,., grads a constant"):
        opt.update(theta, {"a": missing, "b": np.zeros(3)}, opt.init(theta))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_ema_closed_form(decay):
    """After n steps: decay^n theta_0 + (1 - decay) sum_i decay^(n-i) theta_i; the average of a constant stays it."""
    ema, rng, n = EMA(decay), np.random.default_rng(0), 12
    thetas = [{"a": rng.standard_normal((2, 2)), "b": rng.standard_normal(3)} for _ in range(n + 1)]
    state = constant = ema.init(thetas[0])
    for theta in thetas[1:]:
        state, constant = ema.update(state, theta), ema.update(constant, thetas[0])
    for key in "ab":
        expected = decay**n * thetas[0][key] + (1 - decay) * sum(decay ** (n - i) * thetas[i][key]
                                                                 for i in range(1, n + 1))
        np.testing.assert_allclose(ema.value(state)[key], expected, rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(ema.value(constant)[key], thetas[0][key], rtol=1e-14)


def test_ema_is_pure_and_keeps_float32():
    ema, theta, new = EMA(0.9), make_theta(np.float32), make_theta(np.float32, seed=2)
    state = ema.init(theta)
    before = copy.deepcopy((state, theta, new))
    moved = ema.update(state, new)
    assert all(np.array_equal(a, b) for a, b in zip(leaves(before), leaves((state, theta, new))))
    assert not any(np.shares_memory(a, b) for a in leaves(moved) for b in leaves((state, new)))
    assert not any(np.shares_memory(a, b) for a in leaves(state) for b in leaves(theta))
    assert all(x.dtype == np.float32 for x in leaves(moved))


def test_errors_of_ema():
    for decay in (1, 1.5, -0.1, math.nan):
        with pytest.raises(ValueError, match=r"decay must lie in \[0, 1\)"):
            EMA(decay)
    with pytest.raises(ValueError, match="shape"):
        EMA(0.9).update({"a": np.zeros(2)}, {"a": np.zeros(3)})
    with pytest.raises(ValueError, match="trees differ"):
        EMA(0.9).update({"a": np.zeros(2)}, {"b": np.zeros(2)})


def test_numpy_scalars_as_settings_do_not_widen_float32():
    opt = Adam(np.float64(0.1), beta_1=np.float64(0.9), weight_decay=np.float64(0.1))
    theta, state = opt.update(np.ones(2, np.float32), np.ones(2, np.float32), opt.init(np.ones(2, np.float32)))
    assert theta.dtype == state["m"].dtype == state["v"].dtype == np.float32
    ema = EMA(np.float64(0.5))
    assert ema.update(ema.init(theta), theta).dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_named(bad):
    theta = {"n": 3, "W": [np.zeros(2), np.zeros((2, 3), np.float32)], "s": 1.0}
    grads = {"n": None, "W": [np.ones(2), np.ones((2, 3), np.float32)], "s": 1.0}
    opt = Adam(0.1)
    grads["W"][1][1, 2] = bad
    with pytest.raises(ValueError, match=rf"parameter \['W'\]\[1\] must be finite, got {bad} at index \(1, 2\)"):
        opt.update(theta, grads, opt.init(theta))
    grads["W"][1][1, 2] = 0.0
    with pytest.raises(ValueError, match=rf"gradient of parameter \['s'\] must be finite, got {bad} at index \(\)"):
        opt.update(theta, {**grads, "s": bad}, opt.init(theta))


@pytest.mark.parametrize("state", [None, {}, {"m": np.zeros(2), "v": np.zeros(2)}, [0, 1, 2]])
def test_a_state_that_is_none_of_adams(state):
    with pytest.raises(TypeError, match="Adam: state must be what init or update gave"):
        Adam(0.1).update(np.zeros(2), np.ones(2), state)


@pytest.mark.parametrize("kwargs", [{"learning_rate": np.inf}, {"learning_rate": np.nan}, {"cosine_steps": 2.7},
                                    {"cosine_steps": True}, {"cosine_steps": 0}, {"epsilon": np.inf}])
def test_settings_of_the_wrong_kind(kwargs):
    with pytest.raises(ValueError, match=f"Adam: {next(iter(kwargs))} must be"):
        Adam(**kwargs)
