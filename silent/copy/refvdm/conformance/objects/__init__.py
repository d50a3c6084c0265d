"""Checks of whole objects, for those who have a model or a library and no time for an adapter.

Each takes the user's own callables (NumPy, torch or JAX arrays come back) and gives a
report.Report:

    check_sampler       one step, or a whole run, on Gaussian data, whose moments are known
    check_loss          a per-t loss against the terms of the bound
    check_times         a drawer of training times
    check_flow_layer    forward, inverse and log-det against the code's own Jacobian
    check_gradient      a gradient against finite differences of the function itself
    check_likelihood    log densities against exact ones
"""
from .density import check_flow_layer, check_likelihood
from .gradients import check_gradient
from .model import check_loss, check_sampler, check_times

__all__ = ["check_flow_layer", "check_gradient", "check_likelihood", "check_loss", "check_sampler",
           "check_times"]
