"""`defvjp`: how a function gets its backward rule. For the rules here and for anybody's own."""
from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from . import refuse
from .tensor import RULES, Rule, Tensor, record


def defvjp(function: Callable, *pulls: Callable | None, each: Callable | None = None,
           shared: Callable | None = None, saves: bool = False,
           forward: Callable | None = None) -> Callable:
    """Give `function` a backward rule; returns a function that takes arrays and Tensors alike.

    For y = function(a, b, ..., key=...) there is one pull for each argument,

        a_bar = pull(y_bar, y, a, b, ..., key=...)         the cotangent of a, given that of y

    or None for an argument that is never a Tensor. Values reach a pull as plain arrays; a pull may
    return the broadcast shape (the engine sums the broadcast axes away) and must not write into
    what it is given. The signature of the first pull says which positional arguments and keywords
    are supported.

    each     each(i, y_bar, y, *arrays, ...) instead of pulls, for any number of arguments
    shared   s = shared(y_bar, y, a, b, ...) is computed once, every pull gets s in place of y_bar
    saves    the function returns (y, saved); pulls get that pair as `y`, callers get y
    forward  what computes y when it is not `function` itself

    A NumPy function or ufunc needs nothing more; it dispatches by itself:

        defvjp(np.arctan, lambda y_bar, y, x: y_bar / (1 + x * x))

    Of a function of your own, call the returned one, as below.

    TypeError when a function or pull is not callable, or there is no pull. Check a rule with
    `check_vjp`.

    >>> from refvdm.autodiff import defvjp, grad
    >>> cube = defvjp(lambda x: x**3, lambda y_bar, y, x: y_bar * 3 * x**2)
    >>> float(grad(cube)(2.0))
    12.0
    """
    named = [function, *(p for p in (*pulls, each, shared, forward) if p is not None)]
    like = each or next((p for p in pulls if p), None)
    if not all(map(callable, named)) or like is None:
        raise refuse.no_pull()
    parameters = list(inspect.signature(like).parameters.values())[3 if each else 2:]
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    any_number = each or any(p.kind is p.VAR_POSITIONAL for p in parameters)
    by_name = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    differentiated = frozenset(i for i, pull in enumerate(pulls) if pull)
    RULES[function] = Rule(forward or function, pulls, each, shared, saves,
                           operands=range(sys.maxsize) if each else differentiated,
                           most=sys.maxsize if any_number else len(by_position),
                           keywords=frozenset(p.name for p in by_name))
    home = getattr(function, "__module__", "").partition(".")[0]
    if isinstance(function, np.ufunc) or home == "numpy":
        return function

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if Tensor in map(type, args) or Tensor in map(type, kwargs.values()):
            return record(function, args, kwargs)
        y = function(*args, **kwargs)
        return y[0] if saves else y

    return either
