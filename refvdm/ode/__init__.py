"""Neural ODEs, 13.6-13.17: solvers whose every step can be compared, and an adjoint that says how wrong it is.

tableau.py Runge-Kutta methods | controller.py four libraries' step policies | problem.py what is asked for | steps.py walking |
solve.py the initial value problem | linearise.py a field and its pullback | adjoint.py the augmented state, backward | discrete.py the
solver's own gradient | variational.py the oracle |
odeint.py all of it as one operation inside grad | report.py the modes beside each other | mlp_field.py a neural ODE's field
"""
from .adjoint import Adjoint, ReconstructionWarning, Trajectory, adjoint
from .mlp_field import MLPField
from .odeint import odeint
from .report import GradientReport, ModeReport, gradient_report
from .solve import Solution, Stats, solve
from .steps import SolverError, StepRecord
from .tableau import METHODS, Tableau

__all__ = [
           "METHODS",
           "Adjoint",
           "GradientReport",
           "MLPField",
           "ModeReport",
           "ReconstructionWarning",
           "Solution",
           "SolverError",
           "Stats",
           "StepRecord",
           "Tableau",
           "Trajectory",
           "adjoint",
           "gradient_report",
           "odeint",
           "solve",
]
