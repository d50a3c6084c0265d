"""What arguments are called in messages, and what to do about them."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def what(x: Any, wanted: type = float) -> str:
    """How an argument that is no array of the numbers wanted is called, and what to do about it."""
    if isinstance(x, np.ma.MaskedArray):
        return "a masked array, whose mask would be lost; use .filled(value)"
    if isinstance(x, np.matrix):
        return "an np.matrix, whose * means something else; use np.asarray(matrix)"
    if foreign(x) == "torch":
        return "a torch.Tensor; hand it over as x.detach().numpy()"
    if foreign(x) in ("jax", "jaxlib"):
        return "a jax array; hand it over as np.asarray(x)"
    if isinstance(x, complex) or getattr(getattr(x, "dtype", None), "kind", "") == "c":
        return f"dtype {getattr(x, 'dtype', 'complex')}; take its real part"
    if isinstance(x, (list, tuple, int, float, np.number)):
        return f"{type(x).__name__}; np.array(x, {wanted.__name__}) makes it one"
    if not isinstance(getattr(x, "dtype", None), np.dtype):
        return type(x).__name__
    if x.dtype.kind == "O":
        return "dtype object; make an array of numbers of it"
    return f"dtype {x.dtype}; cast it with .astype({wanted.__name__})"


def shown(shape: Sequence) -> str:
    """(batch, ..., 3) for ("batch", ..., 3)."""
    words = ["..." if n is ... else str(n) for n in shape]
    return f"({words[0]},)" if len(words) == 1 and shape[0] is not ... else f"({', '.join(words)})"


def foreign(x: Any) -> str:
    """The package of another library's array, "" for everything else."""
    if isinstance(x, (np.ndarray, np.generic)):
        return ""
    package = type(x).__module__.partition(".")[0]
    return package if hasattr(x, "shape") and package not in ("numpy", "refvdm", "builtins") else ""


def ordinary(x: Any) -> bool:
    """No masked array and no matrix."""
    return not isinstance(x, (np.ma.MaskedArray, np.matrix))


def asked_at(t: Any) -> str:
    """The time or times that a caller's function was asked about."""
    if t is None:
        return ""
    first, last = np.min(t), np.max(t)
    return f", asked at t = {first}" if first == last else f", asked at t = {first}..{last}"
