"""Every public callable of refvdm.vdm, given every kind of wrong argument: the call is right, or a TypeError or
ValueError names the argument. Nothing is silent, nothing is raw.

A case is a call with valid arguments, each with its kind; `wrong` says what is tried in the place of an argument of
that kind, and what may stand there in another form and must give the same result.
"""
import inspect
import re
import types

import numpy as np
import pytest

import refvdm.vdm
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    ConvertedDenoiser,
    DiscretizedGaussianDecoder,
    ExactDecoder,
    ExplodingDenoiser,
    GaussianDecoder,
    LearnedSchedule,
    LearnedVariance,
    Schedule,
    ancestral_path,
    continuous_kl,
    continuous_kl_quadrature,
    convert,
    ddim_path,
    ddim_sample,
    diffusion_kl,
    diffusion_kl_general,
    elbo_forms,
    evaluate,
    flow_log_prob,
    flow_sample,
    log_variance_between,
    log_variances,
    loss_weight,
    optimal_variance,
    prior_kl,
    q_marginal,
    q_posterior,
    q_step,
    sample_q,
    weighted_error,
)
from refvdm.vdm.denoiser import GaussianDenoiser, MixtureDenoiser, PointsDenoiser
from refvdm.vdm.network import AxialNetwork, CategoricalDenoiser, MLPNetwork, RegressionDenoiser

T, N, D = 4, 3, 4
SCHEDULE = Schedule.linear_gamma(T, -3.0, 3.0)
rng = np.random.default_rng(0)
X, X2, EPS = rng.standard_normal((N, D)), rng.standard_normal((N, D)), rng.standard_normal((T, N, D))
NET = AxialNetwork(2, 1, 2, 2)
DENOISER = RegressionDenoiser(NET, SCHEDULE)
LEARNED, VARIANCE = LearnedSchedule(T, -3.0, 3.0), LearnedVariance(T)
MODEL = VDM(DENOISER, LEARNED, GaussianDecoder(0.3), VARIANCE)
THETA = {"denoiser": NET.init(rng, np.float64), "schedule": LEARNED.init(rng), "variance": VARIANCE.init(rng)}
NAIVE = VDM(DENOISER, SCHEDULE, GaussianDecoder(0.3))
COV = np.diag([1.0, 2.0, 0.5, 1.0])
GAUSS = GaussianDenoiser(np.zeros(D), COV, SCHEDULE)
MIX = MixtureDenoiser([0.4, 0.6], np.stack([np.ones(D), -np.ones(D)]), [COV, np.eye(D)], SCHEDULE)
POINTS = PointsDenoiser(X, SCHEDULE)
LEVELS = np.array([-1.0, 0.0, 1.0])
THREE = np.array([2, 3, 4])


def seeded():
    return np.random.default_rng(1)


def arrays(result):
    """What a call gave, as a list of arrays."""
    if isinstance(result, dict):
        return [a for value in result.values() for a in arrays(value)]
    if isinstance(result, (tuple, list, types.GeneratorType)):
        return [a for value in result for a in arrays(value)]
    return [np.asarray(result)]


# ---------------------------------------------------------------- what is tried


class Foreign:
    """As torch's and jax's arrays look from outside: a shape, a dtype, and a way to NumPy."""

    def __init__(self, x):
        self.x, self.shape, self.dtype, self.ndim = x, x.shape, "torch.float64", x.ndim

    def __array__(self, dtype=None, copy=None):
        return self.x


def foreign(module):
    return type("Tensor", (Foreign,), {"__module__": module})


NOTHING = {"a string": "a", "a bool": True, "an object": object(), "a set": {1}}


def wrong_floats(x, *, fixed=True, finite=True):
    yield from NOTHING.items()
    yield from {"None": None, "int": 3, "float": 0.5, "list": x.tolist(), "complex": x + 0j, "integers": x.astype(int),
                "bools": x > 0, "strings": x.astype(str), "objects": x.astype(object), "masked": np.ma.array(x),
                "torch": foreign("torch")(x), "jax": foreign("jaxlib")(x), "0-d": np.array(0.5), "empty": x[:0]}.items()
    if x.ndim == 2:
        yield "matrix", x.view(np.matrix)
    for bad in (np.nan, np.inf, -np.inf):
        yield str(bad), np.where(np.arange(x.size).reshape(x.shape) == x.size - 1, bad, x)
    if fixed:
        yield from {"an axis more": x[..., None], "an axis less": x[0], "longer": np.concatenate([x, x])}.items()


