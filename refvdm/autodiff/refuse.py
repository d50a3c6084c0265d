"""What the engine refuses, and what it says then. Reached only when something is wrong.

Every function here makes the exception that its caller raises; `Refusals` holds the methods of a
Tensor that would turn it into something without a gradient.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import numpy as np
import scipy.special

from .tree import EXTRAORDINARY

# What to write instead, where the spelling alone does not lead there.
_SOLVE = "np.linalg.solve or refvdm.autodiff.solve_triangular"
_DETERMINANT = "a sum of log of the factors' diagonals"
NEAREST = {
    "inner": "matmul", "vdot": "matmul", "vecdot": "matmul", "tensordot": "einsum",
    "fmax": "maximum", "fmin": "minimum", "append": "concatenate", "float_power": "power",
    "cbrt": "power", "fabs": "absolute",
    "logaddexp2": "logaddexp", "inv": _SOLVE, "det": _DETERMINANT, "slogdet": _DETERMINANT,
    "copy": "the Tensor itself (Tensors never change)", "full_like": "zeros_like, plus the Tensor",
    "softmax": "exp of refvdm.autodiff.log_softmax", "ndtr": "exp of scipy.special.log_ndtr",
    "logit": "log and log1p", "sign": "where", "heaviside": "where", "select": "where",
    "piecewise": "where",
}
NO_NUMBER = "a Tensor cannot become a Python number or truth value"


def name(function: Callable) -> str:
    """How a user writes it: "np.exp", "np.linalg.norm", "scipy.special.expit", "indexing"."""
    bare = getattr(function, "__name__", repr(function))
    if bare == "_getitem":
        return "indexing"
    bare = bare.lstrip("_")
    for prefix, module in (("np.", np), ("np.linalg.", np.linalg), ("np.fft.", np.fft),
                           ("scipy.special.", scipy.special)):
        if getattr(module, bare, None) is function:
            return prefix + bare
    return bare


def what(y: Any) -> str:
    if hasattr(y, "shape"):
        return f"{type(y).__name__} of shape {y.shape} and dtype {y.dtype}"
    return f"{type(y).__name__} {y!r}"


# ---------------------------------------------------------------- what would detach a Tensor


class Refusals:
    """The methods by which a Tensor would quietly become an array or a number, or change."""

    __slots__ = ()

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError("a Tensor cannot become a plain array without losing its gradient "
                        "(np.asarray, np.array([x, y]), or a function that does not dispatch). Use "
                        "np.stack or np.concatenate to build arrays, refvdm.autodiff.logsumexp / "
                        "log_softmax / solve_triangular for SciPy's, and "
                        "refvdm.autodiff.stop_gradient(x) where a constant is meant")

    def _no_scalar(self, *_: Any) -> NoReturn:
        raise TypeError(f"{NO_NUMBER} without losing its "
                        "gradient; compare it (x > 0 gives a plain array), choose with np.where, "
                        "or use refvdm.autodiff.stop_gradient(x)")

    __float__ = __int__ = __complex__ = __bool__ = __index__ = _no_scalar

    def _no_change(self, *_: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be changed in place (x[i] = ..., x += ...); "
                        "write x = x + ..., or np.where")

    def _no_change_but_of_a_number(self, other: Any) -> Any:
        # total += x[i] is for a 0-d Tensor what it is for NumPy's scalars: a new number, old name
        return self._no_change() if self.ndim else NotImplemented

    __setitem__ = _no_change
    __iadd__ = __isub__ = __imul__ = __itruediv__ = _no_change_but_of_a_number
    __imatmul__ = __ipow__ = _no_change_but_of_a_number

    def _no_steps(self, *_: Any) -> NoReturn:
        raise TypeError("x // y, divmod and round of a Tensor have steps, where there is no "
                        "gradient; for a constant use refvdm.autodiff.stop_gradient(x)")

    __floordiv__ = __rfloordiv__ = __divmod__ = __rdivmod__ = _no_steps
    __round__ = __floor__ = __ceil__ = __trunc__ = _no_steps

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a Tensor cannot be copied or pickled: it belongs to its recording")

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a Tensor has no attribute {name!r}; it has shape, dtype, ndim, "
                             f"size, T, sum, mean, cumsum, clip, ravel, reshape, transpose, "
                             f"swapaxes, squeeze, and takes the NumPy functions that have a rule")


# ---------------------------------------------------------------- tensor.py: recording


def ufunc(function: np.ufunc, method: str, kwargs: dict) -> TypeError:
    """A ufunc's method, out=, or another keyword."""
    called = f"np.{function.__name__}"
    if method != "__call__":
        return TypeError(f"{called}.{method} of a Tensor is not differentiable here; "
                         f"np.sum, np.mean and np.cumsum are")
    if "out" in kwargs:
        return TypeError(f"{called}: a Tensor cannot be written into an array, nor into a Tensor "
                         f"(out=, array += tensor); write y = x + tensor, which makes a new Tensor")
    return TypeError(f"{called} of a Tensor takes no keyword {', '.join(kwargs)}")


