"""The public callables of gradients, ODEs, training, checkpoints, experiments, the lecture and the conformance checks,
with valid arguments."""
import argparse
import tempfile
from pathlib import Path

import numpy as np
from wrong_arguments import KINDS, NOTHING, case, foreign, others, seeded

from refvdm import autodiff, experiment
from refvdm.checkpoint import load_checkpoint, save_checkpoint
from refvdm.conformance import check, implemented, operations, pytest_function
from refvdm.fit import Fit, fit
from refvdm.lecture import equations
from refvdm.lock import exclusive
from refvdm.ode import MLPField, adjoint, gradient_report, odeint, solve
from refvdm.optim import EMA, Adam

FOLDER = Path(tempfile.mkdtemp())
X, SQUARE = np.linspace(-1, 1, 12).reshape(3, 4), np.tril(np.linspace(1, 2, 9).reshape(3, 3))
TREE = {"W": X, "b": X[0]}
RNG, DTYPE = ("rng", None), ("dtype", float)


def squares(tree):
    return np.sum(np.square(tree["W"])) + np.sum(tree["b"] ** 3)


# ---------------------------------------------------------------- gradients

KINDS["argnum"] = (lambda x: [(repr(b)[:30], b) for b in (None, "a", 0.0, [0], (), (0, 0), (0.0,), True, 3, -3)],
                   lambda x: [("from behind", -2)])
KINDS["axis"] = (lambda x: [(repr(b)[:30], b) for b in ("a", 0.5, 7, -7, object(), [0.5])],
                 lambda x: [("from behind", -2), ("np.int64", np.int64(0))])
KINDS["any float array"] = (lambda x: [(label, bad) for label, bad in KINDS["elements"][0](x) if label != "list"],
                            KINDS["elements"][1])
KINDS["function"] = (others(), lambda x: [])


def two(f):
    return lambda tree, x: f(tree) + np.sum(x)


for name in ("grad", "value_and_grad"):
    make = getattr(autodiff, name)
    case(name, lambda f, argnum, make=make: make(f, argnum)(TREE, X[0]), f=("function", two(squares)),
         argnum=("argnum", 0))
    case(f"{name}, of", lambda tree, make=make: make(squares)(tree), tree=("tree", TREE))
case("value_and_grad, has_aux", lambda has_aux: autodiff.value_and_grad(lambda x: (np.sum(x), x), has_aux=has_aux)(X),
     has_aux=("flag", True))
case("jacobian", lambda f, argnum: autodiff.jacobian(f, argnum)(X[0], X[1]), f=("function", lambda x, y: x * y),
     argnum=("argnum", 0))
case("vjp", lambda f, primal, cotangent: autodiff.vjp(f, primal)[1](cotangent),
     ("cotangent", "list, torch, jax, nan, inf, -inf"), f=("function", lambda t: t["W"] * 2),
     primal=("tree", TREE), cotangent=("floats", X))
case("check_vjp", lambda f, primal: autodiff.check_vjp(f, primal) or 0, f=("function", squares), primal=("tree", TREE))
case("check_vjp, options", lambda **a: autodiff.check_vjp(np.sin, X, **a) or 0, ("rtol", "0"), ("atol", "0"),
     method=("word", "central"), rtol=("positive?", 0.5), atol=("positive?", 0.5), step=("positive?", 2.0**-10),
     most=("integer", 100), rng=("rng?", None))
case("defvjp", lambda function, pull: autodiff.defvjp(function, pull)(X), function=("function", lambda x: 2 * x),
     pull=("function", lambda y_bar, y, x: 2 * y_bar))
case("linear", autodiff.linear, ("x", "complex"), ("W", "complex"), ("b", "complex"),
     x=("unseen", X), W=("weight", np.linspace(0, 1, 8).reshape(4, 2)),
     b=("weight", np.array([0.5, 1.0])), activation=("word", "silu"))
for name in ("logsumexp", "log_softmax"):
    case(name, getattr(autodiff, name), ("x", "complex"), x=("any float array", X),
         axis=("axis", 0))
