"""The public callables of flows, networks, optimisers, Gaussians, hierarchical VAEs and data, with valid arguments."""
import numpy as np
from wrong_arguments import KINDS, case, others

from refvdm.datasets import Crescents, Ring, digits, scale_levels
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow, Split, Squeeze, bits_per_dim, dequantize
from refvdm.gaussian import (
    expm1_minus,
    kl_normal,
    kl_normal_full,
    log_normal,
    log_normal_full,
    sum_per_example,
)
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.nn import MLP, time_features
from refvdm.optim import EMA, Adam

X, Y = np.linspace(-1, 1, 12).reshape(3, 4), np.linspace(0, 2, 12).reshape(3, 4)
IMAGE = np.linspace(-1, 1, 32).reshape(2, 2, 2, 4)
LAYERS = {layer: layer.init(np.random.default_rng(1)) for layer in (PLU(4), ActNorm(4), AffineCoupling(4, hidden=5))}
FLOW, NET = Flow(list(LAYERS)), MLP((4, 3, 2))
THETA, WEIGHTS = list(LAYERS.values()), NET.init(np.random.default_rng(2))
RNG, DTYPE = ("rng", None), ("dtype", float)
# the last element of a triangle is never read; the tanh of infinity is 1
UNREAD = ", ".join(f"{key}: {bad}" for key in ("lower", "upper") for bad in ("nan", "inf", "-inf"))
SATURATED = ", ".join(f"{key}: {bad}" for key in ("W1", "b1", "W2", "b2") for bad in ("inf", "-inf"))

KINDS["sizes"] = (others("34", (3,), (), (3, 0), (3, 2.0), (3, True), (3, "2"), (3, None), X, {1: 2}), lambda s: [
    ("a list", list(s)), ("np.int64", tuple(map(np.int64, s)))])
KINDS["one shape"] = (others("34", (3.0, 4), (-3, 4), (True, 4), ("3", 4), (None, 4), X, {3: 4}), lambda s: [
    ("a list", list(s)), ("np.int64", tuple(map(np.int64, s)))])
KINDS["layers"] = (others("ab", PLU(2), {}, [None], [PLU], [PLU(2), 3], [lambda x: x], [Flow], np.array(1), []),
                   lambda layers: [("a tuple", tuple(layers))])
KINDS["latents"] = (others("ab", {}, [X], [X, X, X], [], [None, None], [X, X[:, :2]], [X, np.ma.array(X)], [X, X + 0j],
                           [X, X * np.nan], [X, "a"]), lambda zs: [("a tuple", tuple(zs)), ("an array", np.stack(zs))])
KINDS["conditionals"] = (others(len, {}, [None], [3], []), lambda parts: [("a tuple", tuple(parts))])

# ---------------------------------------------------------------- flows

RIGHT_OF = {"PLU": [("theta", UNREAD), ("theta", "sign: negative")], "AffineCoupling": [("theta", SATURATED)],
            "ActNorm": []}
for layer, theta in LAYERS.items():
    kind = type(layer).__name__
    for method, x in (("forward", "x"), ("inverse", "y")):
        of_layer = getattr(layer, method)
        case(f"{kind}.{method}", lambda theta, of_layer=of_layer, **x: of_layer(theta, *x.values()), *RIGHT_OF[kind],
             theta=("parameters", theta), **{x: ("rows", X)})
    case(f"{kind}.init", lambda rng, dtype, layer=layer: layer.init(rng, dtype=dtype),
         rng=("any", None) if kind == "ActNorm" else RNG, dtype=DTYPE)
    case(f"{kind}.output_shape", layer.output_shape, shape=("one shape", (3, 4)))
case("PLU", lambda d: PLU(d).init(np.random.default_rng(0)), d=("integer", 3))
case("PLU.from_matrix", PLU.from_matrix, ("W", "list"), W=("floats", np.eye(3) + 0.1))
for method in ("matrix", "sign", "log_det"):
    case(f"PLU.{method}", getattr(PLU(4), method), ("theta", UNREAD), ("theta", "sign: negative"),
         theta=("parameters", THETA[0]))
case("ActNorm", lambda d: ActNorm(d).init(None), d=("integer", 3))
case("ActNorm.init, data", lambda data: ActNorm(4).init(None, data), data=("rows?", X))
case("AffineCoupling", lambda d, hidden, swap, bound: AffineCoupling(d, hidden, swap, bound).init(
     np.random.default_rng(0)), d=("integer", 3), hidden=("integer", 4), swap=("flag", True), bound=("positive", 1.5))
