"""Train a variational diffusion model on the 8x8 digits; report its bound on the test split.

    python examples/vdm_digits.py                               the digits, about a minute
    python examples/vdm_digits.py --data my.npy --levels 256    integers 0..255 of your own
    python examples/vdm_digits.py --data my.npy                 floats, with a Gaussian decoder

Writes metrics.json, checkpoint.npz and pictures to the folder --out. Run again, the same command
goes on where it was stopped, or shows the results of a finished run; --fresh starts over.

Costs are positive, in bits/dim: -ELBO/(D ln 2), for floats of the density in the data's own units.
Data of your own are one array, an example per entry of its first axis. They are shuffled and split
70/15/15 into training, validation and test. Floats are standardised: a table (n, D) column by
column, images with one mean and one standard deviation for all. Images, (n, height, width) or
(n, height, width, 3) in colour, are shown as images, a table as points, two columns with their
density.

To try next: --seed 1; your own drawings as --data; Schedule.cosine(T) in `build`.
"""
# %% Imports, and what can be tuned
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import common
import moves
import numpy as np
import own_data

from refvdm import experiment
from refvdm.datasets import digits, scale_levels
from refvdm.fit import fit
from refvdm.optim import EMA, Adam
from refvdm.vdm import VDM, CategoricalDecoder, GaussianDecoder, Schedule, ancestral_path
from refvdm.vdm.network import AxialNetwork, CategoricalDenoiser, MLPNetwork, RegressionDenoiser

NAME = "vdm_digits"
T, GAMMA_1, GAMMA_T = 1000, -7.0, 6.0
LEARNING_RATE, BATCH = 1e-2, 64
WEIGHT_DECAY = 0.15  # where there are levels; floats in the plane are better off without
STEPS = {"images": 1500, "table": 4000}  # where --steps is not given
PICTURES = ("denoising.png", "kl_per_t.png", "samples.png", "training.png")


# %% Data and model


def load(args) -> own_data.Data:
    if args.data is not None:
        return own_data.read(args.data, args.levels, args.seed)
    if args.levels not in (None, 17):
        raise experiment.Refused(f"the digits have 17 levels, got --levels {args.levels}")
    parts = [scale_levels(part, 17).astype(np.float32) for part in digits()]
    return own_data.Data(*parts, levels=17, scale=1.0, shape=(8, 8), name="digits")


def is_moved(data) -> bool:
    """Whether mirrored, transposed and shifted images are trained on too (moves.py)."""
    return data.name == "digits"


def build(data) -> VDM:
    schedule, D = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T), data.train.shape[1]
    if data.levels is None:
        variance = 1 / (1 + math.exp(-GAMMA_1))  # 1 - alpha_bar[1]
        denoiser = RegressionDenoiser(MLPNetwork(D, D), schedule)
        return VDM(denoiser, schedule, GaussianDecoder(variance))
    side, values = data.shape[0], np.linspace(-1.0, 1.0, data.levels)
    square = data.shape == (side, side) and side >= 4
    network = AxialNetwork(side, data.levels) if square else MLPNetwork(D, D * data.levels)
    network = moves.Told(network) if is_moved(data) else network
    return VDM(CategoricalDenoiser(network, schedule, values), schedule, CategoricalDecoder(values))


# %% The bound, as costs in bits/dim


def costs(terms, data) -> dict[str, float]:
    """Means over examples of the bound's terms (reconstruction, prior, diffusion, ...), nats."""
    reconstruction, prior, diffusion = (
        float(np.mean(term, dtype=np.float64)) / nats_per_bit(data) for term in terms[:3])
    reconstruction = own_units(data) - reconstruction
    return {"total": reconstruction + prior + diffusion, "reconstruction": reconstruction,
            "prior": prior, "diffusion": diffusion}


def nats_per_bit(data) -> float:
    """Nats of one example that are one bit/dim: D ln 2."""
    return data.train.shape[1] * math.log(2)


def own_units(data) -> float:
    """Bits/dim from the model's units to the data's: log p(x) = log p(x/scale) - D log scale."""
    return math.log2(data.scale)


