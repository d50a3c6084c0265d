"""A small Glow, §13.1's PLU layers on images: the 8x8 digits, dequantised, by maximum likelihood.

    python examples/glow_digits.py         a minute; --quick: does it run? --help: all options

Three scales by squeezing: 4x4x4, 2x2x16, 64 numbers, with Glow steps (ActNorm, PLU, coupling) at
each. Reported: the test bits/dim, beside which examples/vdm_digits.py is to be seen. Writes
metrics.json, checkpoint.npz and pictures to --out: samples.png samples beside test images;
training.png the cost, and the logarithms of what each PLU layer scales by.

To try next: more steps (it overfits: there are only 1000 images), PLU(d) left out, other widths.
"""
# %% Options: those of the command line; in a notebook the defaults
import common
import numpy as np

from refvdm import experiment
from refvdm.datasets import digits
from refvdm.flows import PLU, ActNorm, AffineCoupling, Flow, Squeeze, bits_per_dim, dequantize
from refvdm.optim import EMA, Adam

NAME, LEVELS = "glow_digits", 17
args = experiment.options(experiment.arguments(NAME, __doc__, steps=500))

# %% Data and model
TRAIN, VALIDATION, TEST = (x.reshape(-1, 8, 8, 1) for x in digits())


def glow_steps(d, n, hidden):
    return [layer for i in range(n)
            for layer in (ActNorm(d), PLU(d), AffineCoupling(d, hidden, swap=i % 2 == 1))]


flow = Flow([Squeeze(), *glow_steps(4, 2, 32), Squeeze(), *glow_steps(16, 4, 64),
             Squeeze(), *glow_steps(64, 6, 96)])

# %% Training: bits/dim of log p(x + u), u uniform on the width of a level


def cost(theta, x, draws, rng):
    """Bits/dim (n,): a mean over draws of the dequantisation noise."""
    total = sum(flow.log_prob(theta, dequantize(x, LEVELS, rng)) for _ in range(draws))
    return bits_per_dim(total / draws, 64, 1 / LEVELS)


def loss(theta, rng):
    return np.mean(cost(theta, TRAIN[rng.integers(len(TRAIN), size=128)], 1, rng))


def validate(theta):
    return float(np.mean(cost(theta, VALIDATION, 4, np.random.default_rng([args.seed, 1]))))


def train(run):
    rng = np.random.default_rng(args.seed)
    start = flow.init(rng, dequantize(TRAIN, LEVELS, np.random.default_rng([args.seed, 2])))
    return run.fit(loss, start, rng, optimizer=Adam(2e-3, cosine_steps=args.steps), ema=EMA(0.99),
                   validate=validate, validate_every=max(1, args.steps // 15), unit="bits/dim")


# %% The pictures


def samples_picture(plt, theta):
    samples = flow.sample(theta, (48, 8, 8, 1), np.random.default_rng([args.seed, 4]))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 6.2))
    common.show_images(left, samples[..., 0], 6, "samples of the flow", low=0, high=1)
    common.show_images(right, TEST[:48, ..., 0] / LEVELS, 6, "test images", low=0, high=1)
    return figure


def training_picture(plt, theta, found):
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for key, label in (("loss", "training"), ("validation", "validation, averaged parameters")):
        rows = found["history"]
        left.plot([row["step"] for row in rows], [row[key] for row in rows], ".-", label=label)
    left.axhline(np.log2(LEVELS), ls=":", color="0.4", label="uniform over the 17 levels")
    left.set(xlabel="step", ylabel="cost, bits/dim", title="Cost while training")
    left.legend()
    plus = [(layer, part) for layer, part in zip(flow.layers, theta) if isinstance(layer, PLU)]
    for i, (_, part) in enumerate(plus, start=1):
        scales = part["log_scale"]
        right.plot(np.full(len(scales), i), scales, "_", ms=14, color=experiment.PALETTE[0])
    right.set(xlabel="PLU layer, from the data on", ylabel="log |U_ii|", xticks=range(1, i + 1),
              title="What each PLU layer scales by: their sum is log|det W|")
    return figure


# %% Run it: goes on where it was stopped; in a notebook `trained` and `found` stay to look at
with experiment.Run(NAME, args, ["samples.png", "training.png"]) as run:
    trained = train(run)

    def results():
        mean, error = experiment.mean_and_error(cost(
            trained.best, TEST, 1 if args.quick else 16, np.random.default_rng([args.seed, 3])))
        return {"test_bits_per_dim": mean, "test_standard_error": error,
                **experiment.about(trained)}

    def draw(plt, found):
        return {"samples.png": samples_picture(plt, trained.best),
                "training.png": training_picture(plt, trained.best, found)}

    def closing(found):
        return (f"test {found['test_bits_per_dim']:.2f} bits/dim (standard error "
                f"{found['test_standard_error']:.3f} over images; uniform {np.log2(LEVELS):.2f})")

    found = run.finish(results, draw, closing)
