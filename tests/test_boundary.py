"""Every public callable, given every kind of wrong argument: the call is right, or an error names the argument. Nothing
is silent, nothing is raw; and every array that only lies in memory in another way gives the same numbers.

What is called stands in boundary_*.py, what is tried in wrong_arguments.py. `python tests/test_boundary.py` counts.
"""
import importlib
import inspect
import pkgutil
from collections import Counter

import boundary_engine  # noqa: F401
import boundary_models  # noqa: F401
import boundary_objects  # noqa: F401
import boundary_vdm  # noqa: F401
import pytest
from wrong_arguments import CASES, KINDS, RIGHT, attempt

import refvdm

ALL = [(name, argument) for name, (_, arguments) in CASES.items() for argument in arguments]


@pytest.mark.parametrize(("name", "argument"), ALL, ids=[f"{name}: {argument}" for name, argument in ALL])
def test_right_or_refused_by_name(name, argument):
    attempt(name, argument)


# ---------------------------------------------------------------- nobody is forgotten

PUBLIC = ["autodiff", "checkpoint", "conformance", "conformance.objects", "datasets", "experiment", "fit", "flows",
          "gaussian", "lecture", "lock", "mhvae", "nn", "ode", "optim", "vdm", "vdm.denoiser", "vdm.network"]
# how the others speak and what they are made of: nobody calls them from outside
INNER = {"console", "checks", "command", "conditional", "names", "pictures", "resume", "values"}
# What stands behind the boundary: others call it, with what was checked already
TRUSTED = {
    "VDM.at", "Schedule.at", "Schedule.snr_lost", "Schedule.features_at", "Solution", "TreeSolution",
    "Solution.interpolate", "Solution.complete", "CategoricalDecoder.log_probs", "CategoricalDenoiser.expectation",
    "softmax_mean",
    *(f"{kind}.{method}" for kind in ("GaussianDecoder", "DiscretizedGaussianDecoder", "CategoricalDecoder",
                                      "ExactDecoder") for method in ("log_prob", "sample")),
    *(f"{kind}.with_schedule" for kind in ("ExactDecoder", "GaussianDenoiser", "MixtureDenoiser", "PointsDenoiser",
                                           "RegressionDenoiser", "CategoricalDenoiser", "ConvertedDenoiser",
                                           "ExplodingDenoiser"))}


def public(module):
    """(name, object) of what a module offers: its __all__, or what it defines without an underscore."""
    names = getattr(module, "__all__", None) or [
        name for name, thing in vars(module).items()
        if name[0] != "_" and getattr(thing, "__module__", None) == module.__name__]
    return [(name, getattr(module, name)) for name in names]


def callables():
    """Every public function, class and method: "solve", "VDM", "VDM.elbo"."""
    for path in PUBLIC:
        for name, thing in public(importlib.import_module(f"refvdm.{path}")):
            if not callable(thing) or not getattr(thing, "__module__", "").startswith("refvdm"):
                continue
            if not inspect.isclass(thing):
                yield name
            elif not (issubclass(thing, BaseException) or hasattr(thing, "_fields") or thing.__name__ == "Tensor"
                      or getattr(thing, "_is_protocol", False)):  # errors, records, what others write
                yield name
                for method, f in inspect.getmembers(thing, callable):
                    if (method[0] != "_" or method == "__call__") and f.__module__.startswith("refvdm"):
                        yield f"{name}.{method}"


def test_nobody_is_forgotten():
    tried = {name.partition(",")[0].partition(" ")[0] for name in CASES}
    known = set(callables())
    assert known - tried - TRUSTED == set()
    assert TRUSTED <= known


def test_no_module_is_forgotten():
    modules = {module.name for module in pkgutil.iter_modules(refvdm.__path__)}
    assert modules == {path.partition(".")[0] for path in PUBLIC} | INNER


def test_what_is_right_although_it_looks_wrong_is_tried():
    tried = {(name, argument, label) for name, argument in ALL
             for label, _ in KINDS[CASES[name][1][argument][0].rstrip("?")][0](CASES[name][1][argument][1])}
    assert RIGHT - tried == set()


if __name__ == "__main__":
    count: Counter = Counter()
    for each in ALL:
        attempt(*each, count)
    print(f"{len(set(callables()) - TRUSTED)} callables, {len(ALL)} arguments, {sum(count.values())} calls, of them "
          f"{count['right']} right and {count['refused']} refused")
