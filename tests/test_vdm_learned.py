"""A learned schedule: its ends, its rise, the gradients of the whole bound, and what learning it gains.

Means over Gaussian data and noise are exact: every pair of Gauss-Hermite nodes is one example,
and one noise serves all t.
"""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit, softmax

from refvdm.autodiff import check_vjp, value_and_grad
from refvdm.optim import Adam
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    ConvertedDenoiser,
    ExactDecoder,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    ancestral_path,
    elbo_forms,
)
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser, PointsDenoiser
from refvdm.vdm.network import CategoricalDenoiser, MLPNetwork, RegressionDenoiser

FORMS, ENDS = ["table", "network"], ["learned", "fixed"]


def softplus(x):
    return np.logaddexp(0, x)


@st.composite
def learned_schedules(draw):
    """(LearnedSchedule, random parameters of moderate size)."""
    gamma_1, width = draw(st.floats(-15, 5, allow_subnormal=False)), draw(st.floats(0.5, 25, allow_subnormal=False))
    learned = LearnedSchedule(draw(st.integers(2, 40)), gamma_1, gamma_1 + width, form=draw(st.sampled_from(FORMS)),
                              ends=draw(st.sampled_from(ENDS)), hidden=draw(st.integers(1, 8)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parameters = {name: value + rng.uniform(-2, 2, np.shape(value)) for name, value in learned.init(rng).items()}
    return learned, parameters


# ---------------------------------------------------------------- the schedule itself


@given(learned_schedules())
def test_rises_between_its_ends(case):
    """Strictly rising; fixed ends are the given floats bit for bit, learned ones gamma_1 and
    gamma_1 + exp(log_range)."""
    learned, parameters = case
    schedule = learned(parameters)
    assert isinstance(schedule, Schedule) and schedule.T == learned.T
    assert np.all(np.diff(schedule.gamma[1:]) > 0)
    if learned.ends == "fixed":
        assert schedule.gamma[1] == learned.gamma_1 and schedule.gamma[-1] == learned.gamma_T
    else:
        assert schedule.gamma[1] == parameters["gamma_1"]
        np.testing.assert_allclose(schedule.gamma[-1], parameters["gamma_1"] + np.exp(parameters["log_range"]),
                                   rtol=1e-14)


@given(learned_schedules())
def test_shape_between_the_ends(case):
    """Table: the running sum of softmax(increments). Network: l_1 + l_3(sigmoid(l_2(l_1))), shifted and scaled."""
    learned, p = case
    gamma = learned(p).gamma[1:]
    if learned.form == "table":
        expected = np.concatenate([[0], np.cumsum(softmax(p["increments"]))])
    else:
        def g(u):
            line = softplus(p["w1"]) * u + p["b1"]
            return line + sum(softplus(w3) * expit(softplus(w2) * line + b2)
                              for w2, b2, w3 in zip(p["w2"], p["b2"], p["w3"]))
        values = np.array([g(i / (learned.T - 1)) for i in range(learned.T)])
        expected = (values - values[0]) / (values[-1] - values[0])
    np.testing.assert_allclose((gamma - gamma[0]) / (gamma[-1] - gamma[0]), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("ends", ENDS)
@given(T=st.integers(2, 60), gamma_1=st.floats(-15, 5, allow_subnormal=False),
       width=st.floats(0.5, 25, allow_subnormal=False))
@settings(max_examples=20)
def test_init_is_linear_gamma(ends, T, gamma_1, width):
    """Exactly for the table; the network within 2% of the range."""
    rng = np.random.default_rng(T)
    expected = np.linspace(gamma_1, gamma_1 + width, T)
    table, network = (LearnedSchedule(T, gamma_1, gamma_1 + width, form=form, ends=ends) for form in FORMS)
    np.testing.assert_allclose(table(table.init(rng)).gamma[1:], expected, rtol=1e-13, atol=1e-13 * width)
    np.testing.assert_allclose(network(network.init(rng)).gamma[1:], expected, atol=0.02 * width)


def test_defaults_names_and_shapes_of_the_parameters():
    ends = {"gamma_1": (), "log_range": ()}
    network = {"w1": (), "b1": (), "w2": (32,), "b2": (32,), "w3": (32,)}
    for form, inner in (("table", {"increments": (7,)}), ("network", network)):
        for kind, outer in (("learned", ends), ("fixed", {})):
            learned = LearnedSchedule(8, form=form, ends=kind)
            parameters = learned.init(np.random.default_rng(0))
            assert {name: np.shape(value) for name, value in parameters.items()} == outer | inner
            assert all(np.asarray(value).dtype == np.float64 for value in parameters.values())
            np.testing.assert_allclose(learned(parameters).gamma[[1, 8]], [-7, 6], rtol=1e-14)
    assert LearnedSchedule(8).init(np.random.default_rng(0)).keys() == (ends | {"increments": ()}).keys()
    # l_1 is a line of slope softplus(1), the rest small
    p = LearnedSchedule(8, form="network", hidden=400).init(np.random.default_rng(0))
    assert p["w1"] == 1 and p["b1"] == 0 and abs(np.mean(p["w3"]) + 3 + np.log(400)) < 0.2
    assert np.any(p["w2"] != LearnedSchedule(8, form="network", hidden=400).init(np.random.default_rng(1))["w2"])


@settings(max_examples=12)
@given(learned_schedules())
def test_gradients_of_gamma(case):
    learned, parameters = case
    check_vjp(lambda p: learned(p).gamma[1:], parameters)


@pytest.mark.parametrize("T", [1, 0, 2.0, True, "4"])
def test_T_is_an_integer_of_at_least_2(T):
    with pytest.raises(ValueError, match="LearnedSchedule: T must be an integer of at least 2"):
        LearnedSchedule(T)


def test_errors_of_construction():
    LearnedSchedule(np.int64(2))
    for ends in ((1.0, 1.0), (2.0, 1.0), (-np.inf, 1.0), (1.0, np.inf), (np.nan, 1.0)):
        with pytest.raises(ValueError,
                           match=r"expected finite gamma_1 < gamma_T|gamma_[1T] must lie in \(-inf, inf\), got"):
            LearnedSchedule(5, *ends)
    with pytest.raises(ValueError, match="form must be one of table, network, got 'spline'"):
        LearnedSchedule(5, form="spline")
    with pytest.raises(ValueError, match="ends must be one of learned, fixed, got 'free'"):
        LearnedSchedule(5, ends="free")


def test_errors_of_the_parameters():
    learned = LearnedSchedule(5)
    parameters = learned.init(np.random.default_rng(0))
    wrong = [{}, None, 3.0, np.zeros(4), {"increments": np.zeros(4)}, parameters | {"increments": np.zeros(5)},
             parameters | {"more": np.zeros(1)}, parameters | {"gamma_1": np.zeros(1)}]
    for p in wrong:
        with pytest.raises(ValueError, match="LearnedSchedule: parameters must be a dict of shapes .*increments"):
            learned(p)
    with pytest.raises(ValueError, match=r"LearnedSchedule: parameters\['gamma_1'\] must be finite"):
        learned(parameters | {"gamma_1": np.array(np.nan)})
    with pytest.raises(ValueError, match="gamma must rise"):  # an increment that is lost to rounding
        learned(parameters | {"increments": np.array([0.0, -800.0, 0.0, 0.0])})


# ---------------------------------------------------------------- in a VDM


def problem(name, learned_variance=False, form="table", ends="learned"):
    """(vdm, theta, x_0) with everything learned, T = 4."""
    rng = np.random.default_rng(7)
    start, learned = Schedule.linear_gamma(4, -3, 3), LearnedSchedule(4, -2.5, 2.5, form=form, ends=ends, hidden=3)
    levels, x_0 = np.array([-1.0, 0.0, 1.0]), rng.choice([-1.0, 0.0, 1.0], (3, 2))
    network = MLPNetwork(2, 6 if name == "logits" else 2, 4, 1)
    grid = np.stack(np.meshgrid(levels, levels), -1).reshape(-1, 2)
    cov = np.array([[1.0, 0.4], [0.4, 0.7]])
    denoiser, decoder = {
        "gaussian": lambda: (RegressionDenoiser(network, start), GaussianDecoder(0.2)),
        "levels": lambda: (RegressionDenoiser(network, start), CategoricalDecoder(levels)),
        "logits": lambda: (CategoricalDenoiser(network, start, levels), CategoricalDecoder(levels)),
        "eps": lambda: (ConvertedDenoiser(lambda theta, x, t: np.tanh(theta["w"] * x), start, "eps"),
                        GaussianDecoder(0.2)),
        "score": lambda: (ConvertedDenoiser(lambda theta, x, t: np.tanh(theta["w"] * x), start, "score"),
                          CategoricalDecoder(levels)),
        "exact": lambda: (GaussianDenoiser([0.1, 0.2], cov, start),
                          ExactDecoder(GaussianDenoiser([0.1, 0.2], cov, start))),
        "mixture": lambda: (MixtureDenoiser([0.3, 0.7], [[0.0, 1.0], [1.0, 0.0]], [cov, np.eye(2)], start),
                            ExactDecoder(MixtureDenoiser([0.3, 0.7], [[0.0, 1.0], [1.0, 0.0]],
                                                         [cov, np.eye(2)], start))),
        "points": lambda: (PointsDenoiser(grid, start), ExactDecoder(PointsDenoiser(grid, start))),
    }[name]()
    theta = denoiser.init(rng, dtype=np.float64) if hasattr(denoiser, "init") else {"w": np.array(0.7)}
    for part in (theta.get("network", theta),):
        if "w" not in part:
            part[list(part)[-2]][:] = 0.5 * rng.standard_normal(part[list(part)[-2]].shape)
    schedule = {k: v + 0.3 * rng.standard_normal(np.shape(v)) for k, v in learned.init(rng).items()}
    theta = {"denoiser": theta, "schedule": schedule}
    if learned_variance:
        theta["variance"] = {"raw": rng.standard_normal(3)}
    variance = LearnedVariance(4) if learned_variance else "large" if name == "eps" else "small"
    return VDM(denoiser, learned, decoder, variance), theta, x_0


NAMES = ["gaussian", "levels", "logits", "eps", "score", "exact", "mixture", "points"]


@pytest.mark.parametrize("learned_variance", [False, True], ids=["fixed", "variance"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_of_the_whole_bound(name, learned_variance):
    """Reconstruction, prior and KL each and together, exact sum and estimate,
    in schedule, variance and denoiser; none is nan."""
    vdm, theta, x_0 = problem(name, learned_variance)
    eps, t = np.random.default_rng(1).standard_normal((4, *x_0.shape)), np.array([2, 4, 3])

    def exact_sum(theta):
        return tuple(vdm.elbo(theta, x_0, eps=eps))

    def estimate(theta):
        return tuple(vdm.elbo_estimate(theta, x_0, t=t, eps=eps[:2]))

    check_vjp(exact_sum, theta, rtol=2e-6, most=6)
    check_vjp(estimate, theta, rtol=2e-6, most=6)


@pytest.mark.parametrize("form, ends", [("network", "learned"), ("network", "fixed"), ("table", "fixed")])
def test_gradients_of_the_other_forms(form, ends):
    vdm, theta, x_0 = problem("gaussian", True, form, ends)
    eps = np.random.default_rng(1).standard_normal((4, *x_0.shape))
    check_vjp(lambda theta: tuple(vdm.elbo(theta, x_0, eps=eps)), theta, rtol=2e-6, most=6)


@pytest.mark.parametrize("i, name", [(0, "reconstruction"), (1, "prior_kl"), (2, "diffusion_kl")])
def test_every_term_depends_on_the_schedule(i, name):
    vdm, theta, x_0 = problem("levels")
    eps = np.random.default_rng(1).standard_normal((4, *x_0.shape))
    _, gradient = value_and_grad(lambda theta: np.sum(vdm.elbo(theta, x_0, eps=eps)[i]))(theta)
    assert abs(gradient["schedule"]["gamma_1"]) > 1e-4
    assert (np.abs(gradient["schedule"]["increments"]).max() > 1e-6) == (name == "diffusion_kl")


@pytest.mark.parametrize("name", NAMES)
def test_equals_the_model_with_that_schedule_fixed(name):
    """The learned schedule reaches denoiser and decoder: bound, terms, forms and samples are those of
    a VDM built on it."""
    vdm, theta, x_0 = problem(name)
    schedule, rng = vdm.schedule(theta["schedule"]), np.random.default_rng(4)
    decoder = vdm.decoder.with_schedule(schedule) if isinstance(vdm.decoder, ExactDecoder) else vdm.decoder
    fixed = VDM(vdm.denoiser.with_schedule(schedule), schedule, decoder, vdm.variance)
    eps, x_T = rng.standard_normal((4, *x_0.shape)), rng.standard_normal(x_0.shape)
    for f in (VDM.elbo, VDM.kl_per_t, elbo_forms):
        np.testing.assert_array_equal(f(vdm, theta, x_0, eps=eps), f(fixed, theta["denoiser"], x_0, eps=eps))
    path, expected = (dict(ancestral_path(v, p, x_0.shape, x_T=x_T, eps=eps))
                      for v, p in ((vdm, theta), (fixed, theta["denoiser"])))
    for t in range(5):
        np.testing.assert_array_equal(path[t], expected[t])
    # the parts given are untouched
    assert isinstance(vdm.denoiser.schedule, Schedule) and vdm.denoiser.schedule.gamma[1] == -3


def test_theta_needs_its_keys():
    vdm, theta, x_0 = problem("gaussian", True)
    eps = np.zeros((4, *x_0.shape))
    for wrong in (theta["denoiser"], None, {**theta, "more": 1}, {k: v for k, v in theta.items() if k != "variance"},
                  [theta]):
        with pytest.raises(ValueError, match=r"VDM: with a learned schedule and variance theta must be a dict "
                                             r"with the keys \['denoiser', 'schedule', 'variance'\], got"):
            vdm.elbo(wrong, x_0, eps=eps)
    vdm, theta, x_0 = problem("gaussian")
    with pytest.raises(ValueError, match=r"a learned schedule theta must .* the keys "
                                         r"\['denoiser', 'schedule'\], got \['denoiser'\]"):
        vdm.elbo({"denoiser": theta["denoiser"]}, x_0, eps=eps)
    with pytest.raises(ValueError, match="LearnedSchedule: parameters must be a dict"):
        vdm.elbo({**theta, "schedule": {"increments": np.zeros(2)}}, x_0, eps=eps)


# ---------------------------------------------------------------- what the shape is worth


def mean_terms(learned, parameters, s2):
    """The four terms of 13.24 averaged over N(0, s2) data and the noise."""
    z, w = hermegauss(4)
    x_0, eps = (np.reshape(g, (-1, 1)) for g in np.meshgrid(np.sqrt(s2) * z, z))
    start = Schedule.linear_gamma(learned.T, -1, 1)
    exact = GaussianDenoiser([0.0], [[s2]], start)
    vdm = VDM(exact, learned, ExactDecoder(exact))
    weights = np.outer(w, w).ravel() / (2 * np.pi)
    theta = {"denoiser": None, "schedule": parameters}
    terms = vdm.elbo(theta, x_0, eps=np.broadcast_to(eps, (learned.T, *eps.shape)))
    return [np.sum(weights * term) for term in terms]


def test_the_shape_does_not_matter_as_the_steps_go_to_0():
    """Two warps between the same ends: their diffusion terms differ by 1/T,
    and both tend to 1/2 log (1 + s² SNR_1)/(1 + s² SNR_T)."""
    s2, differences = 2.0, []
    limit = 0.5 * np.log((1 + s2 * np.exp(5)) / (1 + s2 * np.exp(-4)))
    for T in (50, 200, 800):
        learned, u = LearnedSchedule(T, -5, 4, ends="fixed"), np.linspace(0, 1, T)
        warps = 0.3 * u + 0.7 * u**2, np.sin(1.2 * u) / np.sin(1.2)
        first, second = (mean_terms(learned, {"increments": np.log(np.diff(w))}, s2)[2] for w in warps)
        differences.append(first - second)
        assert first > limit and second > limit and max(first, second) - limit < 40 / T
    np.testing.assert_allclose(differences[0] / differences[1], 4, rtol=0.15)
    np.testing.assert_allclose(differences[1] / differences[2], 4, rtol=0.04)
    assert abs(differences[0]) > 0.01


@pytest.mark.parametrize("form", FORMS)
def test_training_the_schedule_alone_raises_the_bound(form):
    """T = 6, N(0, 4) data, exact denoiser and decoder, ends fixed at -7 and 6,
    150 steps of Adam on the shape between them.

    Mean -ELBO from 14.92 nats (linear gamma) to 8.78, over an entropy of 2.11 and with a prior KL of 0.005: most of the
    range goes into the last step, gamma = -7, -5.32, -3.64, -1.94, -0.09, 6. Both forms find it.
    """
    learned = LearnedSchedule(6, -7, 6, form=form, ends="fixed", hidden=8)
    p, adam = learned.init(np.random.default_rng(0)), Adam(0.05)
    loss = value_and_grad(lambda p: -mean_terms(learned, p, 4.0)[3])
    state, first = adam.init(p), loss(p)[0]
    for _ in range(150):
        _, gradient = loss(p)
        p, state = adam.update(p, gradient, state)
    last = loss(p)[0]
    np.testing.assert_allclose([first, last], [14.92, 8.776], atol=0.02)
    assert 0.5 * np.log(2 * np.pi * np.e * 4) < last < first - 6
    np.testing.assert_allclose(learned(p).gamma[1:], [-7, -5.32, -3.64, -1.94, -0.09, 6], atol=0.05)
