"""MLPField is its MLP, and its hand-written backward pass is the engine's."""
import numpy as np
import pytest

from refvdm.autodiff import check_vjp, ravel, vjp
from refvdm.nn import MLP
from refvdm.ode import MLPField, adjoint, odeint, solve
from refvdm.ode.linearise import LinearisedField

ACTIVATIONS = ("tanh", "silu", "relu", "identity")
SIZES = [(3, 3), (3, 5, 3), (3, 4, 6, 3)]
SHAPES = [(3,), (4, 3), (2, 5, 3), (1, 3)]


def problem(sizes, activation, time, shape, dtype=np.float64, seed=0):
    field, rng = MLPField(sizes, activation, time=time), np.random.default_rng(seed)
    theta = {k: (v + 0.3 * rng.standard_normal(v.shape)).astype(dtype) for k, v in field.init(rng, dtype).items()}
    z, a = (rng.standard_normal(shape).astype(dtype) for _ in "za")
    return field, theta, z, np.array(0.7, dtype), a


def by_engine(field, z, t, theta, a):
    value, pullback = vjp(lambda z, t, theta: field(z, t, theta), z, t, theta)
    return value, *pullback(a)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("time", [True, False])
def test_vjp_is_the_engines(activation, sizes, time):
    """f, a df/dz, a df/dtheta in ravel order and a df/dt, for every shape of state and both dtypes; relu's kink at 0
    included."""
    for shape in SHAPES:
        for dtype, rtol in ((np.float64, 1e-13), (np.float32, 1e-5)):
            field, theta, z, t, a = problem(sizes, activation, time, shape, dtype)
            value, z_bar, t_bar, theta_bar = by_engine(field, z, t, theta, a)
            before = [x.copy() for x in (z, a, *theta.values())]
            got = field.vjp(z, t, theta, a)
            for x, expected in zip(got, (value, z_bar, ravel(theta_bar)[0], t_bar)):
                assert x.dtype == dtype and x.shape == np.shape(expected)
                np.testing.assert_allclose(x, expected, rtol=rtol, atol=rtol * max(1, np.abs(expected).max()))
            assert np.any(got[3]) == time or activation == "relu"  # which may be 0 everywhere
            assert all(np.array_equal(x, y) for x, y in zip(before, (z, a, *theta.values())))
            assert not any(np.shares_memory(x, y) for x in got for y in (z, a, *theta.values()))
    if activation == "relu" and len(sizes) > 2:
        theta = {k: v * (k[0] == "W") for k, v in theta.items()}
        z, t = np.zeros_like(z), np.zeros_like(t)
        np.testing.assert_array_equal(field.vjp(z, t, theta, a)[1], by_engine(field, z, t, theta, a)[1])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_net(activation, sizes, shape):
    """field(z, t, theta) = net(theta, z); with time=True net(theta, [z, t]): arrays and Tensors, 0-d t and float t."""
    field, theta, z, t, a = problem(sizes, activation, False, shape)
    np.testing.assert_allclose(field(z, t, theta), MLP(sizes, activation)(theta, z), rtol=1e-14, atol=1e-15)
    field, theta, z, t, a = problem(sizes, activation, True, shape)
    net = MLP((sizes[0] + 1, *sizes[1:]), activation)
    expected = net(theta, np.concatenate([z, np.full((*shape[:-1], 1), 0.7)], axis=-1))
    assert list(theta) == list(net.init(np.random.default_rng(0))) and theta["W1"].shape == (sizes[0] + 1, sizes[1])
    for value in (field(z, t, theta), field(z, 0.7, theta), by_engine(field, z, t, theta, a)[0],
                  field.vjp(z, t, theta, a)[0]):
        np.testing.assert_allclose(value, expected, rtol=1e-13, atol=1e-14)
    assert not np.shares_memory(field(z, t, theta), z)


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("activation", ("tanh", "silu"))
def test_vjp_against_finite_differences(time, activation):
    """<a, f(x + h d) - f(x - h d)>/(2h) for single elements of z, t and theta."""
    field, theta, z, t, a = problem((3, 4, 3), activation, time, (2, 3))
    _, _, theta_bar, t_bar = field.vjp(z, t, theta, a)
    flat, unravel = ravel(theta)
    h = 1e-5
    slope = np.sum(a * (field(z, t + h, theta) - field(z, t - h, theta))) / (2 * h)
    np.testing.assert_allclose(t_bar, slope, rtol=1e-8, atol=1e-9)
    for i in range(flat.size):
        e = h * (np.arange(flat.size) == i)
        slope = np.sum(a * (field(z, t, unravel(flat + e)) - field(z, t, unravel(flat - e)))) / (2 * h)
        np.testing.assert_allclose(theta_bar[i], slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("activation", ("tanh", "silu"))
def test_check_vjp_accepts_it(time, activation):
    """On Tensors the field has the bits that it has on arrays, and its recorded gradient is right."""
    field, theta, z, t, _ = problem((3, 4, 3), activation, time, (2, 3))
    check_vjp(lambda z, t, theta: field(z, t, theta), z, t, theta)


def test_vjp_follows_the_order_of_theta():
    """A dict in another order gives the same numbers at other places, as ravel lays it out."""
    field, theta, z, t, a = problem((3, 4, 3), "tanh", True, (2, 3))
    shuffled = {k: theta[k] for k in ("b2", "W1", "W2", "b1")}
    got, expected = field.vjp(z, t, shuffled, a)[2], by_engine(field, z, t, theta, a)[3]
    np.testing.assert_allclose(got, ravel({k: expected[k] for k in shuffled})[0], rtol=1e-13)
    solution = solve(field, z, [0, 0.5], shuffled)
    back = adjoint(field, solution, np.ones((2, 2, 3)))
    assert list(back.theta) == list(shuffled) and all(back.theta[k].shape == theta[k].shape for k in theta)


@pytest.mark.parametrize("mode", ["backsolve", "interpolated", "discrete", "forward"])
@pytest.mark.parametrize("time", [True, False])
@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_the_whole_adjoint_is_the_same_either_way(mode, time, shape):
    """Through vjp and through the engine on a field that hides it; counted alike."""
    field, theta, z, _, _ = problem((2, 4, 2), "silu", time, shape)
    def hidden(z, t, theta):
        return field(z, t, theta)
    g = np.random.default_rng(1).standard_normal((3, *shape))
    options = {"method": "dopri5", "step": 0.2}
    fast, slow = (adjoint(f, solve(f, z, [0.1, 0.5, 1.2], theta, **options), g, mode=mode) for f in (field, hidden))
    for x, y in ((fast.z0, slow.z0), (fast.ts, slow.ts), *((fast.theta[k], slow.theta[k]) for k in theta)):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-12)
    assert fast.stats == slow.stats and fast.stats.nvjp > 0
    in_loss = vjp(lambda theta: odeint(field, z, [0.1, 0.5, 1.2], theta, gradient=mode, **options), theta)[1](g)[0]
    assert all(np.array_equal(in_loss[k], fast.theta[k]) for k in theta)


