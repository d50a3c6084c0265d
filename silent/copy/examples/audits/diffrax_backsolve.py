"""The same by diffrax.BacksolveAdjoint."""
import diffrax
import diffrax_solve
from diffrax_solve import odeint_gradients  # noqa: F401

LIBRARY, DTYPES = "diffrax", ("float64",)


def use():
    """run.py calls it before this adapter runs."""
    diffrax_solve.ADJOINT = diffrax.BacksolveAdjoint()
