"""Adapters that the tests of the conformance kit share."""
import textwrap
from pathlib import Path

import numpy as np

from refvdm.conformance import OPERATIONS, check

ROOT = Path(__file__).parent.parent
ADAPTERS = ROOT / "examples" / "adapters"


class Right:
    """Every operation as the reference has it."""


for _name, _operation in OPERATIONS.items():
    setattr(Right, _name, staticmethod(_operation.reference))


def one(function, name="q_step"):
    """The verdict on an adapter with this one function."""
    (verdict,) = check(type("Adapter", (), {name: staticmethod(function)}), only=[name]).verdicts
    return verdict


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return str(path)


def right_q_step(x_prev, betas, t):
    beta = betas[t - 1]
    return np.sqrt(1 - beta)[:, None] * x_prev, beta
