"""Every wrong argument of flows, networks, Gaussians, hierarchical VAE and data is an error that names it, and every
array that only lies in memory in another way gives the same numbers."""
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refvdm.autodiff import grad, ravel, value_and_grad
from refvdm.datasets import Crescents, Ring, scale_levels
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow, Split, Squeeze, bits_per_dim, dequantize
from refvdm.gaussian import expm1_minus, kl_normal, log_normal, sum_per_example
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.nn import MLP, time_features


class Foreign:
    """An array of another library, as NumPy sees it."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.ndim = x, x.shape, "torch.float64", x.ndim

    def __array__(self, dtype=None, copy=None):
        return self.x


Foreign.__module__ = "torch"
RNG, X, Y = np.random.default_rng(0), np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0, 2, 12).reshape(3, 4)
BATCHES = ("another rank",)
IMAGE = np.linspace(-1, 1, 32).reshape(2, 2, 2, 4)
LAYERS = {layer: layer.init(np.random.default_rng(1)) for layer in (PLU(4), ActNorm(4), AffineCoupling(4, hidden=5))}
FLOW, NET = Flow(list(LAYERS)), MLP((4, 3, 2))
THETA, WEIGHTS = list(LAYERS.values()), NET.init(np.random.default_rng(2))
HVAE = MarkovianHVAE([GaussianConditional(f"q{t}", 4, 4, (3,)) for t in (1, 2)],
                     [GaussianConditional(f"p{t}", 4, 4, (3,)) for t in (1, 2)])
PARTS, EPS = HVAE.init(np.random.default_rng(3)), [X, Y]


def spoilt(x):
    """(kind, a wrong thing in the place of an array of floats)."""
    def put(value, dtype=float):
        y = np.array(x, dtype)
        y[(-1,) * x.ndim] = value
        return y

    yield from [("None", None), ("str", "a"), ("bool", True), ("list of str", ["a"]), ("dict", {}),
                ("object", object()), ("foreign", Foreign(x)), ("integers", put(1, int)),
                ("small integers", put(1, np.uint8)),
                ("complex", put(1j, complex)), ("bools", put(1, bool)), ("objects", put(1, object)),
                ("strings", x.astype(str)), ("masked", np.ma.array(x, mask=x > 0)), ("nan", put(np.nan)),
                ("inf", put(np.inf)), ("-inf", put(-np.inf)), ("0-d", np.array(0.5)), ("another rank", x[None, None]),
                ("another length", np.concatenate([x, x], axis=-1)), ("too short", x[..., :-1]),
                ("empty", x[..., :0])]
    if x.ndim == 2:
        yield "np.matrix", x.view(np.matrix)


def same(x):
    """The same numbers, lying otherwise in memory."""
    locked = x.copy()
    locked.flags.writeable = False
    return [locked, np.asfortranarray(x), np.repeat(x, 2, axis=-1)[..., ::2], x[::-1].copy()[::-1],
            x.astype(x.dtype.newbyteorder())]


def with_layers(method):
    return [(f"{type(layer).__name__}.{method}",
             lambda x, layer=layer, theta=theta: getattr(layer, method)(theta, x), X)
            for layer, theta in LAYERS.items()]


# (what is called, by its one array, the array, the name in the message, what else is right)
ARRAYS = [(*call, " [xy] ", BATCHES) for call in with_layers("forward") + with_layers("inverse")] + [
    ("PLU.from_matrix", PLU.from_matrix, np.eye(3) + 0.1, "W", ()),
    ("ActNorm.init", lambda x: ActNorm(4).init(RNG, x), X, "data", ("None", *BATCHES)),
    ("Flow.init", lambda x: FLOW.init(np.random.default_rng(0), x), X, "(data|given|x) ", ("None", *BATCHES)),
    ("Flow.forward", lambda x: FLOW.forward(THETA, x), X, "x ", BATCHES),
    ("Flow.inverse", lambda z: FLOW.inverse(THETA, z), X, "[zy] ", BATCHES),
    ("Flow.log_prob", lambda x: FLOW.log_prob(THETA, x), X, "x ", BATCHES),
    ("Flow.sample", lambda z: FLOW.sample(THETA, (3, 4), z=z), X, "[zy]", ()),
    ("Squeeze.forward", lambda x: Squeeze().forward({}, x), IMAGE, "x |images",
     ("another length", "too short", "empty")),
    ("Squeeze.inverse", lambda y: Squeeze().inverse({}, y), IMAGE, "y |multiple", ("another length", "empty")),
    ("Split.forward", lambda x: Split(PLU(2), (4,)).forward(PLU(2).init(np.random.default_rng(0)), x), X, "x |shape",
     ()),
    ("Split.inverse", lambda y: Split(PLU(2), (4,)).inverse(PLU(2).init(np.random.default_rng(0)), y), X, "y ", ()),
    ("Split.init", lambda x: Split(ActNorm(2), (4,)).init(RNG, x), X, "data", ("None",)),
    ("MLP", lambda x: NET(WEIGHTS, x), X, "MLP: x ", ("nan", "inf", "-inf", "another rank")),
    *[(f"HVAE.{method}", lambda x, name=method, more=more: getattr(HVAE, name)(PARTS, x, **more), X, "x |z_0|z_1", ())
      for method, more in (("elbo", {"eps": EPS}), ("encode", {"eps": EPS}), ("log_joint", {"zs": EPS}),
                           ("log_posterior", {"zs": EPS}))],
    ("HVAE.importance_bound", lambda x: HVAE.importance_bound(PARTS, x, 1, eps=[X[None], Y[None]]), X, "x |eps", ()),
    ("HVAE.log_joint zs", lambda z: HVAE.log_joint(PARTS, X, [X, z]), X, "z_[12]", ()),
    ("HVAE.log_posterior zs", lambda z: HVAE.log_posterior(PARTS, X, [z, X]), X, "z_1", ()),
    ("HVAE.elbo eps", lambda e: HVAE.elbo(PARTS, X, eps=[X, e]), X, "eps that makes z_2|rng",
     ("integers", "small integers", "foreign")),
    ("HVAE.sample eps", lambda e: HVAE.sample(PARTS, (3, 4), z_T=X, eps=[e, X]), X, "eps that makes z_0|rng",
     ("integers", "small integers", "foreign")),
    ("HVAE.sample z_T", lambda z: HVAE.sample(PARTS, (3, 4), z_T=z, eps=EPS), X, "z_T", ()),
    ("log_normal x", lambda x: log_normal(x, 0.5, Y), X, "x ", None),
    ("log_normal mean", lambda x: log_normal(Y, x, 0.1), X, "mean ", None),
    ("log_normal log_var", lambda x: log_normal(0.5, Y, x), X, "log_var ", None),
    ("kl_normal mean_q", lambda x: kl_normal(x, 0.1, Y, 0.2), X, "mean_q", None),
    ("kl_normal log_var_q", lambda x: kl_normal(Y, x, 0.3, 0.2), X, "log_var_q", None),
    ("kl_normal mean_p", lambda x: kl_normal(0.1, 0.1, x, Y), X, "mean_p", None),
    ("kl_normal log_var_p", lambda x: kl_normal(0.1, Y, 0.3, x), X, "log_var_p", None),
    ("expm1_minus", expm1_minus, X, "d ", None),
    ("bits_per_dim", lambda x: bits_per_dim(x, 4), X, "log_prob",
     ("inf", "-inf", "0-d", "another rank", "another length", "too short", "empty")),
    ("sum_per_example", sum_per_example, X, "terms",
     ("nan", "inf", "-inf", "another rank", "another length", "too short", "empty")),
    ("time_features", lambda t: time_features(t, 4, 0.1, 1.0), X[0], "t ", None),
    ("Ring.log_prob", Ring().log_prob, X.reshape(6, 2), " x ", ("another rank",)),
    ("Crescents.log_prob", Crescents().log_prob, X.reshape(6, 2), " x ", ("another rank",)),
]
# element by element: any shape is right; nan goes through except into the time features
ELEMENTWISE = ("0-d", "another rank", "another length", "too short", "empty", "nan", "inf", "-inf")


@pytest.mark.parametrize(("who", "call", "good", "name", "right"), ARRAYS, ids=[row[0] for row in ARRAYS])
def test_arrays(who, call, good, name, right):
    if who == "time_features":
        right = ("0-d", "another rank", "another length", "too short", "empty", "integers", "small integers",
                 "foreign")
    elif right is None:
        right = ELEMENTWISE
    expected = flat(call(good))
    for x in same(good):
        for a, b in zip(flat(call(x)), expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    for kind, bad in spoilt(good):
        said = refusal(call, bad)
        if kind in right:  # two arguments may not fit each other, which NumPy says
            assert said is None or "broadcast" in said, (kind, said)
        else:
            assert said is not None and re.search(name, said), (kind, said)
            assert kind != "foreign" or ".detach().numpy()" in said, said


def refusal(call, *args):
    """What it says; None when it takes it. Anything but a TypeError or ValueError is an error of the test."""
    try:
        with np.errstate(all="ignore"):
            call(*args)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


def flat(made):
    if isinstance(made, dict):
        made = [made[key] for key in made]
    return [part for piece in made for part in flat(piece)] if isinstance(made, (list, tuple)) else [np.asarray(made)]


# ---------------------------------------------------------------- parameters

PARAMETERS = [(f"{type(layer).__name__}.{method}",
               lambda theta, of=layer, name=method: getattr(of, name)(theta, X), theta)
              for layer, theta in LAYERS.items() for method in ("forward", "inverse")] + [
    ("PLU.matrix", PLU(4).matrix, THETA[0]), ("PLU.sign", PLU(4).sign, THETA[0]),
    ("PLU.log_det", PLU(4).log_det, THETA[0]),
    ("MLP", lambda theta: NET(theta, X), WEIGHTS),
    ("Flow", lambda theta: FLOW.log_prob([THETA[0], theta, THETA[2]], X), THETA[1]),
    ("HVAE", lambda theta: HVAE.elbo(PARTS | {"q2": theta}, X, eps=EPS), PARTS["q2"])]


@pytest.mark.parametrize(("who", "call", "good"), PARAMETERS, ids=[row[0] for row in PARAMETERS])
def test_parameters(who, call, good):
    """Every key missing, one too many, every leaf wrong in every way, every leaf lying otherwise in memory."""
    expected = flat(call(good))
    for bad in (None, "a", 1, [], [good], {}, np.ones(3), *(without(good, key) for key in good), good | {"W9": X}):
        with pytest.raises((TypeError, ValueError), match="theta"):
            call(bad)
    for key, leaf in good.items():
        for like in same(leaf):
            for a, b in zip(flat(call(good | {key: like})), expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
        for kind, bad in spoilt(leaf):
            if key in ("perm", "sign") and kind in ("nan", "inf", "-inf", "integers", "small integers"):
                continue  # as floats they are refused below, as integers they are what is wanted
            unread = who in ("PLU.sign", "PLU.log_det") and key in ("lower", "upper")
            if kind in ("nan", "inf", "-inf") and (unread or who == "MLP" or key == "lower" or key == "upper"):
                continue  # not read there; the last element of a triangle never is
            said = refusal(call, good | {key: bad})
            if kind in ("inf", "-inf") and said is None:
                assert key in ("W1", "W2", "b1", "b2")  # tanh of an infinite number is 1
            elif kind in ("nan", "inf", "-inf") and key[0] in "Wb":
                assert re.search(r"net\(theta, x\)|encoder 2: ", said), (key, kind, said)
            else:
                assert said and re.search(rf"theta\['{key}'\]|theta must .*'{key}'", said), (key, kind, said)


def without(theta, key):
    return {name: leaf for name, leaf in theta.items() if name != key}


@pytest.mark.parametrize("at", [(1, 0), (3, 2)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_triangles_of_plu_are_finite(at, bad):
    for key, (i, j) in (("lower", at), ("upper", at[::-1])):
        theta = {k: v.copy() for k, v in THETA[0].items()}
        theta[key][i, j] = bad
        for call in (lambda theta: PLU(4).forward(theta, X), lambda theta: PLU(4).inverse(theta, X), PLU(4).matrix):
            match = rf"theta\['{key}'\] must be finite, got {bad} at index \({i}, {j}\)"
            with pytest.raises(ValueError, match=match), np.errstate(all="ignore"):
                call(theta)


@pytest.mark.parametrize("bad", [0, 2, -2, 127, -128])
def test_sign_of_plu(bad):
    """127 squared is 1 in int8."""
    sign = THETA[0]["sign"].copy()
    sign[2] = bad
    for call in (lambda theta: PLU(4).forward(theta, X), lambda theta: PLU(4).inverse(theta, X), PLU(4).matrix,
                 PLU(4).sign, PLU(4).log_det):
        with pytest.raises(ValueError, match="PLU: sign must hold 1 and -1, got"):
            call(THETA[0] | {"sign": sign})


def test_plu_whose_scale_is_no_number():
    """exp(-800) is 0: the inverse divides by it; exp(800) is inf."""
    for call, s, name in ((PLU(4).inverse, -800.0, r"exp\(-log_scale\)"), (PLU(4).forward, 800.0, "W x")):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=f"PLU: {name} must be finite, got (inf|nan)"):
            call(THETA[0] | {"log_scale": np.full(4, s)}, X)


# ---------------------------------------------------------------- single values

NO_COUNT = (None, "2", 2.5, 2.0, True, -1, np.nan, [2], np.array(2.0), 2j, {})
NO_NUMBER = (None, "1", True, np.nan, np.inf, 1j, [1.0], X)
NO_SHAPE = (None, "34", 3, (), (3.0, 4), (-3, 4), (True, 4), ("3", 4), (None, 4), X, {3: 4})
NO_RNG = (None, 0, "rng", np.random, np.random.RandomState(0))
NO_DTYPE = (int, "foo", complex, bool, object, str, 3, X, [])


def seed():
    return np.random.default_rng(0)


SINGLE = [
    ("d", PLU, (*NO_COUNT, 0)), ("d", ActNorm, (*NO_COUNT, 0)), ("d", AffineCoupling, (*NO_COUNT, 0, 1)),
    ("hidden", lambda n: AffineCoupling(2, hidden=n), (*NO_COUNT, 0)),
    ("bound", lambda b: AffineCoupling(2, bound=b), (*NO_NUMBER, 0, -1)),
    ("swap", lambda b: AffineCoupling(2, swap=b), (None, "no", 2, 1, 0.0, [], X)),
    ("factor", Squeeze, (*NO_COUNT, 0)), ("shape", lambda s: Split(PLU(2), s), NO_SHAPE),
    ("flow", lambda f: Split(f, (4,)), (None, PLU, "flow", 1, {}, lambda x: x)),
    ("layers", Flow, (None, 1, "ab", PLU(2), {}, [None], [PLU], [PLU(2), 3], [lambda x: x], [Flow], np.array(1))),
    ("layer", Flow, ([],)), ("shape", FLOW.output_shape, [s for s in NO_SHAPE if type(s) is not tuple or s]),
    ("shape|images", Squeeze().output_shape, [*NO_SHAPE, (2, 2), (2, 3, 1), (3, 2, 1), (2, 2, 1, 1)]),
    ("shape", Split(PLU(2), (4,)).output_shape, [*NO_SHAPE, (5,)]), ("shape", PLU(2).output_shape, NO_SHAPE[:3]),
    ("shape", lambda s: FLOW.sample(THETA, s, seed()), [*NO_SHAPE, (3,)]),
    ("rng", lambda rng: FLOW.sample(THETA, (3, 4), rng), NO_RNG), ("rng", PLU(2).init, NO_RNG),
    ("rng", AffineCoupling(2).init, NO_RNG), ("rng", MLP((2, 2)).init, NO_RNG), ("rng", HVAE.init, NO_RNG),
    *[("dtype", lambda dtype, layer=layer: layer.init(seed(), dtype=dtype), NO_DTYPE)
      for layer in (*LAYERS, FLOW, NET, HVAE)],
    ("dtype", lambda dtype: time_features(X, 4, 0.1, 1.0, dtype), NO_DTYPE),
    ("n[ ,]", lambda n: time_features(X, n, 0.1, 1.0), (*NO_COUNT, 0, 3, X)),
    ("lowest", lambda w: time_features(X, 4, w, 1.0), (*NO_NUMBER, 0, -1, 2.0)),
    ("highest", lambda w: time_features(X, 4, 0.5, w), (*NO_NUMBER, 0, -1, 0.2)),
    ("sizes", MLP, (None, 3, "34", (3,), (), (3, 0), (3, 2.0), (3, True), (3, "2"), (3, None), X, {1: 2})),
    ("activation", lambda f: MLP((2, 2), f), (None, np.tanh, "gelu", 1, [], X)),
    ("samples", lambda K: HVAE.importance_bound(PARTS, X, K, seed()), (*NO_COUNT, 0)),
    ("shape", lambda s: HVAE.sample(PARTS, s, seed()), NO_SHAPE),
    ("shape", lambda s: HVAE.ancestral_path(PARTS, s, seed()), NO_SHAPE),
    ("decoder 2, given z_2 .* x must have shape", lambda s: HVAE.sample(PARTS, s, seed()), [(3,), (3, 5)]),
    *[(name, lambda rng, f=f: f(PARTS, X, rng), NO_RNG)
      for name, f in (("rng", HVAE.elbo), ("rng", HVAE.encode))],
    ("eps", lambda eps: HVAE.elbo(PARTS, X, eps=eps), (1, "ab", {}, {0: X, 1: X}, [X], [X, X, X], [], np.array(1.0))),
    ("eps", lambda eps: HVAE.importance_bound(PARTS, X, 1, eps=eps), (1, "ab", {}, [X[None]], [X, X], [None, None])),
    ("zs|latents", lambda zs: HVAE.log_joint(PARTS, X, zs), (None, 1, "ab", {}, [X], [X, X, X], [])),
    ("zs|latents", lambda zs: HVAE.log_posterior(PARTS, X, zs), (None, 1, "ab", {}, [X], [X, X, X], [])),
    ("encoder", lambda f: MarkovianHVAE(f, [len]), (None, 1, len, "a", {}, [None], [3], [])),
    ("decoder", lambda f: MarkovianHVAE([len], f), (None, 1, len, "a", {}, [None], [3], [])),
    ("theta", lambda theta: HVAE.elbo(theta, X, eps=EPS), (None, 1, "q1", [], {}, X, without(PARTS, "q1"),
                                                             without(PARTS, "p2"))),
    ("theta", lambda theta: FLOW.log_prob(theta, X), (None, 1, "abc", {}, [], THETA[:2], [*THETA, {}], X)),
    ("name", lambda name: GaussianConditional(name, 2, 2), (None, 1, [], X)),
    ("n_in", lambda n: GaussianConditional("a", n, 2), (*NO_COUNT, 0)),
    ("n_out", lambda n: GaussianConditional("a", 2, n), (*NO_COUNT, 0)),
    ("max_log_var", lambda m: GaussianConditional("a", 2, 2, max_log_var=m), (*NO_NUMBER, 0, -1)),
    ("hidden", lambda h: GaussianConditional("a", 2, 2, h), (None, 3, "3", (3.0,), (-1,), (True,), X)),
    ("levels", lambda n: dequantize(np.zeros(2, int), n, seed()), (*NO_COUNT, 0)),
    ("x ", lambda x: dequantize(x, 4, seed()), (None, "a", 1.5, True, X, X + 0j, X > 0, [4], [-1], [[1], [1, 2]],
                                                np.ma.array([1]), np.array(["1"]), np.array([1], object))),
    ("u ", lambda u: dequantize(np.zeros(2, int), 4, u=u), ("a", 0.5, X, [0.5, 1.0], [-0.1, 0.5], [np.nan, 0], [0, 1j],
                                                           np.ma.array([0.1, 0.2]), [True, False])),
    ("rng", lambda rng: dequantize(np.zeros(2, int), 4, rng), NO_RNG),
    ("dimensions", lambda D: bits_per_dim(X, D), (*NO_NUMBER, 0, 0.5, -1)),
    ("bin_width", lambda w: bits_per_dim(X, 4, w), (*NO_NUMBER, 0, -1)),
    ("levels", lambda n: scale_levels(np.zeros(2, int), n), (*NO_COUNT, 0, 1)),
    ("x ", lambda x: scale_levels(x, 4), (None, "a", 1.5, True, X, X + 0j, [4], [-1], [[1], [1, 2]], np.ma.array([1]))),
    ("n ", Ring, (*NO_COUNT, 0)), ("radius", lambda r: Ring(3, r), NO_NUMBER),
    ("deviation", lambda s: Ring(3, 1.0, s), (*NO_NUMBER, 0, -1)),
    ("n ", lambda n: Ring().sample(n, seed()), NO_COUNT), ("n ", lambda n: Crescents().sample(n, seed()), NO_COUNT),
    ("rng", lambda rng: Ring().sample(2, rng), NO_RNG), ("rng", lambda rng: Crescents().sample(2, rng), NO_RNG),
]


@pytest.mark.parametrize(("name", "call", "values"), SINGLE, ids=[f"{row[0]}{i}" for i, row in enumerate(SINGLE)])
def test_single_values(name, call, values):
    for bad in values:
        said = refusal(call, bad)
        assert said is not None and re.search(name, said), (bad, said)


# ---------------------------------------------------------------- what a caller's functions return

# what comes back in the place of an array of floats (batch, ...), and what is said of it
BROKEN = {
    "nan": (lambda y: spoil(y, np.nan), "must be finite, got nan at index "),
    "inf": (lambda y: spoil(y, np.inf), "must be finite, got inf at index "),
    "-inf": (lambda y: spoil(y, -np.inf), "must be finite, got -inf at index "),
    "complex": (lambda y: y + 1e-17j, "got dtype complex128; take its real part"),
    "integers": (lambda y: np.ones(y.shape, int), "got dtype int64; cast it"),
    "bools": (lambda y: y > 0, "got dtype bool"),
    "objects": (lambda y: y.astype(object), "got dtype object"),
    "masked": (lambda y: np.ma.array(y, mask=y > 0), "got a masked array"),
    "foreign": (Foreign, r"got a torch.Tensor; hand it over as x.detach\(\).numpy\(\)"),
    "None": (lambda y: None, "got NoneType"),
    "list": (lambda y: y.tolist(), "got list"),
    "str": (lambda y: "a", "got str"),
    "one example less": (lambda y: y[1:], "shape .*, got "),
    "one axis less": (lambda y: y[0], "shape .*, got |array of floats, got float64"),
}


def spoil(y, value):
    """y with `value` in it, and what index the message must tell: that of its last element."""
    y = np.array(y)
    y[(-1,) * y.ndim] = value
    return y


class Nth:
    """f, whose n-th call returns something else."""

    def __init__(self, f, n, broken):
        self.f, self.n, self.broken, self.calls = f, n, broken, 0

    def __call__(self, *args):
        made = self.f(*args)
        self.calls += 1
        return self.broken(made) if self.calls == self.n + 1 else made


def part(theta, z):
    return 0.5 * z, -0.1 + 0.0 * z


@given(st.data(), st.integers(1, 4), st.sampled_from(sorted(BROKEN)), st.sampled_from(["mean", "log_var"]))
def test_a_conditional_that_misbehaves_at_some_level(data, T, kind, which):
    """The message tells encoder or decoder, its level, mean or log-variance, and the place."""
    break_it, told = BROKEN[kind]
    if which == "log_var" and kind.startswith("one"):
        kind, break_it, told = "shape", lambda y: y[:, :1, None], "shape .*, got "
    at, side = data.draw(st.integers(1, T)), data.draw(st.sampled_from(["encoder", "decoder"]))

    def broken(theta, z):
        mean, log_var = part(theta, z)
        return (break_it(mean), log_var) if which == "mean" else (mean, break_it(log_var))

    parts = [part] * T
    one_broken = [broken if t == at else part for t in range(1, T + 1)]
    model = MarkovianHVAE(one_broken, parts) if side == "encoder" else MarkovianHVAE(parts, one_broken)
    calls = [lambda: model.elbo(None, X, seed()), lambda: model.importance_bound(None, X, 1, seed())]
    if side == "encoder":
        calls += [lambda: model.encode(None, X, seed()), lambda: model.log_posterior(None, X, [X] * T)]
    else:
        calls += [lambda: model.sample(None, (3, 4), seed()), lambda: model.log_joint(None, X, [X] * T)]
    for call in calls:
        said = refusal(call)
        assert said and re.match(rf"{side} {at}: ({which}|expected a mean|mean must have)", said), said
        assert re.search(told, said), said
        if "index" in told:
            assert said.endswith("at index (2, 3)")


@given(st.integers(0, 9), st.sampled_from(sorted(BROKEN)), st.integers(1, 3))
def test_a_conditional_that_misbehaves_at_some_call(n, kind, T):
    """One function at every level, broken at its n-th call: T encoders, then T decoders of each bound."""
    broken = Nth(part, n, lambda made: (BROKEN[kind][0](made[0]), made[1]))
    model = MarkovianHVAE([broken] * T, [broken] * T)
    for bound in range(5):
        first = bound * 2 * T  # calls before this one
        said = refusal(lambda: model.elbo(None, X, seed()))
        if n >= first + 2 * T:
            assert said is None
            continue
        side, level = ("encoder", n - first + 1) if n - first < T else ("decoder", n - first - T + 1)
        assert re.match(rf"{side} {level}: (mean|expected a mean)", said) and re.search(BROKEN[kind][1], said)
        break


class Scaled:
    """y = 2 x, a layer of a caller's."""

    def __init__(self, broken=lambda made: made):
        self.broken = broken

    def init(self, rng, data=None, dtype=np.float64):
        return {}

    def forward(self, theta, x):
        return self.broken((2 * x, np.full(len(x), x[0].size * np.log(2.0))))

    def inverse(self, theta, y):
        return self.broken((y / 2, np.full(len(y), -y[0].size * np.log(2.0))))

    def output_shape(self, shape):
        return shape


