"""The data the examples run on."""
from __future__ import annotations

from importlib import resources
from typing import NamedTuple

import numpy as np


class Digits(NamedTuple):
    """8x8 images as rows of 64 integers 0..16 (int64): train (1000, 64), validation (350, 64), test (447, 64)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def digits() -> Digits:
    """The UCI optical digits, K = 17 levels; the uniform model costs log2(17) = 4.0875 bits/dim.

    E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    doi 10.24432/C50P49, CC BY 4.0. Rows [:1000], [1000:1350], [1350:] of its test file, the split of
    J. Tomczak, Deep Generative Modeling. Shipped with the package.
    """
    with resources.files("refvdm").joinpath("data/optdigits.npz").open("rb") as file:
        images = np.load(file)["images"].astype(np.int64)
    return Digits(images[:1000], images[1000:1350], images[1350:])


def scale_levels(x: np.ndarray, levels: int) -> np.ndarray:
    """Integers 0..levels-1 as floats on [-1, 1] (float64), -1 + 2 x/(levels - 1): exactly linspace(-1, 1, levels)[x].

    TypeError for other than integers, ValueError for values outside 0..levels-1.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "iu":
        raise TypeError(f"scale_levels: expected integers, got dtype {x.dtype}")
    if levels < 2 or x.size and not (x.min() >= 0 and x.max() < levels):
        raise ValueError(f"scale_levels: expected values in 0..{levels - 1} with levels >= 2, got {x.min()}..{x.max()}")
    return np.linspace(-1.0, 1.0, levels)[x]