def estimate(vdm, theta, x, draws, seed):
    """The bound's terms, one t for each of the first 512 examples, `draws` times over.

    The noise is the same at every call.
    """
    rng = np.random.default_rng([seed, 1])
    found = [vdm.elbo_estimate(theta, x[:512], rng, times="stratified") for _ in range(draws)]
    return [np.concatenate(term) for term in zip(*found)]


def exact(vdm, theta, x, seed):
    """The bound's terms with all t, in parts of 32 examples, one Python thread for each core.

    Each part has noise of its own, whichever thread computes it.
    """
    parts, found, told = [x[i : i + 32] for i in range(0, len(x), 32)], [], time.monotonic()

    def elbo(i):
        return vdm.elbo(theta, parts[i], np.random.default_rng([seed, 2, i]))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(elbo, range(len(parts))):
            found.append(part)
            if time.monotonic() > told + 5:
                told = time.monotonic()
                print(f"  {min(32 * len(found), len(x))} of {len(x)} examples", flush=True)
    return [np.concatenate(term) for term in zip(*found)]


# %% Training


def train(vdm, data, args, checkpoint):
    # fewer examples at a time where one of them is large
    batch = min(BATCH, max(8, 2**22 // (data.train.shape[1] * (data.levels or 1))))
    rng = np.random.default_rng(args.seed)
    theta = vdm.denoiser.init(rng, data.train) if data.levels else vdm.denoiser.init(rng)

    def loss(theta, rng):
        x_0 = data.train[rng.integers(len(data.train), size=batch)]
        if is_moved(data):
            drawn = moves.draw(batch, rng)
            x_0, theta = moves.moved(x_0, drawn), moves.tell(theta, drawn)
        bound = vdm.elbo_estimate(theta, x_0, rng, times="stratified").total
        return own_units(data) - np.mean(bound) / nats_per_bit(data)

    def validate(theta):
        found = costs(estimate(vdm, theta, data.validation, draws=4, seed=args.seed), data)
        return found.pop("total"), found

    return fit(loss, theta, rng, steps=args.steps, ema=EMA(0.995),
               optimizer=Adam(LEARNING_RATE, beta_2=0.99, cosine_steps=args.steps,
                              weight_decay=WEIGHT_DECAY if data.levels else 0.0),
               validate=validate, validate_every=min(100, args.steps), checkpoint=checkpoint,
               unit="bits/dim",
               settings={"data": data.name, "levels": data.levels, "seed": args.seed, "T": T,
                         "gamma_1": GAMMA_1, "gamma_T": GAMMA_T, "batch": batch,
                         "moves": is_moved(data)})


# %% The pictures


def draw(plt, vdm, run, data, args):
    rng, D = np.random.default_rng([args.seed, 3]), data.train.shape[1]
    stops = [T, 800, 600, 450, 350, 250, 150, 75, 1, 0]
    path = {t: x for t, x in ancestral_path(vdm, run.best, (48, D), rng) if t in stops}
    pictures = {"training.png": training_picture(plt, run.history),
                "kl_per_t.png": kl_picture(plt, vdm, run.best, data, rng)}
    if own_data.are_images(data):
        return pictures | {"samples.png": samples_picture(plt, path[0], data),
                           "denoising.png": denoising_picture(plt, path, stops, data)}
    *_, (_, samples) = ancestral_path(vdm, run.best, (50 if args.quick else 1000, D), rng)
    return pictures | {"samples.png": own_data.points_picture(plt, vdm, run.best, samples, data)}


def show(axes, rows, data, columns, title):
    low, high = (-1, 1) if data.levels else (data.train.min(), data.train.max())
    common.show_images(axes, rows.reshape(-1, *data.shape), columns, title, low, high)


def samples_picture(plt, samples, data):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 6.2))
    show(left, samples, data, 6, "samples of the model")
    show(right, data.test[:48], data, 6, "test images")
    return figure


def denoising_picture(plt, path, stops, data):
    figure, all_axes = plt.subplots(1, len(stops), figsize=(len(stops), 6.1))
    for axes, t in zip(all_axes, stops):
        show(axes, path[t][:6], data, 1, f"t = {t}")
    figure.suptitle("Six samples on their way from noise x_T to x_0")
    return figure