def outside_the_set(function: Callable, rules: Iterable[Callable],
                    composed: Iterable[Callable] = ()) -> TypeError:
    called = getattr(function, "__name__", repr(function))
    known, written = (", ".join(sorted({name(f).removeprefix("np.").removeprefix("scipy.special.")
                                        for f in functions})) for functions in (rules, composed))
    near = f"Nearest in the set: {NEAREST[called]}. " if called in NEAREST else ""
    return TypeError(f"{name(function)} has no gradient rule. {near}"
                     f"The set: {known}; and written in it: {written}. To add a rule: "
                     f"refvdm.autodiff.defvjp({name(function)}, lambda y_bar, y, x: ...), "
                     f"with one pull for each argument; check it with refvdm.autodiff.check_vjp")


def too_many_to_join(function: Callable, count: int) -> TypeError:
    return TypeError(f"{name(function)} of Tensors takes arrays and axis by position, "
                     f"got {count} arguments")


def signature(function: Callable, most: int, keywords: Iterable[str], args: Sequence,
              kwargs: dict) -> TypeError:
    return TypeError(f"{name(function)} of a Tensor takes at most {most} positional arguments and "
                     f"the keywords {sorted(keywords)}, got {len(args)} and {sorted(kwargs)}")


def tensor_by_keyword(function: Callable) -> TypeError:
    return TypeError(f"{name(function)}: pass Tensors by position, not by keyword")


def tensor_for_constant(function: Callable, position: int) -> TypeError:
    return TypeError(f"{name(function)} is not differentiable in argument {position}: "
                     f"it cannot be a Tensor")


def composed(function: Callable, signature: Any, error: TypeError) -> TypeError:
    return TypeError(f"{name(function)} of a Tensor takes {signature}: {error}")


def two_recordings(function: Callable) -> TypeError:
    return TypeError(f"{name(function)} meets Tensors of two recordings: a function inside vjp or "
                     f"grad closes over a Tensor of an outer one. Pass it as an argument, or use "
                     f"stop_gradient; only first derivatives are supported")


def ended(function: Callable) -> TypeError:
    return TypeError(f"{name(function)} meets a Tensor whose recording has ended: it must not "
                     f"leave the function that was given to vjp or grad")


def not_real(function: Callable, position: int, dtype: np.dtype) -> TypeError:
    return TypeError(f"{name(function)}: argument {position} must hold real numbers, "
                     f"got dtype {dtype}")


def extraordinary(array: np.ndarray) -> TypeError:
    if isinstance(array, np.matrix):
        return TypeError("an np.matrix beside a Tensor would lose its meaning of *; "
                         "use np.asarray(matrix) and @")
    return TypeError("a masked array beside a Tensor would lose its mask; use np.where")


def no_pull() -> TypeError:
    return TypeError("defvjp: expected a function and at least one pull, each callable "
                     "(or None for a constant argument)")


# ---------------------------------------------------------------- vjp.py


def primal(i: int, error: TypeError) -> TypeError:
    return TypeError(f"vjp: primal {i}: {error}")


def no_float_leaf(i: int) -> TypeError:
    return TypeError(f"vjp: primal {i} has no float leaf to differentiate "
                     f"(cast integers with .astype(float))")


def tensor_as_primal() -> TypeError:
    return TypeError("it holds a Tensor; only first derivatives are supported, so a gradient "
                     "cannot be taken inside another one (use stop_gradient for a constant)")


def was_assigned(error: BaseException | None) -> bool:
    """NumPy hides what a Tensor said behind an error of its own, and a model that behind others."""
    while error is not None:
        error = error.__cause__
        if NO_NUMBER in str(error):
            return True
    return False


def assigned() -> TypeError:
    return TypeError("a Tensor cannot be written into an array (a[i] = x[i]) without losing its "
                     "gradient; build the array of its parts with np.stack or np.concatenate")


def outer_tensor() -> TypeError:
    return TypeError("the function returns a Tensor of an outer recording; only first derivatives "
                     "are supported")


def cotangent(y_bar: Any, shape: tuple[int, ...]) -> Exception:
    """One that is a Tensor, of no real float dtype, or of another shape than the value's."""
    if isinstance(y_bar, Refusals):
        return TypeError("pullback: the cotangent is a Tensor; only first derivatives are "
                         "supported")
    array = np.asarray(y_bar)
    if isinstance(y_bar, EXTRAORDINARY) or array.dtype.kind != "f" and type(y_bar) is not int:
        return TypeError(f"pullback: the cotangent must be real floats, got {what(y_bar)}")
    return ValueError(f"pullback: the cotangent must have the value's shape {shape}, "
                      f"got {array.shape}")


def not_a_scalar(y: Any) -> ValueError:
    return ValueError(f"a gradient needs a function with one float value of shape (), "
                      f"got {what(y)}; sum it, or use vjp or jacobian")


def no_aux(y: Any) -> TypeError:
    return TypeError(f"has_aux: the function must return (scalar, aux), got {what(y)}")


def argnum_type(argnum: Any) -> TypeError:
    return TypeError(f"argnum must be an integer, or a tuple of different ones, got {argnum!r}")


def argnum_range(argnum: int, count: int) -> ValueError:
    return ValueError(f"argnum = {argnum} but the function was called with {count} positional "
                      f"arguments")


def not_one_array(y: Any) -> TypeError:
    return TypeError(f"jacobian: the function must return one float array, got {what(y)}")


def no_broadcast(came: tuple[int, ...], shape: tuple[int, ...], forward: Any) -> ValueError:
    where = f"the rule of {name(forward)}" if forward else "unbroadcast"
    return ValueError(f"{where}: expected a cotangent of shape {shape} or a broadcast of it, "
                      f"got {came}")
