"""Checks of single values: numbers, words, flags, shapes, objects. checks.py has them too, beside
those of arrays; the engine, which comes before it, takes them from here."""
from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

Kind = TypeVar("Kind")


def integer(name: str, n: Any, least: int = 1, most: float = math.inf) -> int:
    """An integer (of NumPy's too, but not a bool) from least to most."""
    if not _is_integer(n) or not least <= n <= most:
        expected = f"of at least {least}" if most == math.inf else f"in {least}..{most}"
        raise ValueError(f"{name} must be an integer {expected}, got {n!r}")
    return int(n)


def number(name: str, x: Any, interval: str = "(-inf, inf)") -> float:
    """A real number in the interval, written as in mathematics: "[0, 1)", "(0, inf)"."""
    low, high = map(float, interval[1:-1].split(","))
    if not (_is_number(x) and (x > low or x == low and interval[0] == "[")
            and (x < high or x == high and interval[-1] == "]")):
        raise ValueError(f"{name} must lie in {interval}, got {x!r}")
    return float(x)


def positive(name: str, x: Any) -> float:
    """A positive finite number."""
    if not _is_number(x) or not 0 < x < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {x!r}")
    return float(x)


def flag(name: str, x: Any) -> bool:
    """True or False."""
    if not isinstance(x, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {x!r}")
    return bool(x)


def one_of(name: str, word: Any, known: Collection[str]) -> Any:
    """One of these words."""
    if not isinstance(word, str) or word not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, got {word!r}")
    return word


def either(who: str, **given: Any) -> None:
    """Exactly one of these arguments, the others None: either("sample", rng=rng, eps=eps)."""
    there = [name for name, x in given.items() if x is not None]
    if len(there) != 1:
        raise ValueError(f"{who}: give either {' or '.join(given)}, "
                         f"got {' and '.join(there) or 'neither'}")


def generator(name: str, rng: Any) -> np.random.Generator:
    """A numpy.random.Generator."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"{name} must be a numpy.random.Generator (np.random.default_rng(seed)), "
                        f"got {type(rng).__name__}")
    return rng


def instance(name: str, x: Any, kind: type[Kind]) -> Kind:
    """An object of this class."""
    if not isinstance(x, kind):
        raise TypeError(f"{name} must be a {kind.__name__}, got {type(x).__name__}")
    return x


def function(name: str, f: Any, called_as: str) -> Callable:
    """Something that can be called."""
    if not callable(f):
        raise TypeError(f"{name} must be callable as {called_as}, got {type(f).__name__}")
    return f


def sizes(name: str, shape: Any, expected: str = "(n, ...)") -> tuple[int, ...]:
    """A shape to make something of: a tuple of integers of at least 1, the first how many."""
    if (not isinstance(shape, tuple) or not shape
            or not all(_is_integer(n) and n >= 1 for n in shape)):
        raise ValueError(f"{name} must be a tuple {expected} with n >= 1, got {shape!r}")
    return tuple(map(int, shape))


def file(name: str, path: Any) -> Path:
    """The path of a file that is there, or may come to be: no folder, no device."""
    try:
        path = Path(os.fsdecode(path))
    except TypeError:
        raise TypeError(f"{name} must be a path, got {type(path).__name__}") from None
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "no ordinary file"
        raise ValueError(f"{name} must be a file, {path} is {kind}")
    return path


def axis(name: str, x: Any) -> Any:
    """An axis, several as a tuple, or None."""
    if x is not None and not all(map(_is_integer, x if isinstance(x, tuple) else (x,))):
        raise TypeError(f"{name} must be an integer, a tuple of integers or None, got {x!r}")
    return x


def lengths(name: str, shape: Any, axes: int = 0) -> tuple[int, ...]:
    """A shape of at least this many axes: a tuple or list of integers, none negative."""
    if (not isinstance(shape, (tuple, list)) or len(shape) < axes
            or not all(_is_integer(n) and n >= 0 for n in shape)):
        some = f"at least {axes} " if axes else ""
        raise ValueError(f"{name} must be a tuple of {some}integers of at least 0, got {shape!r}")
    return tuple(map(int, shape))


# ---------------------------------------------------------------- the pieces


def _is_integer(n: Any) -> bool:
    return isinstance(n, (int, np.integer)) and not isinstance(n, bool)


def _is_number(x: Any) -> bool:
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)
