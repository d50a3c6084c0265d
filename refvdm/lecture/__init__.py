"""The lecture as code: every equation one small function, in its symbols. Read in this order:

    flows.py        §13.1
    hvae.py         13.2-13.5 and, the same once more, 13.18-13.21; N, the normal density
    neural_ode.py   13.6-13.12
    adjoint.py      13.13-13.17
    vdm.py          13.22-13.24
    loss.py         13.25-13.29

One example at a time, plain loops, nothing checked, NumPy alone. The rest of refvdm, the machine,
is the same lecture batched, stable and fast: `machine` names where, and tests hold the two equal.
Where the lecture prints something wrong, `printed` says what, and a function beside computes it.
The lecture is the notes of a lecture on neural ODEs and variational diffusion models, of which
§13.1-§13.4 are here; without them, read the page that `python -m refvdm.lecture --html FILE`
writes. Every decorator is the statement of its function; an `identity` returns both sides of it.

    >>> import numpy as np
    >>> from refvdm.lecture import equations, flows
    >>> W = np.array([[0.0, 2.0], [1.0, 3.0]])
    >>> P, L, U = flows.plu(W)
    >>> (P @ L @ U - W).tolist()
    [[0.0, 0.0], [0.0, 0.0]]
    >>> [equation.name for equation in equations() if equation.number == "13.25"]
    ['bayes']
"""
from . import adjoint, flows, hvae, loss, neural_ode, vdm
from .equation import PRINTED, SECTIONS, Equation, equations

__all__ = ["PRINTED", "SECTIONS", "Equation", "adjoint", "equations", "flows", "hvae", "loss",
           "neural_ode", "vdm"]