case("logsumexp, keepdims", lambda keepdims: autodiff.logsumexp(X, 0, keepdims), keepdims=("flag", True))
case("ravel", lambda tree: autodiff.ravel(tree)[0], tree=("tree", TREE))
case("ravel, back", lambda flat: autodiff.ravel(TREE)[1](flat), ("flat", "nan, inf, -inf"),
     flat=("floats", np.arange(16.0)))
case("solve_triangular", autodiff.solve_triangular, ("a", "complex"), ("b", "complex, an axis more"),
     a=("floats", SQUARE.T), b=("floats", np.array([1.0, 2.0, 3.0])),
     trans=("trans", 0), lower=("flag", False), unit_diagonal=("flag", False))
case("stop_gradient", autodiff.stop_gradient, tree=("any", TREE))
case("tree_leaves", lambda tree: [leaf for _, leaf in autodiff.tree_leaves(tree)], tree=("any", TREE))
case("tree_map", lambda f, tree: autodiff.tree_map(f, tree), f=("function", np.sin), tree=("any", TREE))
KINDS["trans"] = (others("X", 7, 0.5), lambda x: [("N", "N")])
KINDS["weight"] = (lambda x: [pair for pair in KINDS["floats"][0](x) if pair[0] not in ("nan", "inf", "-inf")],
                   KINDS["floats"][1])

# ---------------------------------------------------------------- ODEs


def field(z, t, theta):
    return -z * theta["k"]


K, TS = {"k": np.array([0.5, 1.0, 1.5, 2.0])}, np.array([0.0, 0.5, 1.0])
IVP = {"f": ("function", field), "z0": ("state", X), "ts": ("instants", TS), "theta": ("any", K)}
KINDS["state"] = (lambda x: [(label, bad) for label, bad in KINDS["examples"][0](x) if label not in (
    "float", "list", "0-d", "torch")] + [("ragged", [[1.0, 2.0], [1.0]]), ("a half", x.astype(np.float16))],
    lambda x: [*KINDS["floats"][1](x), ("a list", x.tolist())])
KINDS["tree state"] = (lambda z: [*KINDS["tree"][0](z), ("one a float32", {**z, "b": z["b"].astype(np.float32)})],
                       KINDS["tree"][1])
KINDS["instants"] = (lambda x: [(label, bad) for label, bad in KINDS["reals"][0](x) if label != "longer"] + [
    ("disordered", x[[0, 2, 1]])], KINDS["reals"][1])
KINDS["limit"] = (lambda x: [pair for pair in KINDS["positive"][0](x) if pair[0] != "inf"], KINDS["positive"][1])
OPTIONS = {"method": ("word", "dopri5"), "rtol": ("tolerance", 1e-4), "atol": ("tolerance", 1e-6),
           "controller": ("word", "scipy"), "max_steps": ("integer", 200)}
KINDS["tolerance"] = (lambda x: [pair for pair in KINDS["positive"][0](x) if pair[0] != "array"],
                      lambda x: [*KINDS["positive"][1](x), ("an array", np.array(x))])
case("solve", lambda **a: solve(**a).zs, **IVP, **OPTIONS, first_step=("positive?", 0.25),
     max_step=("limit", 0.5), dense=("flag", True))
case("solve, step", lambda step: solve(field, X, TS, K, step=step).zs, step=("positive?", 0.25))


def of_tree(z, t, theta):
    return {key: -x for key, x in z.items()}


case("solve, a tree", lambda z0: solve(of_tree, z0, TS).zs, ("z0", "int"), z0=("tree state", TREE))
case("odeint, a tree", lambda z0: odeint(of_tree, z0, TS), ("z0", "int"), z0=("tree state", TREE))
case("TreeSolution.__call__", solve(of_tree, TREE, TS), ("t", "float, 0-d, empty, an axis less, longer"),
     t=("reals", np.array([0.25, 0.75])))
SOLUTION = solve(field, X, TS, K)
case("Solution.__call__", SOLUTION, ("t", "float, 0-d, empty, an axis less, longer"),
     t=("reals", np.array([0.25, 0.75])))


