"""The lecture as code, to be read beside it: every equation one small function, in its symbols.

    flows.py        §13.1
    hvae.py         13.2-13.5 and, the same once more, 13.18-13.21
    neural_ode.py   13.6-13.12
    adjoint.py      13.13-13.17
    vdm.py          13.22-13.24
    loss.py         13.25-13.29

One example at a time, plain loops, nothing checked, NumPy alone. The rest of refvdm, the machine,
is the same lecture batched, stable and fast: `machine` names where, and tests hold the two equal.
Where the lecture prints something wrong, `printed` says what, and a function beside computes it.
"""
from . import adjoint, flows, hvae, loss, neural_ode, vdm
from .equation import PRINTED, SECTIONS, Equation, equations

__all__ = ["PRINTED", "SECTIONS", "Equation", "adjoint", "equations", "flows", "hvae", "loss",
           "neural_ode", "vdm"]
