"""The four things that a diffusion model's network may predict, on one density: which learns best?

    python examples/compare_parametrisations.py    half a minute; --quick: does it run? --help

x_0, the noise eps, v and the score, 13.25 to 13.29, with equal networks, data and noise. Adam works
number by number, so that one loop over the sum of four losses trains as four loops would, and one
checkpoint holds all. Reported: how far each bound lies below the true log-likelihood.

Writes metrics.json, checkpoint.npz and gaps.png to --out. To try next: another density, another
`loss_weight`, a parametrisation of your own. Copy this file: it is the pattern of an experiment.
"""
# %% Options: those of the command line; in a notebook the defaults
import common  # noqa: F401  (before NumPy: one BLAS thread)
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, GaussianDecoder, Schedule, convert, evaluate
from refvdm.vdm.network import MLPNetwork

NAME = "compare_parametrisations"
args = experiment.options(experiment.arguments(NAME, __doc__, steps=2000))

# %% The models: one network each, whose prediction is turned into x_0
RING, KINDS = Ring(), ("x_0", "eps", "v", "score")
SCHEDULE, NETWORK = Schedule.linear_gamma(50, -5.0, 5.0), MLPNetwork(2, 2, hidden=48, layers=2)


def model(kind):
    def denoiser(theta, x_t, t):
        predicted = NETWORK(theta, x_t, SCHEDULE.features_at(t, x_t))
        return convert(predicted, x_t, t, SCHEDULE, source=kind, target="x_0")
    return VDM(denoiser, SCHEDULE, GaussianDecoder(6e-3))


MODELS = {kind: model(kind) for kind in KINDS}

# %% Training: the sum of the four, and each for the history


def loss(theta, rng):
    x_0, seed = RING.sample(128, rng), int(rng.integers(2**32))
    losses = {kind: -np.mean(vdm.elbo_estimate(
        theta[kind], x_0, np.random.default_rng(seed), times="stratified").total)
        for kind, vdm in MODELS.items()}
    return sum(losses.values()), losses


def train(run):
    rng = np.random.default_rng(args.seed)
    start = NETWORK.init(rng, np.float64)
    return run.fit(loss, {kind: start for kind in KINDS}, rng, ema=EMA(0.99),
                   optimizer=Adam(3e-3, cosine_steps=args.steps),
                   validate_every=max(1, args.steps // 20), unit="nats, four models together")


# %% What is measured, said and drawn


def gaps(theta, n):
    """{kind: (mean, standard error)} of log p(x) minus the bound, nats; equal x and noise."""
    x = RING.sample(n, np.random.default_rng([args.seed, 1]))
    return {kind: experiment.mean_and_error(RING.log_prob(x) - evaluate(
        vdm, theta[kind], x, seed=args.seed, progress=False).total)
        for kind, vdm in MODELS.items()}


def closing(found):
    rows = [f"{kind:<10}{gap:>12.3f}{error:>18.3f}"
            for kind, (gap, error) in found["gap_nats"].items()]
    return "\n".join([f"{'predicted':<10}{'gap, nats':>12}{'standard error':>18}", *rows])


def draw(plt, found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for i, (kind, (gap, error)) in enumerate(found["gap_nats"].items()):
        left.bar(i, gap, yerr=error, capsize=4)
        left.annotate(f"{gap:.2f}", (i, gap + error), xytext=(0, 4), textcoords="offset points",
                      ha="center")
        right.semilogy([row["step"] for row in found["history"]],
                       [row[kind] - found["entropy_nats"] for row in found["history"]], label=kind)
    left.set(ylabel="log p(x) - bound, nats", title="How far each bound ends below the truth")
    left.margins(y=0.15)
    left.set_xticks(range(len(KINDS)), KINDS)
    right.set(xlabel="step", ylabel="the same, nats", title="How fast each network learns")
    right.legend(title="the network predicts")
    return {"gaps.png": figure}


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["gaps.png"]) as run:
    trained = train(run)

    def results():
        entropy = -RING.log_prob(RING.sample(20_000, np.random.default_rng([args.seed, 2]))).mean()
        return {"gap_nats": gaps(trained.best, 100 if args.quick else 1000),
                "entropy_nats": float(entropy), **experiment.about(trained)}

    found = run.finish(results, draw, closing)
