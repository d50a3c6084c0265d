"""What stands between an operation and somebody's code: a module of functions, or a program.

A function of the adapter has an operation's name and takes its inputs, NumPy arrays, in that order;
it returns its outputs in order, or a dict of them, as NumPy, torch or JAX arrays.
"""
from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .operation import Arrays, Operation


class WrongAnswer(ValueError):
    """An answer that is no answer: it did not come, has another shape, or holds no real numbers."""


class Module:
    """An adapter that is a Python module, or any object with functions of the operations' names.

    dtype: what its floats are, "float64" unless the module has a variable `dtype`.
    """

    def __init__(self, functions: Any):
        self.functions = functions
        self.dtype = np.dtype(getattr(functions, "dtype", np.float64))
        if self.dtype.kind != "f":
            raise ValueError(f"adapter: dtype must be a float dtype, got {self.dtype}")

    def has(self, operation: Operation) -> bool:
        return callable(getattr(self.functions, operation.name, None))

    def answer(self, operation: Operation, inputs: Arrays) -> Arrays:
        """The adapter's outputs as NumPy arrays. WrongAnswer, or whatever its function raises."""
        function: Callable = getattr(self.functions, operation.name)
        own = {key: x.copy() if isinstance(x, np.ndarray) else x for key, x in inputs.items()}
        try:
            outputs = operation.named(function(**own))
        except ValueError as error:
            if str(error).startswith(f"{operation.name} must return"):
                raise WrongAnswer(str(error)) from None
            raise
        return {name: as_numbers(f"{operation.name}: {name}", y) for name, y in outputs.items()}


def load(path: str) -> Module:
    """The module in a file. It may import what lies beside it."""
    file = Path(path).resolve()
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(file.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(file.parent))
    return Module(module)


def as_numbers(name: str, y: Any) -> np.ndarray:
    """An array of real numbers from what NumPy, torch, JAX or plain Python returned."""
    if hasattr(y, "detach"):  # torch; on whatever device
        y = y.detach().cpu()
        y = (y.double() if "bfloat16" in str(y.dtype) else y).numpy()
    try:
        array = np.asarray(y)
    except Exception as error:  # noqa: BLE001  somebody else's __array__
        raise WrongAnswer(f"{name} is no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise WrongAnswer(f"{name} must hold real numbers, got {_called(y, array)}")
    return array


def of_shape(name: str, y: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """y, or y without axes of length 1, in the shape expected. WrongAnswer for another."""
    if y.shape == expected.shape:
        return y
    if y.size == expected.size and [n for n in y.shape if n != 1] == [
            n for n in expected.shape if n != 1]:
        return y.reshape(expected.shape)
    try:
        spread = np.broadcast_to(y, expected.shape)
    except ValueError:
        raise WrongAnswer(f"{name} must have shape {expected.shape}, got {y.shape}") from None
    return spread


def _called(y: Any, array: np.ndarray) -> str:
    return type(y).__name__ if array.dtype.kind == "O" else f"an array of {array.dtype}"
