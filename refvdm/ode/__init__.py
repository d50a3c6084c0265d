"""Neural ODEs, 13.6-13.17: solvers whose every step can be compared, and an adjoint that says how
wrong it is.

Forward: field.py is what the caller writes, tableau.py the Runge-Kutta methods, controller.py the
step policies of four libraries, problem.py what is asked for, state.py
a state that is a tree, steps.py the walking, solve.py the
initial value problem.

Backward: linearise.py is a field and its pullback, adjoint.py the augmented state backward in time,
discrete.py the solver's own gradient, variational.py the oracle, modes.py the choice between them.

On top: odeint.py is all of it as one operation inside grad, report.py the modes beside each other,
mlp_field.py a neural ODE's field.
"""
from .adjoint import Trajectory
from .field import Field
from .mlp_field import MLPField
from .modes import Adjoint, ReconstructionWarning, adjoint
from .odeint import odeint
from .report import GradientReport, ModeReport, gradient_report
from .solve import Solution, Stats, TimeWarning, solve
from .state import TreeSolution
from .steps import SolverError, StepRecord
from .tableau import METHODS, Tableau

__all__ = [
    "METHODS",
    "Adjoint",
    "Field",
    "GradientReport",
    "MLPField",
    "ModeReport",
    "ReconstructionWarning",
    "Solution",
    "SolverError",
    "Stats",
    "StepRecord",
    "Tableau",
    "TimeWarning",
    "Trajectory",
    "TreeSolution",
    "adjoint",
    "gradient_report",
    "odeint",
    "solve",
]
