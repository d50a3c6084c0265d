"""torchdiffeq.odeint_adjoint: the same by the adjoint equation."""
import torchdiffeq
import torchdiffeq_odeint as by_backpropagation
from torchdiffeq_odeint import HOW, odeint_gradients  # noqa: F401

LIBRARY, DTYPES = "torchdiffeq", ("float64",)


def use():
    """run.py calls it before this adapter runs."""
    by_backpropagation.integrate = lambda f, z0, ts: torchdiffeq.odeint_adjoint(f, z0, ts, **HOW)
