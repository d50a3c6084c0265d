"""refvdm: variational diffusion models, neural ODEs, flows and hierarchical VAEs as a readable
NumPy reference of a lecture on them.

refvdm.lecture    the lecture as code, every equation one small function: read this first
refvdm.flows      13.1: the PLU layer of Glow, and flows made of it
refvdm.mhvae      13.2-13.5, 13.18-13.21: Markovian hierarchical VAEs
refvdm.ode        13.6-13.17: neural ODEs and their adjoint
refvdm.vdm        13.22-13.29: variational diffusion models
refvdm.autodiff   gradients of plain NumPy code; refvdm.nn, refvdm.optim, refvdm.gaussian beside it
refvdm.fit        a training loop; refvdm.experiment, refvdm.checkpoint, refvdm.datasets
refvdm.conformance    is my implementation right? cross-checks that name the mistake
"""
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType

__version__ = "0.1.0"

_MODULES = ("autodiff", "checkpoint", "conformance", "datasets", "experiment", "fit", "flows",
            "gaussian", "lecture", "mhvae", "nn", "ode", "optim", "vdm")


def __getattr__(name: str) -> _ModuleType:
    """Import a part when it is first asked for: `import refvdm; refvdm.vdm.VDM`."""
    if name in _MODULES:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(f"refvdm has no part {name!r}; there are {', '.join(_MODULES)}")


def __dir__() -> list[str]:
    return [*globals(), *_MODULES]