def same_floats(x):
    spread = np.zeros((*x.shape, 2))
    spread[..., 1] = x
    locked = x.copy()
    locked.flags.writeable = False
    yield from {"read-only": locked, "not contiguous": spread[..., 1], "Fortran": np.asfortranarray(x),
                "byte-swapped": x.astype(x.dtype.newbyteorder())}.items()


def wrong_reals(x):
    for label, bad in wrong_floats(x):
        if label not in ("list", "integers", "torch", "jax"):
            yield label, bad


def same_reals(x):
    yield from same_floats(x)
    yield from {"list": x.tolist(), "tuple": tuple(x.tolist()), "torch": foreign("torch")(x)}.items()


def wrong_times(t):
    yield from NOTHING.items()
    yield from {"None": None, "float": 2.0, "floats": t + 0.0, "complex": t + 0j, "nan": t * np.nan, "bools": t > 0,
                "masked": np.ma.array(t), "strings": t.astype(str), "0": t * 0, "after T": t + T, "negative": -t,
                "longer": np.concatenate([t, t]), "an axis more": t[:, None], "empty": t[:0],
                }.items()


def same_times(t):
    yield from {"list": t.tolist(), "torch": foreign("torch")(t), "uint8": t.astype(np.uint8),
                "byte-swapped": t.astype(">i4"),
                "not contiguous": np.repeat(t, 2)[::2]}.items()


def wrong_real_times(t):
    for label, bad in wrong_times(t):
        if label not in ("float", "floats", "empty"):
            yield label, bad


def same_real_times(t):
    yield from same_times(t)
    yield from {"floats": t + 0.0, "float list": (t + 0.0).tolist()}.items()


def wrong_integer(n):
    yield from NOTHING.items()
    yield from {"None": None, "float": float(n), "half": n + 0.5, "digits": str(n), "0": 0, "negative": -n,
                "nan": np.nan,
                "complex": n + 0j, "array": np.array([n]), "list": [n]}.items()


def wrong_number(x):
    yield from NOTHING.items()
    yield from {"None": None, "digits": str(x), "nan": np.nan, "inf": np.inf, "-inf": -np.inf, "complex": x + 0j,
                "array": np.array([x]), "list": [x]}.items()


def wrong_shape(shape):
    yield from NOTHING.items()
    yield from {"None": None, "list": list(shape), "empty": (), "0": (0, *shape[1:]), "negative": (-1, *shape[1:]),
                "float": (2.0, *shape[1:]), "bool": (True, *shape[1:]), "int": 3, "inner 0": (3, 0),
                "array": np.array(shape)}.items()


def others(*bad):
    return lambda x: [*NOTHING.items(), *((repr(b)[:30], b) for b in (3, None, *bad))]


def wrong_theta(theta):
    yield from NOTHING.items()
    yield from {"None": None, "no keys": {}, "array": X, "list": [theta], "extra key": {**theta, "more": X}}.items()
    for key in theta:
        yield f"without {key}", {k: v for k, v in theta.items() if k != key}
        for bad in (None, {}, "a", 0.5, X + 0j) if key != "denoiser" or theta is THETA else ():
            yield f"{key} = {bad!r}"[:30], {**theta, key: bad}


def wrong_parameters(theta):
    """Of a leaf: dict of arrays."""
    yield from wrong_theta(theta)
    for key, x in theta.items():
        for label, bad in wrong_floats(np.asarray(x)) if np.ndim(x) else ():
            yield f"{key}: {label}", {**theta, key: bad}


KINDS = {
    "floats": (wrong_floats, same_floats), "examples": (lambda x: wrong_floats(x, fixed=False), same_floats),
    "reals": (wrong_reals, same_reals), "times": (wrong_times, same_times),
    "real times": (wrong_real_times, same_real_times),
    "integer": (wrong_integer, lambda n: [("np.int64", np.int64(n)), ("np.uint8", np.uint8(n))]),
    "number": (wrong_number, lambda x: [("np.float64", np.float64(x)), ("np.longdouble", np.longdouble(x))]),
    "word": (others("foo", ["x_0"]), lambda x: []),
    "shape": (wrong_shape, lambda s: [("np.int64", tuple(map(np.int64, s)))]),
    "rng": (others(np.random, np.random.RandomState(0), 0), lambda x: []),
    "schedule": (others(SCHEDULE.gamma, Schedule), lambda x: []), "callable": (others(X), lambda x: []),
    "vdm": (others(X, VDM), lambda x: []), "theta": (wrong_theta, lambda x: []),
    "parameters": (wrong_parameters, lambda x: []),
}


