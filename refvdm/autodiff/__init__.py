"""Gradients of plain NumPy code: `value, pullback = vjp(f, *primals)`.

NumPy code goes in, gradients come out: a function written with `np.exp`, `@`, `np.sum`, ... runs on
arrays as it is, and on Tensors recorded. tensor.py records, vjp.py walks back, refuse.py says what
neither can do; rules.py, linalg.py and layer.py hold the primitives with their backward rules,
made by rule.py; composed.py writes more of NumPy in them; tree.py handles nested parameters,
check.py proves a rule against finite differences.
"""
import numpy as _np

from . import composed as _composed  # noqa: F401  registers what it has
from .check import GradientError, check_vjp
from .layer import linear
from .linalg import solve_triangular
from .rule import defvjp
from .rules import log_softmax, logsumexp
from .tensor import Array, Tensor
from .tree import ravel, tree_leaves, tree_map
from .vjp import grad, jacobian, stop_gradient, value_and_grad, vjp

# A recording holds many arrays of a few 100 KiB and frees them together. glibc's malloc would give
# that memory back to the system and fetch it again, page by page, at every step: a fifth of the
# time of a training step. Having freed one large array it keeps up to twice that size; elsewhere
# this line does nothing.
_np.empty(31 << 20, _np.uint8)

__all__ = [
           "Array",
           "GradientError",
           "Tensor",
           "check_vjp",
           "defvjp",
           "grad",
           "jacobian",
           "linear",
           "log_softmax",
           "logsumexp",
           "ravel",
           "solve_triangular",
           "stop_gradient",
           "tree_leaves",
           "tree_map",
           "value_and_grad",
           "vjp",
]
