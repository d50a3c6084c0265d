"""What a caller's layers, conditionals and parameters may do wrong, at any call: the message tells which, and where."""
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wrong_arguments import foreign, same_floats, seeded

from refvdm.autodiff import grad, ravel, value_and_grad
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow, Split
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.nn import MLP

Foreign, seed = foreign("torch"), seeded
X, Y = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0, 2, 12).reshape(3, 4)
LAYERS = {layer: layer.init(np.random.default_rng(1)) for layer in (PLU(4), ActNorm(4), AffineCoupling(4, hidden=5))}
FLOW, NET = Flow(list(LAYERS)), MLP((4, 3, 2))
THETA, WEIGHTS = list(LAYERS.values()), NET.init(np.random.default_rng(2))
HVAE = MarkovianHVAE([GaussianConditional(f"q{t}", 4, 4, (3,)) for t in (1, 2)],
                     [GaussianConditional(f"p{t}", 4, 4, (3,)) for t in (1, 2)])
PARTS, EPS = HVAE.init(np.random.default_rng(3)), [X, Y]


def same(x):
    """The same numbers, lying otherwise in memory."""
    return [other for _, other in same_floats(x)]


def refusal(call, *args):
    """What it says; None when it takes it. Anything but a TypeError or ValueError is an error of the test."""
    try:
        with np.errstate(all="ignore"):
            call(*args)
    except (TypeError, ValueError) as error:
        return str(error)
    return None


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
