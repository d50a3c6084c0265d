"""Every public callable, given every kind of wrong argument: the call is right, or an error names the argument. Nothing
is silent, nothing is raw; and every array that only lies in memory in another way gives the same numbers."""
import boundary_models  # noqa: F401
import boundary_vdm  # noqa: F401
import pytest
from wrong_arguments import CASES, attempt

ALL = [(name, argument) for name, (_, arguments) in CASES.items() for argument in arguments]


@pytest.mark.parametrize(("name", "argument"), ALL, ids=[f"{name}: {argument}" for name, argument in ALL])
def test_right_or_refused_by_name(name, argument):
    attempt(name, argument)
