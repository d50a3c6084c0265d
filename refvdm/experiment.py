"""An experiment of your own without ceremony: what a run needs beside its mathematics.

This is a whole one, ring.py; `python ring.py` runs it, `# %%` makes cells of it in an editor:

    '''A diffusion model of eight Gaussians on a ring.'''
    # %% The options: of the command line; in a notebook the defaults
    import numpy as np
    from refvdm import experiment
    from refvdm.datasets import Ring
    from refvdm.optim import EMA, Adam
    from refvdm.vdm import VDM, GaussianDecoder, Schedule, evaluate
    from refvdm.vdm.network import MLPNetwork, RegressionDenoiser

    args = experiment.options(experiment.arguments("ring", __doc__, steps=2000))

    # %% The model
    ring, schedule = Ring(), Schedule.linear_gamma(50, -5.0, 5.0)
    denoiser = RegressionDenoiser(MLPNetwork(2, 2, hidden=48, layers=2), schedule)
    vdm, rng = VDM(denoiser, schedule, GaussianDecoder(6e-3)), np.random.default_rng(args.seed)

    def loss(theta, rng):
        return -np.mean(vdm.elbo_estimate(theta, ring.sample(128, rng), rng).total)

    # %% Training, results, pictures
    with experiment.Run("ring", args, pictures=["samples.png"]) as run:
        trained = run.fit(loss, denoiser.init(rng, np.float64), rng, optimizer=Adam(3e-3),
                          ema=EMA(0.99), unit="nats")

        def results():
            x = ring.sample(500, np.random.default_rng([args.seed, 1]))
            missing = ring.log_prob(x) - evaluate(vdm, trained.best, x, progress=False).total
            gap, error = experiment.mean_and_error(missing)
            return {"gap_nats": gap, "standard_error": error, **experiment.about(trained)}

        def draw(plt, found):
            figure, axes = plt.subplots()
            axes.plot(*vdm.sample(trained.best, (1000, 2), rng).T, ".", ms=2)
            axes.set(title=f"samples, {found['gap_nats']:.2f} nats from the truth", aspect="equal")
            return {"samples.png": figure}

        found = run.finish(results, draw, lambda found: f"gap {found['gap_nats']:.3f} nats")

It has --steps, --seed, --out, --quick and --fresh, a bar that names its unit, and a folder that is
locked while it runs, with checkpoint.npz, metrics.json and the pictures. Ctrl-C and kills lose at
most the steps since the last checkpoint, and the same command goes on; a finished run shows its
results again. Options define a run, the program does not: after an edit that changes what is
learned take --fresh or another --out. In a notebook its pictures are shown. What the user can mend
(Refused, a folder in use, a full disk) is one line on stderr; a fault of the program keeps its
traceback. Pictures need matplotlib, bars tqdm, the rest only NumPy.
"""
from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from . import checks
from .autodiff import ravel
from .checkpoint import whole
from .command import Refused, arguments, at_least, call, guarded, in_notebook, options
from .fit import Fit, fit
from .lock import exclusive
from .pictures import LOOK, PALETTE, pyplot, save_picture

__all__ = ["LOOK", "PALETTE", "Refused", "Run", "about", "arguments", "at_least", "call",
           "guarded", "in_notebook", "mean_and_error", "options", "pyplot", "save_picture", "whole"]

# ---------------------------------------------------------------- the folder of a run


