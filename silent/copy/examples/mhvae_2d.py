"""A hierarchical VAE with three levels of learned latents, on a density in the plane that is known.

    python examples/mhvae_2d.py

Eight Gaussians on a ring; encoders and decoders are MLPs with mean and log-variance heads, trained
by the joint form of the bound, 13.21, with one sample of the latents for each x. Reported: how far
the bound, and the importance-weighted one, lie below the true log-likelihood.

Writes metrics.json, checkpoint.npz and pictures to --out: latents.png z_1, z_2, z_3 of the data;
path.png from z_3 down to x.
"""
import sys

import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.optim import EMA, Adam

NAME, LEVELS, HIDDEN = "mhvae_2d", 3, (48, 48)
PICTURES = ("latents.png", "path.png")
RING = Ring()


def model():
    return MarkovianHVAE(
        [GaussianConditional(f"q{t}", 2, 2, HIDDEN) for t in range(1, LEVELS + 1)],
        [GaussianConditional(f"p{t}", 2, 2, HIDDEN) for t in range(1, LEVELS + 1)])


def train(hvae, args, checkpoint):
    rng = np.random.default_rng(args.seed)
    held_out = RING.sample(4000, np.random.default_rng([args.seed, 1]))

    def loss(theta, rng):
        return -np.mean(hvae.elbo(theta, RING.sample(256, rng), rng))

    def validate(theta):
        return -float(np.mean(hvae.elbo(theta, held_out, np.random.default_rng([args.seed, 2]))))

    return fit(loss, hvae.init(rng), rng, steps=args.steps, ema=EMA(0.99),
               optimizer=Adam(4e-3, cosine_steps=args.steps),
               validate=validate, validate_every=max(1, args.steps // 15),
               checkpoint=checkpoint, settings={"seed": args.seed})


def measure(hvae, theta, seed):
    """How far the importance-weighted bounds lie below log p(x), nats; K = 1 is the ELBO."""
    x = RING.sample(2000, np.random.default_rng([seed, 3]))
    truth, rng = RING.log_prob(x), np.random.default_rng([seed, 4])
    gaps = {f"K={k}": experiment.mean_and_error(truth - hvae.importance_bound(theta, x, k, rng))
            for k in (1, 10, 50)}
    return {"gap_nats": {k: mean for k, (mean, _) in gaps.items()},
            "gap_standard_error": {k: error for k, (_, error) in gaps.items()},
            "entropy_estimate_nats": -float(truth.mean())}


def draw(plt, hvae, theta, args):
    """Every point has the colour of the Gaussian that its x is nearest to."""
    rng = np.random.default_rng([args.seed, 5])
    x = RING.sample(4000, rng)
    figure, all_axes = plt.subplots(1, LEVELS + 1, figsize=(4 * (LEVELS + 1), 4))
    for t, (axes, z) in enumerate(zip(all_axes, [x, *hvae.encode(theta, x, rng)])):
        title = f"z_{t} from q" if t else "data x"
        scatter(axes, z, x, title + (", prior N(0, I)" if t == LEVELS else ""))
    experiment.save_picture(plt, figure, args.out / "latents.png")

    path = list(hvae.ancestral_path(theta, (4000, 2), rng))
    figure, all_axes = plt.subplots(1, LEVELS + 2, figsize=(4 * (LEVELS + 2), 4))
    for axes, (t, z) in zip(all_axes, path):
        scatter(axes, z, path[-1][1], f"z_{t} from p" if t else "x from p")
    *_, model_axes, data_axes = all_axes
    data_axes.plot(*x.T, ".", ms=2, color="0.4")
    data_axes.set(title="data", aspect="equal",
                  xlim=model_axes.get_xlim(), ylim=model_axes.get_ylim())
    experiment.save_picture(plt, figure, args.out / "path.png")


def scatter(axes, z, x, title):
    axes.scatter(*z.T, c=common.nearest(x, RING.means), cmap="tab10", s=2)
    axes.set(title=title, aspect="equal")


def trial(args):
    with experiment.Run(NAME, args, PICTURES) as folder:
        hvae = model()
        run = train(hvae, args, folder.checkpoint)

        def closing(found):
            gaps = ", ".join(f"{gap:.3f} with {name}" for name, gap in found["gap_nats"].items())
            return (f"the bound lies below the true log-likelihood by {gaps} "
                    f"(nats; K = 1 is the ELBO)")

        folder.finish(lambda: measure(hvae, run.best, args.seed) | experiment.about(run),
                      lambda plt, found: draw(plt, hvae, run.best, args), closing)


def main(argv=None):
    return experiment.call(NAME, trial, experiment.arguments(NAME, __doc__, 2500), argv)


if __name__ == "__main__":
    sys.exit(main())
