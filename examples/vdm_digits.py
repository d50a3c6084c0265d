"""Train a variational diffusion model on the 8x8 digits and report its bound on the test split in bits/dim.

    python examples/vdm_digits.py                                  the digits, about a minute on two cores
    python examples/vdm_digits.py --data my.npy --levels 256       integers 0..255, one example per row (first axis)
    python examples/vdm_digits.py --data my.npy                    floats, with a Gaussian decoder

Writes metrics.json, checkpoint.npz and pictures to the folder --out. Run again, the same command goes on where it was stopped, or
shows the results of a finished run; --fresh starts over. Costs are positive, in bits/dim: -ELBO/(D ln 2), for float data of the
density in the data's own units. Data of your own are shuffled and split 70/15/15 into training, validation and test; floats are
standardised with one mean and one standard deviation for all.
"""
import os

# One BLAS thread: these matrices are small, a second thread gains little when the machine is idle and loses a lot when it is not.
# The evaluation uses all cores with Python threads instead.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import argparse
import hashlib
import json
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refvdm.autodiff import ravel
from refvdm.checkpoint import CheckpointError
from refvdm.datasets import digits, scale_levels
from refvdm.fit import NonFiniteLoss, fit
from refvdm.optim import EMA, Adam
from refvdm.vdm import (
    VDM,
    CategoricalDecoder,
    GaussianDecoder,
    Schedule,
    ancestral_path,
)
from refvdm.vdm.network import (
    AxialNetwork,
    CategoricalDenoiser,
    MLPNetwork,
    RegressionDenoiser,
)

T, GAMMA_1, GAMMA_T = 1000, -7.0, 6.0
LEARNING_RATE, BATCH = 8e-3, 64
PICTURES = ("samples.png", "denoising.png", "training.png", "kl_per_t.png")


