"""The lecture measured: every equation of the spec beside the machine, a closed form, a misprint.

The spec imports nothing of refvdm; this does, and holds the two texts side by side.
"""
from __future__ import annotations

import fnmatch

from ..equation import equations
from . import diffusion, flows, hvae, ode
from .core import MEASURES, Measured, Result, distance, result

__all__ = ["MEASURES", "Measured", "Result", "diffusion", "distance", "flows", "hvae", "ode",
           "result", "results"]


def results(seed: int = 0, only: str | None = None) -> list[Result]:
    """One Result for every equation of the register, in the lecture's order; only: a number such as
    "13.25", which stands for all that begins with it ("13.25 posterior"), or a pattern."""
    return [result(equation, seed) for equation in equations()
            if only is None or matches(equation.number, only)]


def matches(number: str, wanted: str) -> bool:
    """13.2 is 13.2 and "13.2 ...", not 13.20; the sign of a section may be left out."""
    number, wanted = number.lstrip("§"), wanted.lstrip("§")
    return number == wanted or number.startswith((f"{wanted} ", f"{wanted},")) or (
        fnmatch.fnmatchcase(number, wanted))
