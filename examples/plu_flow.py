"""Maximum likelihood with PLU layers: a flow on a density that is known, or a Glow on the 8x8 digits.

    python examples/plu_flow.py                   two crescents in the plane, a minute; the gap to the true density in nats
    python examples/plu_flow.py --data digits     images, dequantised; test bits/dim

Writes metrics.json, checkpoint.npz and pictures to --out (default runs/plu_flow, with --data digits runs/plu_flow_digits): density.png the
data, the model's density and its samples; plu.png what the first PLU layer does to the plane; with digits samples.png.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # these matrices are small: a second thread only waits

import sys
from pathlib import Path

import numpy as np
from common import arguments, finished, guarded, pyplot, save_picture

from refvdm.autodiff import ravel
from refvdm.datasets import Crescents, digits
from refvdm.fit import fit
from refvdm.flows import (
    PLU,
    ActNorm,
    AffineCoupling,
    Flow,
    Squeeze,
    bits_per_dim,
    dequantize,
)
from refvdm.optim import EMA, Adam

NAME, LEVELS = "plu_flow", 17
PICTURES = ("density.png", "plu.png", "samples.png")


def steps_of(d, n, hidden):
    """n Glow steps on d channels: ActNorm, PLU, coupling."""
    return [layer for i in range(n) for layer in (ActNorm(d), PLU(d), AffineCoupling(d, hidden, swap=i % 2 == 1))]


def train(flow, start, draw, validate, args, settings):
    """Maximise the mean log-likelihood of draw(rng), from parameters that start on the data `start`."""
    rng = np.random.default_rng(args.seed)

    def loss(theta, rng):
        return -np.mean(flow.log_prob(theta, draw(rng)))

    return fit(loss, flow.init(rng, start), rng, steps=args.steps, optimizer=Adam(settings["rate"], cosine_steps=args.steps), ema=EMA(0.99),
               validate=validate, validate_every=max(1, args.steps // 15), checkpoint=args.out / "checkpoint.npz",
               settings={"seed": args.seed, **settings})


# ---------------------------------------------------------------- the plane


def plane(args):
    """Two crescents: the gap is an estimate of KL(data to model), and 0 only for the true density."""
    density, flow = Crescents(), Flow(steps_of(2, 8, 32))
    held_out = density.sample(4000, np.random.default_rng([args.seed, 1]))
    truth = -float(np.mean(density.log_prob(held_out)))
    run = train(flow, density.sample(1000, np.random.default_rng([args.seed, 2])), lambda rng: density.sample(256, rng),
                lambda theta: -float(np.mean(flow.log_prob(theta, held_out))), args, {"data": "crescents", "rate": 5e-3})

    def results():
        test = density.sample(20_000, np.random.default_rng([args.seed, 3]))
        gap = density.log_prob(test) - flow.log_prob(run.best, test)
        draw_plane(flow, run.best, density, test, args)
        return {"gap_nats": float(gap.mean()), "gap_standard_error": float(gap.std() / len(gap) ** 0.5), "validation_entropy_nats": truth}

    found = finished(args.out, lambda: results() | about(args, run), PICTURES[:2])
    print(f"gap to the true density {found['gap_nats']:.3f} nats (standard error {found['gap_standard_error']:.3f}); the uniform "
          f"density of the picture would have {np.log(64) - found['validation_entropy_nats']:.2f}")


def draw_plane(flow, theta, density, test, args):
    plt = pyplot()
    if plt is None:
        return
    axis = np.linspace(-4, 4, 161)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    figure, axes = plt.subplots(1, 4, figsize=(15, 4))
    for a, title, p in ((axes[1], "true density", density.log_prob(grid)), (axes[2], "model's density", flow.log_prob(theta, grid))):
        a.imshow(np.exp(p).reshape(len(axis), -1), extent=(-4, 4, -4, 4), origin="lower", cmap="viridis", vmin=0, vmax=0.3)
        a.set_title(title)
    samples = flow.sample(theta, (2000, 2), np.random.default_rng([args.seed, 4]))
    for a, title, x in ((axes[0], "data", test[:2000]), (axes[3], "samples", samples)):
        a.plot(*x.T, ".", ms=2, color="C0")
        a.set(xlim=(-4, 4), ylim=(-4, 4), aspect="equal", title=title)
    save_picture(plt, figure, args.out / "density.png")

    plu = theta[1]
    L, U = np.eye(2) + np.tril(plu["lower"], -1), np.triu(plu["upper"], 1) + np.diag(plu["sign"] * np.exp(plu["log_scale"]))
    P = np.eye(2)[plu["perm"]]
    figure, axes = plt.subplots(1, 4, figsize=(15, 4))
    # lines of the grid, and a mark that shows orientation
    lines = [np.stack([np.full(50, c), np.linspace(-2, 2, 50)]) for c in np.linspace(-2, 2, 9)]
    lines += [line[::-1] for line in lines]
    mark = np.array([[0, 1, 1, 0.5, 0.5, 0, 0], [0, 0, 0.4, 0.4, 1.5, 1.5, 0]])
    maps = (("x", np.eye(2)), ("U x: scales and shears", U), ("L U x: shears the other way", L @ U), ("P L U x = W x: permutes", P @ L @ U))
    for a, (title, matrix) in zip(axes, maps):
        for line in lines:
            a.plot(*(matrix @ line), color="0.75", lw=0.8)
        a.fill(*(matrix @ mark), color="C3", alpha=0.6)
        a.set(title=title, aspect="equal")
    figure.suptitle(f"the first PLU layer: log|det W| = {plu['log_scale'].sum():.3f}")
    save_picture(plt, figure, args.out / "plu.png")


# ---------------------------------------------------------------- the digits


def images(args):
    """8x8 images: 4x4x4, then 2x2x16, then 64 numbers, Glow steps at each."""
    flow = Flow([Squeeze(), *steps_of(4, 2, 32), Squeeze(), *steps_of(16, 4, 64), Squeeze(), *steps_of(64, 6, 96)])
    parts = [x.reshape(-1, 8, 8, 1) for x in digits()]

    def as_density(x, rng):
        return dequantize(x, LEVELS, rng)

    def cost(theta, x, draws, key):
        """Bits/dim (n,): a mean over draws of the dequantisation noise."""
        rng = np.random.default_rng([args.seed, key])
        log_prob = np.mean([flow.log_prob(theta, as_density(x, rng)) for _ in range(draws)], axis=0)
        return bits_per_dim(log_prob, 64, 1 / LEVELS)

    def draw(rng):
        return as_density(parts[0][rng.integers(len(parts[0]), size=128)], rng)

    run = train(flow, as_density(parts[0], np.random.default_rng([args.seed, 2])), draw,
                lambda theta: float(np.mean(cost(theta, parts[1], 4, 1))), args, {"data": "digits", "rate": 2e-3})

    def results():
        bits = cost(run.best, parts[2], 16, 3)
        draw_images(flow, run.best, parts[2], args)
        return {"test_bits_per_dim": float(bits.mean()), "test_standard_error": float(bits.std() / len(bits) ** 0.5)}

    found = finished(args.out, lambda: results() | about(args, run), PICTURES[2:])
    print(f"test {found['test_bits_per_dim']:.2f} bits/dim (standard error {found['test_standard_error']:.3f} over images; uniform "
          f"{np.log2(LEVELS):.2f}; the diffusion model of examples/vdm_digits.py 1.92)")


def draw_images(flow, theta, test, args):
    plt = pyplot()
    if plt is None:
        return
    samples = flow.sample(theta, (48, 8, 8, 1), np.random.default_rng([args.seed, 4]))
    figure, axes = plt.subplots(1, 2, figsize=(9, 6))
    for a, title, x in ((axes[0], "samples", samples), (axes[1], "test images", test[:48] / LEVELS)):
        sheet = np.full((8 * 9 + 1, 6 * 9 + 1), np.nan)
        for i, image in enumerate(x[..., 0]):
            r, c = divmod(i, 6)
            sheet[9 * r + 1 : 9 * r + 9, 9 * c + 1 : 9 * c + 9] = image
        a.imshow(sheet, cmap="gray_r", vmin=0, vmax=1)
        a.set_title(title)
        a.axis("off")
    save_picture(plt, figure, args.out / "samples.png")


# ---------------------------------------------------------------- the command


def about(args, run):
    return {"best_step": run.best_step, "steps": run.step, "seed": args.seed, "parameters": int(ravel(run.best)[0].size), "history": run.history}


def main(argv=None):
    parser = arguments(NAME, __doc__, steps=None)
    parser.add_argument("--data", choices=("crescents", "digits"), default="crescents", help="what to learn (default crescents)")
    args = parser.parse_args(argv)
    args.steps = args.steps or {"crescents": 1500, "digits": 500}[args.data]  # on 1000 images it overfits soon
    if args.data == "digits" and args.out == Path("runs") / NAME:
        args.out = Path("runs") / f"{NAME}_digits"
    return guarded(NAME, args, PICTURES, plane if args.data == "crescents" else images)


if __name__ == "__main__":
    sys.exit(main())