class Data(NamedTuple):
    """Float arrays (n, D), scaled for the model; levels is K or None; scale is what one unit here is in the data's own units."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int | None
    scale: float
    shape: tuple  # of one example, for pictures
    name: str


# ---------------------------------------------------------------- data and model


def load(path, levels, seed) -> Data:
    if path is None:
        if levels not in (None, 17):
            raise ValueError(f"the digits have 17 levels, got --levels {levels}")
        parts = [scale_levels(part, 17).astype(np.float32) for part in digits()]
        return Data(*parts, levels=17, scale=1.0, shape=(8, 8), name="digits")
    if levels is not None and levels < 2:
        raise ValueError(f"--levels must be at least 2, got {levels}")
    try:
        x = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ValueError(f"--data {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"--data {path} cannot be read: it is not a .npy file of numbers, as np.save writes it") from None
    if x.ndim < 2 or x[:1].size == 0:
        raise ValueError(f"--data {path}: expected one array (n, ...), an example per row, got shape {x.shape}")
    if len(x) < 10:
        raise ValueError(f"--data {path}: expected at least 10 examples, got {len(x)}")
    flat, scale = x.reshape(len(x), -1), 1.0
    if x.dtype.kind in "iu":
        low, high = int(x.min()), int(x.max())
        if levels is None or low < 0 or high >= levels:
            told = "say how many levels K they have with --levels" if levels is None else f"--levels {levels} means 0..{levels - 1}"
            raise ValueError(f"--data {path} holds integers from {low} to {high}: {told}; values must lie in 0..K-1")
        flat = scale_levels(flat, levels)
    elif x.dtype.kind == "f":
        if levels is not None:
            raise ValueError(f"--levels is for integer data, {path} holds {x.dtype}")
        if not np.all(np.isfinite(flat)):
            raise ValueError(f"--data {path} holds nan or infinity, first in example {int(np.argmin(np.isfinite(flat).all(axis=1)))}")
        scale = float(flat.std())
        if scale == 0:
            raise ValueError(f"--data {path}: all values are equal")
        flat = (flat - flat.mean()) / scale
    else:
        raise ValueError(f"--data {path} must hold integers or floats, got {x.dtype} (bool: .astype(int) and --levels 2)")
    flat = flat[np.random.default_rng(seed).permutation(len(flat))].astype(np.float32)
    a, b = int(0.7 * len(flat)), int(0.85 * len(flat))
    fingerprint = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
    return Data(flat[:a], flat[a:b], flat[b:], levels, scale, x.shape[1:], f"{Path(path).name} {x.dtype} {x.shape} {fingerprint}")


def build(data: Data) -> VDM:
    schedule, D, side = Schedule.linear_gamma(T, GAMMA_1, GAMMA_T), data.train.shape[1], math.isqrt(data.train.shape[1])
    if data.levels is None:
        network = MLPNetwork(D, D)
        return VDM(RegressionDenoiser(network, schedule), schedule, GaussianDecoder(1 / (1 + math.exp(-GAMMA_1))))
    network = AxialNetwork(side, data.levels) if side >= 4 and side * side == D else MLPNetwork(D, D * data.levels)
    values = np.linspace(-1.0, 1.0, data.levels)
    return VDM(CategoricalDenoiser(network, schedule, values), schedule, CategoricalDecoder(values))


# ---------------------------------------------------------------- training and evaluation


def costs(elbo, data: Data) -> dict[str, float]:
    """Means over examples as costs in bits/dim."""
    bits = data.train.shape[1] * math.log(2)
    reconstruction, prior, diffusion = (float(np.mean(x, dtype=np.float64)) / bits for x in elbo[:3])
    reconstruction = own_units(data) - reconstruction
    return {"total": reconstruction + prior + diffusion, "reconstruction": reconstruction, "prior": prior, "diffusion": diffusion}


def own_units(data: Data) -> float:
    """Bits/dim from the model's units to the data's: log p(x) = log p(x / scale) - log scale, for every dimension."""
    return math.log2(data.scale)


def train(vdm: VDM, data: Data, args, checkpoint: Path):
    bits, D = data.train.shape[1] * math.log(2), data.train.shape[1]
    batch = min(BATCH, max(8, 2**22 // (D * (data.levels or 1))))
    rng = np.random.default_rng(args.seed)
    theta = vdm.denoiser.init(rng, data.train) if data.levels else vdm.denoiser.init(rng)

    def loss(theta, rng):
        x_0 = data.train[rng.integers(len(data.train), size=batch)]
        return own_units(data) - np.mean(vdm.elbo_estimate(theta, x_0, rng, times="stratified").total) / bits

    def validate(theta):
        found = costs(estimate(vdm, theta, data.validation, draws=4, seed=args.seed), data)
        return found.pop("total"), found

    settings = {"data": data.name, "levels": data.levels, "seed": args.seed, "T": T, "gamma_1": GAMMA_1, "gamma_T": GAMMA_T, "batch": batch}
    optimizer = Adam(LEARNING_RATE, beta_2=0.99, cosine_steps=args.steps)
    return fit(loss, theta, rng, steps=args.steps, optimizer=optimizer, ema=EMA(0.995), validate=validate,
               validate_every=min(50, args.steps), checkpoint=checkpoint, settings=settings)


def estimate(vdm: VDM, theta, x: np.ndarray, draws: int, seed: int):
    """The bound's terms estimated with one t for each example, `draws` times over, always with the same noise."""
    rng = np.random.default_rng([seed, 1])
    found = [vdm.elbo_estimate(theta, x[:512], rng, times="stratified") for _ in range(draws)]
    return [np.concatenate(term) for term in zip(*found)]


def exact(vdm: VDM, theta, x: np.ndarray, seed: int):
    """The bound's terms with all t, in parts of 32 examples on all cores; each part has noise of its own, whoever computes it."""
    parts, found, told = [x[i : i + 32] for i in range(0, len(x), 32)], [], time.monotonic()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for part in pool.map(lambda i: vdm.elbo(theta, parts[i], np.random.default_rng([seed, 2, i])), range(len(parts))):
            found.append(part)
            if time.monotonic() > told + 5:
                told = time.monotonic()
                print(f"  {32 * len(found)} of {len(x)} examples", flush=True)
    return [np.concatenate(term) for term in zip(*found)]


# ---------------------------------------------------------------- pictures


def draw_pictures(vdm: VDM, run, data: Data, out: Path, seed: int) -> None:
    try:
        import matplotlib
        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("No pictures: they need matplotlib. Get it with  python -m pip install -e '.[examples]'  and run the same command again.")
        return
    rng = np.random.default_rng([seed, 3])
    stops = [T, 800, 600, 450, 350, 250, 150, 75, 1, 0]
    path = {t: x for t, x in ancestral_path(vdm, run.best, (48, data.train.shape[1]), rng) if t in stops}
    if len(data.shape) == 2:
        samples_picture(plt, path[0], data, out)
        denoising_picture(plt, [path[t] for t in stops], stops, data, out)
    else:
        histogram_picture(plt, path[0], data, out)
    training_picture(plt, run.history, out)
    kl_picture(plt, vdm, run.best, data, rng, out)
    print(f"pictures: {', '.join(sorted(p.name for p in out.glob('*.png')))}")


