"""Is an implementation right? Cross-checks, by name, of what the lecture defines.

    python -m refvdm.conformance list              the operations: arrays in, arrays out
    python -m refvdm.conformance new my.py         a template to fill in
    python -m refvdm.conformance run my.py         what agrees, and what explains what does not
From Python: check(adapter) -> Report.
"""
from . import operations
from .operation import REGISTER as OPERATIONS
from .report import Report, check

__all__ = ["OPERATIONS", "Report", "check", "operations"]
