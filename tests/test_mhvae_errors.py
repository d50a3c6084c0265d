"""What the Markovian hierarchical VAE refuses: each message says what was expected, what came, and at which level."""
import re

import numpy as np
import pytest

from refvdm.autodiff import check_vjp, vjp
from refvdm.mhvae import GaussianConditional, MarkovianHVAE


def keep(theta, z):
    return 0.5 * z, np.array(-0.1)


def gives(mean, log_var=0.0):
    return lambda theta, z: (mean, log_var)


TWO = MarkovianHVAE([keep, keep], [keep, keep])
X = np.linspace(-1, 1, 6).reshape(3, 2)
EPS = [0.1 * X, -0.3 * X]


def rng():
    return np.random.default_rng(0)


def calls(model):
    """Everything that looks at x."""
    return [lambda x: model.elbo(None, x, rng()), lambda x: model.encode(None, x, rng()),
            lambda x: model.log_joint(None, x, EPS), lambda x: model.log_posterior(None, x, EPS),
            lambda x: model.importance_bound(None, x, 2, rng())]


@pytest.mark.parametrize("n, m", [(0, 0), (1, 0), (0, 1), (1, 2), (3, 2)])
def test_as_many_encoders_as_decoders(n, m):
    with pytest.raises(ValueError, match=f"as many encoders as decoders, at least one, got {n} and {m}"):
        MarkovianHVAE([keep] * n, [keep] * m)


def test_lists_are_copied():
    """Appending to the caller's list afterwards changes nothing."""
    encoders, decoders = [keep], (keep,)
    model = MarkovianHVAE(encoders, decoders)
    encoders.append(keep)
    assert model.T == len(model.encoders) == len(model.decoders) == 1 and TWO.T == 2


@pytest.mark.parametrize("x, error, message", [
    (np.ones((3, 2), int), TypeError, "x must be an array of floats, got dtype int64"),
    (np.ones((3, 2), complex), TypeError, "x must be an array of floats, got dtype complex128"),
    ([[1.0, 2.0]], TypeError, "x must be an array of floats, got list"),
    (None, TypeError, "x must be an array of floats, got NoneType"),
    (np.array([[1.0, np.nan]]), ValueError, r"x must be finite, got nan at index \(0, 1\)"),
    (np.array([[1.0, -np.inf]]), ValueError, "x must be finite, got -inf at"),
    (np.array(1.0), ValueError, r"x must have shape \(batch, ...\), got \(\)"),
])
def test_x(x, error, message):
    for call in calls(TWO):
        with pytest.raises(error, match=message):
            call(x)


