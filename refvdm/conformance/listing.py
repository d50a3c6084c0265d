"""What `python -m refvdm.conformance list` prints, made of the operations themselves."""
from __future__ import annotations

import itertools
import textwrap

import numpy as np

from .operation import Operation

CONVENTIONS = """\
Arrays in, arrays out; nothing is random. Floats are float64, or float32 if an adapter says so;
times, levels and permutations are integers. Batch first, features last. Likelihoods and KLs are in
nats, one number per example. t = 1..T, x_0 is data, ᾱ_0 = 1: DDPM's and diffusers' 0-based timestep
is t - 1, and betas[t-1], A[t-1], eps[t-1] belong to t. var is a variance, log_var its logarithm.
gamma = -log SNR. Kingma et al.'s z at i/T_Kingma is x_t with t = i + 1, so that T = T_Kingma + 1.
"""


def described(operation: Operation, mistakes: bool = False) -> list[str]:
    """The lines on one operation; what is said of two inputs alike is said once."""
    head = f"{operation.name}({', '.join(operation.inputs)}) -> {', '.join(operation.outputs)}"
    text = [f"{operation.summary.strip()}  [{operation.equation}]", operation.notes]
    for arrow, what in (("", operation.inputs), ("-> ", operation.outputs)):
        kinds = {key: f"{_kind(operation, key)}{meaning}" for key, meaning in what.items()}
        for kind, keys in itertools.groupby(kinds, kinds.__getitem__):
            text.append(f"{arrow}{', '.join(keys)}: {kind}")
    text += [f"known mistake: {mistake.name}" for mistake in operation.mistakes if mistakes]
    lines = textwrap.wrap(head, 98, subsequent_indent="        ")
    for line in filter(None, text):
        lines += textwrap.wrap(line, 98, initial_indent="    ", subsequent_indent="        ")
    return lines


def _kind(operation: Operation, key: str) -> str:
    """The dtype, as the first case has it; words say what they may be."""
    x = operation.fixed_cases()[0].get(key, 0.0)  # outputs are floats
    return "" if isinstance(x, str) else "float " if np.asarray(x).dtype.kind == "f" else "int "
