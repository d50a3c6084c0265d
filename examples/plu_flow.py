"""Maximum likelihood with PLU layers, §13.1: a flow on a density in the plane that is known.

    python examples/plu_flow.py            half a minute; --quick: does it run? --help: all options

Two crescents that hold each other; eight Glow steps: ActNorm, PLU, affine coupling. The true
log-likelihood is known: reported is the gap to it, in nats. Writes metrics.json, checkpoint.npz and
pictures to --out: density.png the data, the model's density beside the true one, its samples;
plu.png what the first PLU layer does to the plane, factor by factor; layers.png how the layers,
one after the other, make noise of the data.

To try next: fewer steps of the flow; Ring() for Crescents() (a flow leaves bridges between what is
apart); no PLU layer; examples/glow_digits.py, the same on images.
"""
# %% Options: those of the command line; in a notebook the defaults
import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import Crescents
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow
from refvdm.optim import EMA, Adam

NAME = "plu_flow"
args = experiment.options(experiment.arguments(NAME, __doc__, steps=1500))

# %% The model
DATA, STEPS, HALF = Crescents(), 8, 4.0  # the pictures show [-HALF, HALF]²
flow = Flow([layer for i in range(STEPS)
             for layer in (ActNorm(2), PLU(2), AffineCoupling(2, 32, swap=i % 2 == 1))])

# %% Training: ActNorm begins at the mean and deviation of data


def loss(theta, rng):
    return -np.mean(flow.log_prob(theta, DATA.sample(256, rng)))


def validate(theta):
    x = DATA.sample(4000, np.random.default_rng([args.seed, 1]))
    return -float(np.mean(flow.log_prob(theta, x)))


def train(run):
    rng = np.random.default_rng(args.seed)
    start = flow.init(rng, DATA.sample(1000, np.random.default_rng([args.seed, 2])))
    return run.fit(loss, start, rng, optimizer=Adam(5e-3, cosine_steps=args.steps), ema=EMA(0.99),
                   validate=validate, validate_every=max(1, args.steps // 15), unit="nats")


# %% What is measured: an estimate of KL(data to model), which is 0 only for the true density


def gap(theta, n):
    x = DATA.sample(n, np.random.default_rng([args.seed, 3]))
    return experiment.mean_and_error(DATA.log_prob(x) - flow.log_prob(theta, x))


def closing(found):
    return (f"gap to the true density {found['gap_nats']:.3f} nats (standard error "
            f"{found['gap_standard_error']:.3f})")


# %% The pictures


def density_picture(plt, theta, found):
    figure, (left, true, model, right) = plt.subplots(1, 4, figsize=(16.5, 4))
    common.show_densities(figure, (true, model), [
        common.density(DATA.log_prob, HALF, 201),
        common.density(lambda x: flow.log_prob(theta, x), HALF, 201)], HALF,
        ["true density", f"the flow's, {found['gap_nats']:.3f} nats away"])
    rng = np.random.default_rng([args.seed, 4])
    for axes, title, x in ((left, "2000 points of the data", DATA.sample(2000, rng)),
                           (right, "2000 samples of the flow", flow.sample(theta, (2000, 2), rng))):
        axes.plot(*x.T, ".", ms=2.5, mew=0, color=experiment.PALETTE[0])
        common.plane(axes, HALF, title)
    return figure


def plu_picture(plt, theta):
    """A grid and a mark that shows orientation, mapped by U, L U and P L U."""
    L = np.eye(2) + np.tril(theta["lower"], -1)
    U = np.triu(theta["upper"], 1) + np.diag(theta["sign"] * np.exp(theta["log_scale"]))
    P = np.eye(2)[theta["perm"]]
    maps = (("x", np.eye(2)), ("U x: scales, flips and shears", U),
            ("L U x: shears the other way", L @ U),
            ("P L U x = W x: " + ("permutes" if P[0, 1] else "P = I here"), P @ L @ U))
    upright = [np.stack([np.full(50, c), np.linspace(-2, 2, 50)]) for c in np.linspace(-2, 2, 9)]
    lines = upright + [line[::-1] for line in upright]
    mark = np.array([[0, 1, 1, 0.5, 0.5, 0, 0], [0, 0, 0.4, 0.4, 1.5, 1.5, 0]])
    half = 1.05 * max(np.abs(matrix @ np.stack(lines)).max() for _, matrix in maps)
    figure, all_axes = plt.subplots(1, 4, figsize=(15, 4.3))
    for axes, (title, matrix) in zip(all_axes, maps):
        for line in lines:
            axes.plot(*(matrix @ line), color="0.75", lw=0.8)
        axes.fill(*(matrix @ mark), color=experiment.PALETTE[1], alpha=0.7)
        common.plane(axes, half, title, ("first", "second"))
    figure.suptitle("The first PLU layer, factor by factor. The area grows by |det W| = "
                    f"exp({theta['log_scale'].sum():.3f}), the product of |U_ii|")
    return figure


def layers_picture(plt, theta):
    """The data after every second Glow step, coloured by the crescent (see
    datasets.Crescents) that each x is likelier to be of."""
    x = DATA.sample(3000, np.random.default_rng([args.seed, 5]))
    first, second = (((x[:, 0] - 0.6 * s) / 0.9) ** 2  # -2 log p, up to a constant
                     + ((x[:, 1] - s * (0.8 * (x[:, 0] - 0.6 * s) ** 2 - 0.9)) / 0.25) ** 2
                     for s in (1, -1))
    colours = np.where(first < second, *experiment.PALETTE[:2])
    shown = range(0, STEPS + 1, 2)
    figure, all_axes = plt.subplots(1, len(shown), figsize=(3.2 * len(shown), 3.7))
    for axes, step in zip(all_axes, shown):
        y = Flow(flow.layers[: 3 * step]).forward(theta[: 3 * step], x)[0] if step else x
        axes.scatter(*y.T, c=colours, s=3, lw=0)
        common.plane(axes, HALF, f"after {step} of {STEPS} steps" if step else "data x",
                     ("first", "second"))
        for r in (1, 2) if step == STEPS else ():
            axes.add_patch(plt.Circle((0, 0), r, fill=False, color="k", lw=0.8))
    figure.suptitle("From data to noise, invertible all the way. Circles: one and two deviations "
                    "of N(0, I)")
    return figure


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["density.png", "plu.png", "layers.png"]) as run:
    trained = train(run)

    def results():
        mean, error = gap(trained.best, 500 if args.quick else 20_000)
        return {"gap_nats": mean, "gap_standard_error": error, **experiment.about(trained)}

    def draw(plt, found):
        return {"density.png": density_picture(plt, trained.best, found),
                "plu.png": plu_picture(plt, trained.best[1]),
                "layers.png": layers_picture(plt, trained.best)}

    found = run.finish(results, draw, closing)