def test_float32_end_to_end():
    field, theta, z, _, _ = problem((2, 4, 2), "tanh", True, (3, 2), np.float32)
    solution = solve(field, z, [0, 1], theta, rtol=1e-4)
    got = adjoint(field, solution, np.ones((2, 3, 2)))
    assert solution.zs.dtype == got.z0.dtype == got.theta["W1"].dtype == np.float32


def test_linearised_field_counts_and_pulls_alike():
    """`pulled` is `linearise` and its pull: f, a df/dz, a df/dtheta, a df/dt, each pull counted once, each value not
    pulled in nfev."""
    field, theta, z, t, a = problem((2, 4, 2), "tanh", True, (3, 2))
    def hidden(z, t, theta):
        return field(z, t, theta)
    expected = by_engine(field, z, t, theta, a)
    for f in (field, hidden):
        linear = LinearisedField(f, theta, z)
        value, pull = linear.linearise(0.7, z.reshape(-1))
        for got in ((value, *pull(a.reshape(-1))), linear.pulled(0.7, z.reshape(-1), a.reshape(-1))):
            assert [np.shape(x) for x in got] == [(6,), (6,), (linear.n_theta,), ()]
            np.testing.assert_allclose(got[0].reshape(3, 2), expected[0], rtol=1e-13)
            np.testing.assert_allclose(got[1].reshape(3, 2), expected[1], rtol=1e-12)
            np.testing.assert_allclose(got[2], ravel(expected[3])[0], rtol=1e-12)
            np.testing.assert_allclose(got[3], expected[2], rtol=1e-12)
        assert linear.nvjp == 2 and linear.nfev == 0 and linear.n_theta == 12 + 4 + 8 + 2
        np.testing.assert_allclose(linear.value(0.7, z.reshape(-1)), value, rtol=1e-14)
        assert linear.nfev == 1 and z.flags.writeable


@pytest.mark.parametrize("sizes", [(2, 3), (2,), (), (3, 4, 2)])
def test_sizes_begin_and_end_with_the_state(sizes):
    with pytest.raises(ValueError, match="MLPField: sizes must begin and end with the size of the state"):
        MLPField(sizes)


def test_defaults_and_the_errors_of_the_net():
    field = MLPField((2, 3, 2))
    assert field.net.activation == "tanh" and field.time is False and field.net.sizes == (2, 3, 2)
    assert MLPField((2, 3, 2), "relu", True).net.sizes == (3, 3, 2)
    assert field.init(np.random.default_rng(0), np.float32)["W2"].dtype == np.float32
    assert field.init(np.random.default_rng(0))["W2"].dtype == np.float64
    with pytest.raises(ValueError, match="activation must be one of"):
        MLPField((2, 3, 2), "swish")
    with pytest.raises(ValueError, match="positive integers"):
        MLPField((2, 0, 2))


@pytest.mark.parametrize("more", [{"n": 3}, {"scale": 0.5}])
def test_theta_may_hold_more_than_the_weights(more):
    """What the net does not use changes nothing: None for an integer, 0 for a float, as through the engine."""
    field, theta, z, _, _ = problem((2, 3, 2), "tanh", True, (2,))
    plain, got = (adjoint(field, solve(field, z, [0, 1], p), np.ones((2, 2))) for p in (theta, theta | more))
    np.testing.assert_allclose(got.z0, plain.z0, rtol=1e-3)
    assert got.theta.get("n") is None and got.theta.get("scale", 0) == 0
