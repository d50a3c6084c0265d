"""Maximum likelihood with PLU layers: a flow on a known density, or a Glow on the 8x8 digits.

    python examples/plu_flow.py                  two crescents in the plane, about a minute
    python examples/plu_flow.py --data digits    images, dequantised; test bits/dim

On the crescents the true log-likelihood is known: reported is the gap to it, in nats.

Writes metrics.json, checkpoint.npz and pictures to --out (default runs/plu_flow, with --data digits
runs/plu_flow_digits): density.png the data, the model's density and its samples; plu.png what the
first PLU layer does to the plane; with digits samples.png.
"""
import sys
from pathlib import Path

import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Crescents, digits
from refvdm.fit import fit
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow, Squeeze, bits_per_dim, dequantize
from refvdm.optim import EMA, Adam

NAME, LEVELS = "plu_flow", 17
PLANE, DIGITS = ("density.png", "plu.png"), ("samples.png",)


def glow_steps(d, n, hidden):
    """n Glow steps on d channels: ActNorm, PLU, coupling."""
    return [layer for i in range(n)
            for layer in (ActNorm(d), PLU(d), AffineCoupling(d, hidden, swap=i % 2 == 1))]


def train(flow, start, sample, validate, args, checkpoint, settings):
    """Maximise the mean log-likelihood of sample(rng); ActNorm is set on the data `start`."""
    rng = np.random.default_rng(args.seed)

    def loss(theta, rng):
        return -np.mean(flow.log_prob(theta, sample(rng)))

    return fit(loss, flow.init(rng, start), rng, steps=args.steps, ema=EMA(0.99),
               optimizer=Adam(settings["rate"], cosine_steps=args.steps),
               validate=validate, validate_every=max(1, args.steps // 15),
               checkpoint=checkpoint, settings={"seed": args.seed, **settings})


# ---------------------------------------------------------------- the plane


def plane(args):
    """Two crescents: the gap estimates KL(data to model), which is 0 only for the true density."""
    density, flow = Crescents(), Flow(glow_steps(2, 8, 32))
    held_out = density.sample(4000, np.random.default_rng([args.seed, 1]))
    truth = -float(np.mean(density.log_prob(held_out)))
    with experiment.Run(NAME, args, PLANE) as folder:
        run = train(flow, density.sample(1000, np.random.default_rng([args.seed, 2])),
                    lambda rng: density.sample(256, rng),
                    lambda theta: -float(np.mean(flow.log_prob(theta, held_out))),
                    args, folder.checkpoint, {"data": "crescents", "rate": 5e-3})
        test = density.sample(20_000, np.random.default_rng([args.seed, 3]))

        def results():
            mean, error = experiment.mean_and_error(
                density.log_prob(test) - flow.log_prob(run.best, test))
            return {"gap_nats": mean, "gap_standard_error": error, "validation_entropy_nats": truth,
                    **experiment.about(run)}

        def draw(plt, found):
            density_picture(plt, flow, run.best, density, test[:2000], args)
            plu_picture(plt, run.best[1], args.out)

        def closing(found):
            return (f"gap to the true density {found['gap_nats']:.3f} nats "
                    f"(standard error {found['gap_standard_error']:.3f}); the uniform density of "
                    f"the picture would have {np.log(64) - found['validation_entropy_nats']:.2f}")

        folder.finish(results, draw, closing)


def density_picture(plt, flow, theta, density, data, args):
    figure, (left, true, model, right) = plt.subplots(1, 4, figsize=(15, 4))
    common.show_density(true, density.log_prob, half=4, n=161, high=0.3)
    true.set_title("true density")
    common.show_density(model, lambda x: flow.log_prob(theta, x), half=4, n=161, high=0.3)
    model.set_title("model's density")
    samples = flow.sample(theta, (2000, 2), np.random.default_rng([args.seed, 4]))
    for axes, title, x in ((left, "data", data), (right, "samples", samples)):
        axes.plot(*x.T, ".", ms=2, color="C0")
        axes.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", title=title)
    experiment.save_picture(plt, figure, args.out / "density.png")


def plu_picture(plt, theta, out):
    """A grid and a mark that shows orientation, mapped by U, L U and P L U."""
    L = np.eye(2) + np.tril(theta["lower"], -1)
    U = np.triu(theta["upper"], 1) + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
    P = np.eye(2)[theta["perm"]]
    maps = (("x", np.eye(2)), ("U x: scales and shears", U),
            ("L U x: shears the other way", L @ U), ("P L U x = W x: permutes", P @ L @ U))
    upright = [np.stack([np.full(50, c), np.linspace(-2, 2, 50)]) for c in np.linspace(-2, 2, 9)]
    lines = upright + [line[::-1] for line in upright]
    mark = np.array([[0, 1, 1, 0.5, 0.5, 0, 0], [0, 0, 0.4, 0.4, 1.5, 1.5, 0]])
    figure, all_axes = plt.subplots(1, 4, figsize=(15, 4))
    for axes, (title, matrix) in zip(all_axes, maps):
        for line in lines:
            axes.plot(*(matrix @ line), color="0.75", lw=0.8)
        axes.fill(*(matrix @ mark), color="C3", alpha=0.6)
        axes.set(title=title, aspect="equal")
    figure.suptitle(f"the first PLU layer: log|det W| = {theta['log_scale'].sum():.3f}")
    experiment.save_picture(plt, figure, out / "plu.png")


# ---------------------------------------------------------------- the digits


def images(args):
    """8x8 images: 4x4x4, then 2x2x16, then 64 numbers, Glow steps at each."""
    flow = Flow([Squeeze(), *glow_steps(4, 2, 32), Squeeze(), *glow_steps(16, 4, 64),
                 Squeeze(), *glow_steps(64, 6, 96)])
    train_x, validation, test = (x.reshape(-1, 8, 8, 1) for x in digits())

    def cost(theta, x, draws, key):
        """Bits/dim (n,): a mean over draws of the dequantisation noise."""
        rng = np.random.default_rng([args.seed, key])
        log_probs = [flow.log_prob(theta, dequantize(x, LEVELS, rng)) for _ in range(draws)]
        return bits_per_dim(np.mean(log_probs, axis=0), 64, 1 / LEVELS)

    def sample(rng):
        return dequantize(train_x[rng.integers(len(train_x), size=128)], LEVELS, rng)

    start = dequantize(train_x, LEVELS, np.random.default_rng([args.seed, 2]))
    with experiment.Run(NAME, args, DIGITS) as folder:
        run = train(flow, start, sample,
                    lambda theta: float(np.mean(cost(theta, validation, 4, 1))),
                    args, folder.checkpoint, {"data": "digits", "rate": 2e-3})

        def results():
            mean, error = experiment.mean_and_error(cost(run.best, test, 16, 3))
            return {"test_bits_per_dim": mean, "test_standard_error": error,
                    **experiment.about(run)}

        def draw(plt, found):
            samples = flow.sample(run.best, (48, 8, 8, 1), np.random.default_rng([args.seed, 4]))
            figure, (left, right) = plt.subplots(1, 2, figsize=(9, 6))
            common.show_images(left, samples[..., 0], 6, "samples", low=0, high=1)
            common.show_images(right, test[:48, ..., 0] / LEVELS, 6, "test images", low=0, high=1)
            experiment.save_picture(plt, figure, args.out / "samples.png")

        def closing(found):
            return (f"test {found['test_bits_per_dim']:.2f} bits/dim (standard error "
                    f"{found['test_standard_error']:.3f} over images; uniform "
                    f"{np.log2(LEVELS):.2f}; the diffusion model of examples/vdm_digits.py 1.92)")

        folder.finish(results, draw, closing)


# ---------------------------------------------------------------- the command


def main(argv=None):
    parser = experiment.arguments(NAME, __doc__, steps=None)
    parser.add_argument("--data", choices=("crescents", "digits"), default="crescents",
                        help="what to learn (default crescents)")
    args = parser.parse_args(argv)
    if args.data == "digits":
        args.steps = args.steps or 500  # more overfits: there are only 1000 images
        if args.out == Path("runs") / NAME:
            args.out = Path("runs") / f"{NAME}_digits"
        return experiment.guarded(NAME, images, args)
    args.steps = args.steps or 1500
    return experiment.guarded(NAME, plane, args)


if __name__ == "__main__":
    sys.exit(main())