def training_picture(plt, history):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    step = [row["step"] for row in history]
    for key, label, colour in (("loss", "training, total", "0.6"),
                               ("validation", "validation, total", "k")):
        axes.plot(step, [row[key] for row in history], ".-", color=colour, label=label)
    for key, colour in (("diffusion", "C0"), ("reconstruction", "C1"), ("prior", "C2")):
        values = [row[f"validation_{key}"] for row in history]
        axes.plot(step, values, ".--", color=colour, label=f"validation, {key}")
    axes.set_title("Training: parameters as they go; validation: their average")
    axes.set(xlabel="step", ylabel="cost, bits/dim")
    axes.legend()
    return figure


def kl_picture(plt, vdm, theta, data, rng):
    x, ts = data.validation[:32], np.arange(2, T + 1)
    kl = np.mean(vdm.kl_per_t(theta, x, rng), axis=1)[2:] / nats_per_bit(data)
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.plot(ts, kl, lw=0.6, color="C0", alpha=0.5, label=f"mean of {len(x)} validation examples")
    smooth = np.convolve(kl, np.ones(25) / 25, "valid")
    axes.plot(ts[12:-12], smooth, color="C0", label="the same, smoothed over 25 t")
    axes.legend()
    axes.set(xlabel="t", ylabel="KL_t, bits/dim", title="At which noise levels the bits are spent")
    above, ticks = axes.twiny(), [1, 250, 500, 750, 1000]
    above.set_xlim(axes.get_xlim())
    above.set_xticks(ticks, [f"{vdm.schedule.gamma[t]:.1f}" for t in ticks])
    above.set_xlabel("γ_t = -log SNR")
    return figure


# %% The command, and a run of it: in a notebook with the defaults


def trial(args):
    data = load(args)
    args.steps = args.steps or STEPS["images" if own_data.are_images(data) else "table"]
    vdm = build(data)
    pictures = [p for p in PICTURES if own_data.are_images(data) or p != "denoising.png"]
    with experiment.Run(NAME, args, pictures) as folder:
        if not folder.checkpoint.exists():
            print(f"training on {len(data.train)} examples of {data.train.shape[1]} dimensions "
                  f"({data.name}), {args.steps} steps")
        run = train(vdm, data, args, folder.checkpoint)

        def results():
            most = 32 if args.quick else max(1, 120_000 // data.test.shape[1])
            test = data.test[:most]
            print(f"best validation {run.best_value:.3f} bits/dim at step {run.best_step}; now the "
                  f"exact bound, all {T} noise levels of {len(test)} test examples", flush=True)
            terms = exact(vdm, run.best, test, args.seed)
            error = experiment.mean_and_error(terms[3].astype(np.float64))[1] / nats_per_bit(data)
            draws = 2 if args.quick else 32
            validation = estimate(vdm, run.best, data.validation, draws, seed=args.seed)
            return {"test": costs(terms, data), "test_standard_error": error,
                    "validation": costs(validation, data), "test_examples": len(test),
                    "validation_is": f"an estimate from {draws} draws of t for each example",
                    **experiment.about(run, T=T, data=data.name, levels=data.levels)}

        def closing(found):
            test, words = found["test"], []
            words.append(f"standard error of the test figure {found['test_standard_error']:.3f} "
                         f"bits/dim over examples")
            if data.levels and test["total"] > math.log2(data.levels):
                words.append(f"this is worse than the uniform model, {math.log2(data.levels):.2f} "
                             f"bits/dim: too few steps or too little data")
            words.append(f"test {test['total']:.2f} bits/dim "
                         f"(reconstruction {test['reconstruction']:.2f}, prior "
                         f"{test['prior']:.2f}, diffusion {test['diffusion']:.2f})")
            return "\n".join(words)

        folder.finish(results, lambda plt, found: draw(plt, vdm, run, data, args), closing)


def main(argv=None) -> int:
    parser = experiment.arguments(NAME, __doc__, steps=None)
    parser.add_argument("--data",
                        help="a .npy file of your own, one example per entry of its first axis")
    parser.add_argument("--levels", type=int, help="K for integer data with values 0..K-1")
    return experiment.call(NAME, trial, parser, argv)


if __name__ == "__main__" and (status := main()):
    sys.exit(status)