def gradients(**arguments):
    back = adjoint(**arguments)
    return back.z0, back.theta, back.ts


case("adjoint", gradients, f=IVP["f"], solution=("object", SOLUTION), zs_bar=("reals", SOLUTION.zs),
     mode=("word", "backsolve"), trajectory=("flag", True), seminorm=("flag", False), restart=("flag", False),
     rtol=("positive?", 1e-4), atol=("positive?", 1e-6),
     **{key: (f"{kind}?", value) for key, (kind, value) in OPTIONS.items() if key not in ("rtol", "atol")})
case("odeint", odeint, **IVP, **OPTIONS, gradient=("word", "discrete"),
     backward=("options?", None), first_step=("positive?", 0.25), max_step=("limit", 0.5))
KINDS["options"] = (others({"foo": 1}, {"rtol": "a"}, {"rtol": 1e-3}, [], {1: 2}), lambda x: [])
case("gradient_report", lambda **a: list(gradient_report(**a, rtol=0.1, atol=0.1).exact.ts), f=IVP["f"],
     z0=("state", X[0]), ts=("instants", TS), theta=IVP["theta"], zs_bar=("reals", SOLUTION.zs[:, 0]))
NET = MLPField((4, 3, 4), time=True)
WEIGHTS = NET.init(np.random.default_rng(0))
case("MLPField", lambda sizes, activation, time: list(MLPField(sizes, activation, time).init(seeded()).values()),
     sizes=("field sizes", (4, 3, 4)), activation=("word", "silu"), time=("flag", True))
KINDS["field sizes"] = (others("34", (3,), (), (3, 0, 3), (3, 2.0, 3), (3, 2), (True, True), X, {1: 2}),
                        lambda s: [("a list", list(s))])
case("MLPField.init", NET.init, rng=RNG, dtype=DTYPE)
case("MLPField.__call__", NET, z=("any", X), t=("any", np.array(0.5)), theta=("any", WEIGHTS))
case("MLPField.vjp", NET.vjp, z=("any", X), t=("any", np.array(0.5)), theta=("any", WEIGHTS), a=("any", X))

# ---------------------------------------------------------------- training, checkpoints, experiments


def loss(theta, rng):
    return np.sum(np.square(theta["W"])) + np.sum(theta["b"] ** 4)


def tried(loss, theta, **options):
    return fit(loss, theta, progress=False, **options)[:4]


case("fit", tried, loss=("function", loss), theta=("tree", TREE), rng=RNG, steps=("integer", 3),
     optimizer=("object", Adam(0.1)), ema=("object?", EMA(0.5)), validate=("function?", squares),
     validate_every=("integer", 2), checkpoint=("any", None), checkpoint_every=("integer?", 2),
     settings=("settings?", {"a": 1}))


def from_the_start(checkpoint):
    (FOLDER / "run.npz").unlink(missing_ok=True)
    return fit(loss, TREE, seeded(), steps=1, optimizer=Adam(), checkpoint=checkpoint, progress=False).theta


case("fit, checkpoint", from_the_start, checkpoint=("path?", FOLDER / "run.npz"))
case("fit, progress", lambda progress: fit(loss, TREE, seeded(), steps=1, optimizer=Adam(), progress=progress).theta,
     progress=("flag", False))
KINDS["settings"] = (others([1], {"a": np.ones(2)}, {"a": np.nan}, {"a": {1}}, {"a": 1j}), lambda x: [])
PATH = FOLDER / "one.npz"
save_checkpoint(PATH, TREE)
case("save_checkpoint", lambda path, tree: save_checkpoint(path, tree) or 0, path=("path", PATH), tree=("saved", TREE))
KINDS["saved"] = (lambda x: [(repr(b)[:30], b) for b in (
    object(), {1}, {"a": object()}, {"a": [np.ma.array(X)]}, {(1, 2): X}, {np.int64(1): X}, 1j, b"a", X.view(np.matrix),
    X.astype(str), X.astype(object), {"a": foreign("torch")(X)})], KINDS["tree"][1])
