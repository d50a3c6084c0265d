"""Every public function and class has an example, and the examples say what is so."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

import refvdm

PARTS = (
    "autodiff", "checkpoint", "conformance", "conformance.objects", "datasets", "experiment", "fit", "flows",
    "gaussian", "mhvae", "nn", "ode", "optim", "vdm", "vdm.denoiser", "vdm.network",
)  # fmt: skip
FLAGS = doctest.ELLIPSIS | doctest.DONT_ACCEPT_TRUE_FOR_1


def public(part):
    """{dotted name: function or class} of what a part offers: its __all__; of vdm's files the classes."""
    module = importlib.import_module(f"refvdm.{part}")
    things = {f"{part}.{name}": thing for name, thing in vars(module).items() if name in getattr(module, "__all__", ())}
    if not hasattr(module, "__all__"):
        here = {name: thing for name, thing in vars(module).items() if name[0] != "_" and inspect.isclass(thing)}
        things = {f"{part}.{name}": thing for name, thing in here.items() if thing.__module__ == module.__name__}
    return {name: thing for name, thing in things.items() if inspect.isclass(thing) or inspect.isfunction(thing)}


THINGS = {name: thing for part in PARTS for name, thing in public(part).items()}


def test_there_are_many():
    assert len(THINGS) > 100 and {"vdm.VDM", "ode.adjoint", "flows.PLU", "autodiff.vjp"} <= set(THINGS)


def test_the_first_page():
    """help(refvdm) names every part, and its example runs."""
    assert all(f"refvdm.{part}" in refvdm.__doc__ for part in (*refvdm._MODULES,))
    assert doctest.testmod(refvdm, optionflags=FLAGS) == (0, 6)
    assert doctest.testmod(refvdm.lecture, optionflags=FLAGS) == (0, 6)


@pytest.mark.parametrize("name", sorted(THINGS))
def test_the_examples_of(name):
    text = inspect.getdoc(THINGS[name]) or ""
    assert ">>> " in text, f"refvdm.{name} has no example"
    if name in ("experiment.pyplot", "experiment.save_picture"):
        pytest.importorskip("matplotlib")  # without it they print a word
    test = doctest.DocTestParser().get_doctest(text, {"np": np, "__name__": "example"}, name, None, 0)
    assert any("refvdm" in example.source for example in test.examples)  # it says where things come from
    said = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=said.append)
    assert result.failed == 0, "".join(said)