def tiles(images: np.ndarray, shape: tuple, columns: int) -> np.ndarray:
    """Images (n, D) side by side with a gap, as one array."""
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (shape[0] + 1) + 1, columns * (shape[1] + 1) + 1), np.nan)
    for i, image in enumerate(images):
        r, c = divmod(i, columns)
        sheet[r * (shape[0] + 1) + 1 : (r + 1) * (shape[0] + 1), c * (shape[1] + 1) + 1 : (c + 1) * (shape[1] + 1)] = image.reshape(shape)
    return sheet


def show(axes, sheet, title):
    axes.imshow(sheet, cmap="gray_r", vmin=-1, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def save(plt, figure, out: Path, name: str) -> None:
    temporary = out / f".{name}.tmp"
    figure.savefig(temporary, dpi=130, format="png", bbox_inches="tight")
    os.replace(temporary, out / name)
    plt.close(figure)


def samples_picture(plt, samples, data, out):
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 6.2))
    show(left, tiles(samples, data.shape, 6), "samples of the model")
    show(right, tiles(data.test[:48], data.shape, 6), "test images")
    save(plt, figure, out, "samples.png")


def denoising_picture(plt, steps, stops, data, out):
    figure, all_axes = plt.subplots(1, len(stops), figsize=(len(stops), 6.1), layout="constrained")
    for axes, x, t in zip(all_axes, steps, stops):
        show(axes, tiles(x[:6], data.shape, 1), f"t = {t}")
    figure.suptitle("from x_T to x_0: six samples on their way", fontsize=11)
    save(plt, figure, out, "denoising.png")


def histogram_picture(plt, samples, data, out):
    figure, axes = plt.subplots(figsize=(6, 4))
    bins = 40
    if data.levels:
        bins = (np.arange(data.levels + 1) - 0.5) * 2 / (data.levels - 1) - 1
    for values, label in ((samples, "samples of the model"), (data.test, "test data")):
        axes.hist(values.ravel(), bins=bins, density=True, histtype="step", label=label)
    axes.set_title("values of all dimensions together", fontsize=11)
    axes.set_xlabel("value as the model sees it" if data.levels is None else "level, scaled to [-1, 1]")
    axes.set_ylabel("density")
    axes.legend()
    save(plt, figure, out, "samples.png")


def training_picture(plt, history, out):
    figure, axes = plt.subplots(figsize=(7, 4.2))
    step = [row["step"] for row in history]
    axes.plot(step, [row["loss"] for row in history], color="0.6", marker=".", label="training, total")
    axes.plot(step, [row["validation"] for row in history], color="k", marker=".", label="validation, total")
    for name, color in (("diffusion", "C0"), ("reconstruction", "C1"), ("prior", "C2")):
        axes.plot(step, [row[f"validation_{name}"] for row in history], color=color, ls="--", marker=".", label=f"validation, {name}")
    axes.set_title("training: parameters as they go; validation: their average", fontsize=11)
    axes.set_xlabel("step")
    axes.set_ylabel("cost, bits/dim")
    axes.legend()
    save(plt, figure, out, "training.png")


def kl_picture(plt, vdm, theta, data, rng, out):
    x = data.validation[:32]
    kl = np.mean(vdm.kl_per_t(theta, x, rng), axis=1)[2:] / (x.shape[1] * math.log(2))
    figure, axes = plt.subplots(figsize=(7, 4.2))
    axes.plot(np.arange(2, T + 1), kl, lw=0.6, color="C0", alpha=0.5, label=f"mean of {len(x)} validation images")
    smooth = np.convolve(kl, np.ones(25) / 25, "valid")
    axes.plot(np.arange(2, T + 1)[12:-12], smooth, color="C0", label="the same, smoothed over 25 t")
    axes.legend()
    axes.set_xlabel("t")
    axes.set_ylabel("KL_t, bits/dim")
    above = axes.twiny()
    above.set_xlim(axes.get_xlim())
    ticks = np.array([1, 250, 500, 750, 1000])
    above.set_xticks(ticks, [f"{vdm.schedule.gamma[t]:.1f}" for t in ticks])
    above.set_xlabel("γ_t = -log SNR")
    save(plt, figure, out, "kl_per_t.png")


# ---------------------------------------------------------------- the command


