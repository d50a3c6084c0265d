"""Is an implementation right? Cross-checks, by name, of what the lecture defines.

    python -m refvdm.conformance list              the operations: arrays in, arrays out
    python -m refvdm.conformance new my.py         a template to fill in
    python -m refvdm.conformance run my.py         what agrees, and what explains what does not

From Python: check(adapter) -> Report; pytest_function(adapter) -> a test for your own test file.
"""
from . import operations
from .operation import REGISTER as OPERATIONS
from .report import Report, check, implemented, pytest_function

__all__ = ["OPERATIONS", "Report", "check", "implemented", "operations", "pytest_function"]
