"""§13.2 and §13.4.1 of the lecture against refvdm.mhvae, against SciPy's densities, quadrature, and joint Gaussians."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import multivariate_normal, norm

from refvdm.lecture import hvae
from refvdm.lecture.hvae import N
from refvdm.mhvae import MarkovianHVAE

seeds = st.integers(0, 10_000)
LONG = np.finfo(np.longdouble).eps
close = np.testing.assert_allclose


def chain(seed, sizes, dtype=np.float64):
    """A hierarchy over levels of these sizes (x first), nonlinear: (q, p) of the lecture, and the machine's model
    of the same.
    """
    rng = np.random.default_rng(seed)
    pairs = list(itertools.pairwise(sizes))

    def conditionals(shapes):
        for n_in, n_out in shapes:
            A, B, c = (rng.standard_normal(s).astype(dtype) for s in ((n_in, n_out), (n_in, n_out), n_out))
            yield lambda z, A=A, c=c: np.tanh(z @ A) + c, lambda z, B=B: np.sin(z @ B)

    encoders, decoders = list(conditionals(pairs)), list(conditionals([pair[::-1] for pair in pairs]))
    q, p = ([None] + [lambda z, m=m, v=v: N(m(z), np.exp(v(z))) for m, v in part] for part in (encoders, decoders))
    machine = MarkovianHVAE(
        *([lambda theta, z, m=m, v=v: (m(z), v(z)) for m, v in part] for part in (encoders, decoders))
    )
    return q, p, machine


def draw(seed, sizes, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(n).astype(dtype) for n in sizes]


levels = st.lists(st.integers(1, 4), min_size=2, max_size=5)  # x and z_1..z_T, T = 1..4


# ---------------------------------------------------------------- N


@given(seeds, st.integers(1, 4))
def test_13_2_N_is_scipys_normal(seed, d):
    rng = np.random.default_rng(seed)
    x, mean, var = rng.standard_normal(d), rng.standard_normal(d), rng.uniform(0.1, 3, d)
    close(N(mean, var).log_prob(x), norm.logpdf(x, mean, np.sqrt(var)).sum(), rtol=1e-12, atol=1e-12)
    close(N(mean, var[0]).log_prob(x), norm.logpdf(x, mean, np.sqrt(var[0])).sum(), rtol=1e-12, atol=1e-12)
    close(N(0, 1).log_prob(x), norm.logpdf(x).sum(), rtol=1e-12)
    e, w = hermegauss(9)
    draws = N(mean[0], var[0]).draw(e)
    close(
        [w @ draws, w @ (draws - mean[0]) ** 2],
        np.sqrt(2 * np.pi) * np.array([mean[0], var[0]]),
        rtol=1e-12,
        atol=1e-12,
    )


def test_13_2_N_knows_pi_to_the_precision_of_x():
    value = N(np.longdouble(0), np.longdouble(1)).log_prob(np.longdouble(0))
    assert value.dtype == np.longdouble
    close(value, np.longdouble("-0.918938533204672741780329736405617639861397473637783412817"), rtol=2 * LONG)
    assert N(0.0, 1.0).log_prob(np.zeros(3)).dtype == np.float64


# ---------------------------------------------------------------- the two distributions


@given(seeds, levels)
def test_13_2_and_13_3_are_the_machines(seed, sizes):
    q, p, machine = chain(seed, sizes)
    z = draw(seed + 1, sizes)
    batch = [z_t[None] for z_t in z]
    close(hvae.log_joint(z, p), machine.log_joint(None, batch[0], batch[1:])[0], rtol=1e-12, atol=1e-11)
    close(hvae.log_posterior(z, q), machine.log_posterior(None, batch[0], batch[1:])[0], rtol=1e-12, atol=1e-11)


@given(seeds, levels)
def test_13_4_elbo_and_its_draws_are_the_machines(seed, sizes):
    q, p, machine = chain(seed, sizes)
    x, *eps = draw(seed + 2, sizes)
    z = hvae.draw_posterior(x, q, eps)
    assert z[0] is x and len(z) == len(sizes)
    for spec, got in zip(z[1:], machine.encode(None, x[None], eps=[e[None] for e in eps])):
        close(spec, got[0], rtol=1e-12, atol=1e-12)
    close(hvae.elbo(x, p, q, eps), machine.elbo(None, x[None], eps=[e[None] for e in eps])[0], rtol=1e-11, atol=1e-10)


@given(seeds, levels)
def test_13_5_13_18_13_19_both_sides(seed, sizes):
    q, p, _ = chain(seed, sizes)
    z = draw(seed + 3, sizes)
    left, right = hvae.log_ratio(z, p, q)
    close(left, right, rtol=1e-11, atol=1e-11)
    close(left, hvae.log_joint(z, p) - hvae.log_posterior(z, q), rtol=1e-14)
    for (left, right), log_value in (
        (hvae.joint(z, p), hvae.log_joint(z, p)),
        (hvae.posterior(z, q), hvae.log_posterior(z, q)),
    ):
        close(left, right, rtol=1e-9, atol=0)
        close(right, np.exp(log_value), rtol=1e-9, atol=0)


# ---------------------------------------------------------------- a linear hierarchy, where all of it is known


def linear(seed, T):
    """One number per level: z_T ~ N(0, 1), z_{t-1} = w_t z_t + c_t + N(0, v_t). p, and mean and covariance of [x,
    z_1, ..., z_T].
    """
    rng = np.random.default_rng(seed)
    w, c, v = (
        rng.uniform(0.5, 1.5, T + 1) * rng.choice([-1, 1], T + 1),
        rng.standard_normal(T + 1),
        rng.uniform(0.3, 1.0, T + 1),
    )
    p = [None] + [lambda z, t=t: N(w[t] * z + c[t], v[t]) for t in range(1, T + 1)]
    mean, noise = np.zeros(T + 1), np.zeros((T + 1, T + 1))  # rows: what of each level is which independent draw
    noise[T, T] = 1
    for t in range(T, 0, -1):
        mean[t - 1], noise[t - 1] = w[t] * mean[t] + c[t], w[t] * noise[t]
        noise[t - 1, t - 1] = np.sqrt(v[t])
    return p, mean, noise @ noise.T


def exact_posterior(mean, cov):
    """q(z_t | z_{t-1}) = p(z_t | z_{t-1}): of a joint Gaussian, whose p(z_t | z_{t-1}, ..., x) is this too."""

    def conditional(t):
        gain = cov[t, t - 1] / cov[t - 1, t - 1]
        return lambda z: N(mean[t] + gain * (z - mean[t - 1]), cov[t, t] - gain * cov[t - 1, t])

    return [None] + [conditional(t) for t in range(1, len(mean))]


def wider(q, shift, ratio):
    return [None] + [lambda z, q_t=q_t: N(q_t(z).mean + shift, ratio * q_t(z).var) for q_t in q[1:]]


def paths_and_weights(x, q, n):
    """Every combination of n Gauss-Hermite nodes for eps_1..eps_T, made paths of q."""
    e, w = hermegauss(n)
    w = w / np.sqrt(2 * np.pi)
    T = len(q) - 1
    for index in np.ndindex(*(n,) * T):
        yield hvae.draw_posterior(x, q, [np.array([e[i]]) for i in index]), np.prod(w[list(index)])


@given(seeds, st.integers(1, 4))
def test_13_18_the_product_is_the_joint_density(seed, T):
    """The product of conditionals is the density of the one Gaussian that ancestral sampling makes: Markov, so
    nothing is lost.
    """
    p, mean, cov = linear(seed, T)
    z = draw(seed, [1] * (T + 1))
    expected = multivariate_normal.logpdf(np.concatenate(z), mean, cov)
    close(hvae.log_joint(z, p), expected, rtol=1e-9, atol=1e-9)
    close(hvae.joint(z, p), np.exp(expected), rtol=1e-7, atol=0)
    given_x = expected - norm.logpdf(z[0][0], mean[0], np.sqrt(cov[0, 0]))
    q = exact_posterior(mean, cov)
    close(hvae.log_posterior(z, q), given_x, rtol=1e-8, atol=1e-8)
    close(hvae.posterior(z, q)[1], np.exp(given_x), rtol=1e-6, atol=0)


@settings(max_examples=6)
@given(seeds, st.integers(1, 3))
def test_13_20_and_13_21_bound_log_p(seed, T):
    """With the exact posterior 13.20 is log p(x) at every draw; with another q it is below, by KL(q to p(z | x)),
    and line 2 still log p(x).
    """
    p, mean, cov = linear(seed, T)
    x = np.random.default_rng(seed).standard_normal(1)
    log_p = norm.logpdf(x[0], mean[0], np.sqrt(cov[0, 0]))
    exact = exact_posterior(mean, cov)
    paths, weights = zip(*paths_and_weights(x, exact, 3))
    close([hvae.log_joint(z, p) - hvae.log_posterior(z, exact) for z in paths], log_p, rtol=1e-8)
    close([hvae.bound(paths, weights, p, exact), hvae.log_expected_ratio(paths, weights, p, exact)], log_p, rtol=1e-8)
    close(hvae.elbo(x, p, exact, [np.array([0.7])] * T), log_p, rtol=1e-8)

    q = wider(exact, 0.2, 1.3)
    paths, weights = zip(*paths_and_weights(x, q, {1: 40, 2: 14, 3: 6}[T]))
    bound = hvae.bound(paths, weights, p, q)
    assert bound < log_p - 0.01
    z = np.array([np.concatenate(path) for path in paths])
    posterior_mean = mean[1:] + cov[1:, 0] / cov[0, 0] * (x[0] - mean[0])
    posterior_cov = cov[1:, 1:] - np.outer(cov[1:, 0], cov[0, 1:]) / cov[0, 0]
    log_posterior = multivariate_normal.logpdf(z[:, 1:], posterior_mean, posterior_cov).ravel()
    log_q = np.array([hvae.log_posterior(path, q) for path in paths])
    close(bound, log_p - np.array(weights) @ (log_q - log_posterior), rtol=1e-8)
    close(hvae.log_expected_ratio(paths, weights, p, q), log_p, atol={1: 1e-7, 2: 1e-3, 3: 2e-2}[T])
    close(*hvae.bound_plugged_in(paths, weights, p, q), rtol=1e-9)
    close(hvae.bound_plugged_in(paths, weights, p, q)[0], bound, rtol=1e-14)


def test_13_20_and_13_21_as_printed():
    """Printed: p(x | z_{1:T}). It is above log p(x), so no bound, by E_q log p(z_{1:T}); and 13.21's sides differ
    by the same.
    """
    for T, seed in ((1, 0), (2, 1), (3, 2)):
        p, mean, cov = linear(seed, T)
        x, q = np.array([0.4]), exact_posterior(mean, cov)
        paths, weights = zip(*paths_and_weights(x, q, 3))
        z = np.array([np.concatenate(path)[1:] for path in paths])
        log_prior = np.array(weights) @ multivariate_normal.logpdf(z, mean[1:], cov[1:, 1:]).reshape(-1)
        printed, right = hvae.printed_bound_plugged_in(paths, weights, p, q)
        close(hvae.printed_bound(paths, weights, p, q), printed, rtol=1e-14)
        close(right, norm.logpdf(0.4, mean[0], np.sqrt(cov[0, 0])), rtol=1e-8)
        close(printed - right, -log_prior, rtol=1e-8)
        assert printed > right + 0.5


def test_13_20_with_equal_weights_is_the_machines_importance_bound():
    q, p, machine = chain(3, [2, 3, 1])
    x, K = np.array([0.3, -0.8]), 6
    eps = [np.random.default_rng(t).standard_normal((K, n)) for t, n in ((1, 3), (2, 1))]
    paths = [hvae.draw_posterior(x, q, [e[k] for e in eps]) for k in range(K)]
    got = machine.importance_bound(None, x[None], K, eps=[e[:, None] for e in eps])[0]
    close(hvae.log_expected_ratio(paths, [1 / K] * K, p, q), got, rtol=1e-12)
    close(
        hvae.bound(paths, [1 / K] * K, p, q),
        np.mean([hvae.elbo(x, p, q, [e[k] for e in eps]) for k in range(K)]),
        rtol=1e-12,
    )


def test_13_3_evidence_by_quadrature_needs_the_factor_q():
    """Printed: without it. The integral is log p(x) for every q; the printed one is p(x) times the volume when q is
    exact: no limit.
    """
    p, mean, cov = linear(5, 2)
    x, exact = np.array([0.6]), exact_posterior(mean, cov)
    log_p = norm.logpdf(0.6, mean[0], np.sqrt(cov[0, 0]))

    def grid(half, n):
        axis = np.linspace(-half, half, n)
        return [[x, np.array([z_1]), np.array([z_2])] for z_1 in axis for z_2 in axis], (axis[1] - axis[0]) ** 2

    for q in (exact, wider(exact, 0.3, 1.7)):
        close(hvae.log_evidence(*grid(9, 37), p, q), log_p, rtol=1e-7)
    for half in (3, 9):
        paths, volume = grid(half, 19)
        close(hvae.printed_log_evidence(paths, volume, p, exact), log_p + np.log(len(paths) * volume), rtol=1e-8)


@given(seeds, levels)
def test_13_2_to_13_21_in_longdouble(seed, sizes):
    q, p, _ = chain(seed, sizes, np.longdouble)
    z = draw(seed + 3, sizes, np.longdouble)
    x, *eps = z
    for value in (hvae.log_joint(z, p), hvae.log_posterior(z, q), hvae.elbo(x, p, q, eps), hvae.joint(z, p)[1]):
        assert value.dtype == np.longdouble
    if LONG < np.finfo(np.float64).eps:
        scale = 1 + abs(hvae.log_joint(z, p)) + abs(hvae.log_posterior(z, q))
        for left, right in (hvae.log_ratio(z, p, q), (np.log(hvae.joint(z, p)[1]), hvae.log_joint(z, p))):
            assert abs(left - right) < 100 * LONG * scale
        # against float64: the same to its rounding, and not to the last bit of longdouble
        assert abs(hvae.log_joint([z_t.astype(float) for z_t in z], p) - hvae.log_joint(z, p)) < 1e-12 * scale