def main(argv=None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=700, help="training steps (default 700)")
    parser.add_argument("--seed", type=int, default=0, help="of the parameters, the minibatches and all noise (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs/vdm_digits"), help="folder of this run (default runs/vdm_digits); one for each run")
    parser.add_argument("--fresh", action="store_true", help="start over; an earlier run in the folder is moved to old-1, old-2, ... in it")
    parser.add_argument("--data", help="a .npy file of your own, one example per entry of its first axis")
    parser.add_argument("--levels", type=int, help="K for integer data with values 0..K-1")
    args = parser.parse_args(argv)
    if args.steps < 1 or args.seed < 0:
        parser.error(f"--steps must be at least 1 and --seed at least 0, got {args.steps} and {args.seed}")
    try:
        data = load(args.data, args.levels, args.seed)
        prepare(args)
        run_it(build(data), data, args)
    except CheckpointError as error:
        print(f"vdm_digits: {error} (--out FOLDER), or start over (--fresh)", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"vdm_digits: not enough memory: {error}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, NonFiniteLoss, OSError) as error:
        print(f"vdm_digits: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vdm_digits: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def prepare(args) -> None:
    """The folder, free of an earlier run if --fresh says so."""
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out} is not a folder")
    args.out.mkdir(parents=True, exist_ok=True)
    mine = [args.out / name for name in ("checkpoint.npz", "metrics.json", *PICTURES) if (args.out / name).exists()]
    if args.fresh and mine:
        number = next(n for n in range(1, 10**6) if not (args.out / f"old-{n}").exists())
        (args.out / f"old-{number}").mkdir()
        for path in mine:
            path.rename(args.out / f"old-{number}" / path.name)
        print(f"the earlier run was moved to {args.out / f'old-{number}'}")
    elif mine and not (args.out / "checkpoint.npz").exists():
        raise ValueError(f"{args.out} holds {mine[0].name} but no checkpoint to go on from; use another --out, or --fresh")


def run_it(vdm: VDM, data: Data, args) -> None:
    began = time.perf_counter()
    checkpoint, metrics = args.out / "checkpoint.npz", args.out / "metrics.json"
    if not checkpoint.exists():
        print(f"training on {len(data.train)} examples of {data.train.shape[1]} dimensions ({data.name}), {args.steps} steps")
    run = train(vdm, data, args, checkpoint)
    if metrics.exists():
        print(f"this run is finished ({run.step} steps); --fresh starts over")
        try:
            found = json.loads(metrics.read_text())
            found["test"]["total"], found["test"]["reconstruction"], found["test"]["prior"], found["test"]["diffusion"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{metrics} is damaged ({type(error).__name__}: {error}); move it away and run again") from None
        if not all((args.out / name).exists() for name in PICTURES if len(data.shape) == 2 or name != "denoising.png"):
            draw_pictures(vdm, run, data, args.out, args.seed)
    else:
        most = max(1, 120_000 // data.test.shape[1])
        test = data.test[:most]
        print(f"best validation {run.best_value:.3f} bits/dim at step {run.best_step}; now the exact bound, all {T} noise levels "
              f"of {len(test)} test examples", flush=True)
        terms = exact(vdm, run.best, test, args.seed)
        error = float(np.std(terms[3], dtype=np.float64)) / math.sqrt(len(test)) / (test.shape[1] * math.log(2))
        found = {"test": costs(terms, data), "test_standard_error": error,
                 "validation": costs(estimate(vdm, run.best, data.validation, draws=32, seed=args.seed), data),
                 "test_examples": len(test), "validation_is": "an estimate from 32 draws of t for each example",
                 "best_step": run.best_step, "steps": run.step, "seed": args.seed, "T": T, "data": data.name, "levels": data.levels,
                 "parameters": int(ravel(run.best)[0].size), "history": run.history}
        draw_pictures(vdm, run, data, args.out, args.seed)
        temporary = args.out / ".metrics.json.tmp"
        temporary.write_text(json.dumps(found, indent=1) + "\n")
        os.replace(temporary, metrics)
        print(f"{time.perf_counter() - began:.0f} s; results in {args.out}; standard error of the test figure {error:.3f} bits/dim over images")
    test = found["test"]
    if data.levels and test["total"] > math.log2(data.levels):
        print(f"this is worse than the uniform model, {math.log2(data.levels):.2f} bits/dim: too few steps or too little data")
    print(f"test {test['total']:.2f} bits/dim (reconstruction {test['reconstruction']:.2f}, prior {test['prior']:.2f}, "
          f"diffusion {test['diffusion']:.2f})")


if __name__ == "__main__":
    sys.exit(main())
