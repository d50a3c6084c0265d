"""The training loop: parameters and a loss, nothing about models.

Everything that the next step depends on (parameters, optimiser, average, random generator, what has
been seen so far) is one tree. It is what a checkpoint holds: a run that was killed goes on with the
bits of a run that never was.
"""
from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import checks
from .autodiff import Tensor, tree_leaves, value_and_grad
from .autodiff.tree import Tree, is_float
from .checkpoint import save_checkpoint
from .lock import exclusive
from .optim import EMA, Adam
from .resume import resume, with_extras

__all__ = ["Fit", "NonFiniteLoss", "fit"]


class NonFiniteLoss(FloatingPointError):
    """The loss, or a parameter, became nan or infinite; the message names the step.

    >>> from refvdm.fit import NonFiniteLoss, fit
    >>> from refvdm.optim import Adam
    >>> try:
    ...     _ = fit(lambda theta, rng: theta * np.inf, np.array(1.0), np.random.default_rng(0),
    ...             steps=1, optimizer=Adam(), progress=False)
    ... except NonFiniteLoss:
    ...     print("not finite")
    not finite
    """


class Fit(NamedTuple):
    """What `fit` returns: theta after the last step; the best parameters, averaged, at the best
    validation, with its value and step (the last ones without validation); history, a dict for each
    validation {"step", "loss", "validation", ...}; the number of steps taken.

    >>> from refvdm.fit import fit
    >>> from refvdm.optim import Adam
    >>> loss = lambda theta, rng: np.sum((theta - rng.normal(3.0, 0.1, 2)) ** 2)
    >>> run = fit(loss, np.zeros(2), np.random.default_rng(0), steps=200, optimizer=Adam(0.1),
    ...           progress=False)
    >>> run._fields, len(run.history)
    (('theta', 'best', 'best_value', 'best_step', 'history', 'step'), 2)
    """

    theta: Tree
    best: Tree
    best_value: float
    best_step: int
    history: list[dict]
    step: int


def fit(loss: Callable[[Tree, np.random.Generator], Any], theta: Tree, rng: np.random.Generator, *,
        steps: int, optimizer: Adam, ema: EMA | None = None,
        validate: Callable[[Tree], Any] | None = None, validate_every: int = 100,
        checkpoint: str | os.PathLike | None = None, checkpoint_every: int | None = None,
        settings: dict | None = None, progress: bool = True, unit: str = "") -> Fit:
    """Minimise loss(theta, rng) for a number of steps.

    loss(theta, rng) -> scalar, or (scalar, {name: scalar}) to have more in the history, as means
        since the last validation. All its randomness comes from rng, minibatches included.
    validate(theta) -> number, or (number, {name: number}); lower is better. It is called on the
        averaged parameters (ema) every `validate_every` steps and at the end, and must depend on
        nothing but theta. The best parameters are kept.
    checkpoint: a file. When it exists the run goes on from there (finished: returns at once). It is
        written every `checkpoint_every` steps (by default at each validation), at the end, and on
        Ctrl-C, whole or not at all.
    settings: JSON-like dict of whatever else defines the run; a checkpoint with other settings,
        steps, optimizer or ema is refused.
    unit: that of the loss and the validation, "nats" say: what the progress shows behind them.

    Raises NonFiniteLoss naming the step, and CheckpointError for a checkpoint that cannot be used;
    in both cases the file stays as it is. ValueError or TypeError for bad arguments. Ctrl-C saves
    the last whole step, says how to go on, and is raised again.

    >>> from refvdm.fit import fit
    >>> from refvdm.optim import Adam
    >>> loss = lambda theta, rng: np.sum((theta - rng.normal(3.0, 0.1, 2)) ** 2)
    >>> run = fit(loss, np.zeros(2), np.random.default_rng(0), steps=200, optimizer=Adam(0.1),
    ...           progress=False)
    >>> run.step, bool(np.all(abs(run.theta - 3) < 0.2))
    (200, True)
    """
    steps = checks.integer("fit: steps", steps)
    validate_every = checks.integer("fit: validate_every", validate_every)
    checkpoint_every = checks.integer(
        "fit: checkpoint_every", validate_every if checkpoint_every is None else checkpoint_every)
    checks.generator("fit: rng", rng)
    checks.function("fit: loss", loss, "loss(theta, rng)")
    checks.instance("fit: optimizer", optimizer, Adam)
    ema = EMA(0.0) if ema is None else checks.instance("fit: ema", ema, EMA)
    if validate is not None:
        checks.function("fit: validate", validate, "validate(theta)")
    _check_start(theta)
    progress = checks.flag("fit: progress", progress)
    checks.instance("fit: unit", unit, str)
    identity = {"steps": steps, "optimizer": vars(optimizer), "ema": ema.decay,
                "validate_every": validate_every, "settings": _as_json(settings)}
    path = None if checkpoint is None else _as_file(checkpoint)
    with nullcontext() if path is None else exclusive(path.with_name(f".{path.name}.lock"), path):
        return _descend(loss, theta, rng, steps, optimizer, ema, validate, validate_every, path,
                        checkpoint_every, identity, progress, unit)


