"""The public callables of refvdm.vdm with valid arguments."""
import numpy as np
from wrong_arguments import KINDS, RIGHT, T, case, others, same_times

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

N, D = 3, 4
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

S, RNG = ("object", SCHEDULE), ("rng?", None)
X_0, FIXED, NOISE = ("examples", X), ("floats", X), ("floats?", EPS)
LEARN = {"vdm": ("object", MODEL), "theta": ("theta", THETA)}
FIXED_MODEL = {"vdm": ("object", NAIVE), "theta": ("theta", THETA["denoiser"])}

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
case("ddim_sample, times", lambda times, clip: ddim_sample(NAIVE, THETA["denoiser"], (N, D), x_T=X, eps=EPS[:3],
     times=times, clip=clip), times=("falling times?", [4, 2, 1]), clip=("bounds?", (-1.0, 1.0)))
KINDS["falling times"] = (others([4, 2.0, 1], [4, 4, 1], [1, 2, 4], [4], [], [[4, 1]], [5, 1], [4, 0], [4, -1],
                                 np.ma.array([4, 1]), np.array([4.0, 1.0]), [True, False], ["4", "1"]),
                          lambda times: [("a tuple", tuple(times)), *same_times(np.array(times))])
KINDS["bounds"] = (others((1, -1), (0, 0), (np.nan, 1), (None, 1), (-np.inf, 1), (-1, 1, 2), np.array([-1.0, 1.0]),
                          (True, 2), ("-1", "1"), (1j, 2)),
                   lambda clip: [("a list", list(clip)), ("integers", (-1, 1))])
case("ddim_path", lambda *given, **named: [x for _, x in ddim_path(*given, **named)][-1], **LEARN,
     shape=("shape", (N, D)), steps=("integer?", 2), eta=("number", 0.5), x_T=("floats", X), eps=("floats", EPS[:3]))
case("elbo_forms", elbo_forms, **LEARN, x_0=FIXED, eps=("floats", EPS))
case("continuous_kl", continuous_kl, **LEARN, x_0=FIXED, gamma=("reals", np.array([-2.0, 0.0, 2.5])),
     eps=("floats", EPS[0]))
case("continuous_kl_quadrature", lambda **a: continuous_kl_quadrature(**a).value, **LEARN, x_0=FIXED,
     eps=("floats", EPS[0]), nodes=("integer", 4))
case("evaluate", lambda **a: evaluate(**a, progress=False), **LEARN, data=X_0, seed=("integer", 3),
     chunk=("integer", 2),
     executor=("object?", None))
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
case("ConvertedDenoiser.__call__", lambda x_t, t: ConvertedDenoiser(lambda theta, x, t: x / 2, SCHEDULE, "eps")(
     None, x_t, t), x_t=X_0, t=("real times", THREE))
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
case("LearnedSchedule.__call__", lambda parameters: LEARNED(parameters).gamma,
     ("parameters", "gamma_1 = 0.5, log_range = 0.5"), parameters=("parameters", THETA["schedule"]))
case("LearnedVariance.__call__", VARIANCE, parameters=("parameters", THETA["variance"]), schedule=S)
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
SMALL = MLPNetwork(D, 2, 3, 2)
case("MLPNetwork.__call__", lambda theta, x, level: SMALL(theta, x, level), theta=("weights", SMALL.init(rng, float)),
     x=("any", X), level=("any", rng.standard_normal((N, 8))))
case("MLPNetwork.init", lambda rng, dtype: MLPNetwork(2, 2).init(rng, dtype), rng=("rng", None), dtype=("dtype", float))
case("AxialNetwork", lambda **a: AxialNetwork(**a)._shapes["in"]["W"], side=("integer", 2), n_out=("integer", 1),
     channels=("integer", 2), layers=("integer", 2), hidden=("integer", 3))
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

# What is right although it looks wrong: (case, argument, what is tried)
RIGHT.update({
    ("evaluate", "seed", "0"), ("CategoricalDenoiser.init", "x_0", "empty"),
    ("MLPNetwork", "layers", "0"), ("Schedule.from_alphas", "alphas", "longer"),
    ("Schedule.from_betas", "betas", "longer"),
    ("flow_sample", "rtol", "array"), ("Schedule", "gamma", "inf"), ("flow_log_prob", "rtol", "array"),
    *(("diffusion_kl_general", "log_var_p", label) for label in ("int", "float", "0-d", "an axis less")),
    *((f"Schedule.{table}", "t", label) for table in ("gamma_at", "scales_at") for label in ("longer", "an axis more")),
    *(("LearnedSchedule", "parameters", f"{end} = 0.5") for end in ("gamma_1", "log_range")),
    *((f"{name}.log_prob_data", "x_0", "empty") for name in ("GaussianDenoiser", "MixtureDenoiser")),
})