class Run:
    """The folder args.out while a `with` block holds it: checkpoint.npz, metrics.json, pictures.

    args: as of `options`; pictures: the names that `finish` will draw. With args.fresh an earlier
    run is moved away. On entering, InUse when another run has the folder; Refused when it holds
    results or pictures without a checkpoint: they are somebody's own, and stay as they are.

    >>> import tempfile
    >>> from refvdm import experiment
    >>> parser = experiment.arguments("ring", "A ring.", steps=10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with experiment.Run("ring", parser.parse_args(["--out", folder + "/run"])) as run:
    ...         print(type(run).__name__)
    Run
    """

    def __init__(self, name: str, args: argparse.Namespace, pictures: Sequence[str] = ()):
        checks.instance("Run: args", args, argparse.Namespace)
        if missing := [key for key in ("out", "seed", "fresh") if not hasattr(args, key)]:
            raise TypeError(f"Run: args must be as options(arguments(...)) gives them, got none of "
                            f"{', '.join(missing)}")
        self.name, self.args = checks.instance("Run: name", name, str), args
        self.out = Path(args.out)
        self.pictures = tuple(checks.words("Run: pictures", pictures))
        self.checkpoint, self.metrics = self.out / "checkpoint.npz", self.out / "metrics.json"
        self._begun_by = self.out / ".program"
        self._began, self._lock = time.perf_counter(), ExitStack()

    def __enter__(self) -> Run:  # noqa: PYI034  Self is of Python 3.11
        if self.out.exists() and not self.out.is_dir():
            raise Refused(f"--out {self.out} is not a folder")
        self.out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as lock:
            lock.enter_context(exclusive(self.out / ".lock", self.out))
            self._look_around()
            self._notice_an_edit()
            self._lock = lock.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._lock.close()

    def fit(self, loss: Callable, theta: Any, rng: np.random.Generator, *,
            settings: dict | None = None, **more: Any) -> Fit:
        """refvdm.fit.fit of args.steps steps, with this folder's checkpoint.

        All options but --out and --fresh define the run: a checkpoint of others is refused.
        settings: what else does.
        """
        mine = {key: value for key, value in self._options().items() if key != "steps"}
        mine |= {} if settings is None else checks.instance("Run.fit: settings", settings, dict)
        return fit(loss, theta, rng, steps=self.args.steps, checkpoint=self.checkpoint,
                   settings=mine, **more)

    def finish(self, results: Callable[[], dict], draw: Callable[[Any, dict], dict | None],
               closing: Callable[[dict], str]) -> dict:
        """What follows the training: results, pictures, and the last lines that are printed.

        results() -> dict, written to metrics.json with the name of this run. When the file is
            there, and of this run, it is read instead; Refused when it is damaged or another's.
        draw(plt, found) -> {file name: figure}, or saves its pictures itself; called when the
            results are new or a picture is missing, and matplotlib is there; in a notebook always.
        closing(found) -> the last lines.
        """
        checks.function("Run.finish: results", results, "results()")
        checks.function("Run.finish: draw", draw, "draw(plt, found)")
        checks.function("Run.finish: closing", closing, "closing(found)")
        if new := not self.metrics.exists():
            print("trained; now the results and pictures", flush=True)
            text = json.dumps({"run": self._identity(), **results()}, indent=1)
            with whole(self.metrics) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8")
            found = json.loads(text)  # now as later
        else:
            found = self._found(closing)
            print(f"this run is finished ({self._steps(found)}); --fresh starts over")
        missing = not all((self.out / name).exists() for name in self.pictures)
        if self.pictures and (new or missing or in_notebook()) and (plt := pyplot()):
            for name, figure in (draw(plt, found) or {}).items():
                save_picture(plt, figure, self.out / name)
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
            for path in (*there, self._begun_by):
                if path.exists():
                    path.rename(old / path.name)
            print(f"the earlier run was moved to {old}")
        elif there and not self.checkpoint.exists():
            raise Refused(f"{self.out} holds {there[0].name} but no checkpoint to go on from; "
                             f"use another --out, or --fresh")

    def _notice_an_edit(self) -> None:
        """Options define a run, and other ones are refused; an edited program goes on, and that is
        said: a typo in a picture is no reason to train again, another loss is."""
        program = getattr(sys.modules["__main__"], "__file__", None)
        if program is None or not Path(program).exists() or in_notebook():
            return
        digest = hashlib.sha256(Path(program).read_bytes()).hexdigest()
        if not self.checkpoint.exists():
            with whole(self._begun_by) as temporary:
                temporary.write_text(digest, encoding="utf-8")
        elif self._begun_by.exists() and self._begun_by.read_text(encoding="utf-8") != digest:
            print(f"{Path(program).name} has changed since this run began; what is done stays "
                  f"done, --fresh starts over")

    def _identity(self) -> dict:
        """What tells this run from every other: its command, and the parameters it came to."""
        command = [self.name, *(f"--{key}={value}" for key, value in self._options().items())]
        made = self.checkpoint.read_bytes() if self.checkpoint.exists() else b""
        return {"command": command, "seed": self.args.seed,
                "id": hashlib.sha256(made).hexdigest()[:16]}

    def _options(self) -> dict:
        """All but where the run is, and --quick where it is not asked for."""
        return {key: str(value) if isinstance(value, Path) else value
                for key, value in vars(self.args).items()
                if key not in ("out", "fresh") and (key, value) != ("quick", False)}

    def _found(self, closing: Callable[[dict], str]) -> dict:
        try:
            found = json.loads(self.metrics.read_text(encoding="utf-8"))
            named = found["run"]
            closing(found)
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{self.metrics} is damaged ({type(error).__name__}: {error}); "
                             f"move it away and run again") from None
        if named != self._identity():
            raise Refused(f"{self.metrics} is of another run ({named}), this one is "
                             f"{self._identity()}; move it away and run again")
        return found

    def _steps(self, found: dict) -> str:
        return f"{found.get('steps', self.args.steps)} steps"


# ---------------------------------------------------------------- results


def about(trained: Fit, **more: Any) -> dict:
    """What metrics.json says of every training; `more` are settings of the experiment's own.

    >>> from refvdm import experiment
    >>> from refvdm.fit import Fit
    >>> theta = {"w": np.zeros((2, 3))}
    >>> experiment.about(Fit(theta, theta, 1.5, 40, [], 100), layers=2)
    {'best_step': 40, 'steps': 100, 'layers': 2, 'parameters': 6, 'history': []}
    """
    checks.instance("about: trained", trained, Fit)
    return {"best_step": trained.best_step, "steps": trained.step, **more,
            "parameters": int(ravel(trained.best)[0].size), "history": trained.history}


def mean_and_error(x: np.ndarray) -> tuple[float, float]:
    """The mean of x (n,) and its standard error.

    >>> from refvdm import experiment
    >>> mean, error = experiment.mean_and_error(np.array([1.0, 2.0, 3.0]))
    >>> mean, round(error, 4)
    (2.0, 0.4714)
    """
    x = checks.reals("mean_and_error: x", x, ("n",))
    if not x.size:
        raise ValueError("mean_and_error: x must hold at least one number, got none")
    return float(np.mean(x)), float(np.std(x)) / math.sqrt(len(x))
