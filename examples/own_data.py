"""Data of your own for vdm_digits.py: one array in a .npy file, integers 0..K-1 or floats; what it
is, and how points are shown."""
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter

from refvdm.datasets import scale_levels
from refvdm.experiment import Refused
from refvdm.vdm import ddim_sample


class Data(NamedTuple):
    """Float32 arrays (n, D) as the model sees them, and what they were before."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    levels: int | None  # K; None for floats
    scale: float  # one unit here, in the data's own units; of several, the geometric mean
    shape: tuple  # of one example
    name: str
    center: np.ndarray | float = 0.0  # x in the data's own units is center + unit x
    unit: np.ndarray | float = 1.0


def read(path, levels, seed) -> Data:
    """The array in the file `path`, shuffled, split 70/15/15 and scaled for the model.

    levels: K for integers, which are scaled to [-1, 1]; None for floats, which are standardised:
        a table (n, D) column by column, else with one mean and one standard deviation for all.
    Raises Refused, naming --data or --levels, for what cannot be learned from.
    """
    if levels is not None and levels < 2:
        raise Refused(f"--levels must be at least 2, got {levels}")
    x = array(path)
    if x.dtype.kind in "iu":
        rows, center, unit = from_integers(x, levels, path), (levels - 1) / 2, (levels - 1) / 2
        scale = 1.0
    elif x.dtype.kind == "f":
        if levels is not None:
            raise Refused(f"--levels is for integer data, {path} holds {x.dtype}")
        rows, center, unit = from_floats(x, path)
        scale = float(np.exp(np.mean(np.log(unit))))
    else:
        raise Refused(f"--data {path} must hold integers or floats, got {x.dtype} "
                         f"(bool: .astype(int) and --levels 2)")
    rows = rows[np.random.default_rng(seed).permutation(len(rows))].astype(np.float32)
    a, b = int(0.7 * len(rows)), int(0.85 * len(rows))
    # a checkpoint goes on only with the data it began with: their name tells them apart
    fingerprint = hashlib.sha256(np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
    name = f"{Path(path).name} {x.dtype} {x.shape} {fingerprint}"
    return Data(rows[:a], rows[a:b], rows[b:], levels, scale, x.shape[1:], name,
                center, unit)


def array(path):
    """The array (n, ...), n >= 10, as it stands in the file."""
    try:
        x = np.lib.format.open_memmap(path, mode="r")
    except OSError as error:
        raise Refused(f"--data {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise Refused(f"--data {path} cannot be read: it is not a .npy file of numbers, "
                         f"as np.save writes it") from None
    if x.ndim < 2 or x[:1].size == 0:
        raise Refused(f"--data {path}: expected one array (n, ...), an example per row, "
                         f"got shape {x.shape}")
    if len(x) < 10:
        raise Refused(f"--data {path}: expected at least 10 examples, got {len(x)}")
    return x


def from_integers(x, levels, path):
    """Rows (n, D) on [-1, 1]."""
    low, high = int(x.min()), int(x.max())
    if levels is None or low < 0 or high >= levels:
        told = ("say how many levels K they have with --levels" if levels is None
                else f"--levels {levels} means 0..{levels - 1}")
        raise Refused(f"--data {path} holds integers from {low} to {high}: {told}; "
                         f"values must lie in 0..K-1")
    return scale_levels(x.reshape(len(x), -1), levels)


def from_floats(x, path):
    """Rows (n, D) of mean 0 and standard deviation 1, and what these were: in a table of each
    column, in images of all values."""
    rows = x.reshape(len(x), -1)
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        raise Refused(f"--data {path} holds nan or infinity, "
                         f"first in example {int(np.argmin(finite))}")
    axis = 0 if x.ndim == 2 else None
    center, unit = rows.mean(axis=axis), rows.std(axis=axis)
    if np.any(unit == 0):
        where = f" in column {int(np.argmin(unit))}" if axis == 0 and np.any(unit) else ""
        raise Refused(f"--data {path}: all values{where} are equal")
    return (rows - center) / unit, center, unit


# ---------------------------------------------------------------- what they are, and pictures


def are_images(data) -> bool:
    """Examples (height, width), or (height, width, 3) in colour."""
    return len(data.shape) == 2 or (len(data.shape) == 3 and data.shape[2] == 3)


def points_picture(plt, vdm, theta, samples, data):
    """Data beside samples in the data's own units: values of one column, or pairs of columns; of
    two columns of floats the model's density too."""
    n, D = len(samples), samples.shape[1]
    ours, theirs = (data.center + data.unit * x for x in (samples, data.test[:n]))
    if D == 1:
        figure, axes = plt.subplots(figsize=(6.4, 4))
        for values, name in ((theirs, "test data"), (ours, "samples")):
            axes.hist(values.ravel(), bins=40, density=True, histtype="step", lw=1.6, label=name)
        axes.set(title="Test data and samples", xlabel="value, in the data's units",
                 ylabel="density, 1/unit")
        axes.legend()
        return figure
    with_density = D == 2 and data.levels is None
    panels = 3 if with_density else 2
    size = (4.8 * panels, 4.4)
    figure, all_axes = plt.subplots(1, panels, figsize=size, sharex=True, sharey=True)
    for axes, x, name in zip(all_axes, (theirs, ours), ("test data", "samples of the model")):
        axes.plot(x[:, 0], x[:, 1], ".", ms=3)
        axes.set(title=f"{name}, {len(x)} points", xlabel="column 0", ylabel="column 1")
    if with_density:
        low, high = (np.quantile(np.concatenate([ours, theirs]), q, axis=0) for q in (0.002, 0.998))
        density_panel(figure, all_axes[2], vdm, theta, data, low, high)
    elif D > 2:
        figure.suptitle(f"The first two of {D} columns")
    return figure


def density_panel(figure, axes, vdm, theta, data, low, high, n=20_000, bins=70):
    """The model's density in the data's own units: a histogram of n samples by DDIM in 50 steps,
    smoothed by a normal of one bin's width."""
    x = ddim_sample(vdm, theta, (n, 2), np.random.default_rng(0), steps=50)
    x = data.center + data.unit * x
    sides = [np.linspace(a, b, bins + 1) for a, b in zip(low, high)]
    p = np.histogram2d(*x.T, bins=sides)[0] / n / np.prod([side[1] - side[0] for side in sides])
    shown = axes.pcolormesh(*sides, gaussian_filter(p.T, 1.0), vmin=0)
    axes.set(title=f"density of {n} samples by DDIM", xlabel="column 0",
             facecolor=shown.cmap(0.0))
    figure.colorbar(shown, ax=axes, label="density, 1/(unit of column 0 × unit of column 1)")
