"""Flows: composition, log-likelihood, sampling; integers as data: dequantisation and bits per dimension."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, norm

from refvdm.autodiff import check_vjp, jacobian, tree_leaves, tree_map, vjp
from refvdm.flows import (
    PLU,
    ActNorm,
    AffineCoupling,
    Flow,
    Split,
    Squeeze,
    bits_per_dim,
    dequantize,
)


def away_from_start(theta, rng):
    """theta with noise on every float array: no layer is the identity any more."""
    return tree_map(lambda v: v + (0.4 * rng.standard_normal(v.shape)).astype(v.dtype) if v.dtype.kind == "f" else v,
                    theta)


def step(d, swap=False):
    return [ActNorm(d), PLU(d), AffineCoupling(d, hidden=4, swap=swap)]


def two_levels():
    """A Glow with two levels for images (4, 4, 1): squeeze, step, split, squeeze, step."""
    inner = Flow([Squeeze(), Flow(step(8))])
    return Flow([Squeeze(), *step(4), Split(inner, (2, 2, 4))]), (4, 4, 1)


@st.composite
def flows(draw):
    """A flow of up to four random layers on vectors, on positions, or on images with squeeze and split;
    and one example's shape."""
    kind = draw(st.sampled_from(["vectors", "positions", "image"]))
    c = draw(st.integers(1, 2)) if kind == "image" else draw(st.integers(2, 4))
    shape = {"vectors": (c,), "positions": (2, c), "image": (2, 2, c)}[kind]
    layers, d = [], c
    if kind == "image" and draw(st.booleans()):
        layers, d = [Squeeze()], 4 * c
    for _ in range(draw(st.integers(1, 3))):
        kinds = ["actnorm", "plu", "coupling", "flow"] if d > 1 else ["actnorm", "plu"]
        layers.append({"actnorm": ActNorm(d), "plu": PLU(d),
                       "coupling": AffineCoupling(max(d, 2), 3, draw(st.booleans())),
                       "flow": Flow([PLU(d), ActNorm(d)])}[draw(st.sampled_from(kinds))])
    if d > 1 and draw(st.booleans()):
        layers.append(Split(Flow([ActNorm(d // 2), PLU(d // 2)]), Flow(layers).output_shape(shape)))
    return Flow(layers), shape


# ---------------------------------------------------------------- composition


@settings(max_examples=30)
@given(flows(), st.integers(0, 99))
def test_random_compositions(case, seed):
    """log_det is slogdet of the whole Jacobian, the inverse goes back, its log_det is minus the forward one."""
    (flow, shape), rng = case, np.random.default_rng(seed)
    theta, x = away_from_start(flow.init(rng), rng), rng.standard_normal((2, *shape))
    z, log_det = flow.forward(theta, x)
    assert z.shape == (2, *flow.output_shape(shape)) and log_det.shape == (2,)
    n = math.prod(shape)

    def flat(v):
        return np.reshape(flow.forward(theta, np.reshape(v, (1, *shape)))[0], (n,))

    J = jacobian(flat)(x[0].ravel())
    h = 1e-5 * np.eye(n)
    numerical = np.stack([(flat(x[0].ravel() + e) - flat(x[0].ravel() - e)) / 2e-5 for e in h], axis=1)
    np.testing.assert_allclose(numerical, J, atol=1e-7 * np.abs(J).max())
    np.testing.assert_allclose(log_det[0], np.linalg.slogdet(J)[1], atol=1e-8)
    back, minus = flow.inverse(theta, z)
    np.testing.assert_allclose(back, x, atol=1e-13 * np.linalg.cond(J) ** 2 + 1e-9)
    np.testing.assert_allclose(minus, -log_det, atol=1e-8)


def test_two_level_glow():
    """Squeeze, steps and split nested: log_det = slogdet of the 16 x 16 Jacobian, round trip, gradients,
    sampling's shape."""
    (flow, shape), rng = two_levels(), np.random.default_rng(0)
    theta, x = away_from_start(flow.init(rng), rng), rng.standard_normal((3, *shape))
    z, log_det = flow.forward(theta, x)
    assert z.shape == (3, 16) == (3, *flow.output_shape(shape))
    J = jacobian(lambda v: np.reshape(flow.forward(theta, np.reshape(v, (1, *shape)))[0], (16,)))(x[1].ravel())
    np.testing.assert_allclose(log_det[1], np.linalg.slogdet(J)[1], atol=1e-10)
    back, minus = flow.inverse(theta, z)
    np.testing.assert_allclose(back, x, atol=1e-9)
    np.testing.assert_allclose(minus, -log_det, atol=1e-11)
    np.testing.assert_allclose(flow.log_prob(theta, x), norm.logpdf(z).sum(axis=1) + log_det, rtol=1e-13)
    check_vjp(flow.log_prob, theta, x[:2], most=3)
    assert flow.sample(theta, (5, *shape), rng).shape == (5, *shape)


def test_is_its_layers_one_after_the_other():
    """forward applies them first to last, inverse last to first, and log_dets add up."""
    rng = np.random.default_rng(1)
    flow = Flow(step(3))
    theta, x = away_from_start(flow.init(rng), rng), rng.standard_normal((4, 2, 3))
    y, total = x, 0
    for layer, theta_l in zip(flow.layers, theta):
        y, log_det = layer.forward(theta_l, y)
        total = total + log_det
    assert np.array_equal(flow.forward(theta, x)[0], y) and np.array_equal(flow.forward(theta, x)[1], total)
    x, total = y, 0
    for layer, theta_l in zip(flow.layers[::-1], theta[::-1]):
        x, log_det = layer.inverse(theta_l, x)
        total = total + log_det
    assert np.array_equal(flow.inverse(theta, y)[0], x) and np.array_equal(flow.inverse(theta, y)[1], total)
    assert flow.forward(tuple(theta), y)[0].shape == y.shape


def test_nesting_changes_nothing():
    """Flow([a, Flow([b, c])]) is Flow([a, b, c])."""
    rng = np.random.default_rng(2)
    a, b, c = step(3)
    flat, nested = Flow([a, b, c]), Flow([a, Flow([b, c])])
    theta, x = away_from_start(flat.init(rng), rng), rng.standard_normal((4, 3))
    theta_n = [theta[0], [theta[1], theta[2]]]
    for method in ("forward", "inverse"):
        for p, q in zip(getattr(flat, method)(theta, x), getattr(nested, method)(theta_n, x)):
            np.testing.assert_allclose(p, q, rtol=1e-14, atol=1e-14)
    assert len(nested.init(rng)) == 2 and len(nested.init(rng)[1]) == 2 and nested.output_shape((3,)) == (3,)


def test_start_passes_the_data_through():
    """Every ActNorm starts on what the layers before it make of the data, also in a nested flow and behind a split."""
    rng = np.random.default_rng(3)
    flow = Flow([PLU(4), ActNorm(4), Flow([PLU(4), ActNorm(4)]), Split(Flow([PLU(2), ActNorm(2)]), (3, 4))])
    x = rng.standard_normal((50, 3, 4)) @ rng.standard_normal((4, 4)) * 3 + 5
    theta = flow.init(rng, x)
    y = x
    for layer, theta_l in zip(flow.layers[:3], theta):
        y, _ = layer.forward(theta_l, y)
        if not isinstance(layer, PLU):
            np.testing.assert_allclose(y.mean(axis=(0, 1)), 0, atol=1e-12)
            np.testing.assert_allclose(y.var(axis=(0, 1)), 1, rtol=1e-12)
    z = flow.forward(theta, x)[0][:, :6].reshape(-1, 2)
    np.testing.assert_allclose([z.mean(axis=0), z.var(axis=0)], [[0, 0], [1, 1]], atol=1e-11)
    without = flow.init(rng)
    assert not without[1]["shift"].any() and not without[3][1]["shift"].any() and theta[3][1]["shift"].any()
    low = flow.init(rng, x.astype(np.float32), np.float32)
    assert {v.dtype for _, v in tree_leaves(low) if v.dtype.kind == "f"} == {np.dtype(np.float32)}


def test_float32_from_end_to_end():
    """log_prob, its gradients and samples in float32 agree with float64."""
    (flow, shape), rng = two_levels(), np.random.default_rng(4)
    theta, x = away_from_start(flow.init(rng), rng), rng.standard_normal((3, *shape))
    low = tree_map(lambda v: v.astype(np.float32) if v.dtype.kind == "f" else v, theta)
    value, pullback = vjp(flow.log_prob, low, x.astype(np.float32))
    wide, wide_pullback = vjp(flow.log_prob, theta, x)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, wide, rtol=1e-4)
    pairs = zip(tree_leaves(pullback(np.ones(3, np.float32))), tree_leaves(wide_pullback(np.ones(3))))
    for (_, a), (_, b) in pairs:
        assert a is b is None or a.dtype == np.float32 and np.allclose(a, b, rtol=1e-2, atol=1e-3 * np.abs(b).max())
    z = rng.standard_normal((3, 16)).astype(np.float32)
    assert flow.sample(low, (3, *shape), z=z).dtype == np.float32


# ---------------------------------------------------------------- likelihood and samples


@given(st.integers(1, 5), st.integers(0, 99))
def test_linear_flow_is_a_multivariate_normal(d, seed):
    """z = W (x + m) e^a ~ N(0, I): x has mean -m and covariance A^-1 A^-T, A = W diag(e^a)."""
    rng = np.random.default_rng(seed)
    flow, shift, a = Flow([ActNorm(d), PLU(d)]), rng.standard_normal(d), rng.standard_normal(d)
    W = rng.standard_normal((d, d)) + 2 * np.eye(d)
    theta, x = [{"shift": shift, "log_scale": a}, PLU.from_matrix(W)], rng.standard_normal((6, d))
    inverse = np.linalg.inv(W * np.exp(a))
    if np.linalg.cond(inverse) < 1e3:
        expected = multivariate_normal(-shift, inverse @ inverse.T).logpdf(x)
        np.testing.assert_allclose(flow.log_prob(theta, x), expected.reshape(6), rtol=1e-7)
    z = rng.standard_normal((6, d))
    np.testing.assert_allclose(flow.sample(theta, (6, d), z=z), z @ inverse.T - shift,
                               rtol=1e-7, atol=1e-9 * np.abs(inverse).max())


def test_convention_direction():
    """forward goes from data to base: log p(x) = log N(W x) + log|det W|.
    Taken as x = f(z) it would be the density of W z."""
    rng = np.random.default_rng(11)
    flow, W, x = Flow([PLU(3)]), rng.standard_normal((3, 3)), rng.standard_normal((5, 3))
    here = -0.5 * np.sum((x @ W.T) ** 2 + math.log(2 * math.pi), axis=-1) + np.linalg.slogdet(W)[1]
    other = -0.5 * np.sum((x @ np.linalg.inv(W).T) ** 2 + math.log(2 * math.pi), axis=-1) - np.linalg.slogdet(W)[1]
    np.testing.assert_allclose(flow.log_prob([PLU.from_matrix(W)], x), here, rtol=1e-12)
    assert np.all(np.abs(here - other) > 0.1)


def test_density_integrates_to_one():
    """A 2-D flow that is not linear: the integral of exp(log_prob) over the plane is 1."""
    rng = np.random.default_rng(6)
    flow = Flow([*step(2), *step(2, swap=True)])
    theta = away_from_start(flow.init(rng), rng)
    grid = np.linspace(-25, 25, 501)
    x = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    assert abs(np.exp(flow.log_prob(theta, x)).sum() * 0.1**2 - 1) < 1e-3


def test_sample_from_rng_and_from_z():
    """rng draws z ~ N(0, I) of the output's shape; sample inverts; forward(sample(z)) = z;
    the moments are the flow's."""
    (flow, shape), rng = two_levels(), np.random.default_rng(7)
    theta = away_from_start(flow.init(rng), rng)
    z = np.random.default_rng(8).standard_normal((4, 16))
    x = flow.sample(theta, (4, *shape), z=z)
    assert np.array_equal(x, flow.sample(theta, (4, *shape), np.random.default_rng(8)))
    assert np.array_equal(x, flow.sample(theta, (4, *shape), rng=np.random.default_rng(8)))
    np.testing.assert_allclose(flow.forward(theta, x)[0], z, atol=1e-9)
    linear, theta = Flow([ActNorm(2)]), [{"shift": np.array([1.0, -2.0]), "log_scale": np.array([0.5, -0.5])}]
    x = linear.sample(theta, (20_000, 2), rng)
    np.testing.assert_allclose(x.mean(axis=0), [-1, 2], atol=0.05)
    np.testing.assert_allclose(x.std(axis=0), np.exp([-0.5, 0.5]), rtol=0.03)


def test_errors():
    flow = Flow([PLU(2), ActNorm(2)])
    theta, rng = flow.init(np.random.default_rng(0)), np.random.default_rng(1)
    with pytest.raises(ValueError, match="Flow: layers must hold at least one layer, got none"):
        Flow([])
    for bad, got in ((theta[:1], "list of length 1"), (None, "NoneType of length none"), ((), "tuple of length 0"),
                     (dict(enumerate(theta)), "dict of length 2")):
        for call in (flow.forward, flow.inverse, flow.log_prob):
            with pytest.raises(ValueError,
                               match=f"Flow: theta must be a list with one entry for each of the 2 layers, got {got}"):
                call(bad, np.ones((1, 2)))
    for more in ({}, {"rng": rng, "z": np.ones((3, 2))}):
        with pytest.raises(ValueError, match=r"Flow.sample: give either rng or z"):
            flow.sample(theta, (3, 2), **more)
    with pytest.raises(TypeError, match=r"Flow.sample: rng must be a numpy.random.Generator .*, got int"):
        flow.sample(theta, (3, 2), 0)
    for shape in [(2, 2), (3,), (3, 3)]:
        with pytest.raises(ValueError, match=r"Flow.sample: z must have shape \(3, 2\), got \("):
            flow.sample(theta, (3, 2), z=np.ones(shape))


# ---------------------------------------------------------------- integers


@given(st.integers(1, 300), st.sampled_from([np.uint8, np.int64, np.uint16]), st.integers(0, 99))
def test_dequantize(levels, dtype, seed):
    """(x + u)/levels: the integer is the bin, the rest is u, everything lies in [0, 1)."""
    levels, rng = min(levels, 256), np.random.default_rng(seed)
    x = rng.integers(0, levels, (3, 4)).astype(dtype)
    u = np.random.default_rng(seed).random((3, 4))
    y = dequantize(x, levels, np.random.default_rng(seed))
    assert y.dtype == np.float64 and np.array_equal(y, dequantize(x, levels, u=u))
    np.testing.assert_allclose(y * levels, x + u, rtol=1e-14)
    assert y.min() >= 0 and y.max() < 1


def test_dequantize_at_the_ends():
    """0 and levels - 1 are allowed; the largest u below 1 still gives a number below 1,
    and u = 0 the bin's left end."""
    largest = np.array([np.nextafter(1, 0), 0.0])
    for levels in (1, 2, 17, 256, 65536):
        y = dequantize(np.full(2, levels - 1), levels, u=largest)
        assert y[0] < 1 and 1 - y[0] < 2e-16 and y[1] == (levels - 1) / levels
        assert dequantize(np.zeros(2, int), levels, u=largest)[1] == 0
    assert dequantize(np.zeros((0, 3), int), 4, np.random.default_rng(0)).shape == (0, 3)


def test_dequantize_refuses():
    rng, x = np.random.default_rng(0), np.array([0, 3])
    for bad in (np.array([0, 4]), np.array([-1, 3])):
        with pytest.raises(ValueError, match=r"dequantize: x must hold integers 0..3, got values "):
            dequantize(bad, 4, rng)
    for bad in (np.array([0.0, 1.0]), np.array([True])):
        with pytest.raises(TypeError, match=r"dequantize: x must hold integers 0..3, got dtype "):
            dequantize(bad, 4, rng)
    for more in ({}, {"rng": rng, "u": np.zeros(2)}):
        with pytest.raises(ValueError, match="dequantize: give either rng or u"):
            dequantize(x, 4, **more)
    for u, must in ((np.zeros(3), r"have shape \(2,\), got \(3,\)"),
                    (np.zeros((2, 1)), r"have shape \(2,\), got \(2, 1\)"),
                    (np.array([0, 1.0]), r"lie in \[0, 1\), got 0.0..1.0"),
                    (np.array([-0.1, 0]), r"lie in \[0, 1\), got -0.1..0.0"),
                    (np.array([np.nan, 0]), r"be finite, got nan at index \(0,\)")):
        with pytest.raises(ValueError, match=f"dequantize: u must {must}"):
            dequantize(x, 4, u=u)


def test_dequantize_refuses_no_floats_too():
    """An empty array of floats is told so, too."""
    with pytest.raises(TypeError, match=r"dequantize: x must hold integers 0..3, got dtype float64"):
        dequantize(np.zeros((0, 3)), 4, np.random.default_rng(0))


@pytest.mark.parametrize("levels", [2, 16, 256])
def test_uniform_model_costs_log2_of_the_levels(levels):
    """On [0, 1) with bins of 1/K, on [-1, 1) with bins of 2/K and in the data's own units:
    log2 K bits/dim each time."""
    D = 7
    for width in (1.0, 2.0, float(levels)):
        log_prob = np.full(3, -D * math.log(width))
        np.testing.assert_allclose(bits_per_dim(log_prob, D, width / levels), math.log2(levels), rtol=1e-14)
    np.testing.assert_allclose(bits_per_dim(np.full(3, -D * math.log(levels)), D), math.log2(levels), rtol=1e-14)
    np.testing.assert_allclose(bits_per_dim(-math.log(2), 1), 1)


def test_dequantised_likelihood_is_a_bound():
    """E_u log p((x + u)/K) - D log K <= log of the mass that p gives to the bin (Jensen),
    so bits/dim are never below the true cost.

    p is normal, its bin masses known by its cdf. Averaged over those masses the bits are above their entropy.
    """
    K, flow = 4, Flow([ActNorm(1)])
    theta = [{"shift": np.array([-0.45]), "log_scale": np.array([math.log(4.0)])}]
    nodes, weights = np.polynomial.legendre.leggauss(20)
    x = np.repeat(np.arange(K)[:, None], 20, axis=1)
    u = np.broadcast_to((nodes + 1) / 2, x.shape)
    y = dequantize(x, K, u=u)
    bits = bits_per_dim(flow.log_prob(theta, y.reshape(-1, 1)), 1, 1 / K).reshape(K, 20) @ weights / 2
    ends = np.linspace(0, 1, K + 1)
    exact = -np.log2(np.diff(norm.cdf(ends, 0.45, 0.25)))
    assert np.all(bits > exact) and np.all(bits < exact + 0.2)
    mass = 2.0**-exact
    entropy = -np.sum(mass / mass.sum() * np.log2(mass / mass.sum()))
    assert mass @ bits / mass.sum() > entropy


def test_bits_per_dim_refuses():
    for dimensions, width in ((0, 1.0), (-1, 1.0), (3, 0.0), (3, -1.0), (3, math.nan)):
        with pytest.raises(ValueError, match=r"bits_per_dim: (dimensions must lie in \[1, inf\)|bin_width must be "
                                             r"positive and finite), got "):
            bits_per_dim(np.zeros(2), dimensions, width)


def test_convention_bits_per_dim_knows_the_scale():
    """Data on [-1, 1) have bins of 2/K: taken as 1/K the same uniform model costs one bit more."""
    K, D = 16, 5
    log_prob = np.array([-D * math.log(2)])  # uniform on [-1, 1)^D
    np.testing.assert_allclose(bits_per_dim(log_prob, D, 2 / K), 4, rtol=1e-14)
    np.testing.assert_allclose(bits_per_dim(log_prob, D, 1 / K), 5, rtol=1e-14)