@given(st.integers(0, 3), st.sampled_from(sorted(BROKEN)), st.sampled_from([0, 1]))
def test_a_layer_that_misbehaves(at, kind, which):
    break_it, told = BROKEN[kind]

    def broken(made):
        return tuple(break_it(y) if i == which else y for i, y in enumerate(made))

    flow = Flow([Scaled(broken) if i == at else Scaled() for i in range(4)])
    name = ("y", "log_det")[which]
    for call, method in ((lambda: flow.forward([{}] * 4, X), "forward"),
                         (lambda: flow.log_prob([{}] * 4, X), "forward"),
                         (lambda: flow.inverse([{}] * 4, X), "inverse"), (lambda: flow.init(seed(), X), "forward"),
                         (lambda: flow.sample([{}] * 4, (3, 4), seed()), "inverse"),
                         (lambda: Flow([Scaled(), flow]).forward([{}, [{}] * 4], X), "forward")):
        said = refusal(call)
        assert said and re.search(rf"Flow: layers\[{at}\] \(Scaled\).{method}: {name} must", said), said
        assert re.search(told, said), said
    for call, method in ((lambda: Split(Scaled(broken), (8,)).forward({}, np.ones((3, 8))), "forward"),
                         (lambda: Split(Scaled(broken), (8,)).inverse({}, np.ones((3, 8))), "inverse")):
        said = refusal(call)
        assert said and re.match(rf"Split: flow \(Scaled\).{method}: {name} must ", said), said
        assert re.search(told, said), said