def _descend(loss: Callable, theta: Tree, rng: np.random.Generator, steps: int, optimizer: Adam,
             ema: EMA, validate: Callable | None, validate_every: int, path: Path | None,
             checkpoint_every: int, identity: dict, progress: bool, unit: str) -> Fit:
    """What is left of `fit` when its arguments are checked and the checkpoint is its own."""
    state = {"identity": identity, "step": 0, "theta": theta, "optimizer": optimizer.init(theta),
             "average": ema.init(theta), "best": ema.init(theta), "best_value": math.inf,
             "best_step": 0, "history": [], "sums": {}, "rng": rng.bit_generator.state}
    if path is not None and path.exists():
        state = resume(path, state, rng)
        if progress and 0 < state["step"] < steps:
            print(f"going on from step {state['step']} of {steps} in {path}", file=sys.stderr)

    def traced(theta: Tree) -> tuple[Any, dict]:
        value, extras = with_extras("loss", loss(theta, rng))
        if n == first and not isinstance(value, Tensor):
            raise ValueError(f"fit: step {n}: the loss gave {value!r}, which does not depend on "
                             f"theta, so that nothing would be trained; it must be computed from "
                             f"the theta it is called with")
        return value, extras

    first, gradient = state["step"] + 1, value_and_grad(traced, has_aux=True)
    bar = _Progress(steps, state["step"], progress and state["step"] < steps, unit)
    try:
        for n in range(first, steps + 1):
            (value, extras), grads = gradient(state["theta"])
            if not np.isfinite(value):
                raise NonFiniteLoss(f"step {n}: the loss is {value}{_kept(path)}")
            theta, opt_state = _updated(optimizer, state, grads, path)
            seen = {"loss": float(value), **extras}
            after = {**state, "step": n, "theta": theta, "optimizer": opt_state,
                     "average": ema.update(state["average"], theta),
                     "sums": {key: state["sums"].get(key, 0.0) + x for key, x in seen.items()},
                     "rng": rng.bit_generator.state}
            if n % validate_every == 0 or n == steps:
                _check_finite(after, path)
                after = _validated(after, ema, validate, since=(n - 1) % validate_every + 1)
            if path is not None and (n % checkpoint_every == 0 or n == steps):
                _check_finite(after, path)
                save_checkpoint(path, after)
            state = after  # one assignment: an interrupt finds the step whole or not begun
            bar.update(n, float(value), state["history"])
    except KeyboardInterrupt:
        bar.close()
        _interrupted(state, path, steps)
        raise
    finally:
        bar.close()
    return Fit(state["theta"], state["best"], state["best_value"], state["best_step"],
               state["history"], state["step"])


def _check_start(theta: Tree) -> None:
    """Something to train, all of it finite numbers."""
    try:
        floats = {place: leaf for place, leaf in tree_leaves(theta) if is_float(leaf)}
    except TypeError as error:
        raise TypeError(f"fit: theta: {error}") from None
    if not floats:
        raise ValueError("fit: theta must hold at least one array of floats to train")
    for place, leaf in floats.items():
        checks.floats(f"fit: theta{place}", np.asarray(leaf), (...,))


