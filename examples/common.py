"""What the commands here share: arguments, the folder of a run, results and pictures that are whole or not there."""
import argparse
import json
import os
import sys
import time
from pathlib import Path

from refvdm.checkpoint import CheckpointError
from refvdm.fit import NonFiniteLoss

BEGAN = time.perf_counter()


def arguments(name, description, steps):
    """A parser with --steps, --seed, --out and --fresh."""
    parser = argparse.ArgumentParser(prog=name, description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive, default=steps, help=f"training steps (default {steps or 'depends on the data'})")
    parser.add_argument("--seed", type=natural, default=0, help="of the parameters, the data and all noise (default 0)")
    parser.add_argument("--out", type=Path, default=Path("runs") / name, help=f"folder of this run (default runs/{name}); one for each run")
    parser.add_argument("--fresh", action="store_true", help="start over; an earlier run in the folder is moved to old-1, old-2, ... in it")
    return parser


def positive(text):
    if (n := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {n}")
    return n


def natural(text):
    if (n := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 0, got {n}")
    return n


def guarded(name, args, files, run):
    """run(args) in its folder; what goes wrong is one clear line. The exit code.

    `files` are what the run writes: with --fresh an earlier run's are moved away.
    """
    try:
        prepare(args.out, ("checkpoint.npz", "metrics.json", *files), args.fresh)
        run(args)
    except CheckpointError as error:
        print(f"{name}: {error} (--out FOLDER), or start over (--fresh)", file=sys.stderr)
        return 2
    except (ValueError, TypeError, NonFiniteLoss, OSError, MemoryError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def prepare(out, files, fresh):
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is not a folder")
    out.mkdir(parents=True, exist_ok=True)
    mine = [out / name for name in files if (out / name).exists()]
    if fresh and mine:
        number = next(n for n in range(1, 10**6) if not (out / f"old-{n}").exists())
        (out / f"old-{number}").mkdir()
        for path in mine:
            path.rename(out / f"old-{number}" / path.name)
        print(f"the earlier run was moved to {out / f'old-{number}'}")
    elif mine and not (out / "checkpoint.npz").exists():
        raise ValueError(f"{out} holds {mine[0].name} but no checkpoint to go on from; use another --out, or --fresh")


def finished(out, results, pictures):
    """What results() returns, written to metrics.json; when the run was finished before and has its pictures, what stands there."""
    path = out / "metrics.json"
    if path.exists() and (all((out / name).exists() for name in pictures) or pyplot() is None):
        print("this run is finished; --fresh starts over")
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); move it away and run again") from None
    print("trained; now the results and pictures", flush=True)
    found = results()
    temporary = out / ".metrics.json.tmp"
    temporary.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(temporary, path)
    print(f"{time.perf_counter() - BEGAN:.0f} s; results in {out}")
    return found


def pyplot():
    """matplotlib.pyplot without a screen, or None, which is said."""
    try:
        import matplotlib
    except ImportError:
        print("no pictures: they need matplotlib (python -m pip install -e '.[examples]')")
        return None
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    return plt


def save_picture(plt, figure, path, tight=True):
    if tight:
        figure.tight_layout()
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
    os.replace(temporary, path)