# ---------------------------------------------------------------- what is called

CASES = {}


def case(name, call, **arguments):
    """arguments: name = (kind, a valid value); a "?" behind the kind: None is valid too."""
    CASES[name] = call, arguments


S, RNG = ("schedule", SCHEDULE), ("rng?", None)
X_0, FIXED, NOISE = ("examples", X), ("floats", X), ("floats?", EPS)
LEARN = {"vdm": ("vdm", MODEL), "theta": ("theta", THETA)}
FIXED_MODEL = {"vdm": ("vdm", NAIVE), "theta": ("theta", THETA["denoiser"])}

case("VDM", lambda denoiser, schedule, decoder, variance: VDM(denoiser, schedule, decoder, variance).at(None)[4],
     denoiser=("callable", GAUSS), schedule=S, decoder=("callable", GaussianDecoder(0.3)),
     variance=("reals", np.ones(T + 1)))
case("VDM.elbo", lambda **a: MODEL.elbo(**a), theta=LEARN["theta"], x_0=FIXED, eps=NOISE, rows=("integer", 5))
case("VDM.elbo drawn", lambda x_0, rng: NAIVE.elbo(THETA["denoiser"], x_0, rng), x_0=X_0, rng=("rng", None))
case("VDM.kl_per_t", lambda **a: MODEL.kl_per_t(**a), theta=LEARN["theta"], x_0=FIXED, eps=NOISE, rows=("integer", 5))
case("VDM.elbo_estimate", lambda **a: MODEL.elbo_estimate(**a), theta=LEARN["theta"], x_0=FIXED, t=("times", THREE),
     eps=("floats", EPS[:2]), times=("word", "uniform"))
case("VDM.sample", lambda **a: MODEL.sample(**a), theta=LEARN["theta"], shape=("shape", (N, D)), x_T=("floats", X),
     eps=("floats", EPS))
case("VDM.as_mhvae", lambda theta, x: MODEL.as_mhvae().elbo(theta, x, eps=list(EPS)), theta=LEARN["theta"],
     x=("any", X))
case("ancestral_path", lambda **a: [x for _, x in ancestral_path(**a)], **LEARN, shape=("shape", (N, D)),
     x_T=("floats", X), eps=("floats", EPS))
case("ddim_sample", ddim_sample, **LEARN, shape=("shape", (N, D)), steps=("integer?", 2), eta=("number", 0.5),
     x_T=("floats", X), eps=("floats", EPS[:3]))
case("ddim_path", lambda *given, **named: [x for _, x in ddim_path(*given, **named)][-1], **LEARN,
     shape=("shape", (N, D)), steps=("integer?", 2), eta=("number", 0.5), x_T=("floats", X), eps=("floats", EPS[:3]))
case("elbo_forms", elbo_forms, **LEARN, x_0=FIXED, eps=("floats", EPS))
case("continuous_kl", continuous_kl, **LEARN, x_0=FIXED, gamma=("reals", np.array([-2.0, 0.0, 2.5])),
     eps=("floats", EPS[0]))
case("continuous_kl_quadrature", lambda **a: continuous_kl_quadrature(**a).value, **LEARN, x_0=FIXED,
     eps=("floats", EPS[0]), nodes=("integer", 4))
case("evaluate", lambda **a: evaluate(**a, progress=False), **LEARN, data=X_0, seed=("integer", 3),
     chunk=("integer", 2),
     executor=("vdm?", None))
case("flow_sample", flow_sample, **FIXED_MODEL, shape=("shape", (N, D)), x_T=("floats", X), rtol=("number", 1e-3))
case("flow_log_prob", flow_log_prob, **FIXED_MODEL, x=X_0, base=("callable?", lambda x: np.sum(x, axis=1)),
     divergence=("word", "exact"), rtol=("number", 1e-3))
case("flow_log_prob, hutchinson", lambda **a: flow_log_prob(NAIVE, THETA["denoiser"], X, divergence="hutchinson", **a),
     probes=("floats?", np.sign(X)))

