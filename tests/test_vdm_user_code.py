"""What the caller's own functions return: a denoiser, its logits, a decoder, a network, a base or a learned variance
that misbehaves at any one call is named, with the time it was asked at and the first wrong index; and a gradient that
would be lost is an error."""
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refvdm.autodiff import check_vjp, grad, stop_gradient, vjp
from refvdm.ode import SolverError
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    ConvertedDenoiser,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    ancestral_path,
    continuous_kl,
    ddim_sample,
    elbo_forms,
    evaluate,
    flow_log_prob,
    flow_sample,
)
from refvdm.vdm.denoiser import GaussianDenoiser
from refvdm.vdm.network import CategoricalDenoiser, RegressionDenoiser
from refvdm.vdm.probability_flow import velocity

T, N, D = 4, 3, 2
SCHEDULE, DECODER = Schedule.linear_gamma(T, -3.0, 3.0), GaussianDecoder(0.3)
rng = np.random.default_rng(0)
X, EPS = rng.standard_normal((N, D)), rng.standard_normal((T, N, D))
GAMMA = np.array([-2.0, 0.0, 1.0])

USES = {
    "elbo": lambda vdm: vdm.elbo(None, X, eps=EPS, rows=4),
    "elbo in one": lambda vdm: vdm.elbo(None, X, eps=EPS),
    "elbo_estimate": lambda vdm: vdm.elbo_estimate(None, X, t=[2, 3, 4], eps=EPS[:2]),
    "kl_per_t": lambda vdm: vdm.kl_per_t(None, X, eps=EPS, rows=4),
    "sample": lambda vdm: vdm.sample(None, (N, D), x_T=X, eps=EPS),
    "ancestral_path": lambda vdm: list(ancestral_path(vdm, None, (N, D), x_T=X, eps=EPS)),
    "ddim_sample": lambda vdm: ddim_sample(vdm, None, (N, D), x_T=X, eps=EPS),
    "elbo_forms": lambda vdm: elbo_forms(vdm, None, X, eps=EPS),
    "continuous_kl": lambda vdm: continuous_kl(vdm, None, X, gamma=GAMMA, eps=EPS[0]),
    "evaluate": lambda vdm: evaluate(vdm, None, X, progress=False, chunk=2),
    "flow_log_prob": lambda vdm: flow_log_prob(vdm, None, X, rtol=1e-2),
    "flow_sample": lambda vdm: flow_sample(vdm, None, (N, D), x_T=X, rtol=1e-2),
    "as_mhvae": lambda vdm: vdm.as_mhvae().elbo(None, X, eps=list(EPS)),
}


class Torch:
    """A stand-in: what torch's arrays look like from outside."""

    def __init__(self, x):
        self.shape, self.dtype = x.shape, x.dtype


Torch.__module__ = "torch"

RETURNS = {
    "None": (lambda y: None, TypeError, "got NoneType"),
    "a number": (lambda y: 0.5, TypeError, "got float"),
    "a list": (lambda y: y.tolist(), TypeError, r"got list; np\.array\(x, float\) makes it one"),
    "complex": (lambda y: y + 0j, TypeError, "got dtype complex128; take its real part"),
    "integers": (lambda y: np.zeros(y.shape, int), TypeError, r"got dtype int64; cast it with \.astype\(float\)"),
    "bools": (lambda y: y > 0, TypeError, r"got dtype bool; cast it with \.astype\(float\)"),
    "masked": (lambda y: np.ma.array(y, mask=y > 9), TypeError, r"got a masked array, .* use \.filled\(value\)"),
    "torch": (Torch, TypeError, r"got a torch\.Tensor; hand it over as x\.detach\(\)\.numpy\(\)"),
    "one less": (lambda y: y[1:], ValueError, r"have shape \((\d), .*\), got \((?!\1)\d, .*\)"),
    "an axis more": (lambda y: y[..., None], ValueError, r"have shape .*, got \(.*, 1\)"),
    "0-d": (lambda y: y[0, 0], TypeError, "got float64"),
}


class Misbehaves:
    """A denoiser that returns something else at its call number `at`."""

    def __init__(self, at, instead):
        self.at, self.instead, self.calls, self.t = at, instead, 0, None

    def __call__(self, theta, x, t):
        self.calls += 1
        if self.calls - 1 == self.at:
            self.t = t
            return self.instead(stop_gradient(0.5 * x))
        return 0.5 * x