case("Flow", lambda layers: len(Flow(layers).layers), layers=("layers", list(LAYERS)))
case("Flow.init", FLOW.init, rng=RNG, data=("rows?", X), dtype=DTYPE)
case("Flow.forward", FLOW.forward, theta=("thetas", THETA), x=("rows", X))
case("Flow.inverse", FLOW.inverse, theta=("thetas", THETA), z=("rows", X))
case("Flow.output_shape", FLOW.output_shape, shape=("one shape", (3, 4)))
case("Flow.log_prob", FLOW.log_prob, theta=("thetas", THETA), x=("rows", X))
case("Flow.sample", FLOW.sample, theta=("thetas", THETA), shape=("one shape", (3, 4)), rng=RNG)
case("Flow.sample, z", lambda z: FLOW.sample(THETA, (3, 4), z=z), z=("rows", X))
HALF = Split(PLU(2), (4,))
HALF_THETA = HALF.init(np.random.default_rng(0))
case("Split", lambda flow, shape: Split(flow, shape).init(np.random.default_rng(0)), flow=("object", PLU(2)),
     shape=("one shape", (4,)))
case("Split.init", HALF.init, rng=RNG, data=("rows?", X), dtype=DTYPE)
case("Split.forward", HALF.forward, *RIGHT_OF["PLU"], theta=("parameters", HALF_THETA), x=("rows", X))
case("Split.inverse", HALF.inverse, *RIGHT_OF["PLU"], theta=("parameters", HALF_THETA), y=("rows", X))
case("Split.output_shape", HALF.output_shape, shape=("one shape", (4,)))
case("Squeeze", lambda factor: Squeeze(factor).forward({}, IMAGE), factor=("integer", 2))
case("Squeeze.init", Squeeze().init, rng=("any", None))
case("Squeeze.forward", Squeeze().forward, theta=("any", {}), x=("rows", IMAGE))
case("Squeeze.inverse", Squeeze().inverse, theta=("any", {}), y=("rows", IMAGE))
case("Squeeze.output_shape", Squeeze().output_shape, shape=("one shape", (2, 2, 1)))
case("bits_per_dim", bits_per_dim, log_prob=("elements", X), dimensions=("positive", 4.0), bin_width=("positive", 0.5))
case("dequantize", dequantize, x=("levels", np.array([0, 1, 3])), levels=("integer", 4), rng=RNG)
case("dequantize, u", lambda u: dequantize(np.array([0, 1, 3]), 4, u=u), u=("reals", np.array([0.1, 0.2, 0.9])))

# ---------------------------------------------------------------- networks, optimisers, Gaussians, data

case("MLP", lambda sizes, activation: MLP(sizes, activation).init(np.random.default_rng(0)), sizes=("sizes", (4, 3, 2)),
     activation=("word", "silu"))
case("MLP.init", NET.init, rng=RNG, dtype=DTYPE)
case("MLP.__call__", NET, theta=("weights", WEIGHTS), x=("unseen", X))
case("time_features", time_features, ("t", "0, after T, negative, longer, an axis more"),
     t=("real times", np.array([2, 3, 4])), n=("integer", 4), lowest=("positive", 0.5), highest=("positive", 1.0),
     dtype=DTYPE)
TREE = {"W": X, "b": X[0]}
ADAM, AVERAGE = Adam(0.01, weight_decay=0.1), EMA(0.5)
case("Adam", lambda **a: list(vars(Adam(**a)).values()), learning_rate=("positive", 0.5), beta_1=("number", 0.25),
     beta_2=("number", 0.5), epsilon=("positive", 0.5), weight_decay=("number", 0.5), cosine_steps=("integer?", 3))
case("Adam.init", ADAM.init, theta=("tree", TREE))
case("Adam.rate", Adam(0.5, cosine_steps=3).rate, n=("integer", 2))
case("Adam.update", ADAM.update, theta=("tree beside", TREE), grads=("tree beside", TREE),
     state=("adam", ADAM.init(TREE)))
case("EMA", lambda decay: EMA(decay).decay, decay=("number", 0.5))
case("EMA.init", AVERAGE.init, theta=("tree", TREE))
case("EMA.update", AVERAGE.update, state=("tree beside", TREE), theta=("tree beside", TREE))
case("EMA.value", AVERAGE.value, state=("tree", TREE))
case("log_normal", log_normal, **dict.fromkeys(("x", "mean", "log_var"), ("elements", X)))
case("kl_normal", kl_normal, **dict.fromkeys(("mean_q", "log_var_q", "mean_p", "log_var_p"), ("elements", X)))
case("expm1_minus", expm1_minus, d=("elements", X))
case("sum_per_example", sum_per_example, terms=("elements", X))
FACTOR = np.tril(np.eye(4) + 0.1)
case("log_normal_full", log_normal_full, x=("floats", X[0]), mean=("floats", Y[0]), factor=("floats", FACTOR))
case("kl_normal_full", kl_normal_full, mean_q=("floats", X[0]), factor_q=("floats", FACTOR), mean_p=("floats", Y[0]),
     factor_p=("floats", FACTOR + np.eye(4)))
