"""The Markovian hierarchical VAE: densities against scipy, the bound where it is known in closed form,
and a fit to its optimum.

Expectations over q are exact: every quadrature node is one example of the batch, injected as eps.
"""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

from refvdm.autodiff import check_vjp, grad, tree_map
from refvdm.fit import fit
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.optim import Adam


def affine(w, b, log_var):
    """N(w z + b, exp(log_var)), elementwise."""
    return lambda theta, z: (w * z + b, log_var)


def linear_p(rng, T, d):
    """Of p(z_{t-1} | z_t), t = 1..T: the numbers (w, b, log_var) (d,) each."""
    return [(rng.uniform(-1.5, 1.5, d), rng.standard_normal(d), rng.uniform(-2, 1, d)) for _ in range(T)]


def exact(p):
    """(mean, var) of x, and (w, b, log_var) of the exact q(z_t | z_{t-1}), t = 1..T:
    Bayes' rule, from z_T ~ N(0, I) down."""
    mean, var, q = np.zeros_like(p[0][0]), np.ones_like(p[0][0]), []
    for w, b, log_var in p[::-1]:
        below = w**2 * var + np.exp(log_var)
        gain = w * var / below
        q.append((gain, mean - gain * (w * mean + b), np.log(var * np.exp(log_var) / below)))
        mean, var = w * mean + b, below
    return mean, var, q[::-1]


def hvae(q, p):
    return MarkovianHVAE([affine(*n) for n in q], [affine(*n) for n in p])


def mean_elbo(q, p, x):
    """E_q log p(x, z)/q(z | x) of affine conditionals, by the mean and variance of z_t under q,
    level by level (batch,)."""
    mean, var, total = x, np.zeros_like(x), 0.0
    for (a, c, r), (w, b, s) in zip(q, p):
        off = (1 - w * a) * mean - w * c - b
        total = total - 0.5 * (np.log(2 * np.pi) + s + (off**2 + (1 - w * a) ** 2 * var + w**2 * np.exp(r)) / np.exp(s))
        total = total + 0.5 * (np.log(2 * np.pi) + 1 + r)
        mean, var = a * mean + c, a**2 * var + np.exp(r)
    return np.sum(total - 0.5 * (np.log(2 * np.pi) + mean**2 + var), axis=1)


def quadrature(T, d, n=3):
    """T arrays (n^T, d), the same nodes in each of the d dimensions, and weights (n^T,):
    exact for sums over dimensions."""
    x, w = hermegauss(n)
    nodes = np.array(list(itertools.product(x, repeat=T)))
    weights = np.prod(list(itertools.product(w / np.sqrt(2 * np.pi), repeat=T)), axis=1)
    return [np.repeat(e[:, None], d, 1) for e in nodes.T], weights


def curved(name, k):
    """Conditionals that differ from level to level, of theta and z, with every kind of log_var."""
    def part(theta, z):
        log_var = (0.3 * np.sin(z), -0.2 * k * np.ones(1), np.full(z.shape[1:], 0.1 * k))[k % 3]
        return np.tanh(theta[name] * z) + 0.1 * k, log_var

    return part


CURVED = MarkovianHVAE([curved("q", k) for k in (0, 1, 2)], [curved("p", k) for k in (3, 4, 5)])
THETA = {"q": np.array([0.7, -0.4]), "p": np.array([1.2, 0.5])}
SHAPES = [(3, 2), (2, 4, 2), (2, 3, 2, 2)]


def flat_sum(terms):
    return np.sum(terms.reshape(len(terms), -1), axis=1)


# ---------------------------------------------------------------- the exact posterior