def calls_of(use):
    good = Misbehaves(-1, None)
    USES[use](VDM(good, SCHEDULE, DECODER))
    return good.calls


CALLS = {use: calls_of(use) for use in USES}


def shown(t):
    first, last = np.min(t), np.max(t)
    return re.escape(f"asked at t = {first}" if first == last else f"asked at t = {first}..{last}")


@settings(deadline=None)
@given(st.sampled_from(sorted(USES)), st.sampled_from(sorted(RETURNS)), st.data())
def test_a_denoiser_that_returns_something_else_at_any_call(use, what, data):
    instead, error, got = RETURNS[what]
    denoiser = Misbehaves(data.draw(st.integers(0, CALLS[use] - 1)), instead)
    with pytest.raises(error) as caught:
        USES[use](VDM(denoiser, SCHEDULE, DECODER))
    told = f"what the denoiser returns must .*{got}.*, {shown(denoiser.t)}$"
    assert re.search(told, str(caught.value)), caught.value


@settings(deadline=None)
@given(st.sampled_from(sorted(USES)), st.sampled_from([np.nan, np.inf, -np.inf]), st.data())
def test_a_denoiser_that_is_not_finite_at_any_call_and_place(use, bad, data):
    """The time is that of the first example that is wrong."""
    place = []

    def spoilt(y):
        i, j = data.draw(st.integers(0, len(y) - 1)), data.draw(st.integers(0, D - 1))
        y[i, j], y[i:, -1] = bad, bad
        place[:] = i, j
        return y

    denoiser = Misbehaves(data.draw(st.integers(0, CALLS[use] - 1)), spoilt)
    with pytest.raises(ValueError) as caught:
        USES[use](VDM(denoiser, SCHEDULE, DECODER))
    told = (f"what the denoiser returns must be finite, got {bad} at index {tuple(place)}, "
            f"asked at t = {denoiser.t[place[0]]}")
    assert str(caught.value).endswith(told), (caught.value, told)


@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_what_is_right_in_another_form(dtype):
    """Byte-swapped, read-only and not contiguous results are what they say."""
    def other(theta, x, t):
        y = np.zeros((D, len(x)), dtype)
        y[:] = 0.5 * stop_gradient(x).T
        y.flags.writeable = False
        return y.T

    for name, use in USES.items():
        if name != "flow_log_prob":  # there it is differentiated
            expected = use(VDM(lambda theta, x, t: 0.5 * x, SCHEDULE, DECODER))
            for got, right in zip(use(VDM(other, SCHEDULE, DECODER)), expected, strict=True):
                got, right = (a[-1] if isinstance(a, tuple) else a for a in (got, right))
                np.testing.assert_array_equal(got, right, err_msg=name)


# ---------------------------------------------------------------- what else is brought


class Logits:
    """A denoiser with logits of its own, and an expectation of them."""

    def __init__(self, logits, expectation=None):
        self.its, self.mean = logits, expectation

    def __call__(self, theta, x, t):
        return 0.5 * x

    def logits(self, theta, x, t):
        return self.its(np.zeros((*x.shape, 3)))

    def __getattr__(self, name):
        if name == "expectation" and self.mean is not None:
            return self.mean
        raise AttributeError(name)


def put(index, value):
    def f(y):
        y[index] = value
        return y

    return f


LEVELS = CategoricalDecoder([-1.0, 0.0, 1.0])
ON_LEVELS = np.sign(X)


def test_logits_and_their_expectation():
    for bad, error, message in [
            (put((1, 0, 2), np.nan), ValueError, r"below inf, got nan at index \(1, 0, 2\), asked at t = 1$"),
            (put((2, 1, 0), np.inf), ValueError, r"below inf, got inf at index \(2, 1, 0\), asked at t = 1$"),
            (lambda y: y + 0j, TypeError, "got dtype complex128; take its real part, asked at t = 1$"),
            (lambda y: None, TypeError, "got NoneType, asked at t = 1$"),
            (lambda y: y[:, 0], ValueError, r"have shape \(3, 2, K\), got \(3, 3\), asked at t = 1$")]:
        with pytest.raises(error, match=r"what denoiser\.logits returns must .*" + message):
            VDM(Logits(bad), SCHEDULE, LEVELS).elbo(None, ON_LEVELS, eps=EPS)
    with pytest.raises(ValueError,
                       match=r"what denoiser\.expectation returns must have shape \(3, 2\), got \(3, 2, 3\)"):
        VDM(Logits(lambda y: y, lambda y: y), SCHEDULE, LEVELS).elbo(None, ON_LEVELS, eps=EPS)
    with pytest.raises(ValueError,
                       match=r"what denoiser\.expectation returns must be finite, got inf at index \(0, 0\)"):
        VDM(Logits(lambda y: y, lambda y: y[..., 0] + np.inf), SCHEDULE, LEVELS).elbo(None, ON_LEVELS, eps=EPS)