@pytest.mark.parametrize("t", [1, 2, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_log_variances_must_be_finite(t, bad):
    """Named: encoder or decoder, and its level."""
    def broken(theta, z):
        return z, np.where(np.arange(2) == 1, bad, 0.0)

    parts = [broken if level == t else keep for level in (1, 2, 3)]
    path, eps = [X, X, X], rng().standard_normal((3, 3, 2))
    for model, call in [(MarkovianHVAE(parts, [keep] * 3), lambda model: model.elbo(None, X, rng())),
                        (MarkovianHVAE(parts, [keep] * 3), lambda model: model.log_posterior(None, X, path))]:
        with pytest.raises(ValueError, match=rf"^encoder {t}: log_var must be finite, got {bad} at index \(1,\)"):
            call(model)
    model = MarkovianHVAE([keep] * 3, parts)
    for call in (lambda: model.elbo(None, X, rng()), lambda: model.log_joint(None, X, path),
                 lambda: model.sample(None, (3, 2), rng()),
                 lambda: model.importance_bound(None, X, 2, rng()), lambda: model.sample(None, (3, 2), z_T=X, eps=eps)):
        with pytest.raises(ValueError, match=rf"^decoder {t}: log_var must be finite, got {bad} at index \(1,\)"):
            call()


@pytest.mark.parametrize("made", [X, [X, X], (X,), (X, X, X), None])
def test_a_conditional_returns_mean_and_log_var(made):
    def broken(theta, z):
        return made

    with pytest.raises(TypeError,
                       match=rf"^encoder 2 must return a tuple \(mean, log_var\), got {type(made).__name__}"):
        MarkovianHVAE([keep, broken], [keep, keep]).elbo(None, X, rng())
    with pytest.raises(TypeError, match=r"^decoder 1 must return a tuple \(mean, log_var\), got"):
        MarkovianHVAE([keep, keep], [broken, keep]).sample(None, (3, 2), rng())


@pytest.mark.parametrize("mean, log_var", [
    (X[:2], 0.0), (np.array(1.0), 0.0), (X[0], 0.0), (X[:, :1], np.zeros((3, 2))), (X[:1], np.zeros((3, 2))),
    (X, np.zeros((1, 3, 2))), (X, np.zeros((3, 5))), (X, np.zeros(3)), (X, np.zeros((3, 2, 1)))])
def test_mean_and_log_var_fit_the_batch_and_each_other(mean, log_var):
    """The batch of the mean is z's, and log_var broadcasts against the mean, not the mean against it;
    the level is named."""
    got = ".*" + re.escape(f"{np.shape(mean)} and {np.shape(log_var)}")
    with pytest.raises(ValueError, match="^encoder 2: expected a mean of shape" + got):
        MarkovianHVAE([keep, gives(mean, log_var)], [keep, keep]).elbo(None, X, rng())
    with pytest.raises(ValueError, match="^decoder 1: expected a mean of shape" + got):
        MarkovianHVAE([keep, keep], [gives(mean, log_var), keep]).sample(None, (3, 2), rng())


def test_shapes_that_do_not_chain():
    """Decoder t must come back to z_{t-1}'s shape, encoder t to the z_t it judges."""
    def three(theta, z):
        return np.repeat(z[:, :1], 3, 1), 0.0

    with pytest.raises(ValueError, match=r"^decoder 1: mean must have z_0's shape \(3, 2\), got \(3, 3\)"):
        MarkovianHVAE([keep, keep], [three, keep]).elbo(None, X, rng())
    with pytest.raises(ValueError, match=r"^decoder 2: mean must have z_1's shape \(3, 2\), got \(3, 3\)"):
        MarkovianHVAE([keep, keep], [keep, three]).importance_bound(None, X, 1, rng())
    with pytest.raises(ValueError, match=r"^encoder 2: mean must have z_2's shape \(3, 2\), got \(3, 3\)"):
        MarkovianHVAE([keep, three], [keep, keep]).log_posterior(None, X, EPS)
    with pytest.raises(ValueError, match=r"^encoder 1: mean must have z_1's shape \(3, 4\), got \(3, 2\)"):
        TWO.log_posterior(None, X, [np.zeros((3, 4)), X])


def test_networks_that_do_not_chain_name_their_level():
    """A network for three inputs on a level of two: the message says which one."""
    def part(name, n_in, n_out):
        return GaussianConditional(name, n_in, n_out, (3,))

    model = MarkovianHVAE([part("a", 2, 2), part("b", 3, 1)], [part("c", 3, 2), part("d", 1, 2)])
    theta = model.init(rng())
    with pytest.raises(ValueError, match="encoder 2"):
        model.elbo(theta, X, rng())
    with pytest.raises(ValueError, match="decoder 1"):
        model.sample(theta, (3, 1), rng())


@pytest.mark.parametrize("n", [0, 1, 3])
def test_as_many_latents_as_levels(n):
    for call in (TWO.log_joint, TWO.log_posterior):
        with pytest.raises(ValueError, match=f"expected 2 latents z_1, ..., z_2, got {n}"):
            call(None, X, [X] * n)


def test_latents_must_be_floats():
    """Named by their level."""
    for call in (TWO.log_joint, TWO.log_posterior):
        with pytest.raises(TypeError, match="^z_1 must be an array of floats, got list"):
            call(None, X, [X.tolist(), X])
        with pytest.raises(TypeError, match="^z_2 must be an array of floats, got dtype int64"):
            call(None, X, [X, np.ones((3, 2), np.int64)])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_as_many_eps_as_levels(n):
    for call in (TWO.elbo, TWO.encode):
        with pytest.raises(ValueError, match=f"^encode: eps must hold 2 arrays, one for each level, got {n}"):
            call(None, X, eps=[X] * n)
    with pytest.raises(ValueError, match=f"eps must hold 2 arrays, one for each level, got {n}"):
        TWO.importance_bound(None, X, 1, eps=[X[None]] * n)
    with pytest.raises(ValueError, match=f"^sample: eps must hold 2 arrays, one for each level, got {n}"):
        TWO.sample(None, (3, 2), z_T=X, eps=[X] * n)


@pytest.mark.parametrize("bad", [X[:, :1], X[:1], X[0], X[None], np.array(0.5)])
def test_shape_of_eps(bad):
    """No broadcasting of noise: each array has the shape of its level, which is named."""
    got = re.escape(f"must have shape (3, 2), got {bad.shape}")
    with pytest.raises(ValueError, match=f"^encode: the eps that makes z_1 {got}"):
        TWO.elbo(None, X, eps=[bad, X])
    with pytest.raises(ValueError, match=f"^encode: the eps that makes z_2 {got}"):
        TWO.encode(None, X, eps=[X, bad])
    with pytest.raises(ValueError, match=f"^sample: the eps that makes z_0 {got}"):
        TWO.sample(None, (3, 2), z_T=X, eps=[bad, X])
    with pytest.raises(ValueError, match=f"^sample: the eps that makes z_1 {got}"):
        TWO.sample(None, (3, 2), rng(), eps=[X, bad])


@pytest.mark.parametrize("shape",
                         [(2, 3), (4, 3, 2), (1, 3, 2), (2, 2, 2), (2, 1, 2), (2,), (), (3, 2), (6, 2), (3, 2, 2)])
def test_shape_of_the_importance_bounds_eps(shape):
    """(K, batch, ...) for each level; one that only has as many numbers is refused too."""
    for t in (0, 1):
        eps = [np.zeros((2, 3, 2)), np.zeros((2, 3, 2))]
        eps[t] = np.zeros(shape)
        head = rf"eps\[{t}\] must have shape \(2, 3, ...\), got " + re.escape(str(shape))
        with pytest.raises(ValueError, match=head if shape != (2, 3) else f"makes z_{t + 1} must have shape"):
            TWO.importance_bound(None, X, 2, eps=eps)


def test_either_rng_or_eps():
    def importance_bound(**noise):
        noise = {k: [v[0][None]] * 2 if k == "eps" else v for k, v in noise.items()}
        return TWO.importance_bound(None, X, 1, **noise)

    for call in (lambda **noise: TWO.elbo(None, X, **noise), lambda **noise: TWO.encode(None, X, **noise),
                 importance_bound, lambda **noise: TWO.sample(None, (3, 2), z_T=X, **noise)):
        for noise in ({}, {"rng": rng(), "eps": EPS}):
            with pytest.raises(ValueError, match="^(encode|sample): give either rng or eps"):
                call(**noise)
        for bad in (0, np.random.RandomState(0), np.random):
            with pytest.raises(TypeError, match=f"rng must be a numpy.random.Generator .*, got {type(bad).__name__}"):
                call(rng=bad)


def test_a_sample_needs_z_T_or_rng():
    with pytest.raises(ValueError, match="^sample: without z_T it needs rng"):
        TWO.sample(None, (3, 2), eps=EPS)
    with pytest.raises(ValueError, match="^sample: give either rng or eps"):
        TWO.sample(None, (3, 2))
    with pytest.raises(TypeError, match="rng must be a numpy.random.Generator .*, got int"):
        TWO.sample(None, (3, 2), 0, eps=EPS)
    for bad in (X[:2], X[0], X[None], np.array(0.5)):
        with pytest.raises(ValueError, match="^sample: z_T must have shape " + re.escape(f"(3, 2), got {bad.shape}")):
            TWO.sample(None, (3, 2), rng(), z_T=bad)


@pytest.mark.parametrize("samples", [0, -1, 1.5, 1.0, True, None, "2", np.nan])
def test_number_of_samples(samples):
    with pytest.raises(ValueError, match=f"samples must be an integer of at least 1, got {re.escape(repr(samples))}"):
        TWO.importance_bound(None, X, samples, rng())


@pytest.mark.parametrize("bad", [0, 0.0, -1.0, np.nan, np.inf])
def test_bound_of_the_log_variance_is_positive(bad):
    with pytest.raises(ValueError, match="max_log_var must be positive"):
        GaussianConditional("a", 2, 2, max_log_var=bad)


def test_settings_of_the_network():
    for bad in (0, -1, 1.0, True, None, "2"):
        with pytest.raises(ValueError, match=f"n_in must be an integer of at least 1, got {bad!r}"):
            GaussianConditional("a", bad, 2)
        with pytest.raises(ValueError, match=f"n_out must be an integer of at least 1, got {bad!r}"):
            GaussianConditional("a", 2, bad)
    for hidden in (None, 4, (4.0,), (True,), "64", (-1,)):
        with pytest.raises(ValueError, match="GaussianConditional: hidden must be a tuple of integers"):
            GaussianConditional("a", 2, 2, hidden)
    with pytest.raises(ValueError, match="sizes"):
        GaussianConditional("a", 2, 2, (0,))
    with pytest.raises(TypeError, match="GaussianConditional: name must be a str, got list"):
        GaussianConditional(["a"], 2, 2)
    with pytest.raises(ValueError, match="activation"):
        GaussianConditional("a", 2, 2, activation="sin")
    with pytest.raises(TypeError, match="float dtype"):
        GaussianConditional("a", 2, 2).init(rng(), int)


# ---------------------------------------------------------------- float32, where something else is float64


@pytest.mark.parametrize("log_var", [0.3, np.float64(0.3), np.array(0.3)])
def test_a_number_as_log_variance_does_not_widen_float32(log_var):
    """Numbers and 0-d arrays take the dtype of the mean: latents, samples and bounds of float32 stay float32."""
    part = lambda theta, z: (z, log_var)
    model, x = MarkovianHVAE([part], [part]), X.astype(np.float32)
    assert [z.dtype for _, z in model.ancestral_path(None, (3, 2), z_T=x, eps=[x])] == [np.float32] * 2
    assert model.encode(None, x, rng())[0].dtype == np.float32
    assert model.elbo(None, x, rng()).dtype == np.float32


def test_injected_noise_takes_the_models_dtype():
    """eps in float64, as rng.standard_normal makes it, leaves a float32 model float32, as noise drawn from rng does."""
    model, x = MarkovianHVAE([lambda theta, z: (z, 0 * z)], [lambda theta, z: (z, 0 * z)]), X.astype(np.float32)
    assert model.encode(None, x, eps=[X])[0].dtype == np.float32
    assert model.elbo(None, x, eps=[X]).dtype == np.float32
    assert model.sample(None, (3, 2), z_T=x, eps=[X]).dtype == np.float32


# ---------------------------------------------------------------- names, noise and starts


def test_two_networks_of_one_name():
    """Their parameters would be one dictionary: refused; one network at two places is one set of parameters."""
    same, other = GaussianConditional("a", 2, 2, (3,)), GaussianConditional("b", 2, 2, (3,))
    with pytest.raises(ValueError, match=r"two GaussianConditionals have one name: \['a', 'b', 'a'\]"):
        MarkovianHVAE([same, other], [keep, GaussianConditional("a", 2, 2)]).init(rng())
    model = MarkovianHVAE([same, same], [other, other])
    theta = model.init(rng())
    assert list(theta) == ["a", "b"] and model.elbo(theta, X, eps=EPS).shape == (3,)


@pytest.mark.parametrize("hidden", [(), (4,), (3, 5)])
def test_both_heads_start_at_three_tenths_of_the_networks(hidden):
    """The last weight times 0.3, everything else as MLP draws it."""
    part = GaussianConditional("a", 3, 2, hidden)
    got, drawn = part.init(rng()), part.net.init(rng())
    last = f"W{len(hidden) + 1}"
    assert got.keys() == drawn.keys() and all(np.array_equal(got[key], drawn[key]) for key in drawn if key != last)
    np.testing.assert_allclose(got[last], 0.3 * drawn[last], rtol=1e-15)


@pytest.mark.parametrize("bad, dtype", [(np.nan, float), (np.inf, float), (1, complex), (1, bool), (1, object)])
def test_eps_must_hold_finite_real_numbers(bad, dtype):
    """Named: who asked, and the level; one bad element is enough. Integers are numbers."""
    e = np.zeros((3, 2), dtype)
    e[1, 0] = bad
    if dtype is float:
        error, must = ValueError, rf"must be finite, got {bad} at index \(1, 0\)"
    else:
        error, must = TypeError, f"must hold real numbers, got dtype {e.dtype}"
    with pytest.raises(error, match=f"^encode: the eps that makes z_2 {must}"):
        TWO.elbo(None, X, eps=[X, e])
    with pytest.raises(error, match=f"^sample: the eps that makes z_0 {must}"):
        TWO.sample(None, (3, 2), z_T=X, eps=[e, X])
    for kind in (int, np.uint8):
        ones = np.ones((3, 2), kind)
        assert np.array_equal(TWO.elbo(None, X, eps=[ones, ones]), TWO.elbo(None, X, eps=[1.0 * ones] * 2))


@pytest.mark.parametrize("dtype", [int, bool, complex, object])
def test_z_T_must_hold_floats(dtype):
    with pytest.raises(TypeError, match=f"^sample: z_T must be an array of floats, got dtype {np.dtype(dtype)}"):
        TWO.sample(None, (3, 2), rng(), z_T=np.ones((3, 2), dtype))


def test_gradient_by_the_noise():
    """eps may be Tensors: d elbo/d eps against finite differences."""
    check_vjp(lambda a, b: TWO.elbo(None, X, eps=[a, b]), *EPS)
    check_vjp(lambda a, b: TWO.importance_bound(None, X, 2, eps=[a, b]), *(np.stack([e, 0.5 - e]) for e in EPS))


def test_gradient_of_a_log_variance_alone():
    """The mean a constant, the log-variance a parameter, (), (2,) or (3, 2):
    d elbo and d log_joint by it against finite differences."""
    for s in (np.array(0.3), np.array([0.3, -0.2]), 0.1 * X):
        check_vjp(lambda s: MarkovianHVAE([lambda theta, z: (0.5 * z, s)], [keep]).elbo(None, X, eps=EPS[:1]), s)
        check_vjp(lambda s: MarkovianHVAE([keep], [lambda theta, z: (0.5 * z, s)]).log_joint(None, X, EPS[:1]), s)


def test_a_mean_of_integers_is_an_error():
    """It would take the log-variance and the noise with it."""
    with pytest.raises(TypeError, match="decoder 1: mean must be an array of floats, got dtype int"):
        model = MarkovianHVAE([lambda th, z: (z, 0.0)], [lambda th, z: (np.zeros((3, 2), int), 0.7)])
        model.log_joint(None, np.zeros((3, 2)), [np.zeros((3, 2))])


def test_a_number_as_log_variance_does_not_widen_inside_vjp():
    """float32 stays float32 when the mean is a Tensor too."""
    def part(theta, z):
        return theta["w"] * z, 0.3

    x, theta = np.ones((3, 2), np.float32), {"w": np.array([0.5, -1.0], np.float32)}
    value, pullback = vjp(lambda theta: MarkovianHVAE([part], [part]).elbo(theta, x, eps=[x]), theta)
    assert value.dtype == np.float32 and pullback(np.ones(3, np.float32))[0]["w"].dtype == np.float32
