"""The training loop: parameters and a loss, nothing about models.

Everything that the next step depends on (parameters, optimiser, average, random generator, what has
been seen so far) is one tree; it is what a checkpoint holds, so a run that was killed goes on with
the bits of a run that never was.
"""
from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .autodiff import tree_leaves, tree_map, value_and_grad
from .checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from .optim import EMA, Adam


class NonFiniteLoss(FloatingPointError):
    """The loss, or a parameter, became nan or infinite; the message names the step."""


class Fit(NamedTuple):
    """What came of it. history: one dict for each validation, {"step", "loss", "validation",
    ...}."""

    theta: Any  # parameters after the last step
    best: Any  # averaged parameters at the best validation; the last ones without validation
    best_value: float
    best_step: int
    history: list[dict]
    step: int


def fit(loss: Callable, theta: Any, rng: np.random.Generator, *, steps: int, optimizer: Adam,
        ema: EMA | None = None,
        validate: Callable | None = None, validate_every: int = 100,
        checkpoint: str | os.PathLike | None = None,
        checkpoint_every: int | None = None, settings: dict | None = None,
        progress: bool = True) -> Fit:
    """Minimise loss(theta, rng) for a number of steps.

    loss(theta, rng) -> scalar, or (scalar, {name: scalar}) to have more in the history (means since
    the last validation);
        all its randomness comes from rng, minibatches included.
    validate(theta) -> number, or (number, {name: number}): lower is better, called on the averaged
    parameters (ema) every
        `validate_every` steps and at the end; it must not depend on anything but theta. The best
        ones are kept.
    checkpoint: a file. When it exists the run goes on from there (finished: returns at once); it is
    written every
        `checkpoint_every` steps (by default at each validation), at the end, and on Ctrl-C, whole
        or not at all.
    settings: JSON-like dict of whatever else defines the run; a checkpoint with other settings,
    steps, optimizer or ema is refused.

    Raises NonFiniteLoss naming the step (the last good checkpoint stays), CheckpointError for a
    checkpoint that cannot be used (it stays too), ValueError for bad arguments. Ctrl-C saves the
    last whole step, says how to go on, and is raised again.
    """
    for name, n in (("steps", steps), ("validate_every", validate_every),
                    ("checkpoint_every", 1 if checkpoint_every is None else checkpoint_every)):
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"fit: {name} must be a positive integer, got {n!r}")
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"fit: rng must be a numpy.random.Generator, got {type(rng).__name__}")
    try:
        settings = json.loads(json.dumps(settings or {}, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(f"fit: settings must be numbers, strings, lists and dicts without nan: "
                         f"{error}") from None
    if checkpoint is not None:
        if Path(checkpoint).is_dir():
            raise ValueError(f"fit: checkpoint must be a file, {checkpoint} is a folder")
        Path(checkpoint).parent.mkdir(parents=True, exist_ok=True)
    ema = EMA(0.0) if ema is None else ema
    identity = {"steps": int(steps), "optimizer": vars(optimizer), "ema": ema.decay,
                "validate_every": int(validate_every),
                "settings": settings}
    state = {"identity": identity, "step": 0, "theta": theta, "optimizer": optimizer.init(theta),
             "average": ema.init(theta),
             "best": ema.init(theta), "best_value": math.inf, "best_step": 0, "history": [],
             "sums": {}, "rng": rng.bit_generator.state}
    if checkpoint is not None and Path(checkpoint).exists():
        state = _resume(Path(checkpoint), state)
        rng.bit_generator.state = state["rng"]
        if progress and 0 < state["step"] < steps:
            print(f"going on from step {state['step']} of {steps} in {checkpoint}", file=sys.stderr)
    step_of = value_and_grad(lambda theta: _with_extras(loss(theta, rng)), has_aux=True)
    bar = _Progress(steps, state["step"], progress and state["step"] < steps)
    try:
        while state["step"] < steps:
            (value, extras), grads = step_of(state["theta"])
            n = state["step"] + 1
            if not np.isfinite(value):
                raise NonFiniteLoss(f"step {n}: the loss is {value}{_kept(checkpoint)}")
            theta, opt_state = optimizer.update(state["theta"], grads, state["optimizer"])
            sums = {key: state["sums"].get(key, 0.0) + x for key,
                    x in {"loss": float(value), **extras}.items()}
            after = {**state, "step": n, "theta": theta, "optimizer": opt_state,
                     "average": ema.update(state["average"], theta),
                     "sums": sums, "rng": rng.bit_generator.state}
            validating = n % validate_every == 0 or n == steps
            due = n % (checkpoint_every or validate_every) == 0 or n == steps
            saving = checkpoint is not None and due
            if validating or saving:
                _check_finite(theta, n, checkpoint)
            if validating:
                after = _validated(after, ema, validate, (n - 1) % validate_every + 1)
            if saving and checkpoint is not None:
                save_checkpoint(checkpoint, after)
            state = after  # one assignment: an interrupt finds the step whole or not begun
            bar.update(n, float(value), state["history"])
    except KeyboardInterrupt:
        bar.close()
        _interrupted(state, checkpoint, steps)
        raise
    finally:
        bar.close()
    return Fit(state["theta"], state["best"], state["best_value"], state["best_step"],
               state["history"], state["step"])


# ---------------------------------------------------------------- the pieces


def _with_extras(result: Any) -> tuple[Any, dict]:
    value, extras = result if isinstance(result, tuple) else (result, {})
    if not isinstance(extras, dict) or not {"step", "loss"}.isdisjoint(extras):
        raise ValueError(f"fit: beside its value a function may return a dict of named numbers "
                         f"(not \"step\", not \"loss\"), got {extras!r}")
    return value, extras


def _validated(state: dict, ema: EMA, validate: Callable | None, since: int) -> dict:
    """The state with one more row of history, and with the averaged parameters as the best ones if
    they are."""
    means = {key: float(total / since) for key, total in state["sums"].items()}
    row = {"step": state["step"], **means}
    average = ema.value(state["average"])
    value = math.nan
    if validate is not None:
        value, extras = _with_extras(validate(average))
        if not np.isfinite(value):
            raise NonFiniteLoss(f"step {state['step']}: the validation gives {value}")
        row |= {"validation": float(value),
                **{f"validation_{key}": float(x) for key, x in extras.items()}}
    state = {**state, "history": [*state["history"], row], "sums": {}}
    if validate is None or value < state["best_value"]:
        state |= {"best": average, "best_value": float(value), "best_step": state["step"]}
    return state


def _check_finite(theta: Any, n: int, checkpoint: Any) -> None:
    for path, leaf in tree_leaves(theta):
        if isinstance(leaf, np.ndarray) and not np.all(np.isfinite(leaf)):
            raise NonFiniteLoss(f"step {n}: the loss was finite but parameter {path} is "
                                f"not{_kept(checkpoint)}")


def _kept(checkpoint: Any) -> str:
    there = checkpoint is not None and Path(checkpoint).exists()
    if there:
        return f"; the last good checkpoint is kept in {checkpoint}"
    return "; no checkpoint had been written"


def _resume(path: Path, fresh: dict) -> dict:
    """The state in the checkpoint, if it is of the same run: same settings, same parameters."""
    saved = load_checkpoint(path)
    if not isinstance(saved, dict) or saved.keys() != fresh.keys():
        raise CheckpointError(f"{path} is a refvdm checkpoint, but not one of a training run; it "
                              f"was left as it is")
    differing = list(_differences(fresh["identity"], saved["identity"]))
    if differing:
        raise CheckpointError(f"{path} belongs to a run with other settings "
                              f"({'; '.join(differing)}); it was left as it is. "
                              f"Give the same settings, or another place")
    if saved["rng"].get("bit_generator") != fresh["rng"]["bit_generator"]:
        raise CheckpointError(f"{path} was made with the generator "
                              f"{saved['rng'].get('bit_generator')}, "
                              f"this run uses {fresh['rng']['bit_generator']}")
    try:
        for key in ("theta", "optimizer", "average", "best"):
            saved[key] = tree_map(_same_kind, fresh[key], saved[key])
    except ValueError as error:
        raise CheckpointError(f"{path} holds other parameters: {error}; "
                              "it was left as it is") from None
    return saved


def _same_kind(ours: Any, saved: Any) -> Any:
    if isinstance(ours, np.ndarray) and (np.shape(ours) != np.shape(saved)
                                         or ours.dtype != saved.dtype):
        raise ValueError(f"expected shape {ours.shape} {ours.dtype}, found {np.shape(saved)} "
                         f"{getattr(saved, 'dtype', None)}")
    return saved


def _differences(ours: Any, saved: Any, path: str = ""):
    if isinstance(ours, dict) and isinstance(saved, dict):
        for key in {**ours, **saved}:
            yield from _differences(ours.get(key), saved.get(key), f"{path}.{key}".lstrip("."))
    elif ours != saved and not (isinstance(ours, (list, tuple))
                                and isinstance(saved, (list, tuple)) and list(ours) == list(saved)):
        yield f"{path} is {ours!r} here and {saved!r} there"


def _interrupted(state: dict, checkpoint: Any, steps: int) -> None:
    n = state["step"]
    if checkpoint is None:
        print(f"\nInterrupted after step {n} of {steps}. No checkpoint file was given, so nothing "
              f"is saved.", file=sys.stderr)
        return
    save_checkpoint(checkpoint, state)
    print(f"\nInterrupted after step {n} of {steps}, saved in {checkpoint}. Run the same again to "
          f"go on from there.", file=sys.stderr)


class _Progress:
    """A tqdm bar where tqdm is installed, else a line every few seconds; on stderr."""

    def __init__(self, steps: int, start: int, show: bool):
        self.steps, self.bar, self.show = steps, None, show
        self.next_line = time.monotonic() + 5
        if show and importlib.util.find_spec("tqdm"):
            from tqdm import tqdm
            self.bar = tqdm(total=steps, initial=start, unit="step", mininterval=0.2
                            if sys.stderr.isatty() else 10)

    def update(self, n: int, loss: float, history: list[dict]) -> None:
        if not self.show:
            return
        last = ""
        if history and "validation" in history[-1]:
            last = f", validation {history[-1]['validation']:.4f}"
        if self.bar is not None:
            self.bar.set_postfix_str(f"loss {loss:.4f}{last}", refresh=False)
            self.bar.update(1)
        elif time.monotonic() >= self.next_line or n == self.steps:
            self.next_line = time.monotonic() + 5
            print(f"step {n} of {self.steps}, loss {loss:.4f}{last}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
