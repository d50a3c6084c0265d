"""What is compared: operations, each a function of arrays that draws nothing at random.

An operation has a reference, written after the lecture's spec and run in extended precision; cases
on which no two conventions agree; and mistakes: what people compute instead. A mistake changes what
goes into the reference, or what comes out of it, so that two of them can be made at once.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, Any]  # an operation's inputs or outputs by name


class Mistake(NamedTuple):
    """A usual mistake, or another convention."""

    name: str  # goes on after "matches the reference if": "the second output is a deviation"
    inputs: Callable[..., Mapping] | None = None  # (**inputs) -> those it changes
    outputs: Callable[..., Mapping] | None = None  # (inputs, outputs) -> those it changes
    instead: Callable[..., Any] | None = None  # (**inputs) -> all outputs


class Operation(NamedTuple):
    """One line of the table that `python -m refvdm.conformance list` prints."""

    name: str
    equation: str  # of the lecture; a formula's source where it is not there
    summary: str
    inputs: dict[str, str]  # name: shape, unit, meaning
    outputs: dict[str, str]
    reference: Callable[..., Any]  # (**inputs) -> one output or a tuple of them
    cases: Callable[[np.random.Generator], Iterator[Arrays]]
    mistakes: tuple[Mistake, ...]
    accuracy: float  # relative, where an approximation is asked for (an ODE's solution); else 0
    notes: str  # how others index and name it

    def answer(self, inputs: Arrays, mistakes: tuple[Mistake, ...] = ()) -> Arrays:
        """The outputs by name, in extended precision; with mistakes, the wrong ones."""
        return self.finish(*self.begin(inputs, mistakes), mistakes)

    def begin(self, inputs: Arrays, mistakes: tuple[Mistake, ...] = ()) -> tuple[Arrays, Arrays]:
        """The inputs that come out of mistakes in them, and the outputs of what is computed."""
        inputs = {key: extended(x) for key, x in inputs.items()}
        for mistake in mistakes:
            if mistake.inputs is not None:
                inputs = {**inputs, **mistake.inputs(**inputs)}
        instead = [mistake.instead for mistake in mistakes if mistake.instead is not None]
        outputs = self.named(instead[0](**inputs) if instead else self.reference(**inputs))
        for other in instead[1:]:
            outputs = self._both(outputs, self.named(other(**inputs)), inputs)
        return inputs, outputs

    def finish(self, inputs: Arrays, outputs: Arrays, mistakes: tuple[Mistake, ...]) -> Arrays:
        """The outputs after mistakes in them."""
        for mistake in mistakes:
            if mistake.outputs is not None:
                outputs = {**outputs, **mistake.outputs(inputs, outputs)}
        return outputs

    def _both(self, one: Arrays, other: Arrays, inputs: Arrays) -> Arrays:
        """Two wrong answers at once, number by number: the one that differs from the right one."""
        right = self.named(self.reference(**inputs))
        return {name: np.where(np.asarray(y) != right[name], y, other[name])
                for name, y in one.items()}

    def named(self, returned: Any) -> Arrays:
        """What a function of this signature returned, by name. ValueError for another number of
        outputs, or other names."""
        names = tuple(self.outputs)
        if isinstance(returned, Mapping):
            if set(returned) != set(names):
                raise ValueError(f"{self.name} must return {', '.join(names)}, got a dict with the "
                                 f"keys {', '.join(map(str, returned))}")
            return {name: returned[name] for name in names}
        if len(names) == 1 and not (isinstance(returned, (tuple, list)) and len(returned) == 1):
            returned = (returned,)
        if not isinstance(returned, (tuple, list)) or len(returned) != len(names):
            got = len(returned) if isinstance(returned, (tuple, list)) else type(returned).__name__
            raise ValueError(f"{self.name} must return {len(names)} outputs, {', '.join(names)}, "
                             f"got {got}")
        return dict(zip(names, returned))

    def fixed_cases(self, dtype: Any = np.float64) -> list[Arrays]:
        """The cases, the same ones every time, floats in this dtype."""
        rng = np.random.default_rng([ord(letter) for letter in self.name])
        return [{key: rounded(x, dtype) for key, x in case.items()} for case in self.cases(rng)]


REGISTER: dict[str, Operation] = {}


def operation(equation: str, *, inputs: dict[str, str], outputs: dict[str, str],
              cases: Callable, mistakes: tuple[Mistake, ...] = (), accuracy: float = 0.0,
              notes: str = "") -> Callable:
    """The function below is the reference of an operation of its name; its docstring sums it up."""
    def register(reference: Callable) -> Callable:
        name = reference.__name__
        REGISTER[name] = Operation(name, equation, reference.__doc__ or "", inputs, outputs,
                                   reference, cases, tuple(mistakes), accuracy, notes)
        return reference
    return register


def extended(x: Any) -> Any:
    """Floats in the platform's longest format (80 bits on x86, 64 on most arm64 machines)."""
    return x.astype(np.longdouble) if _is_float(x) else x


def rounded(x: Any, dtype: Any) -> Any:
    x = np.asarray(x) if isinstance(x, float) else x
    return x.astype(dtype) if _is_float(x) else x


def _is_float(x: Any) -> bool:
    return isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f"
