"""The file that `python -m refvdm.conformance new` writes: every operation as a commented stub."""
from __future__ import annotations

from .listing import CONVENTIONS, described
from .operation import REGISTER, Operation

HEAD = '''"""My implementation behind refvdm's operations. Fill in what you have.

    python -m refvdm.conformance run {name}

Inputs are NumPy arrays of the dtype below. Return NumPy, torch or JAX arrays, in the order stated,
or a dict with those names. What is not defined counts as not implemented. Which mistakes are known:
python -m refvdm.conformance list --mistakes. For the reference's own numbers of a case:

    from refvdm.conformance import OPERATIONS
    case = OPERATIONS["q_step"].fixed_cases()[0]
    OPERATIONS["q_step"].answer(case)

{conventions}"""
import numpy as np

dtype = "float64"  # of the inputs; "float32" if that is what your code computes in
'''


def template(name: str) -> str:
    """The whole file."""
    head = HEAD.format(name=name, conventions=CONVENTIONS)
    return "\n".join([head, *map(_stub, REGISTER.values())])


def _stub(operation: Operation) -> str:
    return "\n".join(["", *(f"# {line}" for line in described(operation)),
                      f"# def {operation.name}({', '.join(operation.inputs)}):",
                      f"#     return {', '.join(operation.outputs)}"])