case("q_step", q_step, schedule=S, x_prev=X_0, t=("times", THREE - 1))
case("q_marginal", q_marginal, schedule=S, x_0=X_0, t=("times", THREE - 1))
case("q_posterior", q_posterior, schedule=S, x_t=FIXED, x_0=("floats", X2), t=("times", THREE))
case("sample_q", sample_q, schedule=S, x_0=FIXED, t=("times", THREE), eps=("floats", EPS[0]))
case("prior_kl", prior_kl, schedule=S, x_0=X_0)
case("diffusion_kl", diffusion_kl, schedule=S, x_0=FIXED, x_0_hat=("floats", X2), t=("times", THREE))
case("diffusion_kl_general", diffusion_kl_general, schedule=S, x_t=FIXED, x_0=("floats", X2),
     x_0_hat=("floats", EPS[0]),
     t=("times", THREE), log_var_p=("reals", EPS[1]))
case("convert", convert, value=FIXED, x_t=("floats", X2), t=("real times", THREE), schedule=S, source=("word", "eps"),
     target=("word", "v"))
case("loss_weight", loss_weight, schedule=S, t=("times", THREE), x_0=X_0, parametrisation=("word", "v"))
case("weighted_error", weighted_error, schedule=S, truth=FIXED, prediction=("floats", X2), t=("times", THREE),
     parametrisation=("word", "v"))
case("optimal_variance", optimal_variance, schedule=S, posterior_variance=("reals", np.arange(T + 1.0)))
case("ConvertedDenoiser", lambda network, schedule, parametrisation, x_t, t:
     ConvertedDenoiser(network, schedule, parametrisation)(None, x_t, t),
     network=("callable", lambda theta, x, t: x / 2),
     schedule=S, parametrisation=("word", "eps"), x_t=X_0, t=("real times", THREE))
case("ExplodingDenoiser", lambda network, schedule, x_t, t: ExplodingDenoiser(network, schedule)(None, x_t, t),
     network=("callable", lambda theta, x, sigma: x / 2), schedule=S, x_t=X_0, t=("real times", THREE))

case("Schedule", lambda gamma: Schedule(gamma).gamma, gamma=("reals", np.arange(4.0)))
case("Schedule.from_betas", lambda betas: Schedule.from_betas(betas).gamma, betas=("reals", np.full(4, 0.5)))
case("Schedule.from_alpha_bars", lambda alpha_bars: Schedule.from_alpha_bars(alpha_bars).gamma,
     alpha_bars=("reals", np.array([0.9, 0.5, 0.2, 0.1])))
case("Schedule.rescale_zero_terminal_snr", lambda: SCHEDULE.rescale_zero_terminal_snr().gamma)
case("Schedule.from_alphas", lambda alphas: Schedule.from_alphas(alphas).gamma, alphas=("reals", np.full(4, 0.5)))
case("Schedule.linear_beta", lambda **a: Schedule.linear_beta(**a).gamma, T=("integer", 5), beta_1=("number", 1e-3),
     beta_T=("number", 0.25))
case("Schedule.cosine", lambda **a: Schedule.cosine(**a).gamma, T=("integer", 5), s=("number", 0.125),
     max_beta=("number", 0.5))
case("Schedule.linear_gamma", lambda **a: Schedule.linear_gamma(**a).gamma, T=("integer", 5), gamma_1=("number", -2.0),
     gamma_T=("number", 3.0))
case("Schedule.from_sigmas", lambda sigmas: Schedule.from_sigmas(sigmas).gamma,
     sigmas=("reals", np.array([0.5, 1.0, 4.0])))
case("Schedule.gamma_at", SCHEDULE.gamma_at, t=("real times", THREE))
case("Schedule.scales_at", lambda t: SCHEDULE.scales_at(t, X), t=("real times", THREE))
case("LearnedSchedule", lambda T, gamma_1, gamma_T, form, ends, hidden, parameters: LearnedSchedule(
     T, gamma_1, gamma_T, form=form, ends=ends, hidden=hidden)(parameters).gamma, T=("integer", T),
     gamma_1=("number", -3.0), gamma_T=("number", 3.0), form=("word", "table"), ends=("word", "learned"),
     hidden=("integer", 4), parameters=("parameters", THETA["schedule"]))