@pytest.mark.parametrize("T", [1, 2, 3, 5])
@settings(max_examples=15)
@given(d=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_with_the_exact_posterior_every_sample_is_log_p(T, d, seed):
    """log p(x, z)/q(z | x) = log p(x) for every z when q(z_t | z_{t-1}) are the exact conditionals;
    so is every importance bound."""
    rng = np.random.default_rng(seed)
    p = linear_p(rng, T, d)
    mean, var, q = exact(p)
    model, x = hvae(q, p), mean + np.sqrt(var) * rng.standard_normal((6, d))
    expected = multivariate_normal(mean, np.diag(var)).logpdf(x).reshape(6)
    np.testing.assert_allclose(model.elbo(None, x, rng), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(model.elbo(None, x, eps=5 * rng.standard_normal((T, 6, d))), expected,
                               rtol=1e-11, atol=1e-11)
    for samples in (1, 2, 7):
        np.testing.assert_allclose(model.importance_bound(None, x, samples, rng), expected, rtol=1e-12, atol=1e-12)


def test_exact_posterior_with_extra_axes_and_scalar_maps():
    """The same on (batch, h, w) with one number for all elements: everything but the batch is summed."""
    rng, p = np.random.default_rng(1), [tuple(map(np.array, n)) for n in [(0.8, 0.3, -1.0), (-1.1, 0.2, 0.4)]]
    mean, var, q = exact(p)
    x = mean + np.sqrt(var) * rng.standard_normal((4, 2, 3))
    expected = flat_sum(norm.logpdf(x, mean, np.sqrt(var)))
    np.testing.assert_allclose(hvae(q, p).elbo(None, x, rng), expected, rtol=1e-12)


# ---------------------------------------------------------------- a wrong posterior


def wrong(q, rng):
    """q moved: slope, shift and log-variance of every level."""
    return [(a + rng.uniform(-0.5, 0.5, a.shape), c + rng.uniform(-1, 1, c.shape), r + rng.uniform(-1, 1, r.shape))
            for a, c, r in q]


@pytest.mark.parametrize("T", [1, 2, 3, 5])
@settings(max_examples=15)
@given(d=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
def test_mean_elbo_of_a_wrong_posterior(T, d, seed):
    """Its mean over eps, by quadrature, is the closed form for affine conditionals, and below log p(x)."""
    rng = np.random.default_rng(seed)
    p = linear_p(rng, T, d)
    mean, var, q = exact(p)
    q, x = wrong(q, rng), mean + np.sqrt(var) * rng.standard_normal((1, d))
    eps, weights = quadrature(T, d, 2)
    got = weights @ hvae(q, p).elbo(None, np.repeat(x, len(weights), 0), eps=eps)
    np.testing.assert_allclose(got, mean_elbo(q, p, x)[0], rtol=1e-10, atol=1e-10)
    assert got < np.sum(norm.logpdf(x, mean, np.sqrt(var))) - 1e-6


def test_the_gap_is_the_kl_from_q_to_the_exact_posterior():
    """log p(x) - ELBO = KL(q to p(z | x)), here 1/2 (r - 1 - log r + shift²/v)
    with q's variance r times the exact v."""
    p, x, (eps, weights) = [tuple(np.array([[0.9], [0.2], [-0.5]]))], np.array([[1.3]]), quadrature(1, 1)
    mean, var, [(a, c, v)] = exact(p)
    for shift, ratio in [(0.4, 1.0), (0.0, 2.5), (-0.7, 0.3)]:
        model = hvae([(a, c + shift, v + np.log(ratio))], p)
        got = norm.logpdf(x, mean, np.sqrt(var))[0, 0] - weights @ model.elbo(None, np.repeat(x, 3, 0), eps=eps)
        np.testing.assert_allclose(got, 0.5 * (ratio - 1 - np.log(ratio) + shift**2 / np.exp(v[0])), rtol=1e-12)


def test_importance_bound_rises_with_k():
    """L_1 <= L_2 <= L_5 <= L_20 <= log p(x), common noise; the first is the closed-form ELBO."""
    rng = np.random.default_rng(3)
    p = linear_p(rng, 2, 2)
    mean, var, q = exact(p)
    q = [(a + 0.2, c - 0.3, r + 0.4) for a, c, r in q]
    n, x = 20_000, mean + np.array([[0.5, -0.3]])
    eps, batch = rng.standard_normal((2, 20, n, 2)), np.repeat(x, n, 0)
    bounds = [np.mean(hvae(q, p).importance_bound(None, batch, k, eps=eps[:, :k])) for k in (1, 2, 5, 20)]
    log_p = np.sum(norm.logpdf(x, mean, np.sqrt(var)))
    assert np.all(np.diff([*bounds, log_p]) > 0.004) and log_p - bounds[-1] < 0.1 * (log_p - bounds[0])
    assert abs(bounds[0] - mean_elbo(q, p, x)[0]) < 0.02


def test_importance_bound_of_two_samples_by_quadrature():
    """E log (w_1 + w_2)/2 with w = p(x, z)/q(z | x) over a grid of pairs, against the densities of scipy."""
    p, x = [(np.array([1.1]), np.array([0.1]), np.array([-0.3]))], 0.8
    mean, var, [(a, c, r)] = exact(p)
    q = [(a, c + 0.3, r + 0.5)]
    (e_1, e_2), weights = quadrature(2, 1, 30)
    got = weights @ hvae(q, p).importance_bound(None, np.full((900, 1), x), 2, eps=[np.stack([e_1, e_2])])
    z_mean, z_sd = a * x + c + 0.3, np.exp((r + 0.5) / 2)
    z = z_mean + z_sd * np.stack([e_1, e_2])
    log_w = norm.logpdf(z) + norm.logpdf(x, 1.1 * z + 0.1, np.exp(-0.15)) - norm.logpdf(z, z_mean, z_sd)
    expected = weights @ (logsumexp(log_w[..., 0], axis=0) - np.log(2))
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    assert mean_elbo(q, p, np.array([[x]]))[0] + 0.01 < got < norm.logpdf(x, mean, np.sqrt(var))[0] - 0.001


# ---------------------------------------------------------------- densities, latents, draws


@pytest.mark.parametrize("shape", SHAPES)
def test_densities_are_the_products_of_scipys(shape):
    """13.18 and 13.19 as a loop; encode is z_t = mean + sd eps;
    the ELBO's integrand is their difference at these latents."""
    x, *both = np.random.default_rng(4).standard_normal((7, *shape))
    zs, eps, path = both[:3], both[3:], [x, *both[:3]]
    log_p, log_q = norm.logpdf(zs[-1]), 0.0
    for t in (1, 2, 3):
        mean, log_var = curved("p", t + 2)(THETA, path[t])
        log_p = log_p + norm.logpdf(path[t - 1], mean, np.exp(log_var / 2))
        mean, log_var = curved("q", t - 1)(THETA, path[t - 1])
        log_q = log_q + norm.logpdf(path[t], mean, np.exp(log_var / 2))
    np.testing.assert_allclose(CURVED.log_joint(THETA, x, zs), flat_sum(log_p), rtol=1e-12)
    np.testing.assert_allclose(CURVED.log_posterior(THETA, x, np.array(zs)), flat_sum(log_q), rtol=1e-12)
    z, made = x, CURVED.encode(THETA, x, eps=eps)
    for t in (1, 2, 3):
        mean, log_var = curved("q", t - 1)(THETA, z)
        z = mean + np.sqrt(np.exp(log_var)) * eps[t - 1]
        np.testing.assert_allclose(made[t - 1], z, rtol=1e-13, atol=1e-14)
    both = CURVED.log_joint(THETA, x, made) - CURVED.log_posterior(THETA, x, made)
    np.testing.assert_allclose(CURVED.elbo(THETA, x, eps=eps), both, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
def test_sampling_is_the_loop_down_the_levels(shape):
    """(t, z_t) for t = T..0, z_{t-1} = mean + sd eps[t-1] from z_t; the sample is the last."""
    rng = np.random.default_rng(5)
    z, eps = rng.standard_normal(shape), rng.standard_normal((3, *shape))
    path = list(CURVED.ancestral_path(THETA, shape, z_T=z, eps=eps))
    assert [t for t, _ in path] == [3, 2, 1, 0] and np.array_equal(path[0][1], z)
    for t, got in path[1:]:
        mean, log_var = curved("p", t + 3)(THETA, z)
        z = mean + np.sqrt(np.exp(log_var)) * eps[t]
        np.testing.assert_allclose(got, z, rtol=1e-13, atol=1e-14)
    assert np.array_equal(CURVED.sample(THETA, shape, z_T=path[0][1], eps=list(eps)), path[-1][1])


@pytest.mark.parametrize("shape", SHAPES)
def test_draws_are_the_injected_noise_in_its_order(shape):
    """rng draws z_1's noise first; importance_bound (K, batch, ...) for each level; a sample z_T, then downward.
    Same seed, same bits."""
    x, rng = np.random.default_rng(6).standard_normal(shape), lambda: np.random.default_rng(7)
    eps = rng().standard_normal((3, *shape))
    assert CURVED.elbo(THETA, x, rng()).tobytes() == CURVED.elbo(THETA, x, eps=eps).tobytes()
    drawn, given = CURVED.encode(THETA, x, rng()), CURVED.encode(THETA, x, eps=eps)
    assert all(np.array_equal(a, b) for a, b in zip(drawn, given, strict=True))
    assert CURVED.importance_bound(THETA, x, 1, rng()).tobytes() == CURVED.elbo(THETA, x, rng()).tobytes()
    one = CURVED.importance_bound(THETA, x, np.int64(1), eps=eps[:, None])
    assert one.tobytes() == CURVED.elbo(THETA, x, eps=eps).tobytes()
    many = rng().standard_normal((3, 5, *shape))
    five = CURVED.importance_bound(THETA, x, 5, rng())
    assert five.tobytes() == CURVED.importance_bound(THETA, x, 5, eps=many).tobytes()
    down = rng().standard_normal((4, *shape))
    expected = CURVED.sample(THETA, shape, z_T=down[0], eps=down[:0:-1])
    assert CURVED.sample(THETA, shape, rng()).tobytes() == expected.tobytes()
    assert CURVED.sample(THETA, list(shape), rng(), eps=down[:0:-1]).tobytes() == expected.tobytes()
    later = rng()
    assert CURVED.sample(THETA, shape, later, z_T=later.standard_normal(shape)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_importance_bound_is_the_log_mean_of_each_examples_ratios(shape, samples):
    """log 1/K sum_k exp(elbo with eps[:, k]): the k-th noise of an example stays with that example."""
    rng = np.random.default_rng(8)
    x, eps = rng.standard_normal(shape), rng.standard_normal((3, samples, *shape))
    ratios = np.array([CURVED.elbo(THETA, x, eps=eps[:, k]) for k in range(samples)])
    got = CURVED.importance_bound(THETA, x, samples, eps=list(eps))
    assert got.shape == (len(x),)
    np.testing.assert_allclose(got, logsumexp(ratios, axis=0) - np.log(samples), rtol=1e-13)


def test_moments_of_samples_and_encodings():
    """x ~ p has the mean and variance of the affine hierarchy, and encoding it by the exact posterior gives
    z_T ~ N(0, I) back."""
    rng, n = np.random.default_rng(9), 40_000
    p = linear_p(rng, 3, 2)
    mean, var, q = exact(p)
    x = hvae(q, p).sample(None, (n, 2), rng)
    zs = hvae(q, p).encode(None, x, rng)
    for got, m, v in [(x, mean, var), (zs[-1], 0, 1), (zs[1], p[2][1], p[2][0] ** 2 + np.exp(p[2][2]))]:
        assert np.all(np.abs(np.mean(got, 0) - m) < 5 * np.sqrt(v / n))
        assert np.all(np.abs(np.var(got, 0) / v - 1) < 5 * np.sqrt(2 / n))


def test_one_number_per_example_needs_no_feature_axis():
    """x (batch,), z_t (batch,): the same numbers as (batch, 1)."""
    rng = np.random.default_rng(10)
    p = linear_p(rng, 2, 1)
    _, _, q = exact(p)
    q, x, eps = wrong(q, rng), rng.standard_normal(4), rng.standard_normal((2, 3, 4))
    wide, flat = hvae(q, p), hvae(*([tuple(map(np.squeeze, n)) for n in part] for part in (q, p)))
    assert flat.elbo(None, x, eps=eps[:, 0]).shape == (4,)
    np.testing.assert_allclose(flat.elbo(None, x, eps=eps[:, 0]), wide.elbo(None, x[:, None], eps=eps[:, 0, :, None]),
                               rtol=1e-13)
    expected = wide.importance_bound(None, x[:, None], 3, eps=eps[..., None])
    np.testing.assert_allclose(flat.importance_bound(None, x, 3, eps=eps), expected, rtol=1e-13)


# ------------------------------------------------------------- levels of different shapes, networks, gradients, float32


def networks(hidden=(5,)):
    """x (batch, 3), z_1 (batch, 2), z_2 (batch, 1): four networks."""
    sizes = [(3, 2), (2, 1)]
    encoders = [GaussianConditional(f"q{t}", a, b, hidden, 3) for t, (a, b) in enumerate(sizes, start=1)]
    return MarkovianHVAE(encoders,
                         [GaussianConditional(f"p{t}", b, a, hidden, 3) for t, (a, b) in enumerate(sizes, start=1)])


def test_levels_may_differ_in_shape():
    """x (batch, 4, 6), z_1 (batch, 2, 3), z_2 (batch, 3): log joint and log posterior sum each level
    over its own axes."""
    def pool(theta, z):
        return z.reshape(len(z), 2, 2, 3, 2).mean((2, 4)), np.array(-0.5)

    encoders = [pool, lambda theta, z: (z.sum(1), 0.1 * z[:, 0])]
    decoders = [lambda theta, z: (np.repeat(np.repeat(z, 2, 1), 2, 2), z[:, :1, :1]),
                lambda theta, z: (np.stack([z, -z], 1), z[:, None])]
    model, rng = MarkovianHVAE(encoders, decoders), np.random.default_rng(11)
    x, eps = rng.standard_normal((5, 4, 6)), [rng.standard_normal((5, 2, 3)), rng.standard_normal((5, 3))]
    z_1, z_2 = model.encode(None, x, eps=eps)
    log_p = flat_sum(norm.logpdf(z_2)) + flat_sum(norm.logpdf(z_1, np.stack([z_2, -z_2], 1), np.exp(z_2[:, None] / 2)))
    log_p += flat_sum(norm.logpdf(x, np.repeat(np.repeat(z_1, 2, 1), 2, 2), np.exp(z_1[:, :1, :1] / 2)))
    log_q = flat_sum(norm.logpdf(z_1, pool(None, x)[0], np.exp(-0.25)))
    log_q += flat_sum(norm.logpdf(z_2, z_1.sum(1), np.exp(0.05 * z_1[:, 0])))
    np.testing.assert_allclose(model.log_joint(None, x, [z_1, z_2]), log_p, rtol=1e-12)
    np.testing.assert_allclose(model.elbo(None, x, eps=eps), log_p - log_q, rtol=1e-11)
    assert model.sample(None, (5, 3), rng).shape == (5, 4, 6)
    assert [z.shape for _, z in model.ancestral_path(None, (5, 3), rng)] == [(5, 3), (5, 2, 3), (5, 4, 6)]
    assert model.importance_bound(None, x, 3, rng).shape == (5,)


def test_gaussian_conditional_is_two_heads_of_one_network():
    """Mean: the first n_out outputs as they are; log_var: m tanh(head/m), within m;
    from theta[name] and nothing else."""
    part = GaussianConditional("me", 3, 2, (4,), 0.5)
    theta = part.init(np.random.default_rng(12))
    assert {key: value.shape for key, value in theta.items()} == {"W1": (3, 4), "b1": (4,), "W2": (4, 4), "b2": (4,)}
    z = 3 * np.random.default_rng(13).standard_normal((6, 3))
    out = np.tanh(z @ theta["W1"] + theta["b1"]) @ theta["W2"] + theta["b2"]
    mean, log_var = part({"me": theta, "other": None}, z)
    np.testing.assert_allclose(mean, out[:, :2], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(log_var, 0.5 * np.tanh(2 * out[:, 2:]), rtol=1e-12, atol=1e-14)
    _, log_var = part({"me": {**theta, "b2": np.array([0.0, 0.0, 1e3, -1e3])}}, z)
    np.testing.assert_allclose(log_var, np.tile([0.5, -0.5], (6, 1)), rtol=1e-15)
    silu = GaussianConditional("me", 3, 2, (4,), activation="silu")({"me": theta}, z)[0]
    hidden = z @ theta["W1"]
    np.testing.assert_allclose(silu, (hidden / (1 + np.exp(-hidden)) @ theta["W2"])[:, :2], rtol=1e-12, atol=1e-14)
    default = GaussianConditional("me", 3, 2)
    assert default.name == "me" and default.net.sizes == (3, 64, 64, 4) and default.net.activation == "tanh"
    assert default.max_log_var == 10


def test_init_makes_the_parameters_of_every_network():
    """{name: parameters} in the order q_1..q_T, p_1..p_T of draws; plain functions bring none;
    each part has its own numbers."""
    model, rng = networks(), np.random.default_rng(14)
    theta = model.init(np.random.default_rng(14))
    assert list(theta) == ["q1", "q2", "p1", "p2"]
    for part in (*model.encoders, *model.decoders):
        assert all(np.array_equal(theta[part.name][key], value) for key, value in part.init(rng).items())
    assert list(MarkovianHVAE([model.encoders[0]], [affine(1.0, 0.0, 0.0)]).init(rng)) == ["q1"]
    x, eps = np.ones((2, 3)), [np.ones((2, 2)), np.ones((2, 1))]
    values = {name: model.elbo({**theta, name: {k: v + 0.1 for k, v in theta[name].items()}}, x, eps=eps)[0]
              for name in theta}
    assert len({*values.values(), model.elbo(theta, x, eps=eps)[0]}) == 5


def test_gradients_of_the_bounds():
    """d/dtheta and d/dx of elbo, importance_bound, encode and both densities against central differences."""
    model, rng = networks((3,)), np.random.default_rng(15)
    theta, x = model.init(rng), rng.standard_normal((2, 3))
    eps = [rng.standard_normal((2, 3, 2, 2)), rng.standard_normal((2, 3, 2, 1))]
    once, zs = [e[0, 0] for e in eps], [e[1, 0] for e in eps]
    check_vjp(lambda theta, x: model.elbo(theta, x, eps=once), theta, x)
    check_vjp(lambda theta, x: model.importance_bound(theta, x, 3, eps=[e[0] for e in eps]), theta, x)
    check_vjp(lambda theta, x: model.encode(theta, x, eps=once)[1], theta, x)
    check_vjp(lambda theta, x, *zs: model.log_joint(theta, x, zs) - model.log_posterior(theta, x, zs), theta, x, *zs)
    for shape in SHAPES:
        x, eps = rng.standard_normal(shape), rng.standard_normal((3, *shape))
        check_vjp(lambda theta, x, eps=eps: CURVED.elbo(theta, x, eps=eps), THETA, x)


def test_gradient_of_log_variances_that_broadcast():
    """A log-variance that is one parameter for all elements, or one of each feature, is summed over what it covers."""
    rng, part = np.random.default_rng(16), lambda theta, z: (theta["w"] * z, theta["s"])
    x, eps = rng.standard_normal((3, 2)), rng.standard_normal((1, 3, 2))
    for s in (np.array(0.3), np.array([0.3]), np.array([0.3, -0.2]), np.array([[0.1], [0.2], [0.3]])):
        check_vjp(lambda theta: MarkovianHVAE([part], [part]).elbo(theta, x, eps=eps), {"w": np.array(0.6), "s": s})


def test_float32_stays_float32():
    """Values, latents, samples and gradients; and they are the float64 ones to that precision."""
    model, rng = networks(), np.random.default_rng(17)
    theta, x = model.init(rng, np.float32), rng.standard_normal((4, 3)).astype(np.float32)
    assert theta["q1"]["W1"].dtype == np.float32
    wide = {name: {key: value.astype(np.float64) for key, value in part.items()} for name, part in theta.items()}
    eps = [rng.standard_normal((4, n)).astype(np.float32) for n in (2, 1)]
    got, expected = model.elbo(theta, x, eps=eps), model.elbo(wide, x.astype(float), eps=[e.astype(float) for e in eps])
    assert got.dtype == np.float32 and expected.dtype == np.float64
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    assert all(z.dtype == np.float32 for z in model.encode(theta, x, rng))
    assert model.elbo(theta, x, rng).dtype == model.importance_bound(theta, x, 3, rng).dtype == np.float32
    gradients = grad(lambda theta: np.mean(model.importance_bound(theta, x, 2, rng)))(theta)
    assert all(g.dtype == np.float32 for part in gradients.values() for g in part.values())
    assert all(z.dtype == np.float32 for _, z in model.ancestral_path(theta, (4, 1), z_T=eps[1], eps=[x, eps[0]]))
    assert all(z.dtype == np.float32 for _, z in model.ancestral_path(theta, (4, 1), rng, z_T=eps[1]))


# ---------------------------------------------------------------- learning


MIX = np.array([[1.2, 0.5], [-0.4, 0.9]])
# x = MIX z_1 + noise, z_1 = w z_2 + noise with these variances
COV = MIX @ np.diag([1.7, 0.6]) @ MIX.T + 0.2 * np.eye(2)
MEAN = np.array([0.7, -1.0])


def gap_after_training(with_log_q, steps):
    """Nats between the entropy and the mean ELBO, both of one fresh sample, after training from random parameters."""
    model = MarkovianHVAE(*([GaussianConditional(f"{name}{t}", 2, 2, (), 6) for t in (1, 2)] for name in "qp"))
    rng, root = np.random.default_rng(18), np.linalg.cholesky(COV)

    def loss(theta, rng):
        x = MEAN + rng.standard_normal((128, 2)) @ root.T
        if with_log_q:
            return -np.mean(model.elbo(theta, x, rng))
        return -np.mean(model.log_joint(theta, x, model.encode(theta, x, rng)))

    # wild starts make Adam remember huge gradients for long
    start = tree_map(lambda value: 0.3 * value, model.init(rng))
    theta = fit(loss, start, rng, steps=steps, optimizer=Adam(0.05, cosine_steps=steps), progress=False).theta
    x = MEAN + rng.standard_normal((20_000, 2)) @ root.T
    return np.mean(multivariate_normal(MEAN, COV).logpdf(x) - model.elbo(theta, x, rng))


def test_training_reaches_the_entropy():
    """Encoders and decoders learned together from random starts, on a linear-Gaussian hierarchy:
    within 0.01 nats of the entropy."""
    assert -0.002 < gap_after_training(True, 500) < 0.01


def test_training_without_log_q_does_not():
    """The same with the expected joint alone, without -E log q, the entropy of q: not the bound, and far from it."""
    assert gap_after_training(False, 300) > 0.1