@pytest.mark.parametrize("made", [None, X, [X, X[:, 0]], (X,), (X, X, X), "xy", {}])
def test_a_layer_returns_two_things(made):
    for call in (lambda f: f.forward([{}], X), lambda f: f.inverse([{}], X)):
        with pytest.raises(TypeError, match=r"layers\[0\] \(Scaled\).*must return a tuple \(y, log_det\), got "):
            call(Flow([Scaled(lambda _: made)]))


@pytest.mark.parametrize(("error", "kind", "told"), [
    (KeyError("w"), ValueError, "raised KeyError: 'w'"), (TypeError("no"), TypeError, "raised TypeError: no"),
    (np.linalg.LinAlgError("no"), ValueError, "raised LinAlgError: no")])
def test_errors_of_a_callers_function_tell_whose_they_are(error, kind, told):
    def fails(*_):
        raise error

    with pytest.raises(kind, match=rf"layers\[1\] \(Scaled\).forward {told}") as refused:
        Flow([Scaled(), Scaled(fails)]).forward([{}, {}], X)
    assert refused.value.__cause__ is error
    with pytest.raises(kind, match=rf"encoder 2, given z_1 of shape \(3, 4\), {told}"):
        MarkovianHVAE([part, fails], [part, part]).elbo(None, X, seed())
    layer = Scaled()
    layer.output_shape = fails
    with pytest.raises(kind, match=rf"layers\[0\] \(Scaled\).output_shape {told}"):
        Flow([layer]).sample([{}], (3, 4), seed())
    for shape in (None, "34", (4.0,), [-4]):
        layer.output_shape = lambda _, shape=shape: shape
        with pytest.raises(ValueError, match=r"layers\[0\] \(Scaled\).output_shape must be a tuple of integers"):
            Flow([layer]).output_shape((4,))