case("load_checkpoint", load_checkpoint, path=("path", PATH))
case("exclusive", lambda path, held: exclusive(path, held).__enter__, path=("any", FOLDER / "lock"),
     held=("any", FOLDER))

ARGS = argparse.Namespace(out=FOLDER / "run", seed=0, fresh=False, steps=3)
PARSER = experiment.arguments("ring", "About it.", 3)


def main(args):
    print(f"{args.steps} steps")


case("arguments", lambda name, description, steps: vars(experiment.arguments(name, description, steps).parse_args([]))[
     "steps"], name=("text", "ring"), description=("text?", "About it."), steps=("integer?", 3))
case("at_least", lambda low: experiment.at_least(low)("5"), ("low", "0, negative"), low=("integer", 2))
case("call", experiment.call, name=("text", "ring"), main=("function", main), parser=("object", PARSER),
     argv=("argv?", ["--steps", "3"]))
case("options", lambda parser, argv: vars(experiment.options(parser, argv))["steps"], parser=("object", PARSER),
     argv=("argv?", ["--steps", "3"]))
case("in_notebook", experiment.in_notebook)
case("guarded", experiment.guarded, name=("text", "ring"), main=("function", main), args=("any", ARGS))
case("Run", lambda name, args, pictures: experiment.Run(name, args, pictures).pictures == ("a.png",),
     name=("text", "ring"), args=("arguments", ARGS), pictures=("pictures", ["a.png"]))
KINDS["arguments"] = (lambda args: [*KINDS["object"][0](args), ("none", argparse.Namespace()),
                                    ("no seed", argparse.Namespace(out=args.out, fresh=False))],
                      lambda args: [("a folder's name", argparse.Namespace(**{**vars(args), "out": str(args.out)}))])
KINDS["argv"] = (others([1], "--steps"), lambda x: [("a tuple", tuple(x))])
KINDS["pictures"] = (others("a.png", [1], [None]), lambda x: [("a tuple", tuple(x))])


def finished(results, draw, closing):
    with experiment.Run("ring", argparse.Namespace(**{**vars(ARGS), "fresh": True})) as run:
        return run.finish(results, draw, closing)["gap"]


case("Run.finish", finished, results=("function", lambda: {"gap": 1.0}), draw=("function", lambda plt, found: None),
     closing=("function", lambda found: "done"))
RUN = experiment.Run("ring", argparse.Namespace(out=FOLDER, steps=2, seed=0, fresh=False))
RUN.checkpoint = None
case("Run.fit", lambda loss, theta, **a: RUN.fit(loss, theta, progress=False, **a)[:1], loss=("function", loss),
     theta=("tree", TREE), rng=RNG, settings=("settings?", {"a": 1}), optimizer=("object", Adam()))
case("whole", lambda path: experiment.whole(path).__enter__, path=("any", PATH))
FITTED = Fit(TREE, TREE, 0.5, 1, [], 3)
case("about", lambda trained: [experiment.about(trained)["parameters"]], trained=("object", FITTED))
case("mean_and_error", experiment.mean_and_error, ("x", "longer"), x=("reals", np.array([1.0, 2.0, 4.0])))
case("pyplot", lambda: 0)
case("save_picture", lambda plt, figure, path: 0, plt=("any", None), figure=("any", None), path=("any", PATH))

# ---------------------------------------------------------------- the lecture, conformance

case("equations", lambda: len(equations()))


class Ours:
    dtype = "float64"

    @staticmethod
    def gaussian_kl(mean_q, var_q, mean_p, var_p):
        return 0.5 * np.sum(np.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1, axis=1)


case("check", lambda **a: check(a.pop("adapter"), **{"only": ["gaussian_kl"], **a}), adapter=("any", Ours),
     only=("patterns", ["gaussian_kl"]), skip=("patterns", ["mlp*"]), expect_fail=("patterns", ["ddim*"]))
KINDS["patterns"] = (others("gaussian_kl", [1], [None]), lambda x: [("a tuple", tuple(x))])
case("implemented", lambda: len(implemented(Ours)))
case("pytest_function", lambda: pytest_function(Ours) is None)
assert operations and NOTHING
