"""Arrays as JSON, for programs in other languages.

    an array        {"dtype": "float64", "shape": [2, 3], "data": [1.5, "nan", ...]}   flat, C order
    anything else   itself: numbers, words, null

Floats are the shortest decimals that read back to the same bits; nan, inf and -inf are strings, as
JSON has none.
"""
from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
DTYPES = ("float64", "float32", "int64")


def encode(x: Any) -> Any:
    """x as JSON knows it; integer arrays are int64."""
    if isinstance(x, dict):
        return {key: encode(y) for key, y in x.items()}
    if isinstance(x, (list, tuple)):
        return [encode(y) for y in x]
    if isinstance(x, np.ndarray):
        x = x.astype(np.int64) if x.dtype.kind in "iub" else x
        flat = x.reshape(-1)
        data = [_number(v) for v in flat] if x.dtype.kind == "f" else flat.tolist()
        return {"dtype": str(x.dtype), "shape": list(x.shape), "data": data}
    return x.item() if isinstance(x, np.generic) else x


def _number(v: Any) -> Any:
    # str of a NumPy float is the shortest for its own dtype: float32(0.1) is 0.1, not 0.100000001
    return float(str(v)) if np.isfinite(v) else str(v)


def decode(x: Any) -> Any:
    """The reverse. ValueError for an array whose shape, dtype and data do not fit."""
    if isinstance(x, list):
        return [decode(y) for y in x]
    if not isinstance(x, dict):
        return x
    if set(x) != {"dtype", "shape", "data"}:
        return {key: decode(y) for key, y in x.items()}
    dtype, shape, data = x["dtype"], x["shape"], x["data"]
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"shape must be a list of integers, got {shape!r}")
    if not isinstance(data, list) or len(data) != math.prod(shape):
        got = len(data) if isinstance(data, list) else repr(data)
        raise ValueError(f"shape {shape} needs {math.prod(shape)} numbers in data, got {got}")
    kinds: tuple = (int,) if dtype == "int64" else (int, float)
    numbers = [NOT_FINITE.get(v, v) if isinstance(v, str) else v for v in data]
    for v, number in zip(data, numbers):
        if type(number) not in kinds:
            raise ValueError(f"data must hold numbers of dtype {dtype}, got {v!r}")
    return np.array(numbers, dtype).reshape(shape)


def dumps(x: Any) -> str:
    """One line of JSON."""
    return json.dumps(encode(x), allow_nan=False)


def loads(line: str) -> Any:
    return decode(json.loads(line))