def test_a_layer_whose_output_shape_is_not_that_of_its_output():
    layer = Scaled()
    layer.output_shape = lambda shape: (*shape[:-1], 2 * shape[-1])
    with pytest.raises(ValueError, match=r"Flow.sample: shape \(3, 4\) is not what .* z, which is \(3, 8\)"):
        Flow([layer]).sample([{}], (3, 4), seed())


def test_a_list_with_something_else_in_it_tells_where():
    with pytest.raises(TypeError, match=r"encoder 2 must be callable as encoder\(theta, z\), got int"):
        MarkovianHVAE([part, 3], [part, part])
    with pytest.raises(TypeError, match=r"decoder 1 must be callable as decoder\(theta, z\), got NoneType"):
        MarkovianHVAE([part, part], [None, part])
    with pytest.raises(TypeError, match=r"layers\[1\] must be a Layer with init, .*, got the class PLU"):
        Flow([PLU(2), PLU])


def test_latents_that_overflow():
    """A finite log-variance whose exp is not: blamed on the level that gave it, not on the next one."""
    def wild(theta, z):
        return z, 1500.0

    with np.errstate(all="ignore"):
        with pytest.raises(ValueError, match=r"encoder 1: z_1 = mean \+ exp\(log_var/2\) eps must be finite, got"):
            MarkovianHVAE([wild, part], [part, part]).elbo(None, X, seed())
        with pytest.raises(ValueError, match=r"decoder 2: z_1 = mean \+ exp\(log_var/2\) eps must be finite"):
            MarkovianHVAE([part, part], [part, wild]).sample(None, (3, 4), seed())
        for side, model in (("encoder", MarkovianHVAE([lambda _, z: (z, -800.0)], [part])),
                            ("decoder", MarkovianHVAE([part], [lambda _, z: (z, -800.0)]))):
            call = model.log_posterior if side == "encoder" else model.log_joint
            with pytest.raises(ValueError, match=rf"{side} 1: log_var is too small, exp\(-log_var\) overflows"):
                call(None, X, [X])


