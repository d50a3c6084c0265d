"""What stands between an operation and somebody's code: a module of functions, or a program.

A function of the adapter has an operation's name and takes its inputs, NumPy arrays, by their names
or, where it calls them otherwise, in that order; it returns its outputs in order, or a dict of
them, as NumPy, torch or JAX arrays.
"""
from __future__ import annotations

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .operation import REGISTER, Arrays, Operation


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
            outputs = operation.named(_called_with(function, own))
        except ValueError as error:
            if str(error).startswith(f"{operation.name} must return"):
                raise WrongAnswer(str(error)) from None
            raise
        return {name: as_numbers(f"{operation.name}: {name}", y) for name, y in outputs.items()}


    def misspelt(self) -> list[str]:
        """What is no operation, but nearly called like one."""
        names = [name for name, value in vars(self.functions).items() if callable(value)]
        return nearly(names)


def nearly(names: Iterable[str]) -> list[str]:
    """Which of these are an operation's but for some letters, when that operation is not there."""
    names, told = list(names), []
    for name in names:
        near = difflib.get_close_matches(name, REGISTER, 1, 0.8)
        if near and name not in REGISTER and near[0] not in names:
            told.append(f"{name} is no operation; is {near[0]} meant?")
    return told


def _called_with(function: Callable, inputs: Arrays) -> Any:
    try:
        by_name = inspect.signature(function)
        by_name.bind(**inputs)
    except TypeError:  # its parameters have other names
        return function(*inputs.values())
    except ValueError:  # it has no signature
        pass
    return function(**inputs)


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
    if array.dtype.name in ("bfloat16", "float8_e4m3fn", "float8_e5m2"):  # JAX's, no kind of NumPy
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise WrongAnswer(f"{name} must hold real numbers, got {_what(y, array)}")
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
        raise WrongAnswer(f"{name} must have shape {expected.shape}, got {y.shape}"
                          f"{_hint(y, expected)}") from None
    return spread


def _hint(y: np.ndarray, expected: np.ndarray) -> str:
    """The axes over which a sum or a mean, or the order in which they, would be right."""
    if y.ndim > expected.ndim and y.dtype.kind == "f" and y.size <= 10**6:
        for axis in range(y.ndim):
            for word, total in (("summed", np.sum), ("averaged", np.mean)):
                with np.errstate(all="ignore"):
                    found = total(y, axis=axis)
                if found.shape == expected.shape and np.allclose(found, expected.astype(float),
                                                                 rtol=1e-4, atol=0):
                    return f"; {word} over axis {axis} it agrees"
    if y.ndim == 2 and y.shape[::-1] == expected.shape:
        return "; it is transposed"
    return ""


def _what(y: Any, array: np.ndarray) -> str:
    return type(y).__name__ if array.dtype.kind == "O" else f"an array of {array.dtype}"
