"""Data of your own for vdm_digits.py: one array in a .npy file, integers 0..K-1 or floats."""
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refvdm.datasets import scale_levels


class Data(NamedTuple):
    """Float32 arrays (n, D) as the model sees them, and what they were before."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int | None  # K; None for floats
    scale: float  # one unit here, in the data's own units
    shape: tuple  # of one example
    name: str


def read(path, levels, seed) -> Data:
    """The array in the file `path`, shuffled, split 70/15/15 and scaled for the model.

    levels: K for integers, which are scaled to [-1, 1]; None for floats, which are standardised
        with one mean and one standard deviation for all.
    Raises ValueError, naming --data or --levels, for what cannot be learned from.
    """
    if levels is not None and levels < 2:
        raise ValueError(f"--levels must be at least 2, got {levels}")
    x = array(path)
    if x.dtype.kind in "iu":
        rows, scale = from_integers(x, levels, path), 1.0
    elif x.dtype.kind == "f":
        if levels is not None:
            raise ValueError(f"--levels is for integer data, {path} holds {x.dtype}")
        rows, scale = from_floats(x, path)
    else:
        raise ValueError(f"--data {path} must hold integers or floats, got {x.dtype} "
                         f"(bool: .astype(int) and --levels 2)")
    rows = rows[np.random.default_rng(seed).permutation(len(rows))].astype(np.float32)
    a, b = int(0.7 * len(rows)), int(0.85 * len(rows))
    # a checkpoint goes on only with the data it began with: their name tells them apart
    fingerprint = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
    name = f"{Path(path).name} {x.dtype} {x.shape} {fingerprint}"
    return Data(rows[:a], rows[a:b], rows[b:], levels, scale, x.shape[1:], name)


def array(path):
    """The array (n, ...), n >= 10, as it stands in the file."""
    try:
        x = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise ValueError(f"--data {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"--data {path} cannot be read: it is not a .npy file of numbers, "
                         f"as np.save writes it") from None
    if x.ndim < 2 or x[:1].size == 0:
        raise ValueError(f"--data {path}: expected one array (n, ...), an example per row, "
                         f"got shape {x.shape}")
    if len(x) < 10:
        raise ValueError(f"--data {path}: expected at least 10 examples, got {len(x)}")
    return x


def from_integers(x, levels, path):
    """Rows (n, D) on [-1, 1]."""
    low, high = int(x.min()), int(x.max())
    if levels is None or low < 0 or high >= levels:
        told = ("say how many levels K they have with --levels" if levels is None
                else f"--levels {levels} means 0..{levels - 1}")
        raise ValueError(f"--data {path} holds integers from {low} to {high}: {told}; "
                         f"values must lie in 0..K-1")
    return scale_levels(x.reshape(len(x), -1), levels)


def from_floats(x, path):
    """Rows (n, D) of mean 0 and standard deviation 1 over all values, and that deviation before."""
    rows = x.reshape(len(x), -1)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise ValueError(f"--data {path} holds nan or infinity, "
                         f"first in example {int(np.argmin(finite))}")
    scale = float(rows.std())
    if scale == 0:
        raise ValueError(f"--data {path}: all values are equal")
    return (rows - rows.mean()) / scale, scale
