"""How the training loop goes on from a checkpoint: is it whole, of the same run, and in order?

A file can be whole and yet hold what no run has written. Everything that the next step depends on
is looked at here, before a number of it is used.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import checks
from .autodiff import stop_gradient, tree_map
from .autodiff.tree import EXTRAORDINARY
from .checkpoint import CheckpointError, load_checkpoint


def resume(path: Path, fresh: dict, rng: np.random.Generator) -> dict:
    """The state in the checkpoint, if it is of the same run: same settings, same parameters.

    rng is put where the run had it.
    """
    saved = load_checkpoint(path)
    if not isinstance(saved, dict) or saved.keys() != fresh.keys():
        raise CheckpointError(f"{path} is a refvdm checkpoint, but not one of a training run; "
                              f"it was left as it is. Take another place")
    differing = list(_differences(fresh["identity"], saved["identity"]))
    if differing:
        raise CheckpointError(f"{path} belongs to a run with other settings "
                              f"({'; '.join(differing)}); it was left as it is. "
                              f"Give the same settings, or another place")
    field = ""
    try:
        for field in ("theta", "optimizer", "average", "best"):
            saved[field] = tree_map(_same_kind, fresh[field], saved[field])
        field = "step"
        step = checks.integer("it", saved["step"], 0, fresh["identity"]["steps"])
        checks.integer("the optimizer's", int(saved["optimizer"]["step"]), step, step)
        field = "best_step"
        checks.integer("it", saved["best_step"], 0, step)
        field = "best_value"
        _real("it", saved["best_value"])
        field = "sums"
        named = {**saved["sums"]}
        with_extras("sums", (named.pop("loss", 0.0), named))
        field = "history"
        for row in saved["history"]:
            checks.integer("the step of a row", row["step"], 1, step)
            for key, x in row.items():
                _real(f"{key!r} of a row", x)
        field = "rng"
        _set_generator(rng, saved["rng"])
    except Exception as error:  # any tree may stand there, and fails in its own way
        raise CheckpointError(f"{path} is a whole checkpoint, but its field {field!r} is not that "
                              f"of this run: {error}; it was left as it is. Take another "
                              f"place") from error
    return saved


def _same_kind(ours: Any, saved: Any) -> Any:
    """What is saved in the place of `ours`: an array of its shape and dtype, finite."""
    if is_array := isinstance(ours, (np.ndarray, np.generic)):
        shape, dtype = np.shape(saved), getattr(saved, "dtype", None)
        if ours.shape != shape or ours.dtype != dtype:
            raise ValueError(f"expected shape {ours.shape} {ours.dtype}, found {shape} {dtype}")
    elif type(ours) is not type(saved):
        raise ValueError(f"expected {type(ours).__name__}, found {type(saved).__name__}")
    if (is_array or isinstance(ours, float)) and not np.all(np.isfinite(saved)):
        raise ValueError("it holds nan or infinity")
    return saved


def _set_generator(rng: np.random.Generator, saved: dict) -> None:
    ours = rng.bit_generator.state
    if saved["bit_generator"] != ours["bit_generator"]:
        raise ValueError(f"it was made with the generator {saved['bit_generator']}, "
                         f"this run uses {ours['bit_generator']}")
    try:
        tree_map(_same_kind, ours, saved)
        rng.bit_generator.state = saved
        if list(_differences(rng.bit_generator.state, saved)):  # NumPy took only a part of it
            raise ValueError("no generator has this state")
    except Exception:
        rng.bit_generator.state = ours
        raise


def _differences(ours: Any, saved: Any, path: str = "") -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(saved, dict):
        for key in {**ours, **saved}:
            yield from _differences(ours.get(key), saved.get(key), f"{path}.{key}".lstrip("."))
    elif _comparable(ours) != _comparable(saved):
        yield f"{path} is {ours!r} here and {saved!r} there"


def _comparable(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.tolist()
    return list(x) if isinstance(x, tuple) else x  # JSON makes lists of tuples


def with_extras(who: str, result: Any) -> tuple[Any, dict[str, float]]:
    """The value (of a loss still a Tensor), and the named numbers beside it."""
    value, extras = result if type(result) is tuple and len(result) == 2 else (result, {})
    if not (isinstance(extras, dict) and all(isinstance(key, str) for key in extras)
            and {"step", "loss", "validation"}.isdisjoint(extras)):
        raise ValueError(f"fit: beside its value {who} may return a dict of named numbers "
                         f"(not \"step\", \"loss\", \"validation\"), got {extras!r}")
    _real(f"the value of {who}", value)
    return value, {key: _real(f"{key!r} of {who}", x) for key, x in extras.items()}


def _real(name: str, x: Any) -> float:
    kind = getattr(getattr(x, "dtype", None), "kind", None)
    real = isinstance(x, (int, float)) or kind in ("f", "i", "u", "b")
    if not real or np.shape(x) != () or isinstance(x, EXTRAORDINARY):
        raise TypeError(f"fit: {name} must be one real number, got "
                        f"{f'shape {np.shape(x)}' if np.shape(x) else checks.what(x)}")
    return float(stop_gradient(x))
