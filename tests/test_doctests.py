"""Every public function and class has an example, and the examples say what is so."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

PARTS = (
    "autodiff", "checkpoint", "conformance", "datasets", "experiment", "fit", "flows", "gaussian", "mhvae", "nn",
    "ode", "optim", "vdm", "vdm.denoiser", "vdm.network",
)  # fmt: skip
FLAGS = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1


def public(part):
    """{dotted name: function or class} of what a part offers: its __all__, or what it defines."""
    module = importlib.import_module(f"refvdm.{part}")
    names = getattr(module, "__all__", None) or [
        name for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]  # fmt: skip
    things = {f"{part}.{name}": getattr(module, name) for name in names}
    wanted = inspect.isclass if "." in part else lambda thing: inspect.isclass(thing) or inspect.isfunction(thing)
    return {name: thing for name, thing in things.items() if wanted(thing)}


THINGS = {name: thing for part in PARTS for name, thing in public(part).items()}


def test_there_are_many():
    assert len(THINGS) > 100 and {"vdm.VDM", "ode.adjoint", "flows.PLU", "autodiff.vjp"} <= set(THINGS)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_the_examples_of(name):
    text = inspect.getdoc(THINGS[name]) or ""
    assert ">>> " in text, f"refvdm.{name} has no example"
    test = doctest.DocTestParser().get_doctest(text, {"np": np, "__name__": "example"}, name, None, 0)
    assert any("refvdm" in example.source for example in test.examples)  # it says where things come from
    said = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