case("LearnedSchedule.init", lambda rng: LearnedSchedule(T, form="network").init(rng), rng=("rng", None))
case("LearnedVariance", lambda T, parameters, schedule: LearnedVariance(T)(parameters, schedule), T=("integer", T),
     parameters=("parameters", THETA["variance"]), schedule=S)
case("LearnedVariance.init", VARIANCE.init, rng=("any", None))
case("GaussianDecoder", lambda variance: GaussianDecoder(variance).variance, variance=("number", 0.25))
case("log_variances", lambda schedule: np.array(log_variances(schedule)), schedule=S)
case("log_variance_between", log_variance_between, schedule=S, share=X_0, t=("times", THREE - 1))
case("DiscretizedGaussianDecoder", lambda levels, variance: DiscretizedGaussianDecoder(levels, variance).levels,
     levels=("reals", LEVELS), variance=("number", 0.25))
case("CategoricalDecoder", lambda levels: CategoricalDecoder(levels).levels, levels=("reals", LEVELS))
case("ExactDecoder", lambda denoiser: VDM(GAUSS, SCHEDULE, ExactDecoder(denoiser)).elbo(None, X, eps=EPS),
     denoiser=("callable", GAUSS))

case("GaussianDenoiser", lambda mean, cov, schedule: GaussianDenoiser(mean, cov, schedule)(None, X, 2),
     mean=("reals", np.arange(4.0)), cov=("reals", COV), schedule=S)
case("MixtureDenoiser", lambda **a: MixtureDenoiser(**a)(None, X, 2),
     weights=("reals", np.array([0.25, 0.75])), means=("reals", np.eye(4)[:2]),
     covs=("reals", np.stack([COV, np.eye(D)])), schedule=S)
case("PointsDenoiser", lambda points, schedule, weights: PointsDenoiser(points, schedule, weights)(None, X, 2),
     points=("reals", np.eye(4)[:2]), schedule=S, weights=("reals?", np.array([0.25, 0.75])))
for exact in (GAUSS, MIX, POINTS):
    name = type(exact).__name__
    asked = {"x_t": X_0, "t": ("real times", THREE)}
    case(f"{name}.__call__", lambda x_t, t, exact=exact: exact(None, x_t, t), **asked)
    case(f"{name}.posterior_variance", exact.posterior_variance, **asked)
    case(f"{name}.log_prob", exact.log_prob, **asked)
    case(f"{name}.log_posterior", exact.log_posterior, x_0=FIXED, x_t=("floats", X2), t=("real times", THREE))
    case(f"{name}.sample_posterior", exact.sample_posterior, x_t=("floats", X2), t=("real times", THREE), eps=FIXED)
    if exact is not POINTS:
        case(f"{name}.log_prob_data", exact.log_prob_data, x_0=X_0)
case("PointsDenoiser.log_masses", POINTS.log_masses, **asked)

case("MLPNetwork", lambda **a: MLPNetwork(**a).mlp.sizes,
     D=("integer", 3), n_out=("integer", 2), hidden=("integer", 4), layers=("integer", 2), activation=("any", "tanh"))
case("MLPNetwork.init", lambda rng, dtype: MLPNetwork(2, 2).init(rng, dtype), rng=("rng", None), dtype=("dtype", float))
case("AxialNetwork", lambda **a: AxialNetwork(**a)._shapes["in"]["W"], side=("integer", 2), n_out=("integer", 1),
     channels=("integer", 2), layers=("integer", 2))
case("AxialNetwork.init", NET.init, rng=("rng", None), dtype=("dtype", float))
case("AxialNetwork.__call__", NET, theta=("theta", THETA["denoiser"]), x=X_0,
     level=("floats", rng.standard_normal((N, 8))))
case("RegressionDenoiser", lambda network, schedule: RegressionDenoiser(network, schedule)(THETA["denoiser"], X, THREE),
     network=("callable", NET), schedule=S)
case("RegressionDenoiser.__call__", DENOISER, theta=("theta", THETA["denoiser"]), x_t=X_0, t=("real times", THREE))
case("RegressionDenoiser.init", DENOISER.init, rng=("rng", None), dtype=("dtype", float))
CATEGORICAL = CategoricalDenoiser(AxialNetwork(2, 3, 2, 2), SCHEDULE, LEVELS)
ITS_THETA = CATEGORICAL.init(rng, dtype=float)
case("CategoricalDenoiser", lambda network, schedule, levels: CategoricalDenoiser(network, schedule, levels)(
     ITS_THETA, X, THREE), network=("callable", CATEGORICAL.network), schedule=S, levels=("reals", LEVELS))
