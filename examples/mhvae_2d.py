"""A hierarchical VAE with three levels of learned latents, on a density in the plane that is known.

    python examples/mhvae_2d.py

Eight Gaussians on a ring; encoders and decoders are MLPs with mean and log-variance heads, trained by the joint form of the bound,
13.21, one sample per example. Reported: how far the bound, and the importance-weighted one, lie below the true log-likelihood.

Writes metrics.json, checkpoint.npz and pictures to --out: latents.png z_1, z_2, z_3 of the data; path.png from z_3 down to x.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these matrices are small: a second thread only waits

import sys

import numpy as np
from common import arguments, finished, guarded, pyplot, save_picture

from refvdm.autodiff import ravel
from refvdm.datasets import Ring
from refvdm.fit import fit
from refvdm.mhvae import GaussianConditional, MarkovianHVAE
from refvdm.optim import EMA, Adam

NAME, LEVELS, HIDDEN = "mhvae_2d", 3, (48, 48)
PICTURES = ("latents.png", "path.png")


def model():
    return MarkovianHVAE([GaussianConditional(f"q{t}", 2, 2, HIDDEN) for t in range(1, LEVELS + 1)],
                         [GaussianConditional(f"p{t}", 2, 2, HIDDEN) for t in range(1, LEVELS + 1)])


def run_it(args):
    data, hvae, rng = Ring(), model(), np.random.default_rng(args.seed)
    held_out = data.sample(4000, np.random.default_rng([args.seed, 1]))

    def validate(theta):
        return -float(np.mean(hvae.elbo(theta, held_out, np.random.default_rng([args.seed, 2]))))

    run = fit(lambda theta, rng: -np.mean(hvae.elbo(theta, data.sample(256, rng), rng)), hvae.init(rng), rng, steps=args.steps,
              optimizer=Adam(4e-3, cosine_steps=args.steps), ema=EMA(0.99), validate=validate, validate_every=max(1, args.steps // 15),
              checkpoint=args.out / "checkpoint.npz", settings={"seed": args.seed})

    def results():
        test = data.sample(2000, np.random.default_rng([args.seed, 3]))
        truth, rng = data.log_prob(test), np.random.default_rng([args.seed, 4])
        gaps = {f"K={k}": truth - hvae.importance_bound(run.best, test, k, rng) for k in (1, 10, 50)}
        draw(hvae, run.best, data, args)
        return {"gap_nats": {k: float(gap.mean()) for k, gap in gaps.items()},
                "gap_standard_error": {k: float(gap.std() / len(gap) ** 0.5) for k, gap in gaps.items()},
                "entropy_estimate_nats": -float(truth.mean()), "best_step": run.best_step, "steps": run.step, "seed": args.seed,
                "parameters": int(ravel(run.best)[0].size), "history": run.history}

    found = finished(args.out, results, PICTURES)
    rows = ", ".join(f"{gap:.3f} with {name}" for name, gap in found["gap_nats"].items())
    print(f"the bound lies below the true log-likelihood by {rows} (nats; K = 1 is the ELBO)")


def draw(hvae, theta, data, args):
    plt = pyplot()
    if plt is None:
        return
    rng = np.random.default_rng([args.seed, 5])
    x = data.sample(4000, rng)
    colour = np.argmin(np.linalg.norm(x[:, None] - data.means, axis=-1), axis=1)  # by the Gaussian that x belongs to
    figure, axes = plt.subplots(1, LEVELS + 1, figsize=(4 * (LEVELS + 1), 4))
    for t, (a, z) in enumerate(zip(axes, [x, *hvae.encode(theta, x, rng)])):
        a.scatter(*z.T, c=colour, cmap="tab10", s=2)
        a.set(title="data x" if t == 0 else f"z_{t} from q" + (", prior N(0, I)" if t == LEVELS else ""), aspect="equal")
    save_picture(plt, figure, args.out / "latents.png")

    path = list(hvae.ancestral_path(theta, (4000, 2), rng))
    colour = np.argmin(np.linalg.norm(path[-1][1][:, None] - data.means, axis=-1), axis=1)
    figure, axes = plt.subplots(1, LEVELS + 2, figsize=(4 * (LEVELS + 2), 4))
    for a, (t, z) in zip(axes, path):
        a.scatter(*z.T, c=colour, cmap="tab10", s=2)
        a.set(title=f"z_{t} from p" if t else "x from p", aspect="equal")
    axes[-1].plot(*x.T, ".", ms=2, color="0.4")
    axes[-1].set(title="data", aspect="equal", xlim=axes[-2].get_xlim(), ylim=axes[-2].get_ylim())
    save_picture(plt, figure, args.out / "path.png")
    print(f"pictures: {', '.join(PICTURES)}")


def main(argv=None):
    return guarded(NAME, arguments(NAME, __doc__, steps=2500).parse_args(argv), PICTURES, run_it)


if __name__ == "__main__":
    sys.exit(main())
