"""Checks of whole objects, for those who have a model or a library and no time for an adapter.

Each takes the user's own callables (NumPy, torch or JAX arrays come back) and gives a
report.Report:

    check_sampler       one step, or a whole run, on Gaussian data, whose moments are known
    check_ancestral     a sampler that draws: mean and variance of every step
    check_probability_flow   a solver of the probability flow: does it converge, at its order?
    check_loss          a per-t loss against the terms of the bound
    check_continuous_loss    a loss in continuous time: the bound's, whatever the schedule
    check_times         a drawer of training times
    check_flow_layer    forward, inverse and log-det against the code's own Jacobian
    check_initialisation     a start from data, as ActNorm's
    check_gradient      a gradient against finite differences of the function itself
    check_likelihood    log densities against exact ones

print(report) is a table, report.status the exit status of a command, report.json() for machines:

    >>> import numpy as np
    >>> from refvdm.conformance.objects import check_flow_layer
    >>> x = np.array([[0.3, -1.2], [2.0, 0.1]])
    >>> def forward(x):
    ...     return 3 * x, np.full(len(x), np.log(3))  # 2 log 3, of two elements
    >>> report = check_flow_layer(forward, lambda y: (y / 3, np.full(len(y), -2 * np.log(3))), x)
    >>> report.status, [(v.name, v.status) for v in report.verdicts][:2]
    (1, [('log_det', 'FAIL'), ('inverse of forward', 'pass')])
"""
from .ancestral import check_ancestral
from .continuous import check_continuous_loss
from .density import check_likelihood
from .flow_of_probability import check_probability_flow
from .gradients import check_gradient
from .initialise import check_initialisation
from .layers import check_flow_layer
from .model import check_loss, check_sampler, check_times

__all__ = ["check_ancestral", "check_continuous_loss", "check_flow_layer", "check_gradient",
           "check_initialisation", "check_likelihood", "check_loss", "check_probability_flow",
           "check_sampler", "check_times"]