for method in ("__call__", "logits"):
    case(f"CategoricalDenoiser.{method}", getattr(CATEGORICAL, method), theta=("theta", ITS_THETA), x_t=X_0,
         t=("real times", THREE))
case("CategoricalDenoiser.init", CATEGORICAL.init, rng=("rng", None), x_0=("examples?", np.sign(X)),
     dtype=("dtype", float))

KINDS["any"] = (lambda x: [], lambda x: [])
KINDS["dtype"] = (lambda x: [("int", int), ("a string", "foo"), ("an object", object()), ("complex", complex)],
                  lambda x: [("f8", "f8"), ("byte-swapped", ">f8")])

# What is right although it looks wrong: (case, argument, what is tried)
RIGHT = {
    ("evaluate", "seed", "0"), ("CategoricalDenoiser.init", "x_0", "empty"),
    ("MLPNetwork", "layers", "0"), ("Schedule.from_alphas", "alphas", "longer"),
    ("Schedule.from_betas", "betas", "longer"),
    ("flow_sample", "rtol", "array"), ("Schedule", "gamma", "inf"), ("flow_log_prob", "rtol", "array"),
    *(("diffusion_kl_general", "log_var_p", label) for label in ("int", "float", "0-d", "an axis less")),
    *((f"Schedule.{table}", "t", label) for table in ("gamma_at", "scales_at") for label in ("longer", "an axis more")),
    *(("LearnedSchedule", "parameters", f"{end} = 0.5") for end in ("gamma_1", "log_range")),
    *((f"{name}.log_prob_data", "x_0", "empty") for name in ("GaussianDenoiser", "MixtureDenoiser")),
}


# Two shapes that do not fit each other: the error may name either
SHAPES = {"an axis more", "an axis less", "longer", "empty", "0-d", "int", "float"}


def expand():
    for name, (_, arguments) in CASES.items():
        for argument, (kind, value) in arguments.items():
            yield pytest.param(name, argument, kind.rstrip("?"), value, kind[-1] == "?", id=f"{name}: {argument}")


@pytest.mark.parametrize("name, argument, kind, value, optional", list(expand()))
def test_right_or_refused_by_name(name, argument, kind, value, optional):
    call, arguments = CASES[name]
    valid = {key: v for key, (_, v) in arguments.items()}

    def result(given):
        given = {**valid, argument: given}
        if arguments.get("rng", ("",))[0] == "rng" and argument != "rng":
            given["rng"] = seeded()
        with np.errstate(all="raise"):
            return arrays(call(**given))

    wrong, same = KINDS[kind]
    expected = result(seeded() if kind == "rng" else value)
    assert all(np.isfinite(a[~np.isnan(a) & (a != -np.inf)]).all() for a in expected)
    for label, other in same(value):
        for got, right in zip(result(other), expected, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-12, err_msg=f"{name}, {argument} as {label}")
    also = {"theta": ["parameters"], "denoiser": ["x_0_hat"]}.get(argument, [])
    for label, bad in wrong(value):
        if label == "None" and optional:
            continue
        try:
            result(bad)
        except (TypeError, ValueError) as error:
            names = [argument, *also, *(arguments if label in SHAPES else ())]
            named = re.search(rf"\b({'|'.join(names)})\b", str(error))
            assert named, f"{name}: {argument} = {label} is refused without a name: {error}"
        else:
            assert (name, argument, label) in RIGHT, f"{name}: {argument} = {label} is silent"


def test_nobody_is_forgotten():
    without_arguments = {"ELBO", "Forms", "Integral", "Prediction", "EvaluationError"}  # records of results
    assert set(refvdm.vdm.__all__) - without_arguments <= set(CASES)
    checked_before = {"at", "step", "with_schedule", "snr_lost", "features_at"}
    for cls in (VDM, Schedule, LearnedSchedule, LearnedVariance, GaussianDenoiser, MixtureDenoiser, PointsDenoiser,
                RegressionDenoiser, CategoricalDenoiser, MLPNetwork, AxialNetwork):
        own = {f"{cls.__name__}.{name}" for name, f in inspect.getmembers(cls, callable) if name[0] != "_"}
        assert own - set(CASES) <= {f"{cls.__name__}.{name}" for name in checked_before | {"expectation"}}
