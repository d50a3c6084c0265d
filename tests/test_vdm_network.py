"""Denoisers that learn: what they compute written out, their gradients, and that they do learn."""
import numpy as np
import pytest
from scipy.special import expit, softmax

from refvdm.autodiff import check_vjp, tree_leaves
from refvdm.datasets import scale_levels
from refvdm.fit import fit
from refvdm.optim import Adam
from refvdm.vdm import VDM, CategoricalDecoder, GaussianDecoder, Schedule, sample_q
from refvdm.vdm.model import predict
from refvdm.vdm.network import (
    AxialNetwork,
    CategoricalDenoiser,
    MLPNetwork,
    RegressionDenoiser,
    softmax_mean,
)
from refvdm.vdm.schedule import level_features

LEVELS = np.linspace(-1, 1, 5)
SCHEDULE = Schedule.linear_gamma(20, -5.0, 4.0)


def shaken(theta, rng, size=0.3):
    """Parameters that are nowhere zero."""
    if isinstance(theta, dict):
        return {key: shaken(part, rng, size) for key, part in theta.items()}
    return theta + size * rng.standard_normal(theta.shape).astype(theta.dtype)


def silu(z):
    return z * expit(z)


def test_the_axial_network_pixel_by_pixel():
    """The MLP over the image layer by layer; each other layer as loops: rows in odd layers, columns in even ones."""
    rng = np.random.default_rng(0)
    net = AxialNetwork(3, 2, channels=4, layers=4, hidden=6)
    theta = shaken(net.init(rng, np.float64), rng)
    x, level = rng.standard_normal((2, 9)), rng.standard_normal((2, 8))
    got = net(theta, x, level).reshape(2, 3, 3, 2)
    for image, e, answer in zip(x.reshape(2, 3, 3), level, got):
        e = silu(e @ theta["in"]["E"] + theta["in"]["e"])
        whole, u = theta["whole"], np.concatenate([image.ravel(), e])
        u = silu(silu(u @ whole["W1"] + whole["b1"]) @ whole["W2"] + whole["b2"]) @ whole["W3"] + whole["b3"]
        h = image[:, :, None] * theta["in"]["W"][0] + u.reshape(3, 3, 4)
        for i in range(1, 5):
            W, b = theta[f"line{i}"]["W"], theta[f"line{i}"]["b"]
            new = h.copy()
            for k in range(3):
                if i % 2:
                    new[k] += silu(np.concatenate([h[k].ravel(), e]) @ W + b).reshape(3, 4)
                else:
                    new[:, k] += silu(np.concatenate([h[:, k].ravel(), e]) @ W + b).reshape(3, 4)
            h = new
        np.testing.assert_allclose(answer, h @ theta["out"]["W"] + theta["out"]["b"], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("silent", ["whole", "lines"])
def test_the_mlp_sees_the_whole_image_and_so_do_two_layers(silent):
    """Each alone, with what the other adds to h set to a constant."""
    rng = np.random.default_rng(1)
    net = AxialNetwork(3, 1, channels=2, layers=2)
    theta = shaken(net.init(rng, np.float64), rng)
    for name, W in (("whole", "W3"),) if silent == "whole" else (("line1", "W"), ("line2", "W")):
        theta[name][W][:] = 0
    x, level = rng.standard_normal((1, 9)), np.zeros((1, 8))
    for i in range(9):
        moved = x.copy()
        moved[0, i] += 1.0
        assert np.all(net(theta, moved, level) != net(theta, x, level))


@pytest.mark.parametrize("network", [AxialNetwork(3, 5, channels=2, layers=2), MLPNetwork(9, 45, hidden=6, layers=2)])
def test_categorical_denoiser(network):
    rng = np.random.default_rng(2)
    denoiser = CategoricalDenoiser(network, SCHEDULE, LEVELS)
    x_0 = rng.choice(LEVELS, (6, 9))
    theta = shaken(denoiser.init(rng, x_0, dtype=np.float64), rng)
    t = np.array([1, 2, 7, 12, 19, 20])
    x_t = sample_q(SCHEDULE, x_0, t, rng)
    gamma = SCHEDULE.gamma[t]
    a, s2 = np.sqrt(expit(-gamma))[:, None, None], expit(gamma)[:, None, None]
    gaussian = -np.square(x_t[:, :, None] - a * LEVELS) / (2 * s2)
    learned = network(theta["network"], x_t, level_features(gamma, float)).reshape(6, 9, 5)
    p = softmax(gaussian + learned + theta["bias"], axis=-1)
    logits = denoiser.logits(theta, x_t, t)
    np.testing.assert_allclose(softmax(logits, axis=-1), p, rtol=1e-9, atol=1e-300)
    np.testing.assert_allclose(denoiser(theta, x_t, t), p @ LEVELS, rtol=1e-9, atol=1e-12)
    found = predict(denoiser, theta, x_t, t)
    assert found.x_0_hat.tobytes() == denoiser(theta, x_t, t).tobytes()
    assert found.logits.tobytes() == logits.tobytes()
    check_vjp(lambda theta: denoiser(theta, x_t, t), theta, most=30)


def test_training_starts_from_the_elements_own_frequencies():
    """At pure noise an untrained denoiser says what a table of counts says."""
    rng = np.random.default_rng(3)
    counts = np.array([[5, 3, 2, 0, 0], [0, 0, 0, 0, 10]])
    x_0 = np.stack([np.repeat(LEVELS, c) for c in counts], axis=1)
    schedule = Schedule.linear_gamma(5, -5.0, 40.0)
    denoiser = CategoricalDenoiser(MLPNetwork(2, 10), schedule, LEVELS)
    theta = denoiser.init(rng, x_0, dtype=np.float64)
    p = softmax(denoiser.logits(theta, rng.standard_normal((4, 2)), 5), axis=-1)
    overall = np.array([6, 4, 3, 1, 11]) / 25  # (5 + 1, 3 + 1, 2 + 1, 0 + 1, 10 + 1) of 20 + 5
    np.testing.assert_allclose(p, np.broadcast_to((counts + 5 * overall) / 15, (4, 2, 5)), rtol=1e-6)
    flat = denoiser.init(rng, dtype=np.float64)
    np.testing.assert_allclose(softmax(denoiser.logits(flat, rng.standard_normal((4, 2)), 5), axis=-1), 0.2, rtol=1e-6)


def test_regression_denoiser_and_its_two_ends():
    rng = np.random.default_rng(4)
    denoiser = RegressionDenoiser(MLPNetwork(3, 3, hidden=4, layers=1), Schedule.linear_gamma(9, -60.0, 60.0))
    theta = shaken(denoiser.init(rng, np.float64), rng)
    x_t = rng.standard_normal((3, 3))

    def v(t):
        return denoiser.network(theta, x_t, level_features(np.full(3, denoiser.schedule.gamma[t]), float))

    np.testing.assert_allclose(denoiser(theta, x_t, 1), x_t, atol=1e-12)
    np.testing.assert_allclose(denoiser(theta, x_t, 9), -v(9), atol=1e-12)
    np.testing.assert_allclose(denoiser(theta, x_t, 5), np.sqrt(0.5) * (x_t - v(5)), rtol=1e-12)  # gamma = 0
    check_vjp(lambda theta: denoiser(theta, x_t, np.array([3, 5, 6])), theta)


def test_softmax_mean():
    rng = np.random.default_rng(8)
    logits, values = rng.standard_normal((2, 3, 5)) * 3, np.array([-1.0, -0.5, 0.1, 0.6, 2.0])
    np.testing.assert_allclose(softmax_mean(logits, values), softmax(logits, axis=-1) @ values, rtol=1e-14, atol=1e-15)
    np.testing.assert_allclose(softmax_mean(logits + 1e5, values), softmax(logits, axis=-1) @ values, rtol=1e-9)
    check_vjp(lambda logits: softmax_mean(logits, values), logits)
    with pytest.raises(TypeError, match="not differentiable in argument 1"):
        check_vjp(lambda values: softmax_mean(logits, values), values)


def test_level_features():
    got = level_features(np.array([0.0, 2.0]), np.float32)
    assert got.shape == (2, 8)
    assert got.dtype == np.float32
    w = 10.0 ** np.array([-1, -2 / 3, -1 / 3, 0])
    np.testing.assert_allclose(got[1], [*np.sin(2 * w), *np.cos(2 * w)], rtol=1e-6)
    np.testing.assert_array_equal(got[0], [0] * 4 + [1] * 4)


@pytest.mark.parametrize("network", [AxialNetwork(2, 5, channels=4), MLPNetwork(4, 20, hidden=16)])
def test_float32_stays_float32_from_the_parameters_to_the_bound(network):
    rng = np.random.default_rng(5)
    x_0 = scale_levels(rng.integers(0, 5, (8, 4)), 5).astype(np.float32)
    denoiser = CategoricalDenoiser(network, SCHEDULE, LEVELS)
    theta = denoiser.init(rng, x_0)
    assert {leaf.dtype for _, leaf in tree_leaves(theta)} == {np.dtype(np.float32)}
    vdm = VDM(denoiser, SCHEDULE, CategoricalDecoder(LEVELS))
    for bound in (vdm.elbo(theta, x_0, rng), vdm.elbo_estimate(theta, x_0, rng)):
        assert {term.dtype for term in bound} == {np.dtype(np.float32)}
    assert vdm.sample(theta, (2, 4), rng).dtype == np.float32


def test_a_categorical_vdm_learns_what_its_elements_share():
    """Four elements that are always equal, uniform on 5 levels:
    entropy log 5, four times that for a model without the network."""
    rng = np.random.default_rng(6)
    x_0 = np.repeat(rng.choice(LEVELS, (500, 1)), 4, axis=1)
    denoiser = CategoricalDenoiser(MLPNetwork(4, 20, hidden=32, layers=2),
                                   Schedule.linear_gamma(100, -5.0, 5.0), LEVELS)
    vdm = VDM(denoiser, denoiser.schedule, CategoricalDecoder(LEVELS))
    theta = denoiser.init(rng, x_0, dtype=np.float64)

    def loss(theta, rng):
        batch = x_0[rng.integers(500, size=64)]
        return -np.mean(vdm.elbo_estimate(theta, batch, rng, times="stratified").total)

    run = fit(loss, theta, rng, steps=400, optimizer=Adam(5e-3, cosine_steps=400), progress=False)
    cost = {name: -np.mean(vdm.elbo(parameters, x_0[:200], rng).total)
            for name, parameters in (("start", theta), ("end", run.theta))}
    assert cost["start"] > 3.5 * np.log(5)
    assert np.log(5) < cost["end"] < 1.35 * np.log(5)
    samples = vdm.sample(run.theta, (200, 4), rng)
    assert np.mean(np.ptp(samples, axis=1) == 0) > 0.8


def test_a_gaussian_vdm_learns_a_line():
    """Two elements, the second the negative of the first: at the end the samples lie on that line."""
    rng = np.random.default_rng(7)
    x_0 = rng.standard_normal((500, 1)) * np.array([1.0, -1.0])
    denoiser = RegressionDenoiser(MLPNetwork(2, 2, hidden=32, layers=2), Schedule.linear_gamma(100, -6.0, 5.0))
    vdm = VDM(denoiser, denoiser.schedule, GaussianDecoder(0.0025))
    theta = denoiser.init(rng, np.float64)

    def loss(theta, rng):
        batch = x_0[rng.integers(500, size=64)]
        return -np.mean(vdm.elbo_estimate(theta, batch, rng, times="stratified").total)

    run = fit(loss, theta, rng, steps=400, optimizer=Adam(5e-3, cosine_steps=400), progress=False)
    samples = vdm.sample(run.theta, (300, 2), rng)
    assert np.std(samples.sum(axis=1)) < 0.25
    assert 0.8 < np.std(samples[:, 0]) < 1.2


def test_odd_layers_are_refused():
    with pytest.raises(ValueError, match="layers must be even and positive, to end the way up it began, got 3"):
        AxialNetwork(8, 17, layers=3)