def test_a_logit_may_be_minus_infinity():
    """A level that cannot be: the others share what it had."""
    vdm = VDM(Logits(put((..., 1), -np.inf)), SCHEDULE, LEVELS)
    np.testing.assert_allclose(vdm.elbo(None, np.ones((N, D)), eps=EPS).reconstruction, D * np.log(0.5))
    assert np.all(vdm.elbo(None, np.zeros((N, D)), eps=EPS).reconstruction == -np.inf)


class Decoder:
    def __init__(self, log_prob=None, sample=None):
        self.returned = log_prob
        if sample is not None:
            self.sample = lambda x_1, prediction, schedule, eps: sample(x_1)

    def log_prob(self, x_0, x_1, prediction, schedule):
        return self.returned(np.zeros(len(x_0)))


def half(theta, x, t):
    return 0.5 * x


@pytest.mark.parametrize("use", ["elbo", "elbo_estimate", "elbo_forms", "evaluate"])
def test_decoders(use):
    for bad, error, message in [(put(1, np.nan), ValueError, r"must be below inf, got nan at index \(1,\)$"),
                                (put(0, np.inf), ValueError, r"must be below inf, got inf at index \(0,\)$"),
                                (lambda y: y.sum(), TypeError, "must be an array of floats, got float64"),
                                (lambda y: y[:, None], ValueError, r"must have shape \((3|2),\), got \(\1, 1\)"),
                                (lambda y: y.astype(int), TypeError, "got dtype int64"),
                                (lambda y: np.ma.array(y), TypeError, "got a masked array"),
                                (lambda y: None, TypeError, "got NoneType")]:
        with pytest.raises(error, match=r"what decoder\.log_prob returns .*" + message):
            USES[use](VDM(half, SCHEDULE, Decoder(bad)))
    assert np.all(USES["elbo"](VDM(half, SCHEDULE, Decoder(lambda y: y - np.inf))).total == -np.inf)


@pytest.mark.parametrize("use", ["sample", "ddim_sample"])
def test_draws_of_decoders(use):
    for bad, error, message in [(lambda x: x[0], ValueError, r"must have shape \(3, 2\), got \(2,\)"),
                                (lambda x: x / 0.0, ValueError, r"must be finite, got -?inf at index \(0, 0\)"),
                                (lambda x: x.astype(int), TypeError, "got dtype int64")]:
        with pytest.raises(error, match=r"what decoder\.sample returns .*" + message), np.errstate(all="ignore"):
            USES[use](VDM(half, SCHEDULE, Decoder(sample=bad)))
    with pytest.raises(TypeError, match=r"VDM: decoder\.sample must be callable as sample\(x_1, .*\), got NoneType"):
        USES[use](VDM(half, SCHEDULE, Decoder()))