# ---------------------------------------------------------------- a step's results


def _updated(optimizer: Adam, state: dict, grads: Tree, path: Path | None) -> tuple[Tree, dict]:
    try:
        return optimizer.update(state["theta"], grads, state["optimizer"])
    except ValueError as error:  # the trees are the engine's: only their numbers can be wrong
        raise NonFiniteLoss(f"step {state['step'] + 1}: the loss was finite but {error}"
                            f"{_kept(path)}") from None


def _validated(state: dict, ema: EMA, validate: Callable | None, since: int) -> dict:
    """The state with one more row of history, and its average as the best parameters if they are.

    since: the number of steps that state["sums"] is over.
    """
    row = {"step": state["step"]}
    row |= {key: float(total / since) for key, total in state["sums"].items()}
    average = ema.value(state["average"])
    value = math.nan
    if validate is not None:
        value, extras = with_extras("validate", validate(average))
        if not np.isfinite(value):
            raise NonFiniteLoss(f"step {state['step']}: the validation gives {value}")
        row["validation"] = float(value)
        row |= {f"validation_{key}": x for key, x in extras.items()}
    state = {**state, "history": [*state["history"], row], "sums": {}}
    if validate is None or value < state["best_value"]:
        state |= {"best": average, "best_value": float(value), "best_step": state["step"]}
    return state


def _check_finite(state: dict, path: Path | None) -> None:
    for place, leaf in tree_leaves(state["theta"]):
        if isinstance(leaf, np.ndarray) and not np.all(np.isfinite(leaf)):
            raise NonFiniteLoss(f"step {state['step']}: the loss was finite but parameter {place} "
                                f"is not{_kept(path)}")


def _kept(path: Path | None) -> str:
    if path is not None and path.exists():
        return f"; the last good checkpoint is kept in {path}"
    return "; no checkpoint had been written"


# ---------------------------------------------------------------- settings and checkpoints


def _as_json(settings: dict | None) -> dict:
    """The settings as a checkpoint gives them back, so that two runs can be compared."""
    settings = {} if settings is None else settings
    if not isinstance(settings, dict):
        raise TypeError(f"fit: settings must be a dict, got {type(settings).__name__}")
    try:
        return json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"fit: settings must be numbers, strings, lists and dicts without nan: "
                         f"{error}") from None


def _as_file(checkpoint: str | os.PathLike) -> Path:
    """The checkpoint's path, in a folder that is there."""
    path = checks.file("fit: checkpoint", checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _interrupted(state: dict, path: Path | None, steps: int) -> None:
    after = f"\nInterrupted after step {state['step']} of {steps}"
    if path is None:
        print(f"{after}. No checkpoint file was given, so nothing is saved.", file=sys.stderr)
        return
    save_checkpoint(path, state)
    print(f"{after}, saved in {path}. Run the same again to go on from there.", file=sys.stderr)


# ---------------------------------------------------------------- on the screen


class _Progress:
    """A tqdm bar where tqdm is installed, else a line every few seconds; on stderr."""

    def __init__(self, steps: int, start: int, show: bool, unit: str):
        self.steps, self.show, self.unit = steps, show, f" {unit}" if unit else ""
        self.bar: Any = None
        self.next_line = time.monotonic() + 5
        if show and importlib.util.find_spec("tqdm"):
            from tqdm import tqdm
            self.bar = tqdm(total=steps, initial=start, unit="step",
                            mininterval=0.2 if sys.stderr.isatty() else 10)

    def update(self, n: int, loss: float, history: list[dict]) -> None:
        if not self.show:
            return
        text = f"loss {loss:.4f}{self.unit}"
        if history and "validation" in history[-1]:
            text += f", validation {history[-1]['validation']:.4f}{self.unit}"
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(1)
        elif time.monotonic() >= self.next_line or n == self.steps:
            self.next_line = time.monotonic() + 5
            print(f"step {n} of {self.steps}, {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
