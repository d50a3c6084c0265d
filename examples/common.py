"""What the examples share: the command, the folder of a run, its results, and the pictures.

To be imported before NumPy: BLAS gets one thread. The examples' matrices are small; a second
thread gains little when the machine is idle and loses a lot when it is not.
"""
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import argparse
import json
import math
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from refvdm.autodiff import ravel
from refvdm.checkpoint import CheckpointError
from refvdm.fit import NonFiniteLoss
from refvdm.vdm.denoiser import MixtureDenoiser

BEGAN = time.perf_counter()


# ---------------------------------------------------------------- the command


def arguments(name, description, steps):
    """A parser with --steps, --seed, --out and --fresh; steps=None: no default of its own."""
    parser = argparse.ArgumentParser(
        prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=at_least(1), default=steps,
                        help=f"training steps (default {steps or 'depends on the data'})")
    parser.add_argument("--seed", type=at_least(0), default=0,
                        help="of the parameters, the data and all noise (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs") / name,
                        help=f"folder of this run (default runs/{name}); one for each run")
    parser.add_argument("--fresh", action="store_true",
                        help="start over; an earlier run in the folder is moved to old-1, old-2, "
                             "... in it")
    return parser


def at_least(low):
    """The type, for argparse, of an integer of at least `low`."""
    def integer(text):
        try:
            n = int(text)
        except ValueError:
            n = low - 1
        if n < low:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {low}, got {text}")
        return n
    return integer


def guarded(name, experiment, args):
    """experiment(args); what goes wrong is one clear line on stderr. Returns the exit code."""
    try:
        experiment(args)
    except CheckpointError as error:
        print(f"{name}: {error} (--out FOLDER), or start over (--fresh)", file=sys.stderr)
        return 2
    except MemoryError as error:
        print(f"{name}: not enough memory: {error}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, NonFiniteLoss, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


# ---------------------------------------------------------------- the folder of a run


def prepare(args, pictures):
    """Make the folder --out and return the path of its checkpoint.

    With --fresh an earlier run is moved away. Results or pictures without a checkpoint are
    somebody's own: a ValueError, and they stay as they are.
    """
    out, checkpoint = args.out, args.out / "checkpoint.npz"
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is not a folder")
    out.mkdir(parents=True, exist_ok=True)
    names = (checkpoint.name, "metrics.json", *pictures)
    there = [out / name for name in names if (out / name).exists()]
    if args.fresh and there:
        number = next(n for n in range(1, 10**6) if not (out / f"old-{n}").exists())
        old = out / f"old-{number}"
        old.mkdir()
        for path in there:
            path.rename(old / path.name)
        print(f"the earlier run was moved to {old}")
    elif there and not checkpoint.exists():
        raise ValueError(f"{out} holds {there[0].name} but no checkpoint to go on from; "
                         f"use another --out, or --fresh")
    return checkpoint


def finish(out, pictures, results, draw, closing):
    """What follows the training: results, pictures, and what is printed at the end.

    results() -> dict, written to metrics.json; when that file is there, it is read instead
    draw(plt, found) draws `pictures`; called when the results are new or a picture is missing
    closing(found) -> the last lines that are printed
    """
    path = out / "metrics.json"
    new = not path.exists()
    if new:
        print("trained; now the results and pictures", flush=True)
        found = results()
        with whole(path) as temporary:
            temporary.write_text(json.dumps(found, indent=1) + "\n")
    else:
        try:
            found = json.loads(path.read_text())
            closing(found)
            print(f"this run is finished ({found['steps']} steps); --fresh starts over")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); "
                             f"move it away and run again") from None
    missing = not all((out / name).exists() for name in pictures)
    if (new or missing) and (plt := pyplot()):
        draw(plt, found)
        print(f"pictures: {', '.join(pictures)}")
    if new:
        print(f"{time.perf_counter() - BEGAN:.0f} s; results in {out}")
    print(closing(found))


@contextmanager
def whole(path):
    """A temporary path that becomes `path` at the end: the file is whole or not there."""
    temporary = path.with_name(f".{path.name}.tmp")
    yield temporary
    os.replace(temporary, path)


def about(run, args, **more):
    """What every metrics.json says of its run; `more` are settings of the example's own."""
    return {"best_step": run.best_step, "steps": run.step, "seed": args.seed, **more,
            "parameters": int(ravel(run.best)[0].size), "history": run.history}


def mean_and_error(x):
    """The mean of x (n,) and its standard error."""
    return float(np.mean(x)), float(np.std(x)) / math.sqrt(len(x))


# ---------------------------------------------------------------- equal Gaussians


def exact_denoiser(ring, schedule):
    """E[x_0 | x_t] for x_0 from a datasets.Ring: the best denoiser there is."""
    k, D = ring.means.shape
    covs = np.tile(ring.variance * np.eye(D), (k, 1, 1))
    return MixtureDenoiser(np.ones(k), ring.means, covs, schedule)


def nearest(x, means):
    """Which of the means (k, D) is nearest to each x (n, D), as indices (n,): its colour."""
    return np.argmin(np.linalg.norm(x[:, None] - means, axis=-1), axis=1)


# ---------------------------------------------------------------- pictures


def pyplot():
    """matplotlib.pyplot, drawing to files and never to a screen; None, and a word, without it."""
    try:
        import matplotlib
    except ImportError:
        print("no pictures: they need matplotlib. Get it with  "
              "python -m pip install -e '.[examples]'  and run the same command again.")
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.rcParams["figure.constrained_layout.use"] = True
    return plt


def save_picture(plt, figure, path):
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)


def show_images(axes, images, columns, title, low, high):
    """Images (n, height, width) side by side with a gap; low is white, high is black."""
    n, height, width = images.shape
    rows = -(-n // columns)
    sheet = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), np.nan)
    for i, image in enumerate(images):
        r, c = i // columns * (height + 1) + 1, i % columns * (width + 1) + 1
        sheet[r : r + height, c : c + width] = image
    axes.imshow(sheet, cmap="gray_r", vmin=low, vmax=high, interpolation="nearest")
    axes.set_title(title, fontsize=11)
    axes.axis("off")


def square(half, n):
    """(n, n, 2): the points of a grid on [-half, half]²."""
    axis = np.linspace(-half, half, n)
    return np.stack(np.meshgrid(axis, axis), axis=-1)


def show_density(axes, log_prob, half, n, high):
    """exp(log_prob(x)), x (n², 2), as an image of [-half, half]²; `high` has the last colour."""
    p = np.exp(log_prob(square(half, n).reshape(-1, 2))).reshape(n, n)
    return axes.imshow(p, extent=(-half, half, -half, half), origin="lower", vmin=0, vmax=high)
