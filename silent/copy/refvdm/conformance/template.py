"""The file that `python -m refvdm.conformance new` writes: every operation as a commented stub."""
from __future__ import annotations

from .operation import REGISTER, Operation

HEAD = '''"""My implementation behind refvdm's operations. Fill in what you have.

    python -m refvdm.conformance run {name}

Inputs are NumPy arrays of the dtype below. Return NumPy, torch or JAX arrays, in the order stated,
or a dict with those names. What is not defined counts as not implemented.
"""
import numpy as np

dtype = "float64"  # of the inputs; "float32" if that is what your code computes in
'''


def template(name: str) -> str:
    """The whole file."""
    return "\n".join([HEAD.format(name=name), *map(_stub, REGISTER.values())])


def _stub(operation: Operation) -> str:
    lines = ["", f"# {operation.name}, {operation.equation}: {operation.summary.strip()}"]
    lines += [f"#     {name}: {meaning}" for name, meaning in operation.inputs.items()]
    lines += [f"#     -> {name}: {meaning}" for name, meaning in operation.outputs.items()]
    lines += [f"#     {operation.notes}"] if operation.notes else []
    lines += [f"# def {operation.name}({', '.join(operation.inputs)}):",
              f"#     return {', '.join(operation.outputs)}"]
    return "\n".join(lines)
