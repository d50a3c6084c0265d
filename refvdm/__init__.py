"""refvdm: a lecture as running NumPy code, from PLU flows to variational diffusion models.

Implemented are §13.1-§13.4 of the notes of a lecture on neural ODEs and variational diffusion
models, equations 13.1-13.29, corrected where the notes print something else. Every equation is
there twice: in the spec, as a function of a few lines to be read, and in the machine, batched,
stable and fast, to be used. Tests require the two to agree.

To read

    python -m refvdm.lecture --html lecture.html      the argument, formulas, code, pictures: a page
    python -m refvdm.lecture                          all equations, measured
    python -m refvdm.lecture --equation 13.25         one, with the code of both
    help(refvdm.lecture)                              the spec, and the order to read it in

To use: the machine

    refvdm.flows      §13.1                   the PLU layer of Glow, and flows made of it
    refvdm.mhvae      13.2-13.5, 13.18-13.21  Markovian hierarchical VAEs
    refvdm.ode        13.6-13.17              neural ODEs: solvers, and gradients by the adjoint
    refvdm.vdm        13.22-13.29             variational diffusion models
    refvdm.autodiff   gradients of plain NumPy code; beside it refvdm.nn, refvdm.optim,
                      refvdm.gaussian
    refvdm.fit        a training loop; refvdm.experiment, refvdm.checkpoint, refvdm.datasets

To check an implementation of your own

    python -m refvdm.conformance      cross-checks that name the mistake

Arrays are batch first, features last, float64 or float32 throughout; densities and bounds are in
nats, one number per example; t = 1..T, and t = 0 is the data; randomness is an explicit generator
or given as eps. Errors name the argument, what was expected and what came.

    >>> import numpy as np
    >>> from refvdm import lecture, vdm
    >>> schedule, x_0 = vdm.Schedule.cosine(10), np.array([1.0, -0.5])
    >>> spec = lecture.loss.q_marginal(x_0, schedule.alpha, 4)       # 13.28, one example
    >>> mean, var = vdm.q_marginal(schedule, x_0[None], 4)           # the same, a batch of one
    >>> np.allclose(spec.mean, mean[0]), np.allclose(spec.var, var)
    (True, True)
"""
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

__version__ = "0.2.0"

_MODULES = ("autodiff", "checkpoint", "conformance", "datasets", "experiment", "fit", "flows",
            "gaussian", "lecture", "mhvae", "nn", "ode", "optim", "vdm")


def __getattr__(name: str) -> _ModuleType:
    """Import a part when it is first asked for: `import refvdm; refvdm.vdm.VDM`."""
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"refvdm has no part {name!r}; there are {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