def test_networks():
    def net(bad):
        return lambda theta, x, level: bad(np.zeros((len(x), theta["n"])))

    bias = {"network": {"n": 3 * D}, "bias": np.zeros(3)}
    for theta, make in (({"n": D}, lambda f: RegressionDenoiser(f, SCHEDULE)),
                        (bias, lambda f: CategoricalDenoiser(f, SCHEDULE, [-1.0, 0.0, 1.0]))):
        for bad, error, message in [
                (put((2, 1), np.nan), ValueError, r"must be finite, got nan at index \(2, 1\), asked at t = 4$"),
                (lambda y: y[:, :1], ValueError, r"must have shape \(3, [26]\), got \(3, 1\), asked at t = 2\.\.4$"),
                (lambda y: y.astype(int), TypeError, "got dtype int64; .*, asked at t = 2..4$"),
                (lambda y: None, TypeError, "got NoneType, asked at t = 2..4$")]:
            with pytest.raises(error, match="what the network returns .*" + message):
                make(net(bad))(theta, X, np.array([2, 3, 4]))
    with pytest.raises(ValueError,
                       match=r"what the network returns must be finite, got nan at index \(0, 0\), asked at t = 3"):
        ConvertedDenoiser(lambda theta, x, t: x * np.nan, SCHEDULE, "eps")(None, X, 3)
    for shape in ((), (1,), (1, 3), (3, D), (N, D, 3)):
        with pytest.raises(ValueError, match=r"theta\['bias'\] must have shape \(3,\) or \(2, 3\), got"):
            CategoricalDenoiser(net(lambda y: y), SCHEDULE, LEVELS.levels)(bias | {"bias": np.zeros(shape)}, X, 2)
    got = CategoricalDenoiser(net(lambda y: y), SCHEDULE, LEVELS.levels)(bias | {"bias": np.zeros((D, 3))}, X, 2)
    np.testing.assert_array_equal(got, CategoricalDenoiser(net(lambda y: y), SCHEDULE, LEVELS.levels)(bias, X, 2))


def test_data_that_are_no_levels_are_not_left_out_of_the_frequencies():
    class Net:
        def init(self, rng, dtype):
            return {}

        def __call__(self, theta, x, level):
            return x

    denoiser = CategoricalDenoiser(Net(), SCHEDULE, LEVELS.levels)
    with pytest.raises(ValueError, match="CategoricalDenoiser: x_0 must hold levels only, got 2 other numbers"):
        denoiser.init(rng, np.array([[0.0, 1.0], [0.5, 1.0 + 1e-12]]))
    assert denoiser.init(rng, ON_LEVELS)["bias"].shape == (D, 3)


def test_a_base():
    for bad, error, message in [(lambda x: x, ValueError, r"must have shape \(3,\), got \(3, 2\)"),
                                (lambda x: x[:, 0] * np.nan, ValueError, r"must be below inf, got nan at index \(0,\)"),
                                (lambda x: 0.0, TypeError, "must be an array of floats, got float"),
                                (lambda x: x[:, 0] + 0j, TypeError, "got dtype complex128")]:
        with pytest.raises(error, match="what base returns .*" + message):
            flow_log_prob(VDM(half, SCHEDULE, DECODER), None, X, base=bad, rtol=1e-2)
    minus = flow_log_prob(VDM(half, SCHEDULE, DECODER), None, X, base=lambda x: np.full(N, -np.inf), rtol=1e-2)
    assert np.all(minus == -np.inf)


def test_a_learned_schedule_and_a_learned_variance_of_ones_own():
    class Variance(LearnedVariance):
        def __call__(self, parameters, schedule):
            return np.array([0.0, np.nan, 0.0])

    class Levels(LearnedSchedule):
        def __call__(self, parameters):
            return self.gamma_1

    with pytest.raises(ValueError, match=r"what the learned variance returns must be finite, got nan at index \(1,\)"):
        VDM(half, SCHEDULE, DECODER, Variance(T)).elbo({"denoiser": None, "variance": None}, X, eps=EPS)
    with pytest.raises(TypeError, match="what the learned schedule returns must be a Schedule, got float"):
        VDM(half, Levels(T), DECODER).elbo({"denoiser": None, "schedule": None}, X, eps=EPS)
    learned = VDM(half, SCHEDULE, DECODER, LearnedVariance(T))
    with pytest.raises(ValueError,
                       match=r"LearnedVariance: parameters\['raw'\] must be finite, got nan at index \(2,\)"):
        learned.elbo({"denoiser": None, "variance": {"raw": np.array([0, 0, np.nan])}}, X, eps=EPS)


# ---------------------------------------------------------------- gradients and trial steps


def tanh(theta, x, t):
    return np.tanh(theta * x)


