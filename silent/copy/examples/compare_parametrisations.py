"""The four things that a diffusion model's network may predict, on one density: which learns best?

    python examples/compare_parametrisations.py

x_0, the noise eps, v and the score, 13.25 to 13.29, with equal networks, data and noise. Adam works
number by number, so that one loop over the sum of four losses trains as four loops would, and one
checkpoint holds all. Reported: how far each bound lies below the true log-likelihood.

Writes metrics.json, checkpoint.npz and gaps.png to --out. To try next: another density, another
`loss_weight`, your own parametrisation. Copy this file: it is the pattern of an experiment.
"""
import sys

import common  # noqa: F401  (before NumPy: one BLAS thread)
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, GaussianDecoder, Schedule, convert, evaluate
from refvdm.vdm.network import MLPNetwork

NAME, RING, KINDS = "compare_parametrisations", Ring(), ("x_0", "eps", "v", "score")
SCHEDULE = Schedule.linear_gamma(50, -5.0, 5.0)
NETWORK = MLPNetwork(2, 2, hidden=48, layers=2)


def model(kind):
    """A VDM whose network predicts `kind`; its denoiser turns that into x_0."""
    def denoiser(theta, x_t, t):
        predicted = NETWORK(theta, x_t, SCHEDULE.features_at(t, x_t))
        return convert(predicted, x_t, t, SCHEDULE, source=kind, target="x_0")
    return VDM(denoiser, SCHEDULE, GaussianDecoder(6e-3))


MODELS = {kind: model(kind) for kind in KINDS}


def trial(args):
    with experiment.Run(NAME, args, ["gaps.png"]) as folder:
        rng = np.random.default_rng(args.seed)
        start = NETWORK.init(rng, np.float64)

        def loss(theta, rng):
            x_0, seed = RING.sample(128, rng), int(rng.integers(2**32))
            losses = {kind: -np.mean(vdm.elbo_estimate(
                theta[kind], x_0, np.random.default_rng(seed), times="stratified").total)
                for kind, vdm in MODELS.items()}
            return sum(losses.values()), losses

        trained = fit(loss, {kind: start for kind in KINDS}, rng, steps=args.steps, ema=EMA(0.99),
                      optimizer=Adam(3e-3, cosine_steps=args.steps),
                      validate_every=max(1, args.steps // 20),
                      checkpoint=folder.checkpoint, settings={"seed": args.seed})

        def results():
            x = RING.sample(1000, np.random.default_rng([args.seed, 1]))
            gaps = {kind: experiment.mean_and_error(RING.log_prob(x) - evaluate(
                vdm, trained.best[kind], x, seed=args.seed, progress=False).total)
                for kind, vdm in MODELS.items()}
            return {"gap_nats": gaps, **experiment.about(trained)}

        folder.finish(results, lambda plt, found: draw(plt, found, folder.out), closing)


def draw(plt, found, out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for i, kind in enumerate(KINDS):
        gap, error = found["gap_nats"][kind]
        left.bar(i, gap, yerr=error, color=f"C{i}")
        right.plot([row["step"] for row in found["history"]],
                   [row[kind] for row in found["history"]], color=f"C{i}", label=kind)
    left.set(xticks=range(len(KINDS)), ylabel="gap of the bound, nats", title="after training")
    left.set_xticklabels(KINDS)
    right.set(xlabel="step", ylabel="negative bound, nats", title="while training")
    right.legend()
    experiment.save_picture(plt, figure, out / "gaps.png")


def closing(found):
    rows = [f"{kind:<10}{gap:>12.3f}{error:>18.3f}"
            for kind, (gap, error) in found["gap_nats"].items()]
    return "\n".join([f"{'predicted':<10}{'gap, nats':>12}{'standard error':>18}", *rows])


def main(argv=None):
    return experiment.call(NAME, trial, experiment.arguments(NAME, __doc__, 2000), argv)


if __name__ == "__main__":
    sys.exit(main())
