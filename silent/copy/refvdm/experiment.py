"""An experiment of your own without ceremony: what a run needs beside its mathematics.

    from refvdm import experiment

    def main(args):
        with experiment.Run("ring", args, pictures=["density.png"]) as run:
            trained = fit(loss, theta, np.random.default_rng(args.seed), steps=args.steps,
                          optimizer=Adam(1e-3), checkpoint=run.checkpoint,
                          settings={"seed": args.seed})
            run.finish(lambda: {"gap_nats": ..., **experiment.about(trained)},
                       lambda plt, found: ..., lambda found: f"gap {found['gap_nats']:.3f} nats")

    if __name__ == "__main__":
        sys.exit(experiment.call("ring", main, experiment.arguments("ring", __doc__, 2000)))

gives a command with --steps, --seed, --out and --fresh. Its folder is locked while it runs; Ctrl-C
and kills lose at most the steps since the last checkpoint, and the same command goes on; a finished
run shows its results again. Pictures need matplotlib, bars need tqdm, the rest only NumPy.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from .autodiff import ravel
from .checkpoint import CheckpointError
from .fit import Fit, NonFiniteLoss
from .lock import InUse, exclusive

# ---------------------------------------------------------------- the command


def arguments(name: str, description: str | None, steps: int | None) -> argparse.ArgumentParser:
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


def at_least(low: int) -> Callable[[str], int]:
    """The type, for argparse, of an integer of at least `low`."""
    def integer(text: str) -> int:
        try:
            n = int(text)
        except ValueError:
            n = low - 1
        if n < low:
            raise argparse.ArgumentTypeError(f"expected an integer of at least {low}, got {text}")
        return n
    return integer


def call(name: str, main: Callable, parser: argparse.ArgumentParser,
         argv: Sequence[str] | None = None) -> int:
    """main(args) of the parsed command line, and the exit status: see guarded."""
    return guarded(name, main, parser.parse_args(argv))


def guarded(name: str, main: Callable, args: Any) -> int:
    """main(args); what goes wrong is one clear line on stderr. Returns the exit status."""
    try:
        main(args)
    except InUse as error:
        print(f"{name}: {error} (--out FOLDER)", file=sys.stderr)
        return 2
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


class Run:
    """The folder args.out while a `with` block holds it: checkpoint.npz, metrics.json, pictures.

    args: what `arguments` parsed. With args.fresh an earlier run is moved away. On entering, InUse
    when another run has the folder; ValueError when it holds results or pictures without a
    checkpoint: they are somebody's own, and stay as they are.
    """

    def __init__(self, name: str, args: argparse.Namespace, pictures: Sequence[str] = ()):
        self.name, self.args, self.out, self.pictures = name, args, Path(args.out), tuple(pictures)
        self.checkpoint, self.metrics = self.out / "checkpoint.npz", self.out / "metrics.json"
        self._began, self._lock = time.perf_counter(), ExitStack()

    def __enter__(self) -> Run:  # noqa: PYI034  Self is of Python 3.11
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"--out {self.out} is not a folder")
        self.out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            lock.enter_context(exclusive(self.out / ".lock", self.out))
            self._look_around()
            self._lock = lock.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def finish(self, results: Callable[[], dict], draw: Callable[[Any, dict], None],
               closing: Callable[[dict], str]) -> dict:
        """What follows the training: results, pictures, and the last lines that are printed.

        results() -> dict, written to metrics.json with the name of this run. When the file is
            there, and of this run, it is read instead; ValueError when it is damaged or another's.
        draw(plt, found) draws the pictures into the folder; called when the results are new or a
            picture is missing, and matplotlib is there.
        closing(found) -> the last lines.
        """
        if new := not self.metrics.exists():
            print("trained; now the results and pictures", flush=True)
            found = {"run": self._identity(), **results()}
            with whole(self.metrics) as temporary:
                temporary.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        else:
            found = self._found(closing)
            print(f"this run is finished ({self._steps(found)}); --fresh starts over")
        missing = not all((self.out / name).exists() for name in self.pictures)
        if self.pictures and (new or missing) and (plt := pyplot()):
            draw(plt, found)
            print(f"pictures: {', '.join(self.pictures)}")
        if new:
            print(f"{time.perf_counter() - self._began:.0f} s; results in {self.out}")
        print(closing(found))
        return found

    def _look_around(self) -> None:
        names = (self.checkpoint.name, self.metrics.name, *self.pictures)
        there = [self.out / name for name in names if (self.out / name).exists()]
        if self.args.fresh and there:
            number = next(n for n in range(1, 10**6) if not (self.out / f"old-{n}").exists())
            old = self.out / f"old-{number}"
            old.mkdir()
            for path in there:
                path.rename(old / path.name)
            print(f"the earlier run was moved to {old}")
        elif there and not self.checkpoint.exists():
            raise ValueError(f"{self.out} holds {there[0].name} but no checkpoint to go on from; "
                             f"use another --out, or --fresh")

    def _identity(self) -> dict:
        """What tells this run from every other: its command, and the parameters it came to."""
        options = {key: str(value) if isinstance(value, Path) else value
                   for key, value in vars(self.args).items() if key not in ("out", "fresh")}
        command = [self.name, *(f"--{key}={value}" for key, value in options.items())]
        made = self.checkpoint.read_bytes() if self.checkpoint.exists() else b""
        return {"command": command, "seed": self.args.seed,
                "id": hashlib.sha256(made).hexdigest()[:16]}

    def _found(self, closing: Callable[[dict], str]) -> dict:
        try:
            found = json.loads(self.metrics.read_text(encoding="utf-8"))
            named = found["run"]
            closing(found)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.metrics} is damaged ({type(error).__name__}: {error}); "
                             f"move it away and run again") from None
        if named != self._identity():
            raise ValueError(f"{self.metrics} is of another run ({named}), this one is "
                             f"{self._identity()}; move it away and run again")
        return found

    def _steps(self, found: dict) -> str:
        return f"{found.get('steps', self.args.steps)} steps"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path that becomes `path` at the end: the file is whole or not there."""
    temporary = path.with_name(f".{path.name}.tmp")
    yield temporary
    os.replace(temporary, path)


# ---------------------------------------------------------------- results


def about(trained: Fit, **more: Any) -> dict:
    """What metrics.json says of every training; `more` are settings of the experiment's own."""
    return {"best_step": trained.best_step, "steps": trained.step, **more,
            "parameters": int(ravel(trained.best)[0].size), "history": trained.history}


def mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """The mean of x (n,) and its standard error."""
    return float(np.mean(x)), float(np.std(x)) / math.sqrt(len(x))


# ---------------------------------------------------------------- pictures


def pyplot() -> Any:
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


def save_picture(plt: Any, figure: Any, path: Path) -> None:
    """The figure as a png file, whole or not there; the figure is closed."""
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")
    plt.close(figure)