@pytest.mark.parametrize("use, argument", [
    (lambda theta: flow_log_prob(VDM(tanh, SCHEDULE, DECODER), theta, X), "flow_log_prob: theta"),
    (lambda theta: flow_log_prob(VDM(half, SCHEDULE, DECODER), {"a": [theta]}, X), "flow_log_prob: theta"),
    (lambda theta: flow_sample(VDM(tanh, SCHEDULE, DECODER), theta, (N, D), x_T=X), "flow_sample: theta"),
    (lambda theta: flow_log_prob(VDM(tanh, SCHEDULE, DECODER), 0.5, theta * X), "flow_log_prob: x"),
    (lambda theta: flow_sample(VDM(tanh, SCHEDULE, DECODER), 0.5, (N, D), x_T=theta * X), "flow_sample: x_T"),
    (lambda theta: VDM(tanh, SCHEDULE, LEVELS).sample(theta, (N, D), x_T=X, eps=EPS),
     "the probabilities and eps of a discrete draw"),
    (lambda theta: GaussianDenoiser(np.zeros(D), np.eye(D), SCHEDULE).sample_posterior(X, 2, theta * X),
     "the probabilities and eps of a discrete draw")])
def test_a_gradient_that_would_be_lost_is_refused(use, argument):
    with pytest.raises(TypeError, match=f"^{argument} would lose its gradient: .*; stop_gradient makes it a constant$"):
        grad(lambda theta: np.sum(use(theta)))(np.array(0.5))
    assert np.all(np.isfinite(use(0.5)))


def test_the_terms_one_by_one_keep_their_gradient():
    vdm, weights = VDM(tanh, SCHEDULE, DECODER), np.arange(T + 1.0)[:, None]
    check_vjp(lambda theta: np.sum(weights * vdm.kl_per_t(theta, X, eps=EPS, rows=4)), np.array(0.5))
    check_vjp(lambda theta: sum(np.sum(t * x) for t, x in ancestral_path(vdm, theta, (N, D), x_T=X, eps=EPS)),
              np.array(0.5))


def test_a_step_too_long_is_the_solvers_to_try_again():
    """A state that overflowed is not the denoiser's fault: it is not asked, and the slope is nan. A denoiser that is
    wrong where the state is finite is named."""
    flow = velocity(VDM(half, SCHEDULE, DECODER).at(None))
    for bad in (np.inf, np.nan):
        x = put((1, 1), bad)(X.copy())
        assert np.isnan(flow(x, np.array(0.0), ())).all()
        value, _ = vjp(lambda x: flow(x, np.array(0.0), ()), x)
        assert np.isnan(value).all() and value.shape == X.shape
    with pytest.raises(SolverError):
        flow_sample(VDM(half, SCHEDULE, DECODER), None, (N, D), x_T=X, max_steps=1)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_byte_order_of_the_data_changes_no_noise(dtype):
    vdm, data = VDM(half, SCHEDULE, DECODER), X.astype(dtype)
    swapped = data.astype(data.dtype.newbyteorder())
    for f in (lambda x: evaluate(vdm, None, x, progress=False), lambda x: vdm.elbo(None, x, np.random.default_rng(1)),
              lambda x: [vdm.sample(None, (N, D), np.random.default_rng(1), x_T=x)],
              lambda x: [vdm.sample({"W": x}, (N, D), np.random.default_rng(1))]):
        for got, expected in zip(f(swapped), f(data), strict=True):
            assert got.dtype == expected.dtype == data.dtype
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("use", sorted(USES))
@pytest.mark.parametrize("theta", [{}, None])
def test_a_denoiser_that_misses_its_parameters_is_named_and_when(use, theta):
    class Keyed(Misbehaves):
        def __call__(self, _, x, t):
            self.t = np.asarray(t)
            return theta["W1"] * x

    denoiser = Keyed(-1, None)
    told = "KeyError: 'W1'" if theta == {} else "TypeError: 'NoneType' object is not subscriptable"
    with pytest.raises((TypeError, ValueError)) as caught:
        USES[use](VDM(denoiser, SCHEDULE, DECODER))
    assert re.search(f"the denoiser raised {told}, {shown(denoiser.t)}$", str(caught.value)), caught.value


def test_an_assignment_in_a_denoiser_keeps_its_advice():
    """NumPy hides what the Tensor said, the model hides what NumPy said."""
    def denoiser(theta, x, t):
        y = np.zeros(x.shape)
        y[0, 0] = theta
        return y
    with pytest.raises(TypeError, match=r"cannot be written into an array .* np.stack or np.concatenate"):
        grad(lambda theta: np.sum(VDM(denoiser, SCHEDULE, DECODER).elbo(theta, X, eps=EPS).total))(0.5)