# ---------------------------------------------------------------- inside grad


def test_what_is_wrong_inside_grad_is_told_there():
    for loss, theta, told in (
            (lambda theta: np.sum(FLOW.log_prob(theta, X)), [THETA[0], THETA[1] | {"shift": np.ones(3)}, THETA[2]],
             r"layers\[1\] \(ActNorm\).forward raised ValueError: ActNorm: theta must .* got {'shift': \(3,\)"),
            (lambda theta: np.sum(FLOW.log_prob(theta, X)), [THETA[0], THETA[1] | {"shift": spoil(np.ones(4), np.nan)},
                                                             THETA[2]], r"theta\['shift'\] must be finite, got nan at"),
            (lambda theta: np.sum(HVAE.elbo(theta, X, eps=EPS)), PARTS | {"q2": spoil_tree(PARTS["q2"])},
             r"encoder 2: mean must be finite, got nan at index \(0, 0\)"),
            (lambda theta: np.sum(NET(theta, X)), without(WEIGHTS, "b2"), r"MLP: theta must be a dict of shapes")):
        with pytest.raises(ValueError, match=told):
            grad(loss)(theta)


def spoil_tree(theta):
    return theta | {"b2": np.full_like(theta["b2"], np.nan)}


def test_gradients_do_not_depend_on_how_arrays_lie_in_memory():
    """Byte-swapped, read-only and strided parameters and data have the gradient of their numbers."""
    for loss, theta in ((lambda theta, x: -np.mean(FLOW.log_prob(theta, x)), THETA),
                        (lambda theta, x: -np.mean(HVAE.elbo(theta, x, eps=EPS)), PARTS)):
        value, bars = value_and_grad(loss)(theta, X)
        flat, unravel = ravel(theta)
        for swapped in (False, True):
            other = unravel(flat)
            for leaves in (other if isinstance(other, list) else other.values()):
                for key, leaf in leaves.items():
                    leaves[key] = same(leaf)[-1 if swapped else 2]
            for x in same(X):
                got, other_bars = value_and_grad(loss)(other, x)
                np.testing.assert_allclose(got, value, rtol=1e-13)
                np.testing.assert_allclose(ravel(other_bars)[0], ravel(bars)[0], rtol=1e-11, atol=1e-13)