case("digits", digits)
case("scale_levels", scale_levels, x=("levels", np.array([0, 1, 3])), levels=("integer", 4))
case("Ring", lambda **a: Ring(**a).means, n=("integer", 3), radius=("number", 2.0), deviation=("positive", 0.5))
case("Ring.sample", Ring().sample, ("n", "0"), n=("integer", 3), rng=RNG)
case("Ring.log_prob", Ring().log_prob, ("x", "an axis less"), x=("rows", X.reshape(6, 2)))
case("Crescents", lambda: Crescents().log_prob(X.reshape(6, 2)))
case("Crescents.sample", Crescents().sample, ("n", "0"), n=("integer", 3), rng=RNG)
case("Crescents.log_prob", Crescents().log_prob, ("x", "an axis less"), x=("rows", X.reshape(6, 2)))

KINDS["adam"] = (lambda state: [*KINDS["theta"][0](state), ("m: longer", state | {"m": np.ones(17)}),
                                ("step: -1", state | {"step": -1}),
                                ("v: masked", state | {"v": np.ma.array(state["v"])})],
                 lambda state: [("an int", state | {"step": 0})])

# ---------------------------------------------------------------- hierarchical VAEs

HVAE = MarkovianHVAE([GaussianConditional(f"q{t}", 4, 4, (3,)) for t in (1, 2)],
                     [GaussianConditional(f"p{t}", 4, 4, (3,)) for t in (1, 2)])
PARTS = HVAE.init(np.random.default_rng(3))
ENCODERS = {"theta": ("theta", {name: PARTS[name] for name in ("q1", "q2")}), "x": ("floats", X)}
DECODERS = {"theta": ("theta", {name: PARTS[name] for name in ("p1", "p2")})}
BOTH, ZS, MORE = {"theta": ("theta", PARTS), "x": ("floats", X)}, ("latents", [X, Y]), ("theta", "extra key")


def part(theta, z):
    return 0.5 * z, 0.0 * z


case("MarkovianHVAE", lambda encoders, decoders: MarkovianHVAE(encoders, decoders).elbo(None, X, eps=[X, Y]),
     encoders=("conditionals", [part, part]), decoders=("conditionals", [part, part]))
case("MarkovianHVAE.init", HVAE.init, rng=RNG, dtype=DTYPE)
case("MarkovianHVAE.elbo", HVAE.elbo, MORE, **BOTH, eps=ZS)
case("MarkovianHVAE.elbo, rng", lambda rng: HVAE.elbo(PARTS, X, rng), rng=RNG)
case("MarkovianHVAE.encode", HVAE.encode, MORE, **ENCODERS, eps=ZS)
case("MarkovianHVAE.importance_bound", HVAE.importance_bound, MORE, theta=BOTH["theta"],
     x=("rows", X), samples=("integer", 2), rng=RNG)
case("MarkovianHVAE.importance_bound, eps", lambda eps: HVAE.importance_bound(PARTS, X, 1, eps=eps),
     eps=("latents", [X[None], Y[None]]))
case("MarkovianHVAE.log_joint", HVAE.log_joint, MORE, **DECODERS, x=("floats", X), zs=ZS)
case("MarkovianHVAE.log_posterior", HVAE.log_posterior, MORE, **ENCODERS, zs=ZS)
case("MarkovianHVAE.sample", HVAE.sample, MORE, **DECODERS, shape=("one shape", (3, 4)), rng=RNG)
case("MarkovianHVAE.sample, eps", lambda z_T, eps: HVAE.sample(PARTS, (3, 4), z_T=z_T, eps=eps),
     ("z_T", "list"), z_T=("floats", X), eps=ZS)
case("MarkovianHVAE.ancestral_path", HVAE.ancestral_path, MORE, **DECODERS, shape=("one shape", (3, 4)), rng=RNG)
CONDITIONAL = GaussianConditional("q", 4, 2, (3,))
case("GaussianConditional", lambda **a: list(GaussianConditional(**a).init(np.random.default_rng(0)).values()),
     name=("text", "q"), n_in=("integer", 4), n_out=("integer", 3), hidden=("one shape", (3, 2)),
     max_log_var=("positive", 5.0), activation=("word", "relu"))
case("GaussianConditional.init", CONDITIONAL.init, rng=RNG, dtype=DTYPE)
case("GaussianConditional.__call__", CONDITIONAL, theta=("dict", {"q": CONDITIONAL.init(np.random.default_rng(0))}),
     z=("unseen", X))
